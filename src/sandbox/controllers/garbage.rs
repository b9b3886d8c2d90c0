//! The garbage collector: dependents go with their owners, in the background, before them, or not at all.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::queue::{Key, Queue};
use super::stateful_set::ignore_missing;
use super::{Controller, Hub, cache};
use crate::sandbox::object::{self, Change, ChangeKind, DeleteOptions, Object};
use crate::sandbox::status::Status;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Between the end of an owner and the look at its dependents.
const AFTER_OWNER: Duration = Duration::from_millis(10);

pub(super) struct Collector(pub Arc<Hub>);

impl Controller for Collector {
    const NAME: &'static str = "garbage-collector";
    const WORKERS: usize = 20;

    fn latency(&self) -> Range<u64> {
        1..4
    }

    fn wake(&self, change: &Change, queue: &Queue<Key>) {
        let object = &change.object;
        let owned = cache::owner_uids(object).next().is_some();
        match change.kind {
            ChangeKind::Deleted => {
                for (resource, namespace, name) in self.0.cache.dependents(object::meta(object, "uid")) {
                    queue.add_after(key(&resource, &namespace, &name), AFTER_OWNER);
                }
                for owner in object["metadata"]["ownerReferences"].as_array().into_iter().flatten() {
                    if owner["blockOwnerDeletion"] == true
                        && let Some(resource) = self.resource(owner)
                    {
                        let name = owner["name"].as_str().unwrap_or_default();
                        queue.add(key(&resource, object::namespace(object), name));
                    }
                }
            }
            ChangeKind::Added if owned => queue.add(key_of(&change.resource, object)),
            _ => {}
        }
        // Only the beginning of a deletion counts; later writes of the owner do not make the collector look again.
        let begins = |finalizer: &str| {
            let leaving = |object: &Value| object::terminating(object) && waits(object, finalizer);
            leaving(object) && !change.previous.as_ref().is_some_and(|previous| leaving(previous))
        };
        if begins(FOREGROUND) || begins(ORPHAN) {
            queue.add(key_of(&change.resource, object));
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Status> {
        let Some((resource, namespace)) = key.namespace.split_once('\n') else { return Ok(None) };
        let Some(object) = self.0.api.get(resource, namespace, &key.name) else { return Ok(None) };
        if object::terminating(&object) && waits(&object, ORPHAN) {
            return self.orphan(resource, &object).await;
        }
        if object::terminating(&object) && waits(&object, FOREGROUND) {
            return self.delete_dependents(resource, &object).await;
        }
        if !object::terminating(&object) {
            self.judge(resource, &object, false).await?;
        }
        Ok(None)
    }
}

impl Collector {
    fn resource(&self, owner: &Value) -> Option<Arc<str>> {
        self.0.api.resource_of(owner["apiVersion"].as_str()?, owner["kind"].as_str()?)
    }

    fn dependents(&self, object: &Value) -> Vec<(Arc<str>, Object)> {
        let places = self.0.cache.dependents(object::meta(object, "uid"));
        let found = |(resource, namespace, name): (Arc<str>, Arc<str>, Arc<str>)| {
            let object = self.0.api.get(&resource, &namespace, &name)?;
            Some((resource, object))
        };
        places.into_iter().filter_map(found).collect()
    }

    /// Takes the owner out of its dependents, then lets it go.
    async fn orphan(&self, resource: &str, object: &Value) -> Result<Option<Duration>, Status> {
        for (kind, dependent) in self.dependents(object) {
            self.drop_owners(&kind, &dependent, &[object::meta(object, "uid")]).await?;
        }
        self.release(resource, object, ORPHAN).await
    }

    /// Deletes the dependents that hold their owner, then lets it go.
    async fn delete_dependents(&self, resource: &str, object: &Value) -> Result<Option<Duration>, Status> {
        let uid = object::meta(object, "uid");
        let mut holding = false;
        for (kind, dependent) in self.dependents(object) {
            let owners = dependent["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            let holds = owners.into_iter().any(|owner| owner["uid"] == uid && owner["blockOwnerDeletion"] == true);
            if !holds {
                continue;
            }
            holding = true;
            if !object::terminating(&dependent) {
                self.judge(&kind, &dependent, true).await?;
            }
        }
        if holding { Ok(None) } else { self.release(resource, object, FOREGROUND).await }
    }

    async fn release(&self, resource: &str, object: &Value, finalizer: &str) -> Result<Option<Duration>, Status> {
        let change = |object: &mut Value| {
            let Some(list) = object["metadata"]["finalizers"].as_array_mut() else { return false };
            let before = list.len();
            list.retain(|found| found != finalizer);
            list.len() != before
        };
        let at = (object::namespace(object), object::name(object));
        ignore_missing(self.0.kubernetes.modify(resource, "", at, change).await)?;
        Ok(None)
    }

    /// Deletes an object that no owner keeps any more. Owners that wait for their dependents keep what is made
    /// anew below them until they look again (`asked`).
    async fn judge(&self, resource: &str, object: &Value, asked: bool) -> Result<(), Status> {
        let (mut solid, mut gone, mut leaving) = (0, Vec::new(), 0);
        for owner in object["metadata"]["ownerReferences"].as_array().into_iter().flatten() {
            let uid = owner["uid"].as_str().unwrap_or_default();
            let found = self.resource(owner).and_then(|kind| {
                let name = owner["name"].as_str().unwrap_or_default();
                let api = &self.0.api;
                api.get(&kind, object::namespace(object), name).or_else(|| api.get(&kind, "", name))
            });
            match found.filter(|found| object::meta(found, "uid") == uid) {
                None => gone.push(uid),
                Some(owner) if asked && object::terminating(&owner) && waits(&owner, FOREGROUND) => {
                    leaving += 1;
                    gone.push(uid);
                }
                Some(_) => solid += 1,
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        if solid > 0 {
            return self.drop_owners(resource, object, &gone).await;
        }
        let uid = object::meta(object, "uid");
        let foreground = waits(object, FOREGROUND) || (leaving > 0 && self.0.cache.has_dependents(uid));
        let policy = if waits(object, ORPHAN) {
            "Orphan"
        } else if foreground {
            "Foreground"
        } else {
            "Background"
        };
        let options = DeleteOptions {
            uid: Some(uid.to_owned()),
            propagation_policy: Some(policy.to_owned()),
            ..DeleteOptions::default()
        };
        let at = (object::namespace(object), object::name(object));
        match self.0.kubernetes.delete(resource, at, &options).await {
            // Another object of that name by now.
            Err(status) if status.code == 409 => Ok(()),
            other => ignore_missing(other),
        }
    }

    async fn drop_owners(&self, resource: &str, object: &Value, uids: &[&str]) -> Result<(), Status> {
        let change = |object: &mut Value| {
            let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() else { return false };
            owners.retain(|owner| owner["uid"].as_str().is_none_or(|uid| !uids.contains(&uid)));
            if owners.is_empty()
                && let Some(meta) = object["metadata"].as_object_mut()
            {
                meta.remove("ownerReferences");
            }
            true
        };
        let at = (object::namespace(object), object::name(object));
        ignore_missing(self.0.kubernetes.modify(resource, "", at, change).await)
    }
}

fn waits(object: &Value, finalizer: &str) -> bool {
    object::has_finalizer(object, finalizer)
}

fn key(resource: &str, namespace: &str, name: &str) -> Key {
    Key::new(&format!("{resource}\n{namespace}"), name)
}

fn key_of(resource: &str, object: &Value) -> Key {
    key(resource, object::namespace(object), object::name(object))
}
