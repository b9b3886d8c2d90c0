//! What differs between two states of an object, field by field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A changed field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FieldChange {
    /// Dotted path; entries of lists are known by their key: `containers[minecraft].image`.
    pub path: String,
    /// Value before, as text; `-` if absent.
    pub from: String,
    /// Value after.
    pub to: String,
}

/// Keys by which entries of lists are known in Kubernetes.
const ENTRY_KEYS: &[&str] = &["name", "containerPort", "mountPath", "key", "uid", "ip", "topologyKey"];

/// Returns the key of a list's entry, if it is known by one.
pub fn entry_key(entry: &Value) -> Option<String> {
    let entry = entry.as_object()?;
    let key = ENTRY_KEYS.iter().find_map(|key| entry.get(*key))?;
    Some(key.as_str().map_or_else(|| key.to_string(), str::to_owned))
}

/// Returns the fields in which two states of an object differ; what the server keeps by itself is left out.
pub fn changes(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut all = Vec::new();
    compare(before, after, String::new(), &mut all);
    all
}

fn own(path: &str) -> bool {
    matches!(
        path,
        "status" | "metadata.resourceVersion" | "metadata.generation" | "metadata.managedFields" | "metadata.uid"
    )
}

fn compare(before: &Value, after: &Value, path: String, all: &mut Vec<FieldChange>) {
    if before == after || own(&path) {
        return;
    }
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeMap<&String, ()> = old.keys().chain(new.keys()).map(|key| (key, ())).collect();
            for key in keys.into_keys() {
                let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                compare(&of(old), &of(new), join(key), all);
            }
        }
        (Value::Null, Value::Object(new)) if !new.is_empty() => {
            for (key, value) in new {
                compare(&Value::Null, value, join(key), all);
            }
        }
        (Value::Array(old), Value::Array(new)) if keyed(old) && keyed(new) => {
            let keys: Vec<String> = old.iter().chain(new).filter_map(entry_key).collect();
            let mut done = Vec::new();
            for key in keys {
                if done.contains(&key) {
                    continue;
                }
                let of = |list: &[Value]| {
                    list.iter().find(|entry| entry_key(entry).as_ref() == Some(&key)).cloned().unwrap_or(Value::Null)
                };
                compare(&of(old), &of(new), format!("{path}[{key}]"), all);
                done.push(key);
            }
        }
        _ => all.push(FieldChange { path, from: shown(before), to: shown(after) }),
    }
}

fn keyed(list: &[Value]) -> bool {
    list.iter().all(|entry| entry_key(entry).is_some())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // Two long images differ at their ends.
        other => cut(other, 300),
    }
}

/// Returns a value as text of at most 60 characters.
pub fn short(value: &Value) -> String {
    cut(value, 60)
}

fn cut(value: &Value, most: usize) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.chars().count() > most { format!("{}…", text.chars().take(most - 1).collect::<String>()) } else { text }
}
