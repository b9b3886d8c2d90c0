//! Rolling updates: order, availability, lifecycle, and changes in place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::game_server::{merge_metadata, set_images};
use super::lifecycle;
use super::room::Room;
use super::stateful_set::{Failure, Pass, ignore_missing, revision, sooner};
use super::stateful_set_status::{available_for, least_ready};
use crate::okg::int_or_string::max_unavailable;
use crate::okg::names;
use crate::okg::state::condition;
use crate::okg::updates::{UpdatePod, update_order};
use crate::sandbox::object;

/// Gate that Kruise closes while it changes a pod in place.
pub(super) const IN_PLACE_READY: &str = "InPlaceUpdateReady";
/// Gate by which Kruise's hooks mark a pod as not ready.
pub(super) const POD_READY: &str = "KruisePodReady";
/// Pod annotation: what an in-place update began with.
const IN_PLACE_STATE: &str = "apps.kruise.io/inplace-update-state";
/// Pod annotation: a change in place waits for its grace period.
const IN_PLACE_GRACE: &str = "apps.kruise.io/inplace-update-grace";
/// Between closing the gate and changing the pod.
const GATE_LEAD: Duration = Duration::from_millis(100);

/// Makes one pass of a rolling update.
pub(super) async fn roll(
    pass: &Pass<'_>,
    wanted: &BTreeSet<i32>,
    walked: &mut usize,
) -> Result<Option<Duration>, Failure> {
    let rolling = &pass.set["spec"]["updateStrategy"]["rollingUpdate"];
    if rolling["paused"] == true {
        return Ok(None);
    }
    let mut soonest = None;
    let mut moved = false;
    for (_, pod) in pass.pods.iter().filter(|(_, pod)| !object::terminating(pod)) {
        moved |= refresh_lifecycle(pass, pod).await?;
    }
    if moved {
        return Ok(None);
    }
    let (now, least) = (pass.hub.clock.now(), least_ready(pass.set));
    let limit = usize::try_from(max_unavailable(rolling.get("maxUnavailable"), pass.replicas())).unwrap_or(1);
    let pods: BTreeMap<i32, &Room> = pass
        .pods
        .iter()
        .filter(|(ordinal, _)| wanted.contains(ordinal))
        .map(|(ordinal, pod)| (*ordinal, &**pod))
        .collect();
    let mut unavailable: BTreeSet<i32> = wanted.iter().filter(|o| !pods.contains_key(o)).copied().collect();
    for (ordinal, pod) in &pods {
        let lacks = available_for(pod, least, now);
        if object::terminating(pod) || lacks.is_some() || !completed(pod) {
            unavailable.insert(*ordinal);
            soonest = sooner(soonest, lacks.filter(|lacks| !lacks.is_zero()));
        }
    }
    for (ordinal, pod) in &pods {
        let asked = object::label(pod, names::SPECIFIED_DELETE).is_some();
        if asked && !object::terminating(pod) && (unavailable.contains(ordinal) || unavailable.len() < limit) {
            pass.delete(pod).await?;
            unavailable.insert(*ordinal);
        }
    }
    let update = pass.revisions.update_name();
    let facts: Vec<UpdatePod> = wanted
        .iter()
        .map(|ordinal| {
            let pod = pods.get(ordinal);
            let priority = pod.and_then(|pod| object::label(pod, names::GS_UPDATE_PRIORITY));
            UpdatePod {
                ordinal: *ordinal,
                update_priority: priority.unwrap_or_default().to_owned(),
                settled: pod.is_none_or(|pod| revision(pod) == update || object::terminating(pod)),
            }
        })
        .collect();
    let partition = rolling["partition"].as_i64().and_then(|p| i32::try_from(p).ok()).unwrap_or(0);
    let by_priority = !rolling["unorderedUpdate"].is_null();
    for ordinal in update_order(&facts, partition, by_priority) {
        let Some(pod) = pods.get(&ordinal) else { continue };
        if revision(pod) == update || object::terminating(pod) {
            continue;
        }
        if unavailable.len() >= limit && !unavailable.contains(&ordinal) {
            return Ok(soonest);
        }
        match in_place(pass, pod).await? {
            InPlace::Working(wait) => {
                *walked += usize::from(revision(pod) == pass.revisions.current_name());
                soonest = sooner(soonest, wait);
            }
            InPlace::Impossible => pass.delete(pod).await?,
        }
        unavailable.insert(ordinal);
    }
    Ok(soonest)
}

