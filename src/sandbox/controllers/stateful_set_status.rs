//! The status of an Advanced StatefulSet, counted from its pods.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

use super::lifecycle;
use super::stateful_set::{ASTS, Pass, revision};
use crate::okg::state::condition;
use crate::sandbox::object;
use crate::sandbox::status::Status;

/// Returns whether a pod runs and is ready.
pub(super) fn running_and_ready(pod: &Value) -> bool {
    object::text_at(pod, &["status", "phase"]) == "Running"
        && condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// Returns how long a pod still lacks to being available: `None` if it is, `Some(0)` if nobody knows.
pub(super) fn available_for(pod: &Value, set: &Value, now: Timestamp) -> Option<Duration> {
    if !running_and_ready(pod) || !["", "Normal"].contains(&lifecycle::state(pod)) {
        return Some(Duration::ZERO);
    }
    let least = set["spec"]["updateStrategy"]["rollingUpdate"]["minReadySeconds"].as_u64().unwrap_or(0);
    let since = condition(pod, "Ready").and_then(|ready| ready["lastTransitionTime"].as_str()?.parse().ok());
    let passed = since.map(|since: Timestamp| now.duration_since(since)).unwrap_or_default();
    let left = Duration::from_secs(least).saturating_sub(Duration::try_from(passed).unwrap_or_default());
    (!left.is_zero()).then_some(left)
}

/// Counts the pods and writes the status if it differs.
///
/// Old pods that are being updated (`walked`) count as current no more.
pub(super) async fn report(pass: &Pass<'_>, failure: Option<&Status>, walked: usize) -> Result<(), Status> {
    let (set, now) = (pass.set, pass.hub.clock.now());
    let (current, update) = (pass.revisions.current_name(), pass.revisions.update_name());
    let pods = || pass.pods.iter().filter(|pod| !pod["status"]["phase"].is_null());
    let ready = |pod: &Value| running_and_ready(pod);
    let available = |pod: &Value| available_for(pod, set, now).is_none();
    let at = |pod: &Value, name: &str| revision(pod) == name;
    let live = |pod: &Value| !object::terminating(pod);
    let mut current_replicas = pods().filter(|pod| live(pod) && at(pod, current)).count().saturating_sub(walked);
    let replicas = pods().count();
    let updated = pods().filter(|pod| live(pod) && at(pod, update)).count();
    let ready_replicas = pods().filter(|pod| ready(pod)).count();
    let mut current_revision = current;
    let rolling = set["spec"]["updateStrategy"]["type"] != "OnDelete";
    if rolling && updated == replicas && ready_replicas == replicas {
        (current_replicas, current_revision) = (updated, update);
    }
    let mut status = json!({
        "observedGeneration": set["metadata"]["generation"],
        "replicas": replicas,
        "readyReplicas": ready_replicas,
        "availableReplicas": pods().filter(|pod| available(pod)).count(),
        "currentReplicas": current_replicas,
        "updatedReplicas": updated,
        "currentRevision": current_revision,
        "updateRevision": update,
        "collisionCount": 0,
        "labelSelector": selector(set),
    });
    let updated_ready = pods().filter(|pod| at(pod, update) && ready(pod)).count();
    let updated_available = pods().filter(|pod| at(pod, update) && available(pod)).count();
    for (field, count) in [("updatedReadyReplicas", updated_ready), ("updatedAvailableReplicas", updated_available)] {
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
                "compatibleReplicas": replicas,
                "compatibleReadyReplicas": ready_replicas,
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
