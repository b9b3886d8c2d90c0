//! Kruise's PodProbeMarker controller, as far as OKG waits for it: that a marker was seen, and by how many pods; and its
//! daemon, as far as the scenario says what a probe's command answers.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::queue::{Key, Queue};
use super::stateful_set::ignore_missing;
use super::stateful_set_update::set_condition;
use super::{Controller, Hub};
use crate::okg::names;
use crate::sandbox::containers::{Container, fill};
use crate::sandbox::object::{self, Change};
use crate::sandbox::status::Status;

const PPM: &str = "podprobemarkers.apps.kruise.io";

pub(super) struct PodProbeMarkers(pub Arc<Hub>);

impl Controller for PodProbeMarkers {
    const NAME: &'static str = "podprobemarker-controller";
    const WORKERS: usize = 1;

    fn latency(&self) -> Range<u64> {
        3..9
    }

    fn wake(&self, change: &Change, queue: &Queue<Key>) {
        let object = &change.object;
        match &*change.resource {
            PPM => queue.add(Key::new(object::namespace(object), object::name(object))),
            "pods" => {
                if let Some(set) = object::label(object, names::OWNER_GSS) {
                    queue.add(Key::new(object::namespace(object), set));
                }
            }
            _ => {}
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Status> {
        let hub = &self.0;
        let at = (&*key.namespace, &*key.name);
        let Some(marker) = hub.api.get(PPM, at.0, at.1) else { return Ok(None) };
        let set = marker["spec"]["selector"]["matchLabels"][names::OWNER_GSS].as_str().unwrap_or_default();
        let running =
            |pod: &Value| object::text_at(pod, &["status", "phase"]) == "Running" && !object::terminating(pod);
        let matched = hub.cache.rooms(at.0, set).iter().filter(|pod| running(pod)).count();
        let status = json!({"observedGeneration": marker["metadata"]["generation"], "matchedPods": matched});
        if marker["status"] != status {
            ignore_missing(hub.kruise.merge_status(PPM, at, json!({"status": status})).await)?;
        }
        for pod in hub.cache.rooms(at.0, set).iter().filter(|pod| running(pod)) {
            let pod: &Value = pod;
            let results = self.results(&marker, pod);
            let tell = |pod: &mut Value| {
                let mut changed = false;
                for result in &results {
                    changed |= set_condition(pod, result.clone());
                }
                changed
            };
            if !results.is_empty() && tell(&mut pod.clone()) {
                let place = (at.0, object::name(pod));
                ignore_missing(hub.kruise.modify("pods", "status", place, tell).await)?;
            }
        }
        Ok(None)
    }
}

impl PodProbeMarkers {
    /// Returns the conditions that a marker's probes give a pod. A probe whose command the scenario does not answer
    /// says nothing.
    fn results(&self, marker: &Value, pod: &Value) -> Vec<Value> {
        let (containers, now) = (self.0.api.containers(), object::stamp(self.0.clock.now()));
        let result = |probe: &Value| {
            let container = Container { pod, name: probe["containerName"].as_str()? };
            let words = probe["probe"]["exec"]["command"].as_array()?.iter().filter_map(Value::as_str);
            let words: Vec<String> = words.map(str::to_owned).collect();
            let answer = containers.answer(&container, &words).filter(|_| container.runs())?;
            Some(json!({
                "type": probe["podConditionType"].as_str()?,
                "status": if answer.exit_code == 0 { "True" } else { "False" },
                "message": fill(&answer.stdout, &container, "", "").trim_end(),
                "lastProbeTime": now,
                "lastTransitionTime": now,
            }))
        };
        marker["spec"]["probes"].as_array().into_iter().flatten().filter_map(result).collect()
    }
}
