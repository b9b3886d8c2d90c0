//! How a controller writes: within its request budget, a little later than it decided.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::recorder::Recorder;
use crate::clock::Clock;
use crate::sandbox::api::Api;
use crate::sandbox::faults::{Asked, Faults};
use crate::sandbox::object::{self, Actor, DeleteOptions, Object, Patch};
use crate::sandbox::status::Status;

/// How long a write is under way.
const TRANSIT: Duration = Duration::from_millis(1);
/// How much longer a write is under way that webhooks judge: a workload, a new pod.
const JUDGED: Duration = Duration::from_millis(4);

/// How often a change is tried again on what somebody else wrote meanwhile.
const TRIES: u32 = 5;

const WORKLOADS: &str = "statefulsets.apps.kruise.io";

/// Requests that a controller may send, per kind of object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second in the long run.
    pub qps: f64,
    /// Requests at once.
    pub burst: f64,
}

/// One controller process's door to the API.
pub struct Client {
    api: Api,
    clock: Clock,
    actor: Actor,
    rate: Rate,
    faults: Faults,
    buckets: Mutex<BTreeMap<String, Bucket>>,
    recorder: Recorder,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl Client {
    /// A client for the controller process `manager`, which signs its events as `component`.
    pub fn new(api: &Api, clock: Clock, manager: &str, rate: Rate, faults: &Faults) -> Client {
        let actor = Actor::controller(manager);
        let recorder = Recorder::new(api, clock, actor.clone());
        Client { api: api.clone(), clock, actor, rate, faults: faults.clone(), buckets: Mutex::default(), recorder }
    }

    /// Waits for the request's turn.
    async fn turn(&self, resource: &str) {
        let wait = {
            let now = self.clock.now();
            let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = Bucket { tokens: self.rate.burst, at: now };
            let bucket = buckets.entry(resource.to_owned()).or_insert(fresh);
            let passed = now.duration_since(bucket.at).as_secs_f64();
            bucket.tokens = (bucket.tokens + passed * self.rate.qps).min(self.rate.burst) - 1.0;
            bucket.at = now;
            if bucket.tokens < 0.0 { Duration::from_secs_f64(-bucket.tokens / self.rate.qps) } else { Duration::ZERO }
        };
        tokio::time::sleep(wait + TRANSIT).await;
    }

    fn asked<'a>(&'a self, verb: &'a str, resource: &'a str, at: (&'a str, &'a str)) -> Asked<'a> {
        Asked::inside(&self.actor.manager, verb, resource, at)
    }

    /// Creates an object.
    pub async fn create(&self, resource: &str, body: Value) -> Result<Object, Status> {
        self.turn(resource).await;
        if [WORKLOADS, "pods"].contains(&resource) {
            tokio::time::sleep(JUDGED).await;
        }
        let (namespace, name) = (object::namespace(&body).to_owned(), object::name(&body).to_owned());
        let asked = self.asked("create", resource, (&namespace, &name));
        self.faults.meet(&asked, || self.api.create(&self.actor, resource, body)).await
    }

    /// Replaces an object or a subresource of it.
    pub async fn replace(&self, resource: &str, subresource: &str, body: Value) -> Result<Object, Status> {
        self.turn(resource).await;
        if resource == WORKLOADS && subresource.is_empty() {
            tokio::time::sleep(JUDGED).await;
        }
        let (namespace, name) = (object::namespace(&body).to_owned(), object::name(&body).to_owned());
        let asked = self.asked("update", resource, (&namespace, &name)).of(subresource);
        self.faults.meet(&asked, || self.api.replace(&self.actor, resource, subresource, body)).await
    }

    /// Sends a merge patch.
    pub async fn merge(&self, resource: &str, at: (&str, &str), body: Value) -> Result<Object, Status> {
        self.turn(resource).await;
        let patch = || self.api.patch(&self.actor, resource, "", at.0, at.1, &Patch::Merge(body));
        self.faults.meet(&self.asked("patch", resource, at), patch).await
    }

    /// Sends a merge patch of the status.
    pub async fn merge_status(&self, resource: &str, at: (&str, &str), body: Value) -> Result<Object, Status> {
        self.turn(resource).await;
        let patch = || self.api.patch(&self.actor, resource, "status", at.0, at.1, &Patch::Merge(body));
        self.faults.meet(&self.asked("patch", resource, at).of("status"), patch).await
    }

    /// Reads an object, changes it and writes it back, again if somebody else wrote meanwhile. A change that
    /// returns false writes nothing.
    pub async fn modify(
        &self,
        resource: &str,
        subresource: &str,
        at: (&str, &str),
        change: impl Fn(&mut Value) -> bool + Send,
    ) -> Result<Object, Status> {
        self.turn(resource).await;
        let asked = self.asked("update", resource, at).of(subresource);
        let mut tries = 0;
        loop {
            tries += 1;
            let attempt = || {
                let found = self.api.get(resource, at.0, at.1).ok_or_else(|| Status::not_found(resource, at.1))?;
                let mut next = (*found).clone();
                if !change(&mut next) {
                    return Ok(found);
                }
                self.api.replace(&self.actor, resource, subresource, next)
            };
            match self.faults.meet(&asked, attempt).await {
                Err(status) if status.reason == "Conflict" && tries < TRIES => {}
                other => return other,
            }
        }
    }

    /// Deletes an object.
    pub async fn delete(&self, resource: &str, at: (&str, &str), options: &DeleteOptions) -> Result<(), Status> {
        self.turn(resource).await;
        let delete = || self.api.delete(&self.actor, resource, at.0, at.1, options).map(|_| ());
        self.faults.meet(&self.asked("delete", resource, at), delete).await
    }

    /// Emits an event about an object.
    pub fn event(&self, component: &str, about: &Value, kind: &str, reason: &str, message: &str) {
        self.recorder.emit(component, about, kind, reason, message);
    }
}
