//! The one test binary: every test file is listed here.

mod cluster;
mod sandbox;
mod script;
