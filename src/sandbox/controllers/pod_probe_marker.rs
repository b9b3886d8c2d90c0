//! Kruise's PodProbeMarker controller, as far as OKG waits for it: that a marker was seen, and by how many pods.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::queue::{Key, Queue};
use super::stateful_set::ignore_missing;
use super::{Controller, Hub};
use crate::okg::names;
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
        Ok(None)
    }
}
