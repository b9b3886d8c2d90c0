//! The entries of `metadata.managedFields`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::set::{Set, compare};
use crate::sandbox::object;
use crate::sandbox::schema::Schema;

/// Which manager, in which way.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// `Apply` or `Update`.
    pub operation: String,
    /// The manager's name.
    pub name: String,
    /// The version that the manager wrote.
    pub api_version: String,
    /// The subresource, empty for the object itself.
    pub subresource: String,
}

impl Manager {
    /// Two applies of one manager are one entry, whatever their versions.
    fn same(&self, other: &Manager) -> bool {
        self.operation == other.operation
            && self.name == other.name
            && self.subresource == other.subresource
            && (self.operation == "Apply" || self.api_version == other.api_version)
    }
}

/// What one manager owns.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who.
    pub manager: Manager,
    /// Since when.
    pub time: String,
    /// What.
    pub fields: Set,
}

/// All entries of an object.
#[derive(Clone, Debug, Default)]
pub struct Managed(pub Vec<Entry>);

impl Managed {
    /// Reads the entries of an object.
    pub fn read(value: &Value) -> Managed {
        let list = object::at(value, &["metadata", "managedFields"]).and_then(Value::as_array);
        let entries = list.into_iter().flatten().map(|entry| {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
            Entry {
                manager: Manager {
                    operation: text("operation"),
                    name: text("manager"),
                    api_version: text("apiVersion"),
                    subresource: text("subresource"),
                },
                time: text("time"),
                fields: Set::from_value(entry.get("fieldsV1").unwrap_or(&Value::Null)),
            }
        });
        Managed(entries.collect())
    }

    /// Writes the entries into an object: applies first, then by time and name.
    pub fn write(&self, value: &mut Value) {
        let mut entries: Vec<&Entry> = self.0.iter().filter(|entry| !entry.fields.is_empty()).collect();
        entries.sort_by(|a, b| {
            (&a.manager.operation, &a.time, &a.manager.name).cmp(&(&b.manager.operation, &b.time, &b.manager.name))
        });
        let list: Vec<Value> = entries
            .into_iter()
            .map(|entry| {
                let mut out = json!({
                    "manager": entry.manager.name,
                    "operation": entry.manager.operation,
                    "apiVersion": entry.manager.api_version,
                    "time": entry.time,
                    "fieldsType": "FieldsV1",
                    "fieldsV1": entry.fields.to_value(),
                });
                if !entry.manager.subresource.is_empty() {
                    out["subresource"] = entry.manager.subresource.clone().into();
                }
                out
            })
            .collect();
        let meta = object::meta_mut(value);
        if list.is_empty() {
            meta.remove("managedFields");
        } else {
            meta.insert("managedFields".into(), list.into());
        }
    }

    /// Returns the entry of a manager.
    pub fn of(&mut self, manager: &Manager) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.manager.same(manager))
    }

    /// Returns the other managers' entries.
    pub fn others<'a>(&'a mut self, manager: &'a Manager) -> impl Iterator<Item = &'a mut Entry> {
        self.0.iter_mut().filter(|entry| !entry.manager.same(manager))
    }

    /// Notes a write that was no apply: what it changed belongs to its manager now.
    pub fn update(&mut self, old: &Value, new: &Value, schema: &Schema, manager: Manager, time: &str) {
        let mut differences = compare(Some(old), Some(new), schema);
        strip(&mut differences.written, &manager.subresource);
        for entry in self.others(&manager) {
            entry.fields.subtract(&differences.written);
            entry.fields.subtract(&differences.removed);
        }
        if let Some(entry) = self.of(&manager) {
            entry.fields.subtract(&differences.removed);
        }
        if !differences.written.is_empty() {
            match self.of(&manager) {
                Some(entry) => {
                    entry.fields.union(&differences.written);
                    entry.time = time.to_owned();
                }
                None => self.0.push(Entry { manager, time: time.to_owned(), fields: differences.written }),
            }
        }
        self.0.retain(|entry| !entry.fields.is_empty());
    }
}

/// Takes away what nobody owns: names, versions, times; and what the (sub)resource does not write.
pub fn strip(set: &mut Set, subresource: &str) {
    const UNOWNED: [&str; 8] =
        ["name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion"];
    let mut unowned = Set::default();
    let mut meta = Set::default();
    for field in UNOWNED {
        meta.below.insert(format!("f:{field}"), Set { here: true, below: BTreeMap::new() });
    }
    unowned.below.insert("f:metadata".into(), meta);
    for field in ["f:apiVersion", "f:kind"] {
        unowned.below.insert(field.into(), Set { here: true, below: BTreeMap::new() });
    }
    set.cut(&unowned);
    if let Some(meta) = set.below.get_mut("f:metadata") {
        meta.here = false;
        if meta.is_empty() {
            set.below.remove("f:metadata");
        }
    }
    if subresource == "status" {
        set.below.remove("f:spec");
    } else if subresource.is_empty() {
        set.below.remove("f:status");
    }
    set.here = false;
}

/// Returns whether the entries are to be forgotten: one empty entry, or an empty list.
pub fn is_reset(value: &Value) -> bool {
    let list = object::at(value, &["metadata", "managedFields"]).and_then(Value::as_array);
    list.is_some_and(|list| list.is_empty() || list.iter().all(|entry| entry.as_object().is_some_and(Map::is_empty)))
}
