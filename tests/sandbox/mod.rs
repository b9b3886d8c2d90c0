//! The embedded cluster.

mod api;
