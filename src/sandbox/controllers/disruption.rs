//! The disruption controller: how many pods of a PodDisruptionBudget may be evicted now.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::cache::controller_of;
use super::queue::{Key, Queue};
use super::stateful_set::ignore_missing;
use super::{Controller, Hub};
use crate::okg::int_or_string::of_total;
use crate::okg::state::condition;
use crate::sandbox::object::{self, Change, ChangeKind, Object};
use crate::sandbox::selector;
use crate::sandbox::status::Status;

const BUDGETS: &str = "poddisruptionbudgets.policy";

pub(super) struct Disruption(pub Arc<Hub>);

impl Controller for Disruption {
    const NAME: &'static str = "disruption-controller";
    const WORKERS: usize = 1;

    fn latency(&self) -> Range<u64> {
        2..8
    }

    fn wake(&self, change: &Change, queue: &Queue<Key>) {
        let namespace = object::namespace(&change.object);
        match &*change.resource {
            BUDGETS if change.kind != ChangeKind::Deleted => {
                queue.add(Key::new(namespace, object::name(&change.object)));
            }
            "pods" => {
                for budget in self.0.api.list(BUDGETS, Some(namespace)) {
                    queue.add(Key::new(namespace, object::name(&budget)));
                }
            }
            _ => {}
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Status> {
        let hub = &self.0;
        let at = (&*key.namespace, &*key.name);
        let Some(budget) = hub.api.get(BUDGETS, at.0, at.1) else { return Ok(None) };
        let selected = selector::from_object(budget["spec"].get("selector"));
        let pods: Vec<Object> = hub
            .api
            .list("pods", Some(at.0))
            .into_iter()
            .filter(|pod| selected.as_ref().is_some_and(|selected| selected.matches(pod)))
            .collect();
        let ready = |pod: &Object| condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True");
        let healthy = pods.iter().filter(|pod| ready(pod) && !object::terminating(pod)).count();
        let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
        let (expected, desired) = self.wanted(&budget["spec"], &pods);
        let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
        let (truth, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
        let before = condition(&budget, "DisruptionAllowed").filter(|before| before["status"] == truth);
        let since =
            before.map_or_else(|| object::stamp(hub.clock.now()).into(), |before| before["lastTransitionTime"].clone());
        let generation = budget["metadata"]["generation"].clone();
        let status = json!({
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "disruptionsAllowed": allowed,
            "expectedPods": expected,
            "observedGeneration": generation,
            "conditions": [{
                "type": "DisruptionAllowed", "status": truth, "reason": reason, "message": "",
                "lastTransitionTime": since, "observedGeneration": generation,
            }],
        });
        if budget["status"] != status {
            ignore_missing(hub.kubernetes.merge_status(BUDGETS, at, json!({"status": status})).await)?;
        }
        Ok(None)
    }
}

impl Disruption {
    /// Returns how many pods there should be, and how many of them have to stay healthy.
    fn wanted(&self, spec: &Value, pods: &[Object]) -> (i32, i32) {
        let count = i32::try_from(pods.len()).unwrap_or(i32::MAX);
        match (spec.get("minAvailable"), spec.get("maxUnavailable")) {
            (Some(least), _) if least.is_number() => (count, of_total(least, count, true).unwrap_or(0)),
            (Some(least), _) => {
                let expected = self.expected(pods);
                (expected, of_total(least, expected, true).unwrap_or(0))
            }
            (None, Some(most)) => {
                let expected = self.expected(pods);
                (expected, (expected - of_total(most, expected, true).unwrap_or(0)).max(0))
            }
            (None, None) => (count, 0),
        }
    }

    /// Returns the sum of the replicas of the pods' controllers.
    fn expected(&self, pods: &[Object]) -> i32 {
        let mut seen: Vec<&str> = Vec::new();
        let mut sum = 0;
        for pod in pods {
            let Some(owner) = controller_of(pod) else { continue };
            let text = |field: &str| owner[field].as_str().unwrap_or_default();
            if seen.contains(&text("uid")) {
                continue;
            }
            seen.push(text("uid"));
            let resource = self.0.api.resource_of(text("apiVersion"), text("kind"));
            let found = resource.and_then(|kind| self.0.api.get(&kind, object::namespace(pod), text("name")));
            let replicas = found.and_then(|found| found["spec"]["replicas"].as_i64()).unwrap_or(0);
            sum += i32::try_from(replicas).unwrap_or(0);
        }
        sum
    }
}
