//! `okgscript list`

use serde_json::json;

use super::{Form, Global, terminal};
use crate::diagnostic::Diagnostic;
use crate::exit_code::ExitCode;
use crate::reference::first_sentence;
use crate::script::shipped;

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Names the shipped scripts and modules, each with the first sentence of its documentation.
pub fn run(_: &Arguments, global: &Global) -> Result<ExitCode, Diagnostic> {
    let scripts: Vec<_> = shipped::SCRIPTS.iter().map(|(name, text)| ("script", *name, shipped::doc(text))).collect();
    let modules = shipped::STDLIB.iter().map(|(name, text)| ("module", *name, shipped::doc(text)));
    let all: Vec<_> = scripts.into_iter().chain(modules).collect();
    if global.output == Some(Form::Json) {
        let list: Vec<_> = all
            .iter()
            .map(|(sort, name, doc)| json!({"kind": sort, "name": name, "doc": first_sentence(doc)}))
            .collect();
        terminal::out(&format!("{:#}", json!(list)));
        return Ok(ExitCode::Done);
    }
    let width = all.iter().map(|(_, name, _)| name.chars().count()).max().unwrap_or(0);
    for (sort, name, doc) in &all {
        terminal::out(&format!("{sort}  {name:<width$}  {}", first_sentence(doc)));
    }
    Ok(ExitCode::Done)
}
