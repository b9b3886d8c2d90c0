//! `okgscript rbac SCRIPT`

use std::path::Path;

use super::{Global, files, preflight, terminal};
use crate::diagnostic::Diagnostic;
use crate::exit_code::ExitCode;
use crate::reference;
use crate::script::Interrupt;
use crate::session::Desk;

/// Arguments of `rbac`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A file, `-` for stdin, or the name of a shipped script.
    #[arg(value_name = "SCRIPT")]
    script: String,
}

/// Prints the Role that a script needs, as YAML: what every call that it can reach asks of the API server.
pub fn run(arguments: &Arguments, global: &Global) -> Result<ExitCode, Diagnostic> {
    let desk = Desk::new(&Interrupt::new());
    let (name, text) = files::read(&arguments.script)?;
    let script = desk.compile(&name, &text)?;
    let needs = preflight::needs(&desk, &script);
    terminal::out(&reference::role(&role_name(&name), global.namespace.as_deref(), &needs));
    Ok(ExitCode::Done)
}

/// Returns a name that Kubernetes takes: `okgscript-lossless-release`.
fn role_name(script: &str) -> String {
    let stem = Path::new(script).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "okgscript".to_owned() } else { format!("okgscript-{plain}") }
}
