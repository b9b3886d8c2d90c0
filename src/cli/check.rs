//! `okgscript check SCRIPT…`

use serde_json::Value;

use super::{Form, Global, files, terminal};
use crate::diagnostic::Diagnostic;
use crate::exit_code::ExitCode;
use crate::script::Interrupt;
use crate::session::Desk;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files, `-` for stdin, or names of shipped scripts.
    #[arg(required = true, value_name = "SCRIPT")]
    scripts: Vec<String>,
}

/// Says what is wrong with each script; nothing where nothing is.
pub fn run(arguments: &Arguments, global: &Global) -> Result<ExitCode, Diagnostic> {
    let desk = Desk::new(&Interrupt::new());
    let found: Vec<Diagnostic> = arguments.scripts.iter().flat_map(|name| one(name, &desk)).collect();
    match global.output {
        Some(Form::Json) => {
            let list = Value::Array(found.iter().map(Diagnostic::to_json).collect());
            terminal::out(&format!("{list:#}"));
        }
        _ => found.iter().enumerate().for_each(|(index, diagnostic)| {
            if index > 0 {
                terminal::note("");
            }
            terminal::report(diagnostic);
        }),
    }
    Ok(if found.is_empty() { ExitCode::Done } else { ExitCode::Usage })
}

fn one(name: &str, desk: &Desk) -> Vec<Diagnostic> {
    let script = files::read(name).and_then(|(name, text)| desk.compile(&name, &text));
    match script {
        Ok(script) => desk.check(&script),
        Err(diagnostic) => vec![diagnostic],
    }
}