/// Under OnDelete: takes pods into service whose preNormal hook is fulfilled.
pub(super) async fn take_into_service(pass: &Pass<'_>) -> Result<(), Failure> {
    for (_, pod) in pass.pods.iter().filter(|(_, pod)| !pod.facts().terminating) {
        if pod.facts().lifecycle == "PreparingNormal" {
            refresh_lifecycle(pass, pod).await?;
        }
    }
    Ok(())
}

/// Moves a pod's lifecycle on; returns whether it moved.
async fn refresh_lifecycle(pass: &Pass<'_>, pod: &Value) -> Result<bool, Failure> {
    let hooks = &pass.set["spec"]["lifecycle"];
    let next =
        match lifecycle::state(pod) {
            "PreparingNormal" if lifecycle::all_hooked(&hooks["preNormal"], pod) => "Normal",
            "Updating" if completed(pod) && served(pass, pod) => {
                if lifecycle::all_hooked(&hooks["inPlaceUpdate"], pod) { "Normal" } else { "Updated" }
            }
            "Updated" if lifecycle::all_hooked(&hooks["inPlaceUpdate"], pod) => "Normal",
            _ => return Ok(false),
        };
    set_lifecycle(pass, pod, next).await?;
    Ok(true)
}

/// Returns whether a pod that was changed in place serves again, or had a second to do so.
fn served(pass: &Pass<'_>, pod: &Value) -> bool {
    let since = |kind: &str, status: &str| {
        let found = condition(pod, kind).filter(|found| found["status"] == status)?;
        found["lastTransitionTime"].as_str()?.parse::<Timestamp>().ok()
    };
    let gated = condition(pod, IN_PLACE_READY).is_some();
    let opened = since(IN_PLACE_READY, "True");
    !gated
        || (opened.is_some() && since("Ready", "True").is_some())
        || opened.is_some_and(|opened| pass.hub.clock.now().duration_since(opened).as_secs() > 1)
}

async fn set_lifecycle(pass: &Pass<'_>, pod: &Value, state: &str) -> Result<(), Failure> {
    let patch = lifecycle::patch(state, &object::stamp(pass.hub.clock.now()));
    let at = (object::namespace(pod), object::name(pod));
    ignore_missing(pass.hub.kruise.merge("pods", at, patch).await)?;
    Ok(())
}

/// Returns whether the last change in place is over: each changed container runs another image than before, or the
/// one that its spec names.
fn completed(pod: &Value) -> bool {
    let annotations = &pod["metadata"]["annotations"];
    if annotations[IN_PLACE_GRACE].is_string() {
        return false;
    }
    let Some(state) = annotations[IN_PLACE_STATE].as_str() else { return true };
    let Ok(state) = serde_json::from_str::<Value>(state) else { return true };
    let statuses = pod["status"]["containerStatuses"].as_array();
    let before = state["lastContainerStatuses"].as_object().into_iter().flatten();
    before.into_iter().all(|(name, last)| {
        let now = statuses.and_then(|all| all.iter().find(|status| status["name"] == name.as_str()));
        let containers = pod["spec"]["containers"].as_array();
        let spec = containers.and_then(|all| all.iter().find(|container| container["name"] == name.as_str()));
        // An image that was put back meanwhile needs no restart.
        now.is_some_and(|now| now["imageID"] != last["imageID"] || spec.is_some_and(|s| s["image"] == now["image"]))
    })
}

/// Returns whether a pod waits for a gate that Kruise opens, or for the end of a grace period.
pub(super) fn gated(pod: &Value) -> bool {
    let gates = pod["spec"]["readinessGates"].as_array().into_iter().flatten();
    let waits = |gate: &Value| {
        let kind = gate["conditionType"].as_str().unwrap_or_default();
        let found = condition(pod, kind).and_then(|found| found["status"].as_str());
        match kind {
            IN_PLACE_READY => found != Some("True"),
            POD_READY => found.is_none(),
            _ => false,
        }
    };
    pod["metadata"]["annotations"][IN_PLACE_GRACE].is_string() || gates.into_iter().any(waits)
}

