//! KEDA and the HorizontalPodAutoscaler above OKG's external scaler: what lowers and raises replicas by itself.
//!
//! For each ScaledObject that names a GameServerSet and an external trigger KEDA keeps an HPA, and the HPA asks OKG's
//! scaler at each poll, forgets small differences (10 %), lowers only to the highest wish of its stabilization
//! window, and writes replicas without looking whether somebody else wrote meanwhile. Triggers of other types, scaling
//! modifiers, fallbacks and the activation of Deployments are not imitated.

mod hpa;
mod keda;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::AbortHandle;

use self::hpa::{Behavior, Memory};
use super::api::Api;
use super::faults::{Asked, Faults};
use super::object::{self, Actor, Object, Patch};
use super::scaler;
use super::world::World;
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, Kind};
use crate::okg::scaler::autoscaler_wants;

pub(super) use self::keda::define;

const GSS: &str = "gameserversets.game.kruise.io";
const SCALED: &str = "scaledobjects.keda.sh";
const HPA: &str = "horizontalpodautoscalers.autoscaling";
/// Who writes replicas.
const MANAGER: &str = "horizontal-pod-autoscaler";
/// Whom it asks.
const SCALER: &str = "okg-external-scaler";
/// Difference between wish and state that an HPA forgets.
const TOLERANCE: f64 = 0.1;
/// How long an answer and a write are under way.
const TRANSIT: Duration = Duration::from_millis(3);

/// The running loop; dropped, it stops.
#[derive(Debug)]
pub struct Autoscaler(AbortHandle);

impl Drop for Autoscaler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How the loop goes.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Pause between two looks of an HPA.
    pub poll: Duration,
    /// By how much windows and polls are shorter.
    pub speed: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { poll: Duration::from_secs(15), speed: 1.0 }
    }
}

/// Starts the loop. Call inside a runtime.
pub fn start(api: &Api, clock: Clock, world: &World, settings: Settings) -> Autoscaler {
    let speed = if settings.speed > 0.0 { settings.speed } else { 1.0 };
    let poll = settings.poll.div_f64(speed).max(Duration::from_millis(10));
    let phase = poll.mul_f64(world.rng("autoscaler").f64());
    let mut run = Loop { api: api.clone(), clock, speed, faults: world.faults.clone(), memories: BTreeMap::new() };
    let task = async move {
        tokio::time::sleep(phase).await;
        loop {
            run.faults.wait_up(MANAGER).await;
            run.look().await;
            tokio::time::sleep(poll).await;
        }
    };
    Autoscaler(tokio::spawn(task).abort_handle())
}

struct Loop {
    api: Api,
    clock: Clock,
    speed: f64,
    faults: Faults,
    /// What each HPA wished lately, by the ScaledObject's uid.
    memories: BTreeMap<String, Memory>,
}

/// What a look at one ScaledObject came to.
struct Look {
    active: Option<bool>,
    paused: bool,
    fault: Option<String>,
}

impl Loop {
    async fn look(&mut self) {
        let all = self.api.list(SCALED, None);
        let uids: Vec<&str> = all.iter().map(|scaled| object::meta(scaled, "uid")).collect();
        self.memories.retain(|uid, _| uids.contains(&uid.as_str()));
        for scaled in &all {
            if object::terminating(scaled) {
                continue;
            }
            let look = self.look_at(scaled).await;
            keda::report(&self.api, scaled, &look);
        }
    }

    async fn look_at(&mut self, scaled: &Object) -> Look {
        let fault = |why: String| Look { active: None, paused: false, fault: Some(why) };
        let target = match keda::Target::read(scaled) {
            Ok(target) => target,
            Err(why) => return fault(why),
        };
        let (namespace, uid) = (object::namespace(scaled), object::meta(scaled, "uid"));
        let Some(set) = self.api.get(GSS, namespace, &target.name) else {
            return fault(format!("gameserversets.game.kruise.io \"{}\" not found", target.name));
        };
        if let Some(paused_at) = target.paused {
            self.memories.remove(uid);
            if let Some(replicas) = paused_at
                && set["spec"]["replicas"] != replicas
            {
                self.write(namespace, &target.name, replicas).await;
            }
            return Look { active: None, paused: true, fault: None };
        }
        if self.faults.down(SCALER) {
            return fault("rpc error: code = Unavailable desc = connection error: connection refused".to_owned());
        }
        let answers = scaler::metric(&self.api, namespace, &target.name, &target.metadata).and_then(|metric| {
            scaler::active(&self.api, namespace, &target.name, &target.metadata).map(|active| (metric, active))
        });
        let (metric, active) = match answers {
            Ok(answers) => answers,
            Err(why) => return fault(why),
        };
        let number = |pointer: &str| {
            set.pointer(pointer).and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok()).unwrap_or(0)
        };
        let (spec, status) = (number("/spec/replicas"), number("/status/replicas"));
        let now = self.clock.now();
        let memory = self.memories.entry(uid.to_owned()).or_insert_with(|| Memory::new(now, spec));
        let behavior = target.behavior.faster(self.speed);
        let wanted = if spec == 0 {
            // KEDA, not the HPA, opens the first room of a set that is wanted again.
            if active { target.least.max(1) } else { 0 }
        } else if spec > target.most {
            target.most
        } else if spec < target.least.max(1) {
            target.least.max(1)
        } else {
            // Within the tolerance, no limits yet: those come after the window.
            let raw = autoscaler_wants(status, metric, i32::MIN, i32::MAX, TOLERANCE);
            let stable = memory.stabilize(now, spec, raw, &behavior);
            let limited = hpa::limit(memory, now, spec, stable, &behavior);
            limited.clamp(target.least.max(1), target.most.max(target.least.max(1)))
        };
        let wanted = if target.least == 0 && !active && wanted == 1 && memory.idle_for(now) >= target.cooldown {
            0
        } else {
            if active {
                memory.was_active(now);
            }
            wanted
        };
        if wanted != spec {
            memory.wrote(now, spec, wanted);
            self.write(namespace, &target.name, wanted).await;
        }
        if let Err(status) = keda::keep_hpa(&self.api, now, scaled, &target, spec, wanted, metric) {
            tracing::debug!("HPA of {namespace}/{}: {}", object::name(scaled), status.message);
        }
        Look { active: Some(active), paused: false, fault: None }
    }

    /// Writes replicas as an HPA does: the number decided on, whatever stands there by now.
    async fn write(&self, namespace: &str, name: &str, replicas: i32) {
        tokio::time::sleep(TRANSIT).await;
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let write = || self.api.patch(&Actor::controller(MANAGER), GSS, "", namespace, name, &patch);
        let asked = Asked::inside(MANAGER, "patch", GSS, (namespace, name));
        if let Err(status) = self.faults.meet(&asked, write).await {
            tracing::debug!("replicas of {namespace}/{name}: {}", status.message);
        }
    }
}
