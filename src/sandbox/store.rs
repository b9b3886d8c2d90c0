//! Where objects stand: one ordered map per kind, one counter of versions, one bounded log of changes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::kinds::Kind;
use super::object::{self, Change, ChangeKind, Object};

/// Changes that are kept for watches and for reading older states; older ones are gone, as after a compaction.
pub const KEPT: usize = 40_000;

/// The first version: a fresh cluster has written a little already, so that version 1 is too old.
const FIRST: u64 = 200;

/// The objects of one kind, by namespace (empty for cluster-scoped kinds) and name.
pub type Shelf = BTreeMap<String, BTreeMap<String, Object>>;

/// The whole state behind the API. Every write raises the version by one.
#[derive(Debug)]
pub struct Store {
    kinds: BTreeMap<Arc<str>, Arc<Kind>>,
    shelves: BTreeMap<Arc<str>, Shelf>,
    log: VecDeque<Change>,
    /// How many changes are kept for clients.
    kept: usize,
    /// What the readers inside the cluster have seen, by their numbers: none of them loses a change.
    readers: BTreeMap<u64, u64>,
    version: u64,
}

impl Store {
    /// An empty store.
    pub fn new() -> Store {
        Store {
            kinds: BTreeMap::new(),
            shelves: BTreeMap::new(),
            log: VecDeque::new(),
            kept: KEPT,
            readers: BTreeMap::new(),
            version: FIRST,
        }
    }

    /// Serves a kind from now on, or replaces its declaration.
    pub fn serve(&mut self, kind: Kind) {
        self.shelves.entry(kind.shelf.clone()).or_default();
        self.kinds.insert(kind.key.clone(), Arc::new(kind));
    }

    /// Serves a kind no longer. Its objects must be gone.
    pub fn withdraw(&mut self, key: &str) {
        self.kinds.remove(key);
    }

    /// Returns a kind by `<plural>[.<group>]`.
    pub fn kind(&self, key: &str) -> Option<Arc<Kind>> {
        self.kinds.get(key).cloned()
    }

