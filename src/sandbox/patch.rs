//! JSON Patch as the API server applies it, and JSON Merge Patch.

use serde_json::Value;

use super::status::Status;

/// Applies RFC 7386.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

/// Returns whether a merge patch would change nothing. The API stores no nulls in the lists of a custom resource, so
/// those of the patch do not count.
pub fn holds(value: &Value, patch: &Value) -> bool {
    match (value, patch) {
        (Value::Object(value), Value::Object(patch)) => patch.iter().all(|(key, patch)| match value.get(key) {
            Some(value) => holds(value, patch),
            None => patch.is_null(),
        }),
        _ => same_but_nulls(value, patch),
    }
}

fn same_but_nulls(value: &Value, patch: &Value) -> bool {
    match (value, patch) {
        (Value::Object(value), Value::Object(patch)) => {
            let mut given = patch.iter().filter(|(_, inner)| !inner.is_null());
            given.clone().count() == value.len()
                && given.all(|(key, inner)| value.get(key).is_some_and(|value| same_but_nulls(value, inner)))
        }
        (Value::Array(value), Value::Array(patch)) => {
            value.len() == patch.len() && value.iter().zip(patch).all(|(value, patch)| same_but_nulls(value, patch))
        }
        _ => value == patch,
    }
}

/// Applies a list of operations the way the server's library does: `replace` of an absent member adds it, `test` of
/// null holds on an absent one, a negative index counts from the end, and the first segment of a pointer is dropped
/// whether it is empty or not. Any failure is a bare 422.
pub fn json(target: &mut Value, operations: &Value) -> Result<(), Status> {
    let operations = operations.as_array().ok_or_else(Status::bare_invalid)?;
    for operation in operations {
        apply(target, operation).ok_or_else(Status::bare_invalid)?;
    }
    Ok(())
}

fn apply(target: &mut Value, operation: &Value) -> Option<()> {
    let path = pointer(operation.get("path")?.as_str()?);
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match operation.get("op")?.as_str()? {
        "add" => put(target, &path, value(), true),
        "replace" => put(target, &path, value(), false),
        "remove" => take(target, &path).map(|_| ()),
        "test" => {
            let expected = operation.get("value").unwrap_or(&Value::Null);
            match find(target, &path) {
                Some(found) => (found == expected).then_some(()),
                // Only the last member may be missing.
                None if path.len() > 1 && find(target, &path[..path.len() - 1]).is_none() => None,
                None => expected.is_null().then_some(()),
            }
        }
        "move" => {
            let moved = take(target, &pointer(operation.get("from")?.as_str()?))?;
            put(target, &path, moved, true)
        }
        "copy" => {
            let from = pointer(operation.get("from")?.as_str()?);
            let parents = from.split_last().map_or(&from[..], |(_, parents)| parents);
            // A member that is not there is copied as null; what should hold it has to be there.
            let copied = match find(target, parents)? {
                Value::Object(_) => find(target, &from).cloned().unwrap_or(Value::Null),
                _ => find(target, &from)?.clone(),
            };
            put(target, &path, copied, true)
        }
        _ => None,
    }
}

fn pointer(text: &str) -> Vec<String> {
    text.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

fn index(text: &str, len: usize) -> Option<usize> {
    let number: i64 = text.parse().ok()?;
    let index = if number < 0 { number + i64::try_from(len).ok()? } else { number };
    usize::try_from(index).ok()
}

fn find<'a>(target: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(target, |value, part| match value {
        Value::Object(map) => map.get(part),
        Value::Array(list) => list.get(index(part, list.len())?),
        _ => None,
    })
}

fn find_mut<'a>(target: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(target, |value, part| match value {
        Value::Object(map) => map.get_mut(part),
        Value::Array(list) => {
            let at = index(part, list.len())?;
            list.get_mut(at)
        }
        _ => None,
    })
}

fn put(target: &mut Value, path: &[String], value: Value, insert: bool) -> Option<()> {
    let Some((last, parents)) = path.split_last() else {
        *target = value;
        return Some(());
    };
    match find_mut(target, parents)? {
        Value::Object(map) => {
            map.insert(last.clone(), value);
        }
        Value::Array(list) if insert => {
            let at = if last == "-" { list.len() } else { insert_index(last, list.len())? };
            if at > list.len() {
                return None;
            }
            list.insert(at, value);
        }
        Value::Array(list) => {
            let at = index(last, list.len())?;
            *list.get_mut(at)? = value;
        }
        _ => return None,
    }
    Some(())
}

/// A negative index of an insertion counts from one past the end.
fn insert_index(text: &str, len: usize) -> Option<usize> {
    index(text, len + 1)
}

fn take(target: &mut Value, path: &[String]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    match find_mut(target, parents)? {
        Value::Object(map) => map.remove(last),
        Value::Array(list) => {
            let at = index(last, list.len())?;
            (at < list.len()).then(|| list.remove(at))
        }
        _ => None,
    }
}
