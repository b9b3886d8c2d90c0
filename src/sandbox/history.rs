//! What happened before the first request: the scenario's objects come to rest in a time of their own.
//!
//! The same controllers play it on a private paused runtime, so that the objects are there at once and as old as the
//! scenario says, in wall time as in simulated time; then the objects are taken over with all their marks.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::api::Api;
use super::controllers::Controllers;
use super::object::{self, Actor, Object, Patch};
use super::scenario::Scenario;
use super::webhooks::Webhooks;
use super::{autoscaler, declare};
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, Kind};
use crate::okg::ops_state;

const GS: &str = "gameservers.game.kruise.io";
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// How long a world that never comes to rest is played.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// The end of a history: every object, and the webhooks with what they gave out.
pub struct History {
    objects: Vec<(Arc<str>, Object)>,
    webhooks: Option<Arc<Webhooks>>,
}

/// Plays a scenario up to `now`.
pub fn play(scenario: &Scenario, seed: u64, now: Timestamp) -> Result<History, Diagnostic> {
    let scenario = scenario.clone();
    let broken = |why: String| Diagnostic::new(Kind::Internal, "the scenario's history could not be played").why(why);
    let work = move || -> Result<History, Diagnostic> {
        let (history, took) = play_from(&scenario, seed, now, scenario.age)?;
        if took <= scenario.age {
            return Ok(history);
        }
        // It took longer to come to rest than it should be old: begin earlier, so that nothing lies in the future.
        play_from(&scenario, seed, now, took).map(|(history, _)| history)
    };
    let thread = std::thread::Builder::new().name("history".into()).spawn(work);
    let thread = thread.map_err(|error| broken(error.to_string()))?;
    thread.join().map_err(|_| broken("its thread panicked".to_owned()))?
}

fn play_from(scenario: &Scenario, seed: u64, now: Timestamp, age: Duration) -> Result<(History, Duration), Diagnostic> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime
        .map_err(|error| Diagnostic::new(Kind::Internal, "no runtime could be started").why(error.to_string()))?;
    runtime.block_on(async {
        let begin = now.checked_sub(SignedDuration::try_from(age).unwrap_or_default()).unwrap_or(now);
        let clock = Clock::simulated(begin);
        // Uids must differ from those that the cluster itself will give.
        let api = Api::new(clock, seed ^ 0x6869_7374);
        api.set_webhooks(Webhooks::new());
        api.set_containers(scenario.containers.clone());
        autoscaler::define(&api)?;
        let world = scenario.world(seed);
        let quiet = world.slowest() + Duration::from_secs(5);
        let controllers = Controllers::start(&api, clock, world);
        declare(&api, scenario, true)?;
        rest(&api, clock, quiet).await;
        if set_rooms(&api, scenario) {
            rest(&api, clock, quiet).await;
        }
        let took = Duration::try_from(clock.now().duration_since(begin)).unwrap_or_default();
        if let Some(left) = age.checked_sub(took) {
            tokio::time::sleep(left).await;
        }
        drop(controllers);
        let kinds: Vec<Arc<str>> = api.read(|store| store.kinds().map(|kind| kind.key.clone()).collect());
        let mut objects = Vec::new();
        for kind in kinds {
            objects.extend(api.list(&kind, None).into_iter().map(|object| (kind.clone(), object)));
        }
        objects.sort_by_key(|(_, object)| object::version(object));
        let webhooks = api.write(|state| state.webhooks.take());
        Ok((History { objects, webhooks }, took))
    })
}

/// Waits until nothing has been written for a while.
async fn rest(api: &Api, clock: Clock, quiet: Duration) {
    let begin = clock.now();
    loop {
        let version = api.version();
        tokio::time::sleep(quiet).await;
        let waited = Duration::try_from(clock.now().duration_since(begin)).unwrap_or_default();
        if api.version() == version || waited > PATIENCE {
            return;
        }
    }
}

/// Gives rooms the opsState and priorities that the scenario names; returns whether there was anything to do.
fn set_rooms(api: &Api, scenario: &Scenario) -> bool {
    let actor = Actor::controller("okgscript-scenario");
    let mut changed = false;
    for room in &scenario.rooms {
        let mut spec = json!({});
        if let Some(state) = room.ops_state.as_deref().or(room.playing.map(|_| ops_state::ALLOCATED)) {
            spec["opsState"] = state.into();
        }
        for (field, value) in [("deletionPriority", &room.deletion_priority), ("updatePriority", &room.update_priority)]
        {
            if let Some(value) = value {
                spec[field] = value.clone();
            }
        }
        let patch = Patch::Merge(json!({"spec": spec}));
        match api.patch(&actor, GS, "", &room.namespace, &room.name, &patch) {
            Ok(_) => changed = true,
            Err(status) => tracing::warn!("room {}/{}: {}", room.namespace, room.name, status.message),
        }
    }
    changed
}

impl History {
    /// Puts the objects into a cluster that has not begun yet.
    pub fn take_over(self, api: &Api) {
        let actor = Actor::controller("okgscript-scenario");
        for (key, object) in &self.objects {
            if **key == *DEFINITIONS && api.get(key, "", object::name(object)).is_none() {
                let mut fresh: Value = (**object).clone();
                let meta = object::meta_mut(&mut fresh);
                for field in ["resourceVersion", "uid", "generation"] {
                    meta.remove(field);
                }
                if let Err(status) = api.create(&actor, key, fresh) {
                    tracing::warn!("definition {}: {}", object::name(object), status.message);
                }
            }
        }
        api.write(|state| {
            state.webhooks = self.webhooks;
            for (key, object) in self.objects {
                // What every cluster has is there already.
                let here = state.store.get(&key, object::namespace(&object), object::name(&object));
                if let (None, Some(kind)) = (here, state.store.kind(&key)) {
                    state.store.put(&kind, (*object).clone());
                }
            }
        });
    }
}
