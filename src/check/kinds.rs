//! Rule: an error is compared with a kind that there is; a misspelt one would never be equal.

use super::functions::nothing_sent;
use super::{Checker, File, label};
use crate::diagnostic::{Diagnostic, Kind, closest};

pub(super) fn check(checker: &Checker, file: &File, found: &mut Vec<Diagnostic>) {
    let loaded = file.modules.values().flatten();
    let own = |kind: &str| {
        std::iter::once(&file.outline).chain(loaded.clone()).any(|outline| outline.own_kinds.contains(kind))
    };
    for (kind, position) in &file.outline.kinds {
        if Kind::from_name(kind).is_some() || own(kind) {
            continue;
        }
        let what = format!("no error is ever of kind `{kind}`");
        let wrong = checker.at(file.name, *position, Kind::Invalid, what);
        let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        found.push(nothing_sent(match closest(kind, known.iter().copied()) {
            Some(meant) => label(wrong, format!("did you mean \"{meant}\"?")),
            None => wrong.help(format!("kinds: {}", known.join(", "))),
        }));
    }
}
