//! Strategic merge patches: lists of a type with a merge key are merged, all others replaced.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::rules::go_text;
use super::schema::Schema;
use super::status::Status;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Applies a patch to an object of a type.
pub fn merge(target: &mut Value, patch: &Value, schema: &Arc<Schema>) -> Result<(), Status> {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return Ok(()) };
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some(other) if !["replace", "delete", "merge"].contains(&other) => {
            let text = go_text(&Value::Object(patch.clone()));
            return Err(Status::unknown(format!("unknown patch type: {other} in map: {text}")));
        }
        Some("replace") => {
            *target = patch.clone();
            target.remove(DIRECTIVE);
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        _ => {}
    }
    if let Some(kept) = patch.get(RETAIN).and_then(Value::as_array) {
        target.retain(|key, _| kept.iter().any(|kept| kept == key));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE) {
            let gone = value.as_array().cloned().unwrap_or_default();
            if let Some(Value::Array(items)) = target.get_mut(list) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if let Some(list) = key.strip_prefix(ORDER) {
            if !patch.contains_key(list)
                && let Some(Value::Array(items)) = target.get_mut(list)
            {
                let form = schema.member(list).cloned().unwrap_or_default();
                let order = value.as_array().cloned().unwrap_or_default();
                sort_by(items, &order, form.merge_key.as_deref().unwrap_or(""));
            }
            continue;
        }
        if key == DIRECTIVE || key == RETAIN {
            continue;
        }
        if value.is_null() {
            target.remove(key);
            continue;
        }
        let form = schema.member(key).cloned().unwrap_or_default();
        match (value, &form.merge_key) {
            (Value::Array(items), Some(merge_key)) => {
                let order = patch.get(&format!("{ORDER}{key}")).and_then(Value::as_array);
                let present = target.entry(key.as_str()).or_insert_with(|| Value::Array(Vec::new()));
                if !present.is_array() {
                    *present = Value::Array(Vec::new());
                }
                if let Value::Array(present) = present {
                    list(present, items, merge_key, &form, order)?;
                }
            }
            // A directive about what is not there is thrown away with all that stands beside it.
            (Value::Object(members), _) if members.contains_key(DIRECTIVE) && !target.contains_key(key) => {}
            (Value::Object(_), _) => {
                merge(target.entry(key.as_str()).or_insert(Value::Null), value, &form)?;
            }
            _ => drop(target.insert(key.clone(), value.clone())),
        }
    }
    Ok(())
}

fn list(
    present: &mut Vec<Value>,
    patch: &[Value],
    key: &str,
    schema: &Schema,
    order: Option<&Vec<Value>>,
) -> Result<(), Status> {
    let before = present.clone();
    if patch.iter().any(|item| item.get(DIRECTIVE).and_then(Value::as_str) == Some("replace")) {
        present.clear();
        present.extend(patch.iter().filter(|item| item.get(DIRECTIVE).is_none()).cloned());
        return Ok(());
    }
    let items = schema.items().cloned().unwrap_or_default();
    let mut named = Vec::new();
    for item in patch {
        if key.is_empty() {
            if !present.contains(item) {
                present.push(item.clone());
            }
            named.push(item.clone());
            continue;
        }
        let Some(id) = item.get(key) else {
            let text = go_text(item);
            return Err(Status::unknown(format!("map: {text} does not contain declared merge key: {key}")));
        };
        if item.get(DIRECTIVE).and_then(Value::as_str) == Some("delete") {
            present.retain(|old| old.get(key) != Some(id));
            continue;
        }
        match present.iter_mut().find(|old| old.get(key) == Some(id)) {
            Some(old) => merge(old, item, &items)?,
            None => {
                let mut new = Value::Object(Map::new());
                merge(&mut new, item, &items)?;
                present.push(new);
            }
        }
        named.push(item.clone());
    }
    let order = order.cloned().unwrap_or(named);
    arrange(present, &order, &before, key);
    Ok(())
}

fn same(left: &Value, right: &Value, key: &str) -> bool {
    if key.is_empty() { left == right } else { left.get(key) == right.get(key) }
}

fn place(list: &[Value], item: &Value, key: &str) -> Option<usize> {
    list.iter().position(|other| same(other, item, key))
}

/// Orders a merged list: what the patch names in its order, what only the server has in between, as it stood before.
fn arrange(merged: &mut Vec<Value>, order: &[Value], before: &[Value], key: &str) {
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.drain(..).partition(|item| place(order, item, key).is_some());
    named.sort_by_key(|item| place(order, item, key));
    others.sort_by_key(|item| place(before, item, key));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let left_first = match (others.peek(), named.peek()) {
            (None, None) => return,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(name)) => match (place(before, other, key), place(before, name, key)) {
                (Some(other), Some(name)) => other < name,
                _ => false,
            },
        };
        merged.extend(if left_first { others.next() } else { named.next() });
    }
}

fn sort_by(items: &mut Vec<Value>, order: &[Value], key: &str) {
    let before = items.clone();
    arrange(items, order, &before, key);
}
