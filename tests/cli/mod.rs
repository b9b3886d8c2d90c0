//! One file a command.

mod check;
mod doc;
mod list;
mod new;
mod rbac;
