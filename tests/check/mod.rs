//! What `check` says, with records of its own.

mod bindings;
mod fuzz;
mod rules;

use okgscript::bindings::binding::{Binding, key, param};
use okgscript::check::Checker;
use okgscript::diagnostic::Diagnostic;
use okgscript::script::{Interrupt, Limits, Script, Sources, engine};

const STATES: &[&str] = &["None", "Allocated", "Maintaining", "WaitToBeDeleted", "Kill"];

/// Records as the bindings have them, so that the rules do not depend on which functions exist.
pub static RECORDS: &[Binding] = &[
    record("t_get", &[param("name", "string", "")]),
    record("t_set_state", &[param("rooms", "Rooms", ""), param("state", "string", "").one_of(STATES)]),
    record(
        "t_select",
        &[
            param("set", "string", ""),
            param("filter", "map | closure", "").optional().clauses(&[
                key("ops_state", "string | array", "").one_of(STATES),
                key("image", "string | map", ""),
                key("version", "string", "").one_of(&["old", "current"]),
                key("older_than", "duration", ""),
            ]),
        ],
    ),
    record("t_scale", &[param("set", "string", ""), param("surge", "count", "")]),
    record("t_sleep", &[param("time", "duration", "")]),
    record(
        "t_wait",
        &[param("opts", "map", "").keys(&[key("timeout", "duration", "longest wait")]), param("until", "closure", "")],
    ),
    record(
        "param",
        &[param("name", "string", ""), param("default", "any", ""), param("help", "string", "").optional()],
    ),
    record("custom_ops_states", &[param("states", "array", "")]),
];

const fn record(name: &'static str, params: &'static [okgscript::bindings::binding::Param]) -> Binding {
    Binding { name, doc: "", params, returns: "any", errors: &[], access: &[], example: "" }
}

pub fn check_as(name: &str, text: &str) -> Vec<Diagnostic> {
    let sources = Sources::new();
    let engine = engine(&Limits::default(), &Interrupt::new(), &sources);
    let script = match Script::compile(&engine, &sources, name, text) {
        Ok(script) => script,
        Err(error) => return vec![error],
    };
    Checker::new(&engine, &sources).records(RECORDS).check(&script)
}

pub fn check(text: &str) -> Vec<Diagnostic> {
    check_as("main.rhai", text)
}
