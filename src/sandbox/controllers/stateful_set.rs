//! Kruise's Advanced StatefulSet controller: pods made, deleted and updated (`K:pkg/controller/statefulset`).
//!
//! A pass makes missing pods in ascending order, deletes condemned ones from the highest down, then updates; a
//! creation that fails ends it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::queue::{Key, Queue};
use super::revisions::Revisions;
use super::room::Room;
use super::stateful_set_status as status_of;
use super::{Controller, Hub, cache, lifecycle, stateful_set_pods as pods_of, stateful_set_update};
use crate::okg::int_or_string::max_unavailable;
use crate::okg::names;
use crate::okg::ordinals;
use crate::okg::reserve;
use crate::sandbox::object::{self, Change, DeleteOptions, Object};
use crate::sandbox::status::Status;

pub(super) const ASTS: &str = "statefulsets.apps.kruise.io";
pub(super) const COMPONENT: &str = "statefulset-controller";

/// A pass takes so much longer for each pod of the set.
const PER_POD: Duration = Duration::from_micros(100);

pub(super) struct StatefulSets(pub Arc<Hub>);

impl Controller for StatefulSets {
    const NAME: &'static str = COMPONENT;
    const WORKERS: usize = 5;

    fn latency(&self) -> Range<u64> {
        3..6
    }

    fn wake(&self, change: &Change, queue: &Queue<Key>) {
        let object = &change.object;
        match &*change.resource {
            ASTS => queue.add(Key::new(object::namespace(object), object::name(object))),
            "pods" => {
                let owner = cache::controller_of(object).filter(|owner| owner["kind"] == "StatefulSet");
                if let Some(name) = owner.and_then(|owner| owner["name"].as_str()) {
                    queue.add(Key::new(object::namespace(object), name));
                } else if let Some(set) = object::label(object, names::OWNER_GSS) {
                    queue.add(Key::new(object::namespace(object), set));
                }
            }
            _ => {}
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Status> {
        let hub = &self.0;
        let Some(set) = hub.api.get(ASTS, &key.namespace, &key.name) else { return Ok(None) };
        if !object::terminating(&set) {
            adopt(hub, &set).await?;
        }
        let pods = hub.cache.pods(object::meta(&set, "uid"));
        let with_ordinal = |pod: Arc<Room>| Some((pod.facts().ordinal?, pod));
        let mut pods: Vec<(i32, Arc<Room>)> = pods.into_iter().filter_map(with_ordinal).collect();
        pods.sort_by_key(|(ordinal, _)| *ordinal);
        super::take(PER_POD, pods.len()).await;
        let revisions = Revisions::sync(hub, &set).await?;
        let pass = Pass { hub, set: &set, revisions: &revisions, pods: &pods };
        let mut walked = 0;
        let outcome = if object::terminating(&set) { Ok(None) } else { pass.manage(&mut walked).await };
        let failure = match &outcome {
            Err(Failure::Create(status)) => Some(status),
            _ => None,
        };
        status_of::report(&pass, failure, walked).await?;
        revisions.truncate(hub, &set, |name| pods.iter().any(|(_, pod)| pod.facts().revision == name)).await?;
        outcome.map_err(|failure| match failure {
            Failure::Create(status) | Failure::Other(status) => status,
        })
    }
}

/// Takes over pods that the selector fits and nobody controls.
async fn adopt(hub: &Hub, set: &Value) -> Result<(), Status> {
    let wanted = set["spec"]["selector"]["matchLabels"][names::OWNER_GSS].as_str().unwrap_or_default();
    for pod in hub.cache.rooms(object::namespace(set), wanted) {
        if !pod.facts().controlled && !pod.facts().terminating {
            let patch = json!({"metadata": {
                "uid": object::meta(&pod, "uid"),
                "ownerReferences": [super::workload::owner_reference(set)],
            }});
            hub.kruise.merge("pods", (object::namespace(&pod), object::name(&pod)), patch).await?;
        }
    }
    Ok(())
}

/// Returns the name of the revision that a pod was made from.
pub(super) fn revision(pod: &Value) -> &str {
    object::label(pod, names::REVISION).unwrap_or_default()
}

/// Why a pass ended early.
pub(super) enum Failure {
    /// A pod could not be made; the status says so.
    Create(Status),
    /// Something else was refused.
    Other(Status),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        Failure::Other(status)
    }
}

/// One pass over one set.
pub(super) struct Pass<'a> {
    pub hub: &'a Hub,
    pub set: &'a Object,
    pub revisions: &'a Revisions,
    /// The set's pods, by ordinal.
    pub pods: &'a [(i32, Arc<Room>)],
}

