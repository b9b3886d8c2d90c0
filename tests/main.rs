//! The one test binary: every test file is listed here.

mod script;
