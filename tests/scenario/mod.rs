//! Scenarios: files, the built-in one, the autoscaler and the players.

use std::time::Duration;

use okgscript::clock::Clock;
use okgscript::sandbox::{Options, Sandbox};
use serde_json::{Value, json};

use crate::support::dedent;

mod autoscaler;
mod faults;
mod files;
mod minecraft;
mod players;
mod probes;

/// A cluster on simulated time; call inside a paused runtime.
async fn start(text: &str, seed: u64) -> Sandbox {
    let options = Options { scenario: Some(("test.yaml".into(), dedent(text))), seed, ..Options::default() };
    let clock = Clock::simulated("2026-01-05T04:00:00Z".parse().unwrap());
    Sandbox::start(&options, clock).await.unwrap()
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// A GameServerSet `arena`, as a document.
fn arena(replicas: u32) -> String {
    let set = json!({
        "apiVersion": "game.kruise.io/v1alpha1", "kind": "GameServerSet", "metadata": {"name": "arena"},
        "spec": {"replicas": replicas, "updateStrategy": {"type": "OnDelete"}, "gameServerTemplate": {"spec": {
            "containers": [{"name": "arena", "image": "arena:1"}]}}},
    });
    format!("---\n{set}\n")
}

/// Names of the rooms there are, and their opsStates.
fn rooms(sandbox: &Sandbox) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = sandbox.api().list("gameservers.game.kruise.io", Some("default"));
    all.iter().map(|room| (text(&room["metadata"]["name"]), text(&room["spec"]["opsState"]))).collect()
}
