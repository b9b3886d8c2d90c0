//! The one test binary: every test file is listed here.

mod sandbox;
mod script;
