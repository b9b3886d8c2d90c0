//! One file a command.

mod check;
mod completions;
mod doc;
mod eval;
pub mod interrupt;
mod list;
mod new;
mod policy;
mod rbac;
mod repl;
mod usage;
