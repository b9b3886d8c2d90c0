//! What scripts can call: one file a family of functions, each function with its record.
//!
//! This room turns script values into requests and answers into script values. It holds no rule of OKG (those live in
//! `okg`) and no HTTP client (that is `cluster`). For example `gs_set_ops_state("demo-3", "Maintaining")` becomes a
//! guarded JSON Patch.

mod approve;
pub mod binding;
mod block;
pub mod count;
pub mod display;
mod drain;
mod exec;
mod filter;
mod flow;
mod gs;
mod gss;
mod guard;
pub mod host;
pub mod ledger;
pub mod meanwhile;
pub mod merge;
mod objects;
mod options;
mod outcome;
mod pods;
pub mod property;
pub mod reads;
pub mod record;
mod release;
pub mod replay;
pub mod settle;
pub mod stage;
pub mod steps;
pub mod table;
mod values;
mod wait;

use std::sync::LazyLock;

use binding::{Binding, Bindings};
use rhai::Engine;

/// Every family of host functions: the only list.
pub static ALL: LazyLock<Vec<Bindings>> = LazyLock::new(|| {
    vec![
        gss::bindings(),
        gs::bindings(),
        pods::bindings(),
        release::bindings(),
        drain::bindings(),
        block::bindings(),
        objects::bindings(),
        exec::bindings(),
        wait::bindings(),
        flow::bindings(),
        approve::bindings(),
    ]
});

/// Returns every record.
pub fn records() -> impl Iterator<Item = &'static Binding> {
    ALL.iter().flat_map(|family| family.records().iter().copied())
}

/// Makes every function and type known to an engine. Calls find their host in the engine's default tag.
pub fn register(engine: &mut Engine) {
    values::register_types(engine);
    outcome::register_type(engine);
    wait::register_type(engine);
    steps::register_type(engine);
    for family in ALL.iter() {
        family.register(engine);
    }
}
