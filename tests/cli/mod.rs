//! One file a command.

mod check;
mod doc;
mod eval;
mod list;
mod new;
mod rbac;
mod repl;
