//! The scenarios that come with the binary.

use std::time::Duration;

use serde_json::json;

use super::{Room, Scenario};
use crate::sandbox::world::World;

/// Names of the built-in scenarios.
pub const BUILT_IN: &[&str] = &["minecraft", "conformance"];

/// Returns whether a scenario of that name is built in.
pub fn is_built_in(name: &str) -> bool {
    BUILT_IN.contains(&name)
}

/// Returns a built-in scenario.
pub fn scenario(name: &str) -> Option<Scenario> {
    match name {
        "minecraft" => Some(minecraft()),
        // The world that the recordings of the real controllers were made in; nothing in it.
        "conformance" => Some(Scenario { name: name.to_owned(), settle: false, ..Scenario::default() }),
        _ => None,
    }
}

fn minecraft() -> Scenario {
    let set = json!({
        "apiVersion": "game.kruise.io/v1alpha1", "kind": "GameServerSet",
        "metadata": {"name": "minecraft", "namespace": "default"},
        "spec": {"replicas": 3, "updateStrategy": {"type": "OnDelete"}, "gameServerTemplate": {"spec": {
            "containers": [{"name": "minecraft", "image": "acs/minecraft-demo:1.12.2"}]}}},
    });
    let scaled = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"name": "minecraft", "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "game.kruise.io/v1alpha1", "kind": "GameServerSet", "name": "minecraft"},
            "minReplicaCount": 3,
            "maxReplicaCount": 10,
            "triggers": [{"type": "external", "metricType": "AverageValue", "metadata": {
                "scalerAddress": "kruise-game-external-scaler.kruise-game-system:6000", "minAvailable": "1"}}],
        },
    });
    Scenario {
        name: "minecraft".into(),
        params: [("gss", "minecraft"), ("image", "acs/minecraft-demo:1.12.2-new")]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect(),
        world: World { start: (Duration::from_secs(5), Duration::from_secs(7)), ..World::shipped(0) },
        objects: vec![set, scaled],
        age: Duration::from_secs(120),
        rooms: vec![Room {
            namespace: "default".into(),
            name: "minecraft-0".into(),
            playing: Some(Duration::from_secs(20 * 60)),
            ..Room::default()
        }],
        ..Scenario::default()
    }
}
