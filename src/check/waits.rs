//! Rule: a wait has an end.

use super::functions::nothing_sent;
use super::{Checker, File};
use crate::diagnostic::{Diagnostic, Kind};
use crate::script::calls::{Shape, Trap};

/// Keys that end a wait; a record that knows one of them without a default wants one of those it knows.
const ENDS: &[&str] = &["timeout", "limit"];

pub(super) fn check(checker: &Checker, file: &File, found: &mut Vec<Diagnostic>) {
    for call in file.outline.calls.iter().filter(|call| call.namespace.is_empty() && !call.method) {
        let Some(record) = checker.records.get(call.name.as_str()) else { continue };
        for (param, arg) in record.params.iter().zip(&call.args) {
            let ends: Vec<&str> = param.keys.iter().map(|key| key.name).filter(|name| ENDS.contains(name)).collect();
            let has_default = param
                .keys
                .iter()
                .any(|key| ENDS.contains(&key.name) && key.doc.contains("default") && !key.doc.contains("default no "));
            let Shape::Map(entries) = &arg.shape else { continue };
            if ends.is_empty() || has_default || entries.iter().any(|entry| ends.contains(&entry.key.as_str())) {
                continue;
            }
            let what = format!("this `{}` may wait for ever", call.name);
            let wrong = checker.at(file.name, call.position, Kind::Invalid, what);
            found.push(nothing_sent(wrong.help(format!("give it an end: `#{{ {}: \"10m\", … }}`", ends[0]))));
        }
    }
    for trap in &file.outline.traps {
        if let Trap::EndlessLoop(position) = trap {
            let wrong = checker.at(file.name, *position, Kind::Invalid, "nothing ends this loop".to_owned());
            found.push(nothing_sent(wrong.help(
                "leave it by `break` or `return`, or wait with an end: `wait_until(#{ timeout: \"10m\" }, || …)`",
            )));
        }
    }
}
