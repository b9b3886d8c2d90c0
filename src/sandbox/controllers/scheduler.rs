//! The scheduler: gives pods a node, once their claims are bound.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::queue::{Key, Queue};
use super::stateful_set::ignore_missing;
use super::stateful_set_update::set_condition;
use super::{Controller, Hub};
use crate::sandbox::object::{self, Change, ChangeKind, Object};
use crate::sandbox::status::Status;

pub(super) struct Scheduler(pub Arc<Hub>);

impl Controller for Scheduler {
    const NAME: &'static str = "default-scheduler";
    const WORKERS: usize = 4;

    fn latency(&self) -> Range<u64> {
        1..4
    }

    fn wake(&self, change: &Change, queue: &Queue<Key>) {
        let add = |pod: &Value| {
            if object::text_at(pod, &["spec", "nodeName"]).is_empty() && !object::terminating(pod) {
                queue.add(Key::new(object::namespace(pod), object::name(pod)));
            }
        };
        match &*change.resource {
            "pods" if change.kind != ChangeKind::Deleted => add(&change.object),
            "persistentvolumeclaims" => {
                self.0.api.list("pods", Some(object::namespace(&change.object))).iter().for_each(|pod| add(pod));
            }
            "nodes" if change.kind == ChangeKind::Added => {
                self.0.api.list("pods", None).iter().for_each(|pod| add(pod));
            }
            _ => {}
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Status> {
        let hub = &self.0;
        let at = (&*key.namespace, &*key.name);
        let Some(pod) = hub.api.get("pods", at.0, at.1) else { return Ok(None) };
        if !object::text_at(&pod, &["spec", "nodeName"]).is_empty() || object::terminating(&pod) {
            return Ok(None);
        }
        let now = object::stamp(hub.clock.now());
        let nodes = hub.api.list("nodes", None);
        let chosen = if self.claims_bound(&pod) { choose(&pod, &nodes).map(object::name) } else { Err(UNBOUND) };
        let node = match chosen {
            Ok(node) => node.to_owned(),
            Err(why) => {
                let message = format!("0/{} nodes are available: {why}", nodes.len());
                let condition = json!({
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": message,
                    "lastTransitionTime": now,
                });
                let change = |pod: &mut Value| set_condition(pod, condition.clone());
                ignore_missing(hub.kubernetes.modify("pods", "status", at, change).await)?;
                return Ok(None);
            }
        };
        ignore_missing(hub.api.bind(at.0, at.1, &node).map(|_| ()))?;
        Ok(None)
    }
}

const UNBOUND: &str = "pod has unbound immediate PersistentVolumeClaims. not found";

impl Scheduler {
    fn claims_bound(&self, pod: &Value) -> bool {
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let mut claims = volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str());
        claims.all(|claim| {
            let found = self.0.api.get("persistentvolumeclaims", object::namespace(pod), claim);
            found.is_some_and(|claim| object::text_at(&claim, &["status", "phase"]) == "Bound")
        })
    }
}

/// Chooses a node that fits, spread by the pod's name.
fn choose<'a>(pod: &Value, nodes: &'a [Object]) -> Result<&'a Value, &'static str> {
    let selector = pod["spec"]["nodeSelector"].as_object();
    let selected = |node: &Value| {
        let mut wanted = selector.into_iter().flatten();
        wanted.all(|(key, value)| object::label(node, key) == value.as_str())
    };
    let fits = |node: &Value| node["spec"]["unschedulable"] != true && selected(node) && tolerated(pod, node);
    let fitting: Vec<&Object> = nodes.iter().filter(|node| fits(node)).collect();
    if fitting.is_empty() {
        return Err("no node fits the pod's selector and tolerations.");
    }
    let hash = object::name(pod).bytes().fold(7usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    Ok(fitting[hash % fitting.len()])
}

fn tolerated(pod: &Value, node: &Value) -> bool {
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let mut hard = taints.filter(|taint| taint["effect"] == "NoSchedule" || taint["effect"] == "NoExecute");
    hard.all(|taint| {
        let tolerations = pod["spec"]["tolerations"].as_array().into_iter().flatten();
        tolerations.into_iter().any(|toleration| {
            let key = toleration["key"].as_str().unwrap_or_default();
            let exists = toleration["operator"] == "Exists";
            let effect = toleration["effect"].as_str().unwrap_or_default();
            (key == taint["key"].as_str().unwrap_or_default() || (key.is_empty() && exists))
                && (exists || toleration["value"] == taint["value"])
                && (effect.is_empty() || taint["effect"] == effect)
        })
    })
}
