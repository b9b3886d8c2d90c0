//! Rule: every variable is declared where it is used.

use super::functions::nothing_sent;
use super::{Checker, File, label};
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::script::calls::Undeclared;

pub(super) fn check(checker: &Checker, file: &File, found: &mut Vec<Diagnostic>) {
    let given = |name: &Undeclared| !name.in_function && checker.variables.contains(&name.name);
    let mut seen = Vec::new();
    for name in file.outline.undeclared.iter().filter(|name| !given(name)) {
        // A captured name shows up in the closure and where the closure is written.
        if !seen.contains(&(&name.name, name.position)) {
            seen.push((&name.name, name.position));
            found.push(undeclared(checker, file, name));
        }
    }
}

fn undeclared(checker: &Checker, file: &File, used: &Undeclared) -> Diagnostic {
    let name = used.name.as_str();
    let wrong = checker.at(file.name, used.position, Kind::UnknownVariable, format!("there is no variable `{name}`"));
    let global = file.outline.globals.iter().find(|(global, _)| global == name);
    let wrong = match global {
        Some((_, true)) if used.in_function => label(wrong, format!("write `global::{name}`"))
            .help("a function does not see the script's constants; `global::` reaches them"),
        Some((_, false)) if used.in_function => {
            wrong.help(format!("a function does not see the script's variables: give it `{name}` as a parameter, or declare it by `const` and write `global::{name}`"))
        }
        Some(_) => wrong.help(format!("`{name}` is declared further down")),
        None if file.modules.contains_key(name) => {
            wrong.help(format!("`{name}` is a module: its functions are called by `{name}::function(…)`"))
        }
        None if checker.functions.contains_key(name) || checker.records.contains_key(name) => {
            wrong.help(format!("`{name}` is a function: call it by `{name}(…)`, or pass it on as `|x| {name}(x)`"))
        }
        None => {
            let visible = used.visible.iter().map(String::as_str);
            let outside = checker.variables.iter().map(String::as_str).filter(|_| !used.in_function);
            match (closest(name, visible.chain(outside)), name) {
                (Some(meant), _) => label(wrong, format!("did you mean `{meant}`?")),
                (None, "None" | "undefined") => wrong.help("nothing is written `()`"),
                (None, "True" | "False") => wrong.help(format!("write `{}`", name.to_lowercase())),
                (None, _) => wrong.help(format!("declare it: `let {name} = …;`")),
            }
        }
    };
    nothing_sent(wrong)
}
