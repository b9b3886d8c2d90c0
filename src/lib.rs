//! okgscript: scripts for game operations on OpenKruiseGame.
//!
//! One folder is one room:
//!
//! - [`cli`]: the terminal, one file a command; alone prints.
//! - [`session`]: engine, bindings and cluster put together.
//! - [`script`]: the Rhai host, knowing no Kubernetes.
//! - [`bindings`]: what scripts can call.
//! - [`check`]: what can be said of a script without running it.
//! - [`reference`](mod@reference): texts derived from the records of the bindings.
//! - [`okg`]: OpenKruiseGame's words and rules, no I/O.
//! - [`cluster`]: the one door to an API server.
//! - [`plan`]: what a run would do, saved and kept to.
//! - [`sandbox`]: the simulated cluster, reached over HTTP only.
//! - [`diagnostic`], [`clock`], [`exit_code`]: what every room may use.

pub mod bindings;
pub mod check;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod diagnostic;
pub mod exit_code;
pub mod okg;
pub mod plan;
pub mod reference;
pub mod sandbox;
pub mod script;
pub mod session;
