//! The simulated cluster: an API server as real as clients can tell, and what acts behind it.
//!
//! Reached over HTTP only, through the router; controllers call [`api::Api`], the same that the routes call. The room
//! must not know scripts, bindings or the client side.

pub mod api;
mod builtin_crds;
pub mod kinds;
mod names;
pub mod object;
mod patch;
pub mod routes;
mod rules;
pub mod selector;
pub mod status;
mod store;
mod wire;
mod write;
