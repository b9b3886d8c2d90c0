//! Sets of fields, in the form that managedFields show: `f:` members, `k:` list items by key, `v:` values of sets.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::sandbox::schema::{ListType, Schema, Shape};

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    /// Whether the path itself belongs to the set.
    pub here: bool,
    /// What belongs to it below, by path element.
    pub below: BTreeMap<String, Set>,
}

impl Set {
    /// Returns whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        !self.here && self.below.is_empty()
    }

    /// Adds everything of another set.
    pub fn union(&mut self, other: &Set) {
        self.here |= other.here;
        for (key, set) in &other.below {
            self.below.entry(key.clone()).or_default().union(set);
        }
    }

    /// Takes everything of another set away.
    pub fn subtract(&mut self, other: &Set) {
        self.here &= !other.here;
        for (key, set) in &other.below {
            if let Some(own) = self.below.get_mut(key) {
                own.subtract(set);
                if own.is_empty() {
                    self.below.remove(key);
                }
            }
        }
    }

    /// Takes away what stands at or below the paths of another set.
    pub fn cut(&mut self, other: &Set) {
        if other.here {
            *self = Set::default();
            return;
        }
        for (key, set) in &other.below {
            if let Some(own) = self.below.get_mut(key) {
                own.cut(set);
                if own.is_empty() {
                    self.below.remove(key);
                }
            }
        }
    }

    /// Returns what is in both sets.
    pub fn intersection(&self, other: &Set) -> Set {
        let mut out = Set { here: self.here && other.here, below: BTreeMap::new() };
        for (key, own) in &self.below {
            if let Some(set) = other.below.get(key) {
                let both = own.intersection(set);
                if !both.is_empty() {
                    out.below.insert(key.clone(), both);
                }
            }
        }
        out
    }

    /// Returns the paths as texts, such as `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect("", &mut out);
        out
    }

    fn collect(&self, place: &str, out: &mut Vec<String>) {
        if self.here {
            out.push(place.to_owned());
        }
        for (key, set) in &self.below {
            set.collect(&format!("{place}{}", element_text(key)), out);
        }
    }

    /// Returns `fieldsV1`.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, set) in &self.below {
            let mut value = set.to_value();
            if set.here
                && !set.below.is_empty()
                && let Value::Object(inner) = &mut value
            {
                inner.insert(".".into(), Value::Object(Map::new()));
            }
            map.insert(key.clone(), value);
        }
        Value::Object(map)
    }

    /// Reads `fieldsV1`.
    pub fn from_value(value: &Value) -> Set {
        let mut set = Set::default();
        for (key, inner) in value.as_object().into_iter().flatten() {
            if key == "." {
                set.here = true;
            } else {
                let mut below = Set::from_value(inner);
                below.here |= inner.as_object().is_some_and(Map::is_empty);
                set.below.insert(key.clone(), below);
            }
        }
        set
    }
}

fn element_text(key: &str) -> String {
    let (kind, rest) = key.split_once(':').unwrap_or(("f", key));
    match kind {
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        "v" => format!("[={rest}]"),
        "i" => format!("[{rest}]"),
        _ => format!(".{rest}"),
    }
}

/// Returns the path element of a list's item: by its keys, where an absent key has its default, or by its value.
pub fn item_key(item: &Value, schema: &Schema) -> String {
    match &schema.list {
        ListType::Map(keys) => {
            let mut found = Map::new();
            for key in keys {
                let default = schema.items().and_then(|items| items.member(key)).and_then(|m| m.default.clone());
                let default = default.or_else(|| (key == "protocol").then(|| "TCP".into()));
                if let Some(value) = item.get(key).cloned().or(default) {
                    found.insert(key.clone(), value);
                }
            }
            format!("k:{}", Value::Object(found))
        }
        _ => format!("v:{item}"),
    }
}

fn any() -> Arc<Schema> {
    Arc::default()
}

