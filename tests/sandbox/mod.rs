//! The embedded cluster.

mod api;
mod determinism;
mod exec;
mod faults;
mod log;