/// Opens the gates of a pod that is not changed in place any more, and ends grace periods.
pub(super) async fn refresh_gates(pass: &Pass<'_>, pod: &Value) -> Result<Option<Duration>, Failure> {
    if let Some(wait) = end_grace(pass, pod).await? {
        return Ok(Some(wait));
    }
    let gates = pod["spec"]["readinessGates"].as_array().into_iter().flatten();
    for gate in gates {
        let kind = gate["conditionType"].as_str().unwrap_or_default();
        let found = condition(pod, kind).and_then(|found| found["status"].as_str());
        let open = match kind {
            IN_PLACE_READY => found != Some("True") && completed(pod) && closed_long_ago(pass, pod),
            POD_READY => found.is_none(),
            _ => false,
        };
        if open {
            set_gate(pass, pod, kind, "True").await?;
        }
    }
    Ok(None)
}

/// A gate that was closed by this very update stays so until the pod was changed.
fn closed_long_ago(pass: &Pass<'_>, pod: &Value) -> bool {
    let closed = condition(pod, IN_PLACE_READY).is_some_and(|found| found["status"] == "False");
    !closed || lifecycle::state(pod) == "Updating" || revision(pod) == pass.revisions.update_name()
}

/// Sets a condition of a pod that is a readiness gate.
pub(super) async fn set_gate(pass: &Pass<'_>, pod: &Value, kind: &str, status: &str) -> Result<(), Failure> {
    let at = (object::namespace(pod), object::name(pod));
    let stamp = object::stamp(pass.hub.clock.now());
    let change = |pod: &mut Value| {
        let gates = pod["spec"]["readinessGates"].as_array();
        if gates.is_none_or(|gates| gates.iter().all(|gate| gate["conditionType"] != kind)) {
            return false;
        }
        let mut next = json!({"type": kind, "status": status, "lastTransitionTime": stamp});
        if status == "False" && kind == IN_PLACE_READY {
            next["reason"] = "StartInPlaceUpdate".into();
        }
        set_condition(pod, next)
    };
    ignore_missing(pass.hub.kruise.modify("pods", "status", at, change).await)?;
    Ok(())
}

/// Sets a condition of an object's status; returns whether its status differs from before.
pub(super) fn set_condition(object: &mut Value, next: Value) -> bool {
    let status = object::member_mut(object, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return false };
    match conditions.iter_mut().find(|found| found["type"] == next["type"]) {
        Some(found) => {
            let same = ["status", "reason", "message"].iter().all(|field| found[field] == next[field]);
            if !same {
                *found = next;
            }
            !same
        }
        None => {
            conditions.push(next);
            true
        }
    }
}

enum InPlace {
    /// The pod is changed, or waits to be.
    Working(Option<Duration>),
    /// The pod must be made anew.
    Impossible,
}

/// Changes a pod in place if the policy and the change allow it.
async fn in_place(pass: &Pass<'_>, pod: &Value) -> Result<InPlace, Failure> {
    let rolling = &pass.set["spec"]["updateStrategy"]["rollingUpdate"];
    let policy = rolling["podUpdatePolicy"].as_str().unwrap_or_default();
    if !["InPlaceIfPossible", "InPlaceOnly"].contains(&policy) {
        return Ok(InPlace::Impossible);
    }
    let new = pass.revisions.template(pass.revisions.update_name());
    let change = pass.revisions.template(revision(pod)).zip(new).and_then(|(old, new)| change(old, new));
    let Some(change) = change else { return Ok(InPlace::Impossible) };
    let hook = &pass.set["spec"]["lifecycle"]["inPlaceUpdate"];
    match lifecycle::state(pod) {
        "" | "Normal" if lifecycle::any_hooked(hook, pod) => {
            if hook["markPodNotReady"] == true {
                set_gate(pass, pod, POD_READY, "False").await?;
            }
            set_lifecycle(pass, pod, "PreparingUpdate").await?;
            return Ok(InPlace::Working(None));
        }
        "Updated" => {
            set_lifecycle(pass, pod, "PreparingUpdate").await?;
            return Ok(InPlace::Working(None));
        }
        "PreparingUpdate" if lifecycle::any_hooked(hook, pod) => return Ok(InPlace::Working(None)),
        "PreparingDelete" | "PreparingNormal" => return Ok(InPlace::Working(None)),
        _ => {}
    }
    if pod["metadata"]["annotations"][IN_PLACE_GRACE].is_string() {
        return Ok(InPlace::Working(None));
    }
    set_gate(pass, pod, IN_PLACE_READY, "False").await?;
    let seconds = rolling["inPlaceUpdateStrategy"]["gracePeriodSeconds"].as_u64().unwrap_or(0);
    if seconds > 0 {
        let until = pass.hub.clock.now() + Duration::from_secs(seconds);
        let grace = json!({"revision": pass.revisions.update_name(), "until": until.to_string()});
        let patch = json!({"metadata": {"annotations": {IN_PLACE_GRACE: grace.to_string()}}});
        let at = (object::namespace(pod), object::name(pod));
        ignore_missing(pass.hub.kruise.merge("pods", at, patch).await)?;
        return Ok(InPlace::Working(Some(Duration::from_secs(seconds))));
    }
    tokio::time::sleep(GATE_LEAD).await;
    apply(pass, pod, &change).await?;
    Ok(InPlace::Working(None))
}