/// Returns the schema of a member, and whether the schema declares it.
pub fn member(schema: &Schema, key: &str) -> (Arc<Schema>, bool) {
    match &schema.shape {
        Shape::Object(members) => match members.get(key) {
            Some(member) => (member.clone(), true),
            None => (any(), false),
        },
        Shape::Map(values) => (values.clone(), false),
        _ => (any(), false),
    }
}

/// Returns whether a value is merged as a whole.
pub fn is_leaf(value: &Value, schema: &Schema) -> bool {
    match value {
        Value::Object(map) => schema.atomic || map.is_empty(),
        Value::Array(list) => {
            list.is_empty() || schema.list == ListType::Atomic || !matches!(schema.shape, Shape::List(_))
        }
        _ => true,
    }
}

/// Returns the fields that an applied configuration sets.
pub fn fields_of(value: &Value, schema: &Schema) -> Set {
    let mut set = Set::default();
    match value {
        Value::Object(map) if !schema.atomic => {
            for (key, inner) in map {
                let (form, declared) = member(schema, key);
                let mut below = fields_of(inner, &form);
                let empty = inner.is_null() || inner.as_object().is_some_and(Map::is_empty);
                below.here |= empty || !declared;
                if !below.is_empty() {
                    set.below.insert(format!("f:{key}"), below);
                }
            }
        }
        Value::Array(list) if schema.list != ListType::Atomic && matches!(schema.shape, Shape::List(_)) => {
            let items = schema.items().cloned().unwrap_or_default();
            for item in list {
                let mut below = if schema.list == ListType::Set { Set::default() } else { fields_of(item, &items) };
                below.here = true;
                set.below.insert(item_key(item, schema), below);
            }
        }
        _ => set.here = true,
    }
    set
}

/// What differs between two objects.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    /// Fields that were added or changed.
    pub written: Set,
    /// Fields that are gone.
    pub removed: Set,
}

/// Compares two objects field by field.
pub fn compare(old: Option<&Value>, new: Option<&Value>, schema: &Schema) -> Differences {
    let mut out = Differences::default();
    walk(old, new, schema, &mut out.written, &mut out.removed);
    out
}

fn walk(old: Option<&Value>, new: Option<&Value>, schema: &Schema, written: &mut Set, removed: &mut Set) {
    match (old, new) {
        (None, None) => return,
        (None, Some(_)) => written.here = true,
        (Some(_), None) => removed.here = true,
        (Some(old), Some(new)) if old == new => return,
        (Some(old), Some(new)) => {
            let kinds_differ = std::mem::discriminant(old) != std::mem::discriminant(new);
            if kinds_differ || (is_leaf(old, schema) && is_leaf(new, schema)) {
                written.here = true;
                return;
            }
        }
    }
    let leaf = |value: Option<&Value>| value.is_none_or(|value| is_leaf(value, schema));
    if leaf(old) && leaf(new) {
        return;
    }
    let none = Map::new();
    match old.or(new) {
        Some(Value::Object(_)) => {
            let old = old.and_then(Value::as_object).unwrap_or(&none);
            let new = new.and_then(Value::as_object).unwrap_or(&none);
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let (form, _) = member(schema, key);
                descend(old.get(key), new.get(key), &form, format!("f:{key}"), written, removed);
            }
        }
        Some(Value::Array(_)) => {
            let items = schema.items().cloned().unwrap_or_default();
            let keyed = |list: Option<&Value>| -> BTreeMap<String, Value> {
                let list = list.and_then(Value::as_array).cloned().unwrap_or_default();
                list.into_iter().map(|item| (item_key(&item, schema), item)).collect()
            };
            let (old, new) = (keyed(old), keyed(new));
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                descend(old.get(key), new.get(key), &items, key.clone(), written, removed);
            }
        }
        _ => {}
    }
}

fn descend(
    old: Option<&Value>,
    new: Option<&Value>,
    schema: &Schema,
    key: String,
    written: &mut Set,
    removed: &mut Set,
) {
    let (mut w, mut r) = (Set::default(), Set::default());
    walk(old, new, schema, &mut w, &mut r);
    if !w.is_empty() {
        written.below.insert(key.clone(), w);
    }
    if !r.is_empty() {
        removed.below.insert(key, r);
    }
}
