//! Rule: a parameter's flag is not one of okgscript's own.

use super::functions::nothing_sent;
use super::{Checker, label};
use crate::diagnostic::{Diagnostic, Kind};
use crate::script::Position;
use crate::script::Script;

/// Flags of `run`; a parameter of such a name could not be given.
pub const RESERVED_FLAGS: &[&str] = &[
    "approve",
    "as",
    "as-group",
    "context",
    "events",
    "help",
    "kubeconfig",
    "namespace",
    "out",
    "output",
    "params",
    "plan",
    "plan-file",
    "request-timeout",
    "sandbox",
    "scenario",
    "seed",
    "verbose",
    "version",
    "yes",
];

pub(super) fn check(checker: &Checker, script: &Script) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for param in &script.params {
        let flag = param.name.replace('_', "-");
        if RESERVED_FLAGS.contains(&flag.as_str()) {
            let position = Position::new(
                u16::try_from(param.line).unwrap_or(u16::MAX),
                u16::try_from(param.column).unwrap_or(u16::MAX),
            );
            let what = format!("parameter `{}` collides with okgscript's own flag `--{flag}`", param.name);
            let wrong = checker.at(&script.name, position, Kind::Parameter, what);
            found.push(nothing_sent(label(wrong, "choose another name".to_owned())));
        }
    }
    found
}
