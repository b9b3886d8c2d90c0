//! Rule: every module that is imported by a literal path exists and is right itself.

use std::collections::{BTreeMap, BTreeSet};

use super::functions::nothing_sent;
use super::{Checker, label};
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::script::calls::{Import, Outline, outline};
use crate::script::{explain_syntax, find_module, shipped};

/// Reads and checks what a file imports; returns what is known of each module, by alias.
pub(super) fn load(
    checker: &Checker,
    file: &str,
    of: &Outline,
    seen: &mut BTreeSet<String>,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Option<Outline>> {
    let mut modules = BTreeMap::new();
    for import in &of.imports {
        let known = one(checker, file, import, seen, found);
        if !import.alias.is_empty() {
            modules.insert(import.alias.clone(), known);
        }
    }
    modules
}

fn one(
    checker: &Checker,
    file: &str,
    import: &Import,
    seen: &mut BTreeSet<String>,
    found: &mut Vec<Diagnostic>,
) -> Option<Outline> {
    let path = import.path.as_deref()?;
    let Some(module) = find_module(checker.sources, file, path) else {
        found.push(missing(checker, file, import, path));
        return None;
    };
    checker.sources.add(&module.name, &module.text, module.embedded);
    match checker.engine.compile(&module.text) {
        Ok(ast) => {
            let known = outline(&ast);
            if seen.insert(module.name.clone()) {
                checker.file(&module.name, known.clone(), seen, found);
            }
            Some(known)
        }
        Err(error) => {
            if seen.insert(module.name.clone()) {
                let wrong = explain_syntax(error.err_type(), error.position(), checker.sources, &module.name);
                let mut from = checker.at(file, import.position, Kind::Syntax, String::new()).places.clone();
                let mut wrong = nothing_sent(wrong);
                wrong.places.append(&mut from);
                found.push(wrong);
            }
            None
        }
    }
}

fn missing(checker: &Checker, file: &str, import: &Import, path: &str) -> Diagnostic {
    let what = format!("there is no module `{path}`");
    let wrong = checker.at(file, import.position, Kind::UnknownModule, what);
    let embedded: Vec<&str> = shipped::STDLIB.iter().map(|(name, _)| *name).collect();
    let wrong = match closest(path, embedded.iter().copied()) {
        Some(meant) => label(wrong, format!("did you mean \"{meant}\"?")),
        None => wrong,
    };
    nothing_sent(wrong.help("embedded modules are named by `okgscript list`; others lie beside the script that imports them, inside its project"))
}
