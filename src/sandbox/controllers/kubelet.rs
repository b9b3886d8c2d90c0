//! The kubelets: pods start, follow their readiness gates, restart with a new image, and end.
//!
//! No container runs. Annotations on a pod steer what its kubelet does: `test/imagepull` (the image cannot be
//! pulled), `test/unready` (never ready while present), `test/stuck` (nothing is done).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::queue::{Key, Queue};
use super::stateful_set::ignore_missing;
use super::stateful_set_update::set_condition;
use super::{Controller, Hub};
use crate::okg::state::condition;
use crate::sandbox::object::{self, Change, ChangeKind, DeleteOptions};
use crate::sandbox::status::Status;

pub(super) struct Kubelet {
    hub: Arc<Hub>,
    /// When what was begun for a pod is to happen, by pod uid.
    due: Mutex<BTreeMap<String, Due>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Start,
    Restart,
    End,
}

#[derive(Clone, Copy)]
struct Due {
    work: Work,
    at: Timestamp,
}

impl Kubelet {
    pub fn new(hub: Arc<Hub>) -> Kubelet {
        Kubelet { hub, due: Mutex::default() }
    }

    /// Returns how long a piece of work still takes; nothing once it is due.
    fn left(&self, pod: &Value, work: Work) -> Option<Duration> {
        let uid = object::meta(pod, "uid");
        let now = self.hub.clock.now();
        let world = &self.hub.world;
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.get(uid).is_none_or(|due| due.work != work) {
            let takes = match work {
                Work::Start => world.start_time(pod),
                Work::Restart => world.restart,
                Work::End => world.end,
            };
            // Pods of one set do not end in step.
            let spread = if work == Work::End { 60 } else { 25 };
            let jitter = Duration::from_millis(world.rng(uid).u64(..spread));
            due.insert(uid.to_owned(), Due { work, at: now + takes + jitter });
        }
        let left = due.get(uid).map(|due| due.at.duration_since(now)).unwrap_or_default();
        let left = Duration::try_from(left).unwrap_or_default();
        if left.is_zero() {
            due.remove(uid);
            return None;
        }
        Some(left)
    }

    fn forget(&self, uid: &str) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

impl Controller for Kubelet {
    const NAME: &'static str = "kubelet";
    const WORKERS: usize = 20;

    fn latency(&self) -> Range<u64> {
        18..32
    }

