//! `okgscript check SCRIPT…`

use serde_json::Value;

use super::{Form, Global, files, terminal};
use crate::check;
use crate::diagnostic::Diagnostic;
use crate::exit_code::ExitCode;
use crate::script::{Engine, Script, Sources};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files, `-` for stdin, or names of shipped scripts.
    #[arg(required = true, value_name = "SCRIPT")]
    scripts: Vec<String>,
}

/// Says what is wrong with each script; nothing where nothing is.
pub fn run(arguments: &Arguments, global: &Global) -> Result<ExitCode, Diagnostic> {
    let (engine, sources) = files::engine_to_look_with();
    let found: Vec<Diagnostic> = arguments.scripts.iter().flat_map(|name| one(name, &engine, &sources)).collect();
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

fn one(name: &str, engine: &Engine, sources: &Sources) -> Vec<Diagnostic> {
    let script = files::read(name).and_then(|(name, text)| Script::compile(engine, sources, &name, &text));
    match script {
        Ok(script) => check::check(&script, engine, sources),
        Err(diagnostic) => vec![diagnostic],
    }
}
