//! Players: matchmakers that send them to rooms, matches that end, and the truth about who was where.
//!
//! Everything they do goes through the API, as game servers and directors do it; what they *are* stands in a ledger
//! that no client can read, only tests. All chance comes from one generator an actor, seeded by its name.

mod crowd;
mod disturbance;
mod ledger;

use std::time::Duration;

use serde_json::json;
use tokio::task::AbortHandle;

use super::api::Api;
use super::faults::{Asked, Faults};
use super::object::{self, Actor, Object, Patch};
use super::scenario::Scenario;
use super::status::Status;
use super::world::World;
use crate::clock::Clock;
use crate::okg::ops_state;

pub use self::crowd::{Crowd, Matchmaker};
pub use self::disturbance::{Disturbance, Trouble};
pub use self::ledger::{Cause, End, Ledger, Loss, Match};

const GS: &str = "gameservers.game.kruise.io";

/// A duration, or how one is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// Always the same.
    Fixed(Duration),
    /// Any between two, all alike.
    Between(Duration, Duration),
    /// Exponential around a mean: most are short, some very long.
    Mean(Duration),
}

impl Span {
    /// Draws one.
    pub fn draw(&self, rng: &mut fastrand::Rng) -> Duration {
        match *self {
            Span::Fixed(time) => time,
            Span::Between(from, to) => from + to.saturating_sub(from).mul_f64(rng.f64()),
            Span::Mean(mean) => mean.mul_f64(-(1.0 - rng.f64()).ln()),
        }
    }
}

/// Returns a pause of which there are so many in a period on average.
fn pause(rng: &mut fastrand::Rng, period: Duration, count: f64) -> Duration {
    Span::Mean(period.div_f64(count)).draw(rng).max(Duration::from_millis(1))
}

/// The players of one cluster; dropped, nothing more happens.
#[derive(Debug, Default)]
pub struct Players {
    ledger: Ledger,
    tasks: Vec<AbortHandle>,
}

impl Drop for Players {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What all actors share.
#[derive(Clone)]
struct Stage {
    api: Api,
    clock: Clock,
    ledger: Ledger,
    speed: f64,
    faults: Faults,
}

/// How often a game server tries to say that its match is over.
const TRIES: u32 = 6;
/// How long it waits after the first failure; twice as long after each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);

impl Stage {
    /// Patches an object as one of the actors; it meets the faults that name it.
    async fn patch(
        &self,
        actor: &str,
        (resource, subresource): (&str, &str),
        at: (&str, &str),
        patch: &Patch,
    ) -> Result<Object, Status> {
        let asked = Asked::inside(actor, "patch", resource, at).of(subresource);
        let act = || self.api.patch(&Actor::controller(actor), resource, subresource, at.0, at.1, patch);
        self.faults.meet(&asked, act).await
    }

    /// Lists the rooms of a namespace as one of the actors; a list may be old on request.
    async fn rooms(&self, actor: &str, namespace: &str) -> Result<Vec<Object>, Status> {
        let asked = Asked::inside(actor, "list", GS, (namespace, ""));
        self.faults
            .read(&asked, |age| {
                let version = self.api.version_of(age);
                let old = self.api.read(|store| store.list_at(GS, Some(namespace), version.max(store.oldest())));
                Ok(old.unwrap_or_default())
            })
            .await
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time.div_f64(self.speed)).await;
    }
}

impl Players {
    /// Lets the players of a scenario begin. Call inside a runtime.
    pub(super) fn start(api: &Api, clock: Clock, world: &World, scenario: &Scenario, speed: f64) -> Players {
        let speed = if speed > 0.0 { speed } else { 1.0 };
        let mut players = Players::default();
        let stage =
            Stage { api: api.clone(), clock, ledger: players.ledger.clone(), speed, faults: world.faults.clone() };
        let mut add = |task: tokio::task::JoinHandle<()>| players.tasks.push(task.abort_handle());
        add(tokio::spawn(ledger::watch(stage.api.clone(), clock, stage.ledger.clone(), api.follow(api.version()))));
        for room in &scenario.rooms {
            let Some(left) = room.playing else { continue };
            let Some(pod) = api.get("pods", &room.namespace, &room.name) else { continue };
            let id = stage.ledger.begin(clock.now(), &room.namespace, &room.name, object::meta(&pod, "uid"), 1);
            let stage = stage.clone();
            let game = async move {
                stage.sleep(left).await;
                finish(&stage, id, End::Over, ops_state::NONE).await;
            };
            add(tokio::spawn(game));
        }
        for (index, crowd) in scenario.players.iter().enumerate() {
            let rng = world.rng(&format!("players/{}/{}/{index}", crowd.namespace, crowd.gss));
            add(tokio::spawn(crowd::play(stage.clone(), crowd.clone(), rng)));
        }
        for (index, disturbance) in scenario.disturbances.iter().enumerate() {
            let rng = world.rng(&format!("disturbance/{}/{}/{index}", disturbance.namespace, disturbance.gss));
            add(tokio::spawn(disturbance::disturb(stage.clone(), disturbance.clone(), rng)));
        }
        players
    }

    /// Returns the truth about who was where.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

/// Ends a match and says of its room that it is idle, unless somebody else has given it another opsState or pod.
async fn finish(stage: &Stage, id: u64, end: End, after: &str) {
    let Some(game) = stage.ledger.end(id, stage.clock.now(), end) else { return };
    let patch = Patch::Json(json!([
        {"op": "test", "path": "/spec/opsState", "value": ops_state::ALLOCATED},
        {"op": "replace", "path": "/spec/opsState", "value": after},
    ]));
    for attempt in 0..TRIES {
        let pod = stage.api.get("pods", &game.namespace, &game.room);
        if pod.is_none_or(|pod| object::meta(&pod, "uid") != game.pod) {
            return;
        }
        match stage.patch("game-server", (GS, ""), (&game.namespace, &game.room), &patch).await {
            Err(status) if status.code == 429 || status.code >= 500 => {
                tracing::debug!("the match in {}/{} ended unheard: {}", game.namespace, game.room, status.message);
                stage.sleep(FIRST_RETRY * 2u32.pow(attempt)).await;
            }
            _ => return,
        }
    }
}
