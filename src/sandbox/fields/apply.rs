//! Server-side apply: a configuration is merged into an object, and what the manager lets go is taken away.

use serde_json::{Map, Value, json};

use super::managed::{Entry, Managed, Manager, strip};
use super::set::{Set, compare, fields_of, is_leaf, item_key, member};
use crate::sandbox::schema::{ListType, Schema, Shape};
use crate::sandbox::status::Status;

/// The object and the owners after an apply.
pub struct Applied {
    /// The object, its managedFields not yet written.
    pub object: Value,
    /// The owners.
    pub managed: Managed,
}

/// Merges a configuration into a live object.
pub fn apply(
    live: &Value,
    config: &Value,
    schema: &Schema,
    mut managed: Managed,
    manager: &Manager,
    force: bool,
    time: &str,
) -> Result<Applied, Status> {
    let mut wanted = fields_of(config, schema);
    strip(&mut wanted, &manager.subresource);
    let last = managed.of(manager).map(|entry| entry.fields.clone());
    let mut object = merged(live, config, schema);
    match managed.of(manager) {
        Some(entry) => {
            entry.fields = wanted.clone();
            entry.manager.api_version = manager.api_version.clone();
        }
        None => managed.0.push(Entry { manager: manager.clone(), time: time.to_owned(), fields: wanted.clone() }),
    }
    if let Some(last) = &last {
        let mut owned = Set::default();
        for entry in &managed.0 {
            owned.union(&entry.fields);
        }
        prune(&mut object, schema, last, &owned);
    }
    let differences = compare(Some(live), Some(&object), schema);
    let mut written = differences.written.clone();
    strip(&mut written, &manager.subresource);
    let mut conflicts: Vec<(String, Vec<String>)> = Vec::new();
    for entry in managed.others(manager) {
        let both = entry.fields.intersection(&written);
        if both.is_empty() {
            continue;
        }
        if force {
            entry.fields.subtract(&both);
        } else {
            let mut who = format!("{:?}", entry.manager.name);
            if entry.manager.operation == "Update" {
                if !entry.manager.subresource.is_empty() {
                    who = format!("{who} with subresource {:?}", entry.manager.subresource);
                }
                who = format!("{who} using {}", entry.manager.api_version);
            } else if !entry.manager.subresource.is_empty() {
                who = format!("{who} with subresource {:?}", entry.manager.subresource);
            }
            conflicts.push((who, both.paths()));
        }
    }
    if !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    for entry in &mut managed.0 {
        entry.fields.subtract(&differences.removed);
    }
    let changed = !differences.written.is_empty() || !differences.removed.is_empty() || last.as_ref() != Some(&wanted);
    if changed && let Some(entry) = managed.of(manager) {
        entry.time = time.to_owned();
    }
    Ok(Applied { object, managed })
}

fn conflict(conflicts: &[(String, Vec<String>)]) -> Status {
    let count: usize = conflicts.iter().map(|(_, paths)| paths.len()).sum();
    let mut sorted = conflicts.to_vec();
    sorted.sort();
    let mut causes = Vec::new();
    for (who, paths) in &sorted {
        for path in paths {
            let message = format!("conflict with {who}");
            causes.push(json!({"reason": "FieldManagerConflict", "message": message, "field": path}));
        }
    }
    let text = match &sorted[..] {
        [(who, paths)] if paths.len() == 1 => format!("conflict with {who}: {}", paths[0]),
        many => {
            let lines = many.iter().map(|(who, paths)| {
                let word = if paths.len() == 1 { "conflict" } else { "conflicts" };
                let word = if many.len() == 1 { word } else { "conflicts" };
                format!("{word} with {who}:\n{}", paths.iter().map(|p| format!("- {p}")).collect::<Vec<_>>().join("\n"))
            });
            lines.collect::<Vec<_>>().join("\n")
        }
    };
    let word = if count == 1 { "conflict" } else { "conflicts" };
    Status::new(409, "Conflict", format!("Apply failed with {count} {word}: {text}"), json!({"causes": causes}))
}

