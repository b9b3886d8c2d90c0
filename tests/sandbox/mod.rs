//! The embedded cluster.

mod api;
mod exec;
mod faults;
