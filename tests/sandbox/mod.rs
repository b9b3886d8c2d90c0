//! The embedded cluster.

mod api;
mod faults;
