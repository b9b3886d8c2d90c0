//! Players: who is in which room, and the matches that end.

use std::time::Duration;

use serde_json::json;
use tokio::task::AbortHandle;

use super::api::Api;
use super::object::{self, Actor, Patch};
use super::scenario::Scenario;
use crate::okg::ops_state;

const GS: &str = "gameservers.game.kruise.io";

/// The players of one cluster; dropped, nothing more happens.
#[derive(Debug, Default)]
pub struct Players {
    tasks: Vec<AbortHandle>,
}

impl Drop for Players {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Players {
    /// Lets the matches of a scenario go on. Call inside a runtime.
    pub(super) fn start(api: &Api, scenario: &Scenario, speed: f64) -> Players {
        let mut players = Players::default();
        for room in &scenario.rooms {
            let Some(left) = room.playing else { continue };
            let Some(pod) = api.get("pods", &room.namespace, &room.name) else { continue };
            let (api, room) = (api.clone(), room.clone());
            let uid = object::meta(&pod, "uid").to_owned();
            let game = async move {
                tokio::time::sleep(left.div_f64(speed).max(Duration::from_millis(1))).await;
                end_match(&api, &room.namespace, &room.name, &uid);
            };
            players.tasks.push(tokio::spawn(game).abort_handle());
        }
        players
    }
}

/// Says of a room that its match is over, unless somebody else has given it another opsState or pod.
fn end_match(api: &Api, namespace: &str, name: &str, uid: &str) {
    let same = api.get("pods", namespace, name).is_some_and(|pod| object::meta(&pod, "uid") == uid);
    if !same {
        return;
    }
    let patch = Patch::Json(json!([
        {"op": "test", "path": "/spec/opsState", "value": ops_state::ALLOCATED},
        {"op": "replace", "path": "/spec/opsState", "value": ops_state::NONE},
    ]));
    if let Err(status) = api.patch(&Actor::controller("game-server"), GS, "", namespace, name, &patch) {
        tracing::debug!("the match in {namespace}/{name} ended unheard: {}", status.message);
    }
}
