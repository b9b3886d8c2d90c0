//! The namespace controller: empties a namespace that is going, then lets it go.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::queue::{Key, Queue};
use super::stateful_set::ignore_missing;
use super::{Controller, Hub};
use crate::sandbox::object::{self, Change, ChangeKind, DeleteOptions};
use crate::sandbox::status::Status;

/// Pause between looks at what is still there.
const RECHECK: Duration = Duration::from_secs(1);

pub(super) struct Namespaces(pub Arc<Hub>);

impl Controller for Namespaces {
    const NAME: &'static str = "namespace-controller";
    const WORKERS: usize = 2;

    fn latency(&self) -> Range<u64> {
        5..20
    }

    fn wake(&self, change: &Change, queue: &Queue<Key>) {
        let gone = change.kind == ChangeKind::Deleted;
        if &*change.resource == "namespaces" && object::terminating(&change.object) && !gone {
            queue.add(Key::new("", object::name(&change.object)));
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Status> {
        let hub = &self.0;
        let Some(namespace) = hub.api.get("namespaces", "", &key.name) else { return Ok(None) };
        if !object::terminating(&namespace) {
            return Ok(None);
        }
        let mut left = 0;
        for resource in namespaced(hub) {
            for found in hub.api.list(&resource, Some(&key.name)) {
                left += 1;
                if !object::terminating(&found) {
                    let at = (&*key.name, object::name(&found));
                    ignore_missing(hub.kubernetes.delete(&resource, at, &DeleteOptions::default()).await)?;
                }
            }
        }
        if left > 0 {
            return Ok(Some(RECHECK));
        }
        let mut next = (*namespace).clone();
        next["spec"]["finalizers"] = json!([]);
        ignore_missing(hub.kubernetes.replace("namespaces", "finalize", next).await)?;
        Ok(None)
    }
}

/// Returns the resources whose objects live in namespaces.
fn namespaced(hub: &Hub) -> Vec<Arc<str>> {
    hub.api.read(|store| store.kinds().filter(|kind| kind.namespaced).map(|kind| kind.key.clone()).collect())
}
