//! The one test binary: every test file is listed here.

mod architecture;
mod check;
mod cluster;
mod sandbox;
mod script;