impl Pass<'_> {
    pub fn replicas(&self) -> i32 {
        self.set["spec"]["replicas"].as_i64().and_then(|replicas| i32::try_from(replicas).ok()).unwrap_or(1)
    }

    /// Returns the ordinals that are to exist.
    pub fn wanted(&self) -> BTreeSet<i32> {
        let reserved = reserve::parse_or_empty(self.set["spec"].get("reserveOrdinals"));
        ordinals::first_free(self.replicas(), &reserved).into_iter().collect()
    }

    pub fn event(&self, kind: &str, reason: &str, message: &str) {
        self.hub.kruise.event(COMPONENT, self.set, kind, reason, message);
    }

    /// Makes, deletes and updates pods; counts in `walked` old pods that are being updated.
    async fn manage(&self, walked: &mut usize) -> Result<Option<Duration>, Failure> {
        let wanted = self.wanted();
        let mut soonest = self.refresh_all().await?;
        self.create_missing(&wanted).await?;
        for (ordinal, pod) in self.pods.iter().rev() {
            if !wanted.contains(ordinal) && !pod.facts().terminating {
                self.keep_claims(pod, true).await?;
                self.delete(pod).await?;
            }
        }
        if self.set["spec"]["updateStrategy"]["type"] == "OnDelete" {
            stateful_set_update::take_into_service(self).await?;
        } else {
            soonest = sooner(soonest, stateful_set_update::roll(self, &wanted, walked).await?);
        }
        Ok(soonest)
    }

    /// Sets the readiness gates of in-place updates on pods that wait for them.
    async fn refresh_all(&self) -> Result<Option<Duration>, Failure> {
        let mut soonest = None;
        for (_, pod) in self.pods {
            if pod.facts().gated && !pod.facts().terminating {
                soonest = sooner(soonest, stateful_set_update::refresh_gates(self, pod).await?);
            }
        }
        Ok(soonest)
    }

    /// Makes missing pods in ascending order, as far as scaleStrategy.maxUnavailable allows.
    async fn create_missing(&self, wanted: &BTreeSet<i32>) -> Result<(), Failure> {
        let limit = self.set["spec"]["scaleStrategy"].get("maxUnavailable");
        let mut left = limit.map(|limit| max_unavailable(Some(limit), self.replicas()));
        let (claims, least) = (self.claims_go_with_pods(), status_of::least_ready(self.set));
        let mut pods = self.pods.iter().peekable();
        let mut olds = self.pods.iter().filter(|(_, pod)| pod.facts().revision != self.revisions.update_name()).count();
        for &ordinal in wanted {
            while pods.peek().is_some_and(|(found, _)| *found < ordinal) {
                pods.next();
            }
            let found = pods.peek().filter(|(found, _)| *found == ordinal).map(|(_, pod)| pod);
            let uses_one = match found {
                Some(pod) if pod.facts().terminating => true,
                Some(pod) if pod.facts().finished => {
                    // The pod is gone at the next pass, which makes it anew.
                    self.delete(pod).await?;
                    true
                }
                Some(pod) => {
                    if claims {
                        self.keep_claims(pod, false).await?;
                    }
                    left.is_some() && status_of::available_for(pod, least, self.hub.clock.now()).is_some()
                }
                None => {
                    let old = self.takes_old_revision(ordinal, olds);
                    let name = if old { self.revisions.current_name() } else { self.revisions.update_name() };
                    if name != self.revisions.update_name() {
                        olds += 1;
                    }
                    pods_of::create(self, ordinal, name).await?;
                    true
                }
            };
            if uses_one && let Some(left) = &mut left {
                *left -= 1;
                if *left <= 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns whether a new pod is made from the revision before an update in progress: while fewer than
    /// `partition` other pods are old.
    fn takes_old_revision(&self, ordinal: i32, olds: usize) -> bool {
        let strategy = &self.set["spec"]["updateStrategy"];
        if strategy["type"] == "OnDelete" {
            return false;
        }
        let partition = strategy["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
        if strategy["rollingUpdate"]["unorderedUpdate"].is_null() {
            return i64::from(ordinal) < partition;
        }
        i64::try_from(olds).unwrap_or(i64::MAX) < partition
    }

    /// Deletes a pod through its preDelete hook: a pod that the hook holds becomes PreparingDelete instead.
    pub async fn delete(&self, pod: &Value) -> Result<(), Failure> {
        let hook = &self.set["spec"]["lifecycle"]["preDelete"];
        let at = (object::namespace(pod), object::name(pod));
        if lifecycle::any_hooked(hook, pod) {
            if lifecycle::state(pod) != "PreparingDelete" {
                if hook["markPodNotReady"] == true {
                    stateful_set_update::set_gate(self, pod, stateful_set_update::POD_READY, "False").await?;
                }
                let patch = lifecycle::patch("PreparingDelete", &object::stamp(self.hub.clock.now()));
                ignore_missing(self.hub.kruise.merge("pods", at, patch).await)?;
            }
            return Ok(());
        }
        let options = DeleteOptions { uid: Some(object::meta(pod, "uid").to_owned()), ..DeleteOptions::default() };
        ignore_missing(self.hub.kruise.delete("pods", at, &options).await)?;
        let (room, set) = (object::name(pod), object::name(self.set));
        let message = format!("delete Pod {room} in StatefulSet {set} successful");
        self.event("Normal", "SuccessfulDelete", &message);
        Ok(())
    }

    fn claims_go_with_pods(&self) -> bool {
        self.set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Delete"
    }

    /// Under whenScaled Delete: lets the claims of a condemned pod go with it, and keeps those of others.
    async fn keep_claims(&self, pod: &Value, condemned: bool) -> Result<(), Failure> {
        if !self.claims_go_with_pods() {
            return Ok(());
        }
        for template in self.set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
            let claim = names::claim(object::name(template), object::name(pod));
            let at = (object::namespace(pod), claim.as_str());
            let Some(found) = self.hub.api.get("persistentvolumeclaims", at.0, at.1) else { continue };
            let uid = object::meta(pod, "uid");
            let owned = cache::owner_uids(&found).any(|owner| owner == uid);
            if owned != condemned {
                let owners = if condemned {
                    json!([{"apiVersion": "v1", "kind": "Pod", "name": object::name(pod), "uid": uid}])
                } else {
                    Value::Null
                };
                let patch = json!({"metadata": {"ownerReferences": owners}});
                ignore_missing(self.hub.kruise.merge("persistentvolumeclaims", at, patch).await)?;
            }
        }
        Ok(())
    }
}

/// Treats an object that is gone already as done.
pub(super) fn ignore_missing<T>(result: Result<T, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}

/// Returns the shorter of two waits.
pub(super) fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
