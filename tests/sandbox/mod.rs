//! The embedded cluster.

mod api;
mod determinism;
mod e2e;
mod exec;
mod faults;
mod log;
mod rules;
mod verbs;
