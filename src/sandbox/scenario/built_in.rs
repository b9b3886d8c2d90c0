//! The scenarios that come with the binary.

use super::{Scenario, read};
use crate::diagnostic::{Diagnostic, Kind};

/// Names of the built-in scenarios.
pub const BUILT_IN: &[&str] = &["minecraft", "conformance"];

/// Returns whether a scenario of that name is built in.
pub fn is_built_in(name: &str) -> bool {
    BUILT_IN.contains(&name)
}

/// Returns a built-in scenario.
pub fn scenario(name: &str) -> Result<Scenario, Diagnostic> {
    match name {
        "minecraft" => read::read(name, include_str!("minecraft.yaml")),
        // The world that the recordings of the real controllers were made in; nothing in it.
        "conformance" => Ok(Scenario { name: name.to_owned(), settle: false, ..Scenario::default() }),
        _ => Err(Diagnostic::new(Kind::Missing, format!("there is no built-in scenario `{name}`"))
            .help(format!("built-in scenarios: {}", BUILT_IN.join(", ")))),
    }
}
