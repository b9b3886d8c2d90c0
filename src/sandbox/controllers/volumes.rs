//! The volume controller: binds claims to volumes of the same class that are large enough.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::queue::{Key, Queue};
use super::stateful_set::ignore_missing;
use super::{Controller, Hub};
use crate::sandbox::object::{self, Change, ChangeKind};
use crate::sandbox::status::Status;

const PVC: &str = "persistentvolumeclaims";
const PV: &str = "persistentvolumes";

pub(super) struct Volumes(pub Arc<Hub>);

impl Controller for Volumes {
    const NAME: &'static str = "persistentvolume-binder";
    const WORKERS: usize = 1;

    fn latency(&self) -> Range<u64> {
        2..8
    }

    fn wake(&self, change: &Change, queue: &Queue<Key>) {
        match &*change.resource {
            PVC if change.kind != ChangeKind::Deleted => {
                queue.add(Key::new(object::namespace(&change.object), object::name(&change.object)));
            }
            PV if change.kind == ChangeKind::Added => {
                for claim in self.0.api.list(PVC, None) {
                    queue.add(Key::new(object::namespace(&claim), object::name(&claim)));
                }
            }
            _ => {}
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Status> {
        let hub = &self.0;
        let at = (&*key.namespace, &*key.name);
        let Some(claim) = hub.api.get(PVC, at.0, at.1) else { return Ok(None) };
        if object::text_at(&claim, &["status", "phase"]) == "Bound" || object::terminating(&claim) {
            return Ok(None);
        }
        let volumes = hub.api.list(PV, None);
        let Some(volume) = volumes.iter().find(|volume| fits(volume, &claim)) else {
            if object::text_at(&claim, &["status", "phase"]).is_empty() {
                let pending = json!({"status": {"phase": "Pending"}});
                ignore_missing(hub.kubernetes.merge_status(PVC, at, pending).await)?;
            }
            return Ok(None);
        };
        let reference = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": at.0,
            "name": at.1,
            "uid": object::meta(&claim, "uid"),
        });
        let name = object::name(volume);
        hub.kubernetes.merge(PV, ("", name), json!({"spec": {"claimRef": reference}})).await?;
        hub.kubernetes.merge_status(PV, ("", name), json!({"status": {"phase": "Bound"}})).await?;
        ignore_missing(hub.kubernetes.merge(PVC, at, json!({"spec": {"volumeName": name}})).await)?;
        let bound = json!({"status": {
            "phase": "Bound",
            "accessModes": volume["spec"]["accessModes"],
            "capacity": volume["spec"]["capacity"],
        }});
        ignore_missing(hub.kubernetes.merge_status(PVC, at, bound).await)?;
        Ok(None)
    }
}

fn fits(volume: &Value, claim: &Value) -> bool {
    let free = volume["spec"]["claimRef"].is_null() || {
        let reference = &volume["spec"]["claimRef"];
        reference["uid"] == claim["metadata"]["uid"]
    };
    let modes = volume["spec"]["accessModes"].as_array();
    let mut wanted = claim["spec"]["accessModes"].as_array().into_iter().flatten();
    let size = |value: &Value| bytes(value.as_str().unwrap_or_default());
    free && volume["spec"]["storageClassName"] == claim["spec"]["storageClassName"]
        && wanted.all(|mode| modes.is_some_and(|modes| modes.contains(mode)))
        && size(&volume["spec"]["capacity"]["storage"]) >= size(&claim["spec"]["resources"]["requests"]["storage"])
}

/// Reads a quantity of storage in bytes.
fn bytes(text: &str) -> f64 {
    const UNITS: [(&str, f64); 8] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
    ];
    let unit = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (digits, factor) = unit.unwrap_or((text, 1.0));
    digits.parse::<f64>().unwrap_or(0.0) * factor
}
