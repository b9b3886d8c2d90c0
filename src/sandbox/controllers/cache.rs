//! What controllers know of the cluster: indices over its objects, kept by the one watch that all of them share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::room::Room;
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
    rooms: BTreeMap<Set, BTreeMap<i32, Arc<Room>>>,
    /// Objects by the uid of each of their owners.
    dependents: BTreeMap<Arc<str>, BTreeMap<Place, Dependent>>,
}

#[derive(Clone)]
enum Dependent {
    Pod(Arc<Room>),
    Other(Object),
}

impl Cache {
    fn indices(&self) -> MutexGuard<'_, Indices> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a change over.
    pub fn apply(&self, change: &Change) {
        let mut indices = self.indices();
        let deleted = change.kind == ChangeKind::Deleted;
        if let Some(previous) = &change.previous
            && (deleted || moved(&change.resource, previous, &change.object))
        {
            indices.remove(&change.resource, previous);
        }
        if deleted {
            indices.remove(&change.resource, &change.object);
        } else {
            indices.insert(&change.resource, &change.object);
        }
    }

    /// Returns the pods whose label says that they belong to a GameServerSet, by ordinal.
    pub fn rooms(&self, namespace: &str, set: &str) -> Vec<Arc<Room>> {
        let indices = self.indices();
        let rooms = indices.rooms.get(&(Arc::from(namespace), Arc::from(set)));
        rooms.map(|rooms| rooms.values().cloned().collect()).unwrap_or_default()
    }

    /// Returns the pods that an object owns, by name.
    pub fn pods(&self, owner: &str) -> Vec<Arc<Room>> {
        let pod = |dependent: &Dependent| match dependent {
            Dependent::Pod(room) => Some(room.clone()),
            Dependent::Other(_) => None,
        };
        self.owned(owner, "pods", pod)
    }

    /// Returns the objects of another resource that an object owns, by name.
    pub fn objects(&self, owner: &str, resource: &str) -> Vec<Object> {
        let object = |dependent: &Dependent| match dependent {
            Dependent::Pod(_) => None,
            Dependent::Other(object) => Some(object.clone()),
        };
        self.owned(owner, resource, object)
    }

    fn owned<T>(&self, owner: &str, resource: &str, read: impl Fn(&Dependent) -> Option<T>) -> Vec<T> {
        let indices = self.indices();
        let Some(dependents) = indices.dependents.get(owner) else { return Vec::new() };
        let from: Place = (Arc::from(resource), Arc::from(""), Arc::from(""));
        let range = dependents.range(from..).take_while(|((found, _, _), _)| &**found == resource);
        range.filter_map(|(_, dependent)| read(dependent)).collect()
    }

    /// Returns the places of all objects that an object owns.
    pub fn dependents(&self, uid: &str) -> Vec<Place> {
        let indices = self.indices();
        indices.dependents.get(uid).map(|dependents| dependents.keys().cloned().collect()).unwrap_or_default()
    }

    /// Returns whether an object owns any.
    pub fn has_dependents(&self, uid: &str) -> bool {
        self.indices().dependents.contains_key(uid)
    }
}

impl Indices {
    fn insert(&mut self, resource: &Arc<str>, object: &Object) {
        let dependent = if &**resource == "pods" {
            let room = Arc::new(Room::new(object.clone()));
            if let Some((set, ordinal)) = room_of(resource, object) {
                self.rooms.entry(set).or_default().insert(ordinal, room.clone());
            }
            Dependent::Pod(room)
        } else {
            Dependent::Other(object.clone())
        };
        for uid in owner_uids(object) {
            let place = place(resource, object);
            match self.dependents.get_mut(uid) {
                Some(dependents) => dependents.insert(place, dependent.clone()),
                None => self.dependents.entry(Arc::from(uid)).or_default().insert(place, dependent.clone()),
            };
        }
    }

    fn remove(&mut self, resource: &Arc<str>, object: &Object) {
        if let Some((set, ordinal)) = room_of(resource, object)
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

/// Returns whether a write moved an object to another place in the indices.
fn moved(resource: &str, before: &Value, after: &Value) -> bool {
    !owner_uids(before).eq(owner_uids(after))
        || (resource == "pods" && object::label(before, names::OWNER_GSS) != object::label(after, names::OWNER_GSS))
}

fn room_of(resource: &str, object: &Value) -> Option<(Set, i32)> {
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
