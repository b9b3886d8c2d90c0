//! What controllers know of the cluster: indices over its objects, kept by the one watch that all of them share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::okg::names;
use crate::sandbox::object::{self, Change, ChangeKind, Object};

/// Where an object stands: resource, namespace, name.
pub type Place = (Arc<str>, Arc<str>, Arc<str>);

/// A GameServerSet: namespace and name.
type Set = (Arc<str>, Arc<str>);

/// The indices. Clones share them.
#[derive(Clone, Default)]
pub struct Cache(Arc<Mutex<Indices>>);

#[derive(Default)]
struct Indices {
    /// Pods by namespace and label owner-gss.
    rooms: BTreeMap<Set, BTreeMap<i32, Object>>,
    /// Objects by the uid of each of their owners.
    dependents: BTreeMap<Arc<str>, BTreeMap<Place, Object>>,
}

impl Cache {
    fn indices(&self) -> MutexGuard<'_, Indices> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a change over.
    pub fn apply(&self, change: &Change) {
        let mut indices = self.indices();
        if let Some(previous) = &change.previous {
            indices.remove(&change.resource, previous);
        }
        if change.kind == ChangeKind::Deleted {
            indices.remove(&change.resource, &change.object);
        } else {
            indices.insert(&change.resource, &change.object);
        }
    }

    /// Returns the pods whose label says that they belong to a GameServerSet, by ordinal.
    pub fn rooms(&self, namespace: &str, set: &str) -> Vec<Object> {
        let indices = self.indices();
        let rooms = indices.rooms.get(&(Arc::from(namespace), Arc::from(set)));
        rooms.map(|rooms| rooms.values().cloned().collect()).unwrap_or_default()
    }

    /// Returns the objects of one resource that an object owns, by name.
    pub fn owned(&self, uid: &str, resource: &str) -> Vec<Object> {
        let indices = self.indices();
        let Some(dependents) = indices.dependents.get(uid) else { return Vec::new() };
        let from: Place = (Arc::from(resource), Arc::from(""), Arc::from(""));
        let range = dependents.range(from..).take_while(|((found, _, _), _)| &**found == resource);
        range.map(|(_, object)| object.clone()).collect()
    }

    /// Returns the places of all objects that an object owns.
    pub fn dependents(&self, uid: &str) -> Vec<Place> {
        let indices = self.indices();
        indices.dependents.get(uid).map(|dependents| dependents.keys().cloned().collect()).unwrap_or_default()
    }
}

impl Indices {
    fn insert(&mut self, resource: &Arc<str>, object: &Object) {
        if let Some((set, ordinal)) = room(resource, object) {
            self.rooms.entry(set).or_default().insert(ordinal, object.clone());
        }
        for uid in owner_uids(object) {
            self.dependents.entry(Arc::from(uid)).or_default().insert(place(resource, object), object.clone());
        }
    }

    fn remove(&mut self, resource: &Arc<str>, object: &Object) {
        if let Some((set, ordinal)) = room(resource, object)
            && let Some(rooms) = self.rooms.get_mut(&set)
        {
            rooms.remove(&ordinal);
            if rooms.is_empty() {
                self.rooms.remove(&set);
            }
        }
        for uid in owner_uids(object) {
            if let Some(dependents) = self.dependents.get_mut(uid) {
                dependents.remove(&place(resource, object));
                if dependents.is_empty() {
                    self.dependents.remove(uid);
                }
            }
        }
    }
}

fn room(resource: &str, object: &Value) -> Option<(Set, i32)> {
    if resource != "pods" {
        return None;
    }
    let set = object::label(object, names::OWNER_GSS)?;
    Some(((Arc::from(object::namespace(object)), Arc::from(set)), names::ordinal(object::name(object))?))
}

fn place(resource: &Arc<str>, object: &Value) -> Place {
    (resource.clone(), Arc::from(object::namespace(object)), Arc::from(object::name(object)))
}

/// Returns the uids of an object's owners.
pub fn owner_uids(object: &Value) -> impl Iterator<Item = &str> {
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.filter_map(|owner| owner["uid"].as_str())
}

/// Returns the owner that controls an object.
pub fn controller_of(object: &Value) -> Option<&Value> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)
}