    fn wake(&self, change: &Change, queue: &Queue<Key>) {
        if &*change.resource != "pods" {
            return;
        }
        if change.kind == ChangeKind::Deleted {
            self.forget(object::meta(&change.object, "uid"));
        } else if !object::text_at(&change.object, &["spec", "nodeName"]).is_empty() {
            queue.add(Key::new(object::namespace(&change.object), object::name(&change.object)));
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Status> {
        let hub = &self.hub;
        let at = (&*key.namespace, &*key.name);
        let Some(pod) = hub.api.get("pods", at.0, at.1) else { return Ok(None) };
        if object::text_at(&pod, &["spec", "nodeName"]).is_empty() || annotated(&pod, "test/stuck") {
            return Ok(None);
        }
        if object::terminating(&pod) {
            if pod["metadata"]["deletionGracePeriodSeconds"] == 0 && object::has_finalizer(&pod, "") {
                return Ok(None);
            }
            if let Some(left) = self.left(&pod, Work::End) {
                return Ok(Some(left));
            }
            let options = DeleteOptions { uid: Some(object::meta(&pod, "uid").to_owned()), ..DeleteOptions::grace(0) };
            ignore_missing(hub.kubernetes.delete("pods", at, &options).await)?;
            return Ok(None);
        }
        match object::text_at(&pod, &["status", "phase"]) {
            "Pending" => self.start(at, &pod).await,
            "Running" => self.run(at, &pod).await,
            _ => Ok(None),
        }
    }
}

impl Kubelet {
    async fn start(&self, at: (&str, &str), pod: &Value) -> Result<Option<Duration>, Status> {
        let hub = &self.hub;
        let unpullable = annotated(pod, "test/imagepull") || hub.world.cannot_pull(pod);
        let waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"].is_object();
        if unpullable && waiting {
            return Ok(None);
        }
        if let Some(left) = self.left(pod, Work::Start) {
            return Ok(Some(left));
        }
        let now = object::stamp(hub.clock.now());
        let world = &hub.world;
        let change = |pod: &mut Value| {
            let statuses: Vec<Value> = containers(pod)
                .map(
                    |container| if unpullable { waiting_status(container) } else { running_status(container, 0, &now) },
                )
                .collect();
            let names: Vec<&str> = containers(pod).filter_map(|container| container["name"].as_str()).collect();
            let unready = world.message(&format!("containers with unready status: [{}]", names.join(" ")));
            let octets = u32::from_str_radix(object::meta(pod, "uid").get(..6).unwrap_or_default(), 16).unwrap_or(1);
            let ip = format!("10.{}.{}.{}", octets >> 16 & 0xff, octets >> 8 & 0xff, octets & 0xff);
            set_condition(pod, json!({"type": "Initialized", "status": "True", "lastTransitionTime": now}));
            let ready = if unpullable {
                json!({"type": "ContainersReady", "status": "False", "reason": "ContainersNotReady",
                    "message": unready, "lastTransitionTime": now})
            } else {
                json!({"type": "ContainersReady", "status": "True", "lastTransitionTime": now})
            };
            let mut pod_ready = ready.clone();
            pod_ready["type"] = "Ready".into();
            set_condition(pod, ready);
            let status = object::member_mut(pod, "status");
            status.insert("containerStatuses".into(), statuses.into());
            status.insert("startTime".into(), now.clone().into());
            status.insert("hostIP".into(), "172.18.0.2".into());
            if unpullable {
                set_condition(pod, pod_ready);
            } else {
                status.insert("phase".into(), "Running".into());
                status.insert("podIP".into(), ip.clone().into());
                status.insert("podIPs".into(), json!([{"ip": ip}]));
                follow_gates(pod, &now, world.terse);
            }
            true
        };
        ignore_missing(hub.kubernetes.modify("pods", "status", at, change).await)?;
        Ok(None)
    }

    async fn run(&self, at: (&str, &str), pod: &Value) -> Result<Option<Duration>, Status> {
        let hub = &self.hub;
        let now = object::stamp(hub.clock.now());
        let terse = hub.world.terse;
        if follow_gates(&mut pod.clone(), &now, terse) {
            let follow = |pod: &mut Value| follow_gates(pod, &now, terse);
            ignore_missing(hub.kubernetes.modify("pods", "status", at, follow).await)?;
            return Ok(None);
        }
        if !containers(pod).any(|container| differs(pod, container)) {
            self.forget(object::meta(pod, "uid"));
            return Ok(None);
        }
        if let Some(left) = self.left(pod, Work::Restart) {
            return Ok(Some(left));
        }
        let now = object::stamp(hub.clock.now());
        let restart = |pod: &mut Value| {
            let changed: Vec<Value> = containers(pod).filter(|container| differs(pod, container)).cloned().collect();
            for status in pod["status"]["containerStatuses"].as_array_mut().into_iter().flatten() {
                if let Some(container) = changed.iter().find(|container| container["name"] == status["name"]) {
                    let count = status["restartCount"].as_i64().unwrap_or(0) + 1;
                    *status = running_status(container, count, &now);
                }
            }
            follow_gates(pod, &now, terse);
            true
        };
        ignore_missing(hub.kubernetes.modify("pods", "status", at, restart).await)?;
        Ok(None)
    }
}

fn annotated(pod: &Value, key: &str) -> bool {
    pod["metadata"]["annotations"].get(key).is_some()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["containers"].as_array().into_iter().flatten()
}

fn differs(pod: &Value, container: &Value) -> bool {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    statuses.into_iter().any(|status| status["name"] == container["name"] && status["image"] != container["image"])
}

fn running_status(container: &Value, restarts: i64, now: &str) -> Value {
    let image = container["image"].as_str().unwrap_or_default();
    json!({
        "name": container["name"],
        "image": image,
        "imageID": format!("sandbox://{image}"),
        "containerID": format!("sandbox://{}-{restarts}", container["name"].as_str().unwrap_or_default()),
        "ready": true,
        "started": true,
        "restartCount": restarts,
        "state": {"running": {"startedAt": now}},
        "lastState": {},
    })
}

fn waiting_status(container: &Value) -> Value {
    let image = container["image"].as_str().unwrap_or_default();
    json!({
        "name": container["name"],
        "image": image,
        "imageID": "",
        "ready": false,
        "started": false,
        "restartCount": 0,
        "state": {"waiting": {
            "reason": "ImagePullBackOff",
            "message": format!("Back-off pulling image \"{image}\""),
        }},
        "lastState": {},
    })
}

/// Sets the condition Ready as containers and gates want it; returns whether it changed.
fn follow_gates(pod: &mut Value, now: &str, terse: bool) -> bool {
    let mut troubles = Vec::new();
    for gate in pod["spec"]["readinessGates"].as_array().into_iter().flatten() {
        let kind = gate["conditionType"].as_str().unwrap_or_default();
        match condition(pod, kind).and_then(|found| found["status"].as_str()) {
            Some("True") => {}
            Some(other) => {
                troubles.push(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {other}"));
            }
            None if terse => troubles.push("the status of pod readiness gate is not \"True\"".to_owned()),
            None => troubles.push(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
        }
    }
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let serve = statuses.into_iter().all(|status| status["ready"] == true) && !annotated(pod, "test/unready");
    let next = if serve && troubles.is_empty() {
        json!({"type": "Ready", "status": "True", "lastTransitionTime": now})
    } else {
        json!({"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady",
            "message": troubles.join(", "), "lastTransitionTime": now})
    };
    set_condition(pod, next)
}
