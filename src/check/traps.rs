//! Rule: nothing that Rhai 1.25 evaluates wrongly.

use super::functions::nothing_sent;
use super::{Checker, File, label};
use crate::diagnostic::{Diagnostic, Kind};
use crate::script::calls::Trap;

pub(super) fn check(checker: &Checker, file: &File, found: &mut Vec<Diagnostic>) {
    for trap in &file.outline.traps {
        let wrong = match trap {
            Trap::SwitchOnCaptured(name, position) => {
                let what = format!("`switch` does not work on `{name}`, which a closure shares");
                label(
                    checker.at(file.name, *position, Kind::Invalid, what),
                    "every case would be passed over".to_owned(),
                )
                .help(format!("copy it first: `let value = {name}; switch value {{ … }}`"))
            }
            Trap::SwitchRangeAfterIf(position) => {
                let what = "`switch` with both `if` cases and ranges does not try every case".to_owned();
                checker
                    .at(file.name, *position, Kind::Invalid, what)
                    .help("a range is not tried after a case whose `if` failed: write `if … else if …`")
            }
            Trap::EndlessLoop(_) => continue,
        };
        found.push(nothing_sent(wrong));
    }
}