/// Returns the live value with the configuration's values set.
fn merged(live: &Value, config: &Value, schema: &Schema) -> Value {
    match (live, config) {
        (Value::Object(old), Value::Object(new)) if !schema.atomic => {
            let mut out = old.clone();
            for (key, value) in new {
                let (form, _) = member(schema, key);
                let value = match old.get(key) {
                    Some(old) => merged(old, value, &form),
                    None => value.clone(),
                };
                out.insert(key.clone(), value);
            }
            Value::Object(out)
        }
        (Value::Array(old), Value::Array(new))
            if schema.list != ListType::Atomic && matches!(schema.shape, Shape::List(_)) =>
        {
            let items = schema.items().cloned().unwrap_or_default();
            let mut out = old.clone();
            for item in new {
                let key = item_key(item, schema);
                match out.iter_mut().find(|old| item_key(old, schema) == key) {
                    Some(old) if matches!(schema.list, ListType::Map(_)) => *old = merged(old, item, &items),
                    Some(_) => {}
                    None => out.push(item.clone()),
                }
            }
            Value::Array(out)
        }
        (_, config) => config.clone(),
    }
}

/// Takes away what the manager owned and nobody owns now.
fn prune(value: &mut Value, schema: &Schema, last: &Set, owned: &Set) {
    let nothing = Set::default();
    match value {
        Value::Object(map) if !schema.atomic => {
            let keys: Vec<String> = map.keys().cloned().collect();
            for key in keys {
                let element = format!("f:{key}");
                let Some(was) = last.below.get(&element) else { continue };
                let is = owned.below.get(&element).unwrap_or(&nothing);
                let (form, _) = member(schema, &key);
                if let Some(inner) = map.get_mut(&key)
                    && leaves(inner, &form, was, is)
                {
                    map.remove(&key);
                }
            }
        }
        Value::Array(list) if schema.list != ListType::Atomic => {
            let items = schema.items().cloned().unwrap_or_default();
            list.retain_mut(|item| {
                let element = item_key(item, schema);
                let Some(was) = last.below.get(&element) else { return true };
                let is = owned.below.get(&element).unwrap_or(&nothing);
                !leaves(item, &items, was, is)
            });
        }
        _ => {}
    }
}

/// Prunes a value below; returns whether it goes as a whole.
fn leaves(value: &mut Value, schema: &Schema, was: &Set, is: &Set) -> bool {
    if is.is_empty() && was.here {
        return true;
    }
    if is.is_empty() && is_leaf(value, schema) {
        return was.here;
    }
    prune(value, schema, was, is);
    // A container that was only there for the fields that went, goes with them.
    is.is_empty() && !was.here && value.as_object().is_some_and(Map::is_empty)
}

/// Judges a configuration against the schema; the error is the server's text for the first fault.
pub fn check(config: &Value, schema: &Schema, place: &str) -> Result<(), String> {
    let wrong = |wanted: &str| {
        let shown = match config {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Err(format!("{place}: expected {wanted}, got &value.valueUnstructured{{Value:{shown}}}"))
    };
    match (&schema.shape, config) {
        (_, Value::Null) | (Shape::Any, _) => Ok(()),
        (Shape::Object(members), Value::Object(map)) => {
            for (key, inner) in map {
                let place = format!("{place}.{key}");
                match members.get(key) {
                    Some(member) => check(inner, member, &place)?,
                    None if schema.open => {}
                    None => return Err(format!("{place}: field not declared in schema")),
                }
            }
            Ok(())
        }
        (Shape::Map(values), Value::Object(map)) => {
            map.iter().try_for_each(|(key, inner)| check(inner, values, &format!("{place}.{key}")))
        }
        (Shape::List(items), Value::Array(list)) => list.iter().enumerate().try_for_each(|(index, inner)| {
            let element = match &schema.list {
                ListType::Map(_) => {
                    let key = item_key(inner, schema);
                    let keys: Map<String, Value> =
                        serde_json::from_str(key.trim_start_matches("k:")).unwrap_or_default();
                    let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    format!("[{}]", keys.join(","))
                }
                _ => format!("[{index}]"),
            };
            check(inner, items, &format!("{place}{element}"))
        }),
        (Shape::Object(_) | Shape::Map(_), _) => wrong("map"),
        (Shape::List(_), _) => wrong("list"),
        (Shape::Text | Shape::Bytes | Shape::Time | Shape::MicroTime, Value::String(_)) => Ok(()),
        (Shape::Text | Shape::Bytes | Shape::Time | Shape::MicroTime, _) => wrong("string"),
        (Shape::Integer | Shape::Number, Value::Number(_)) => Ok(()),
        (Shape::Integer | Shape::Number, _) => wrong("numeric (int or float)"),
        (Shape::Boolean, Value::Bool(_)) => Ok(()),
        (Shape::Boolean, _) => wrong("boolean"),
        (Shape::IntOrString | Shape::Quantity, Value::String(_) | Value::Number(_)) => Ok(()),
        (Shape::IntOrString | Shape::Quantity, _) => wrong("numeric (int or float) or string"),
    }
}
