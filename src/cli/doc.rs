//! `okgscript doc [NAME]`

use super::{Form, Global, files, terminal};
use crate::bindings;
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::exit_code::ExitCode;
use crate::reference;
use crate::sandbox::scenario;
use crate::script::calls::outline;
use crate::script::{Interrupt, shipped};
use crate::session::Desk;

/// Arguments of `doc`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A function, family, type, module or script; without it, everything in one line each
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print `.d.rhai` definitions of every function, for editors
    #[arg(long, conflicts_with = "name")]
    definitions: bool,
}

/// Shows what something does.
pub fn run(arguments: &Arguments, global: &Global) -> Result<ExitCode, Diagnostic> {
    if arguments.definitions {
        terminal::out(&reference::definitions(&bindings::ALL));
        return Ok(ExitCode::Done);
    }
    let text = match (&arguments.name, global.output) {
        (Some(name), _) => about(name)?,
        (None, Some(Form::Markdown)) => reference::markdown(&bindings::ALL, &types()),
        (None, _) => everything(),
    };
    terminal::out(&text);
    Ok(ExitCode::Done)
}

/// Types of script values with their properties.
pub fn types() -> Vec<reference::TypeTable> {
    let types = bindings::display::types();
    types.into_iter().map(|record| (record.name, record.doc, record.properties)).collect()
}

/// Returns what there is, in one line each.
pub fn everything() -> String {
    let docs = |files: &'static [(&'static str, &'static str)]| {
        files.iter().map(|(name, text)| (*name, shipped::doc(text))).collect::<Vec<_>>()
    };
    reference::overview(&bindings::ALL, &docs(shipped::STDLIB), &docs(shipped::SCRIPTS))
}

/// Returns the text about a function, family, type, module or script.
pub fn about(name: &str) -> Result<String, Diagnostic> {
    let plain = name.strip_suffix(".rhai").unwrap_or(name);
    if let Some(record) = bindings::records().find(|record| record.name == name) {
        return Ok(reference::function(record));
    }
    if name == "scenario" {
        return Ok(scenario::REFERENCE.to_owned());
    }
    if let Some((name, doc, properties)) = types().into_iter().find(|(known, ..)| *known == name) {
        return Ok(reference::value_type(name, doc, &properties));
    }
    // `drain` means `okg/drain`.
    let short = |known: &str| known == plain || known.rsplit('/').next() == Some(plain);
    let found = shipped::STDLIB.iter().find(|(known, _)| short(known));
    let module = found.map(|(name, text)| module(name, text)).transpose()?;
    let family = bindings::ALL.iter().find(|family| family.family == name).map(reference::family);
    // A family and the module that puts its functions together may share a name.
    let texts: Vec<String> = [module, family].into_iter().flatten().collect();
    if !texts.is_empty() {
        return Ok(texts.join("\n"));
    }
    if shipped::script(name).is_some() || std::path::Path::new(name).exists() {
        let (name, text) = files::read(name)?;
        let script = Desk::new(&Interrupt::new()).compile(&name, &text)?;
        return Ok(reference::script(plain, &script.doc, &script.params));
    }
    Err(unknown(name))
}

fn module(name: &str, text: &str) -> Result<String, Diagnostic> {
    let script = Desk::new(&Interrupt::new()).compile(name, text)?;
    Ok(reference::module(name, &script.doc, &outline(&script.ast)))
}

fn unknown(name: &str) -> Diagnostic {
    let wrong = Diagnostic::new(Kind::Missing, format!("there is no documentation of `{name}`"));
    let functions = bindings::records().map(|record| record.name);
    let types = types();
    let others = shipped::STDLIB.iter().chain(shipped::SCRIPTS).map(|(name, _)| *name);
    let families = bindings::ALL.iter().map(|family| family.family);
    let known: Vec<&str> =
        functions.chain(families).chain(others).chain(types.iter().map(|(name, ..)| *name)).collect();
    match closest(name, known) {
        Some(meant) => wrong.help(format!("did you mean `{meant}`?")),
        None => wrong.help("`okgscript doc` lists everything"),
    }
}