/// Ends a grace period that is over; returns how long one still lasts.
async fn end_grace(pass: &Pass<'_>, pod: &Value) -> Result<Option<Duration>, Failure> {
    let Some(text) = pod["metadata"]["annotations"][IN_PLACE_GRACE].as_str() else { return Ok(None) };
    let grace: Value = serde_json::from_str(text).unwrap_or_default();
    let until: Timestamp = grace["until"].as_str().and_then(|until| until.parse().ok()).unwrap_or_default();
    let left = Duration::try_from(until.duration_since(pass.hub.clock.now())).unwrap_or_default();
    if !left.is_zero() {
        return Ok(Some(left));
    }
    let new = pass.revisions.template(pass.revisions.update_name());
    let change = pass.revisions.template(revision(pod)).zip(new).and_then(|(old, new)| change(old, new));
    apply(pass, pod, &change.unwrap_or_default()).await?;
    Ok(None)
}

/// What changes between two templates, if it can be changed in place.
#[derive(Default)]
struct TemplateChange {
    images: Map<String, Value>,
    metadata: Value,
}

fn change(old: &Value, new: &Value) -> Option<TemplateChange> {
    let mut change = TemplateChange { metadata: json!({}), ..TemplateChange::default() };
    let mut trial = old.clone();
    let containers = new["spec"]["containers"].as_array()?;
    for (index, container) in containers.iter().enumerate() {
        let before = &old["spec"]["containers"][index];
        if before["name"] == container["name"] && before["image"] != container["image"] {
            change.images.insert(container["name"].as_str()?.to_owned(), container["image"].clone());
            trial["spec"]["containers"][index]["image"] = container["image"].clone();
        }
    }
    for field in ["labels", "annotations"] {
        let (before, after) = (&old["metadata"][field], &new["metadata"][field]);
        if before != after {
            // Keys that the template drops stay on the pod.
            let added = after.as_object().into_iter().flatten().filter(|(key, value)| before.get(key) != Some(value));
            change.metadata[field] =
                added.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>().into();
        }
    }
    trial["metadata"] = new["metadata"].clone();
    (trial == *new).then_some(change)
}

/// Writes image, metadata and revision in one patch.
async fn apply(pass: &Pass<'_>, pod: &Value, change: &TemplateChange) -> Result<(), Failure> {
    let now = object::stamp(pass.hub.clock.now());
    let name = pass.revisions.update_name();
    let at = (object::namespace(pod), object::name(pod));
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let last: Map<String, Value> = statuses
        .filter_map(|status| Some((status["name"].as_str()?.to_owned(), json!({"imageID": status["imageID"]}))))
        .filter(|(name, _)| change.images.contains_key(name))
        .collect();
    let state = json!({"revision": name, "updateTimestamp": now, "lastContainerStatuses": last});
    let mut labels = change.metadata["labels"].as_object().cloned().unwrap_or_default();
    let mut annotations = change.metadata["annotations"].as_object().cloned().unwrap_or_default();
    labels.insert(names::REVISION.into(), name.into());
    labels.insert(names::LIFECYCLE_STATE.into(), "Updating".into());
    annotations.insert(names::LIFECYCLE_TIME.into(), now.into());
    annotations.insert(IN_PLACE_STATE.into(), state.to_string().into());
    annotations.insert(IN_PLACE_GRACE.into(), Value::Null);
    let change = |pod: &mut Value| {
        merge_metadata(pod, &labels, &annotations);
        set_images(pod, &change.images);
        true
    };
    ignore_missing(pass.hub.kruise.modify("pods", "", at, change).await)?;
    let message = format!("successfully update pod {} in-place(revision {name})", object::name(pod));
    pass.event("Normal", "SuccessfulUpdatePodInPlace", &message);
    Ok(())
}
