//! The one test binary: every test file is listed here.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

mod architecture;
mod bindings;
mod check;
mod cli;
mod cluster;
mod conformance;
mod controllers;
mod envtest;
mod faults;
mod plan;
mod races;
mod readme;
mod reference;
mod release;
mod runs;
mod sandbox;
mod scenario;
mod script;
mod support;
