//! ControllerRevisions of an Advanced StatefulSet: which template a pod was made from.

use serde_json::{Value, json};

use super::Hub;
use super::workload::owner_reference;
use crate::sandbox::object::{self, DeleteOptions, Object};
use crate::sandbox::status::Status;

const REVISIONS: &str = "controllerrevisions.apps";
/// Letters and digits that Kubernetes makes hashes of, free of bad words.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The revisions that a pass works with.
pub struct Revisions {
    /// All there are, by number.
    pub all: Vec<Object>,
    /// The one that pods had before an update in progress.
    pub current: Object,
    /// The one of the template as it is.
    pub update: Object,
}

impl Revisions {
    /// Finds the revisions of a set, and makes or renumbers the one of its present template.
    pub async fn sync(hub: &Hub, set: &Value) -> Result<Revisions, Status> {
        let mut all = hub.cache.objects(object::meta(set, "uid"), REVISIONS);
        all.sort_by_key(|revision| revision["revision"].as_i64());
        let data = json!({"spec": {"template": with_replace(&set["spec"]["template"])}});
        let next = all.last().and_then(|last| last["revision"].as_i64()).unwrap_or(0) + 1;
        let position = all.iter().rposition(|revision| revision["data"] == data);
        let update = match position {
            Some(index) if index + 1 == all.len() => all[index].clone(),
            Some(index) => {
                let mut revision = (*all[index]).clone();
                revision["revision"] = next.into();
                hub.kruise.replace(REVISIONS, "", revision).await?
            }
            // The revisions of a set that is going are not made anew.
            None if object::terminating(set) => all.last().cloned().unwrap_or_else(|| {
                let name = set["status"]["updateRevision"].clone();
                Object::new(json!({"metadata": {"name": name, "namespace": object::namespace(set)}, "data": data}))
            }),
            None => create(hub, set, data, next).await?,
        };
        let wanted = set["status"]["currentRevision"].as_str().unwrap_or_default();
        let current = all.iter().find(|revision| object::name(revision) == wanted).unwrap_or(&update).clone();
        Ok(Revisions { all, current, update })
    }

    /// Returns the name of the revision that pods had before.
    pub fn current_name(&self) -> &str {
        object::name(&self.current)
    }

    /// Returns the name of the present revision.
    pub fn update_name(&self) -> &str {
        object::name(&self.update)
    }

    /// Returns the pod template of a revision by name.
    pub fn template(&self, name: &str) -> Option<&Value> {
        let mut all = self.all.iter().chain([&self.update, &self.current]);
        all.find(|revision| object::name(revision) == name).map(|revision| &revision["data"]["spec"]["template"])
    }

    /// Deletes revisions that no pod has, beyond the history limit, oldest first.
    pub async fn truncate(&self, hub: &Hub, set: &Value, live: impl Fn(&str) -> bool) -> Result<(), Status> {
        let limit = set["spec"]["revisionHistoryLimit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
        if self.all.len() <= 2 {
            return Ok(());
        }
        let dead = self.all.iter().filter(|revision| {
            let name = object::name(revision);
            name != self.current_name() && name != self.update_name() && !live(name)
        });
        let dead: Vec<_> = dead.collect();
        let excess = dead.len().saturating_sub(limit.unwrap_or(10));
        for revision in &dead[..excess] {
            let at = (object::namespace(revision), object::name(revision));
            hub.kruise.delete(REVISIONS, at, &DeleteOptions::default()).await?;
        }
        Ok(())
    }
}

async fn create(hub: &Hub, set: &Value, data: Value, number: i64) -> Result<Object, Status> {
    for collisions in 0..8 {
        let hash = hash(&data, collisions);
        let mut labels = set["spec"]["template"]["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        labels.insert("controller.kubernetes.io/hash".into(), hash.clone().into());
        let body = json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": format!("{}-{hash}", object::name(set)),
                "namespace": object::namespace(set),
                "labels": labels,
                "ownerReferences": [owner_reference(set)],
            },
            "data": data,
            "revision": number,
        });
        match hub.kruise.create(REVISIONS, body).await {
            // The owner's former life had the same template; if another one has the hash, another name is tried.
            Err(status) if status.reason == "AlreadyExists" => {
                let name = format!("{}-{hash}", object::name(set));
                let found = hub.api.get(REVISIONS, object::namespace(set), &name);
                if let Some(found) = found.filter(|found| found["data"] == data) {
                    return Ok(found);
                }
            }
            other => return other,
        }
    }
    Err(Status::internal("too many revisions of one hash"))
}

fn with_replace(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(map) = template.as_object_mut() {
        map.insert("$patch".into(), "replace".into());
    }
    template
}

fn hash(data: &Value, collisions: u32) -> String {
    let number = super::workload::fnv(&json!([data, collisions]));
    number.bytes().map(|digit| char::from(SAFE[usize::from(digit) % SAFE.len()])).collect()
}
