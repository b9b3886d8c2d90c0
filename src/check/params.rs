//! Rule: a parameter's flag is not one of okgscript's own.

use super::functions::nothing_sent;
use super::label;
use crate::diagnostic::{Diagnostic, Kind};
use crate::script::{Position, Script, Sources, place};

/// Flags of `run`; a parameter of such a name could not be given.
pub const RESERVED_FLAGS: &[&str] = &[
    "approve",
    "as",
    "as-group",
    "context",
    "events",
    "journal",
    "no-journal",
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

/// Returns what is wrong with the names of a script's parameters. A command line with such flags cannot be read, so
/// that this is asked before all else.
pub fn flags(script: &Script, sources: &Sources) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for param in &script.params {
        let flag = param.name.replace('_', "-");
        if RESERVED_FLAGS.contains(&flag.as_str()) {
            let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
            let what = format!("parameter `{}` collides with okgscript's own flag `--{flag}`", param.name);
            let mut wrong = Diagnostic::new(Kind::Parameter, what);
            wrong.places.extend(place(sources, &script.name, Position::new(short(param.line), short(param.column))));
            found.push(nothing_sent(label(wrong, "choose another name".to_owned())));
        }
    }
    found
}
