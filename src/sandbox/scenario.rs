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

/// Names of the built-in scenarios.
pub const BUILT_IN: &[&str] = &["minecraft", "conformance"];

/// Returns whether a scenario of that name is built in.
pub fn is_built_in(name: &str) -> bool {
    BUILT_IN.contains(&name)
}

impl Scenario {
    /// Returns a built-in scenario.
    pub fn built_in(name: &str, _seed: u64) -> Option<Result<Scenario, Diagnostic>> {
        let mut scenario = Scenario { name: name.to_owned(), nodes: vec!["node-0".into()], ..Scenario::default() };
        if name == "minecraft" {
            scenario.params = [("gss", "minecraft"), ("image", "acs/minecraft-demo:1.12.2-new")]
                .into_iter()
                .map(|(key, value)| (key.to_owned(), Value::from(value)))
                .collect();
            scenario.objects.push((
                "gameserversets.game.kruise.io".into(),
                serde_json::json!({
                    "apiVersion": "game.kruise.io/v1alpha1", "kind": "GameServerSet",
                    "metadata": {"name": "minecraft", "namespace": "default"},
                    "spec": {"replicas": 3, "updateStrategy": {"type": "OnDelete"}, "gameServerTemplate": {"spec": {
                        "containers": [{"name": "minecraft", "image": "acs/minecraft-demo:1.12.2"}]}}},
                }),
            ));
        }
        is_built_in(name).then_some(Ok(scenario))
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
