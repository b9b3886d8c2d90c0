//! The status of an Advanced StatefulSet, counted from its pods.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

use super::room::Room;
use super::stateful_set::{ASTS, Pass};
use crate::okg::state::condition;
use crate::sandbox::object;
use crate::sandbox::status::Status;

/// Returns whether a pod runs and is ready.
pub(super) fn running_and_ready(pod: &Value) -> bool {
    object::text_at(pod, &["status", "phase"]) == "Running"
        && condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// Returns how long a pod of a set must be ready to be available.
pub(super) fn least_ready(set: &Value) -> Duration {
    let rolling = &set["spec"]["updateStrategy"]["rollingUpdate"];
    Duration::from_secs(rolling["minReadySeconds"].as_u64().unwrap_or(0))
}

/// Returns how long a pod still lacks to being available: `None` if it is, `Some(0)` if nobody knows.
pub(super) fn available_for(pod: &Room, least: Duration, now: Timestamp) -> Option<Duration> {
    let facts = pod.facts();
    if !facts.ready || !["", "Normal"].contains(&facts.lifecycle.as_str()) {
        return Some(Duration::ZERO);
    }
    if least.is_zero() {
        return None;
    }
    let since = condition(pod, "Ready").and_then(|ready| ready["lastTransitionTime"].as_str()?.parse().ok());
    let passed = since.map(|since: Timestamp| now.duration_since(since)).unwrap_or_default();
    let left = least.saturating_sub(Duration::try_from(passed).unwrap_or_default());
    (!left.is_zero()).then_some(left)
}

/// How many pods are what.
#[derive(Default)]
struct Counts {
    replicas: usize,
    ready: usize,
    available: usize,
    current: usize,
    updated: usize,
    updated_ready: usize,
    updated_available: usize,
}

impl Counts {
    fn add(&mut self, pod: &Room, least: Duration, now: Timestamp, [current, update]: [&str; 2]) {
        let facts = pod.facts();
        let (live, name, ready) = (!facts.terminating, facts.revision.as_str(), facts.ready);
        let available = ready && available_for(pod, least, now).is_none();
        let updated = name == update;
        self.replicas += 1;
        self.ready += usize::from(ready);
        self.available += usize::from(available);
        self.current += usize::from(live && name == current);
        self.updated += usize::from(live && updated);
        self.updated_ready += usize::from(ready && updated);
        self.updated_available += usize::from(available && updated);
    }
}

/// Counts the pods and writes the status if it differs.
///
/// Old pods that are being updated (`walked`) count as current no more.
pub(super) async fn report(pass: &Pass<'_>, failure: Option<&Status>, walked: usize) -> Result<(), Status> {
    let (set, now) = (pass.set, pass.hub.clock.now());
    let (current, update) = (pass.revisions.current_name(), pass.revisions.update_name());
    let (mut counts, least) = (Counts::default(), least_ready(set));
    for (_, pod) in pass.pods.iter().filter(|(_, pod)| pod.facts().phased) {
        counts.add(pod, least, now, [current, update]);
    }
    let mut current_replicas = counts.current.saturating_sub(walked);
    let mut current_revision = current;
    let rolling = set["spec"]["updateStrategy"]["type"] != "OnDelete";
    if rolling && counts.updated == counts.replicas && counts.ready == counts.replicas {
        (current_replicas, current_revision) = (counts.updated, update);
    }
    let mut status = json!({
        "observedGeneration": set["metadata"]["generation"],
        "replicas": counts.replicas,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "currentReplicas": current_replicas,
        "updatedReplicas": counts.updated,
        "currentRevision": current_revision,
        "updateRevision": update,
        "collisionCount": 0,
        "labelSelector": selector(set),
    });
    for (field, count) in
        [("updatedReadyReplicas", counts.updated_ready), ("updatedAvailableReplicas", counts.updated_available)]
    {
        if count > 0 {
            status[field] = count.into();
        }
    }
    if let Some(failure) = failure {
        let message = format!("StatefulPodControl failed to create Pod error: {}", failure.message);
        let before = condition(set, "FailedCreatePod").filter(|found| found["message"] == message.as_str());
        let changed = before.map(|found| found["lastTransitionTime"].clone());
        status["conditions"] = json!([{
            "type": "FailedCreatePod",
            "status": "True",
            "message": message,
            "lastTransitionTime": changed.unwrap_or_else(|| object::stamp(now).into()),
        }]);
    }
    let claims = set["spec"]["volumeClaimTemplates"].as_array();
    if let Some(claims) = claims.filter(|claims| !claims.is_empty()) {
        let counted = claims.iter().map(|claim| {
            json!({
                "volumeClaimName": object::name(claim),
                "compatibleReplicas": counts.replicas,
                "compatibleReadyReplicas": counts.ready,
            })
        });
        status["volumeClaims"] = counted.collect::<Vec<_>>().into();
    }
    if set["status"] == status {
        return Ok(());
    }
    let mut next = (**set).clone();
    next["status"] = status;
    pass.hub.kruise.replace(ASTS, "status", next).await.map(|_| ())
}

fn selector(set: &Value) -> String {
    let labels = set["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
    let pairs = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(",")
}