    /// Returns all kinds, ordered by key.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.values()
    }

    /// Returns the newest version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the oldest version whose following changes clients can still ask for.
    pub fn oldest(&self) -> u64 {
        let beyond = self.log.len().saturating_sub(self.kept);
        self.log.get(beyond).map_or(self.version, |change| change.version - 1)
    }

    /// Keeps so many changes for clients from now on.
    pub fn keep(&mut self, changes: usize) {
        self.kept = changes;
        self.forget();
    }

    /// Adds a reader inside the cluster that has seen everything up to a version; returns its number, and what it
    /// has to know first: all objects, if the log does not reach back so far.
    pub fn add_reader(&mut self, seen: u64) -> (u64, Option<Vec<Change>>) {
        let number = self.readers.last_key_value().map_or(0, |(last, _)| last + 1);
        let reaches = self.log.front().is_none_or(|first| first.version <= seen.max(FIRST) + 1);
        self.readers.insert(number, if reaches { seen } else { self.version });
        (number, (!reaches).then(|| self.everything()))
    }

    fn everything(&self) -> Vec<Change> {
        let added = |resource: &Arc<str>, object: &Object| Change {
            version: object::version(object),
            resource: resource.clone(),
            kind: ChangeKind::Added,
            object: object.clone(),
            previous: None,
        };
        let all = self.shelves.iter().flat_map(|(resource, shelf)| {
            shelf.values().flat_map(BTreeMap::values).map(move |object| added(resource, object))
        });
        let mut all: Vec<Change> = all.collect();
        all.sort_by_key(|change| change.version);
        all
    }

    /// Notes what a reader has seen.
    pub fn has_read(&mut self, reader: u64, seen: u64) {
        self.readers.insert(reader, seen);
    }

    /// Takes a reader out.
    pub fn remove_reader(&mut self, reader: u64) {
        self.readers.remove(&reader);
        self.forget();
    }

    /// Lets go of changes that neither clients nor readers need.
    fn forget(&mut self) {
        let needed = self.readers.values().min().copied().unwrap_or(u64::MAX);
        while self.log.len() > self.kept && self.log.front().is_some_and(|change| change.version <= needed) {
            self.log.pop_front();
        }
    }

    /// Returns an object.
    pub fn get(&self, key: &str, namespace: &str, name: &str) -> Option<Object> {
        self.shelves.get(key)?.get(namespace)?.get(name).cloned()
    }

    /// Returns objects ordered by namespace and name.
    pub fn list(&self, key: &str, namespace: Option<&str>) -> Vec<Object> {
        let Some(shelf) = self.shelves.get(key) else { return Vec::new() };
        match namespace {
            Some(namespace) => shelf.get(namespace).map(|names| names.values().cloned().collect()).unwrap_or_default(),
            None => shelf.values().flat_map(|names| names.values().cloned()).collect(),
        }
    }

    /// Returns the objects of one namespace where they stand, ordered by name.
    pub fn each(&self, key: &str, namespace: &str) -> impl Iterator<Item = &Object> {
        self.shelves.get(key).and_then(|shelf| shelf.get(namespace)).into_iter().flat_map(BTreeMap::values)
    }

    /// Returns objects as they were at a version, or `None` if the log does not reach back so far.
    pub fn list_at(&self, key: &str, namespace: Option<&str>, version: u64) -> Option<Vec<Object>> {
        if version < self.oldest() || version > self.version {
            return None;
        }
        if version == self.version {
            return Some(self.list(key, namespace));
        }
        let mut state: BTreeMap<(String, String), Object> = self
            .list(key, namespace)
            .into_iter()
            .map(|o| ((object::namespace(&o).to_owned(), object::name(&o).to_owned()), o))
            .collect();
        for change in self.log.iter().rev().take_while(|change| change.version > version) {
            if *change.resource != *key || namespace.is_some_and(|ns| ns != object::namespace(&change.object)) {
                continue;
            }
            let place = (object::namespace(&change.object).to_owned(), object::name(&change.object).to_owned());
            match &change.previous {
                Some(previous) => state.insert(place, previous.clone()),
                None => state.remove(&place),
            };
        }
        Some(state.into_values().collect())
    }

    /// Stores an object under the next version, which it gets.
    pub fn put(&mut self, kind: &Kind, mut value: Value) -> Object {
        self.version += 1;
        object::meta_mut(&mut value).insert("resourceVersion".into(), self.version.to_string().into());
        let object: Object = Arc::new(value);
        let shelf = self.shelves.entry(kind.shelf.clone()).or_default();
        let names = shelf.entry(object::namespace(&object).to_owned()).or_default();
        let previous = names.insert(object::name(&object).to_owned(), object.clone());
        let change = if previous.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        self.log(&kind.shelf, change, object.clone(), previous);
        object
    }

    /// Takes an object out; its last state gets the version of the deletion.
    pub fn remove(&mut self, kind: &Kind, namespace: &str, name: &str) -> Option<Object> {
        let names = self.shelves.get_mut(&kind.shelf)?.get_mut(namespace)?;
        let previous = names.remove(name)?;
        if names.is_empty() {
            self.shelves.get_mut(&kind.shelf)?.remove(namespace);
        }
        self.version += 1;
        let mut last = (*previous).clone();
        object::meta_mut(&mut last).insert("resourceVersion".into(), self.version.to_string().into());
        let last: Object = Arc::new(last);
        self.log(&kind.shelf, ChangeKind::Deleted, last.clone(), Some(previous));
        Some(last)
    }

    fn log(&mut self, key: &Arc<str>, kind: ChangeKind, object: Object, previous: Option<Object>) {
        self.log.push_back(Change { version: self.version, resource: key.clone(), kind, object, previous });
        self.forget();
    }

    /// Returns the changes after a version, oldest first. Versions rise by one, so this is a slice of the log.
    pub fn changes(&self, after: u64) -> impl Iterator<Item = &Change> {
        let skip = self.log.front().map_or(0, |first| (after + 1).saturating_sub(first.version));
        self.log.range(usize::try_from(skip).unwrap_or(usize::MAX).min(self.log.len())..)
    }
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}
