//! What scripts can call: one file a family of functions, each function with its record.
//!
//! This room turns script values into requests and answers into script values. It holds no rule of OKG (those live in
//! `okg`) and no HTTP client (that is `cluster`). For example `gs_set_ops_state("demo-3", "Maintaining")` becomes a
//! guarded JSON Patch.

pub mod binding;

use std::sync::LazyLock;

use binding::{Binding, Bindings};

/// Every family of host functions: the only list.
pub static ALL: LazyLock<Vec<Bindings>> = LazyLock::new(Vec::new);

/// Returns every record.
pub fn records() -> impl Iterator<Item = &'static Binding> {
    ALL.iter().flat_map(|family| family.records().iter().copied())
}
