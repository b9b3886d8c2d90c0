//! What counts as the same: the recordings' own rules.

use std::collections::{BTreeMap, BTreeSet};

use okgscript::sandbox::status::Status;
use serde_json::{Map, Value, json};

use super::seen::Seen;
use super::view::text;

const ABSENT: &str = "(absent)";

/// Compares the answer of an action.
pub fn answer(index: usize, action: &Value, answer: Result<Value, Status>, varies: &Value) -> Vec<String> {
    let wanted = &action["answer"];
    let got = match answer {
        Ok(value) if value == "unchecked" => return Vec::new(),
        Ok(value) => value,
        Err(status) => json!({"code": status.code, "message": status.message}),
    };
    let mut lines = Vec::new();
    differ(wanted, &got, &index.to_string(), '/', varies, &mut lines);
    lines.iter().map(|line| format!("answer {line}")).collect()
}

/// Compares the settled state, exactly.
pub fn settled(wanted: &Value, got: &Value, varies: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    differ(wanted, got, "", '|', varies, &mut lines);
    lines.iter().map(|line| format!("settled {line}")).collect()
}

fn differ(wanted: &Value, got: &Value, path: &str, separator: char, varies: &Value, lines: &mut Vec<String>) {
    if let Some(options) = varies[path].as_array() {
        let shown = if got.is_null() { json!(ABSENT) } else { got.clone() };
        if options.iter().any(|option| same(option, &shown)) {
            return;
        }
        lines.push(format!("{path}: any of {options:?}, got {shown}"));
        return;
    }
    match (wanted, got) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}{separator}{key}") };
                let absent = json!(ABSENT);
                let side = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_else(|| absent.clone());
                let (left, right) = (side(left), side(right));
                if varies[&path].is_null() && (left == ABSENT || right == ABSENT) {
                    // Below an absent member something may vary.
                    let below = format!("{path}{separator}");
                    let paths = varies.as_object().into_iter().flatten().map(|(path, _)| path);
                    if paths.into_iter().any(|path| path.starts_with(&below)) {
                        let empty = |side: Value| if side == ABSENT { json!({}) } else { side };
                        differ(&empty(left), &empty(right), &path, separator, varies, lines);
                        continue;
                    }
                }
                let right = if right == ABSENT && !varies[&path].is_null() { Value::Null } else { right };
                differ(&left, &right, &path, separator, varies, lines);
            }
        }
        _ if same(wanted, got) => {}
        _ => lines.push(format!("{path}: want {wanted}, got {got}")),
    }
}

/// Texts are equal with the times in them left out.
fn same(wanted: &Value, got: &Value) -> bool {
    match (wanted, got) {
        (Value::String(wanted), Value::String(got)) => {
            wanted == got
                || wanted.split_once("<t>").is_some_and(|(start, end)| got.starts_with(start) && got.ends_with(end))
        }
        (Value::Array(wanted), Value::Array(got)) => {
            wanted.len() == got.len() && wanted.iter().zip(got).all(|(wanted, got)| same(wanted, got))
        }
        _ => wanted == got,
    }
}

/// Returns the rooms that were there in some runs only; what else is said of them follows from that.
pub fn loose(step: &Value) -> impl Iterator<Item = String> {
    let varies = step["varies_settled"].as_object().into_iter().flatten();
    varies.filter_map(|(path, _)| {
        let room = path.strip_prefix("rooms|")?;
        let room = room.strip_suffix("|lifecycle").unwrap_or(room);
        (!room.contains('|')).then(|| room.to_owned())
    })
}

/// Compares the order of rooms: exact, but condemned ones go in batches of 1, 2, 4 …, and what the garbage collector
/// deletes, or what is made anew at the same time, may come in any order.
pub fn order(step: &Value, seen: &Seen, recording: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let actions = step["do"].to_string();
    let collected = actions.contains("\"delete\"");
    let together = recording.to_string().contains("maxUnavailable");
    for word in ["created", "terminating", "updated"] {
        let list = |value: &Value| -> Vec<String> { value.as_array().into_iter().flatten().map(text).collect() };
        let mut options: Vec<Vec<String>> = vec![list(&step["order"][word])];
        // How often something was made anew is chance where the order is.
        let varied = !step["varies_order"][word].is_null();
        if let Some(varied) = step["varies_order"][word].as_array() {
            options = varied.iter().map(list).collect();
        }
        let got = seen.order.get(word).cloned().unwrap_or_default();
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort();
            names
        };
        let fits = |wanted: &Vec<String>| {
            *wanted == got
                || (varied && wanted.iter().collect::<BTreeSet<_>>() == got.iter().collect())
                || (word == "terminating" && batches(wanted) == batches(&got))
                || ((collected || together) && sorted(wanted) == sorted(&got))
        };
        if !options.iter().any(fits) {
            lines.push(format!("order {word}: want {options:?}, got {got:?}"));
        }
    }
    lines
}

fn batches(names: &[String]) -> Vec<BTreeSet<&String>> {
    let (mut batches, mut rest, mut size) = (Vec::new(), names, 1);
    while !rest.is_empty() {
        let (batch, left) = rest.split_at(size.min(rest.len()));
        batches.push(batch.iter().collect());
        (rest, size) = (left, size * 2);
    }
    batches
}

/// Compares the way: first and last value, and that nothing appears that the real one never shows.
pub fn seen(step: &Value, seen: &Seen, loose: &BTreeSet<String>) -> Vec<String> {
    let mut wanted: BTreeMap<(String, String), Vec<Vec<Value>>> = BTreeMap::new();
    for (object, fields) in step["seen"].as_object().into_iter().flatten() {
        for (field, values) in fields.as_object().into_iter().flatten() {
            let values = values.as_array().unwrap().clone();
            wanted.entry((object.clone(), field.clone())).or_default().push(values);
        }
    }
    for (path, options) in step["varies_seen"].as_object().into_iter().flatten() {
        let (object, field) = path.rsplit_once('|').unwrap_or((path, ""));
        for option in options.as_array().unwrap() {
            if let Some(values) = option.as_array() {
                wanted.entry((object.into(), field.into())).or_default().push(values.clone());
            } else if let Some(fields) = option.as_object() {
                for (field, values) in fields {
                    let values = values.as_array().cloned().unwrap_or_default();
                    wanted.entry((path.clone(), field.clone())).or_default().push(values);
                }
            } else {
                wanted.entry((object.into(), field.into())).or_default().push(Vec::new());
            }
        }
    }
    let mut lines = Vec::new();
    wanted.retain(|(object, _), _| !loose.contains(object));
    for (object, fields) in seen.values.iter().filter(|(object, _)| !loose.contains(*object)) {
        for (field, values) in fields {
            let Some(options) = wanted.remove(&(object.clone(), field.clone())) else {
                if values.first() != values.last() || values.len() > 1 {
                    lines.push(format!("seen {object} {field}: want no change, got {}", json!(values)));
                }
                continue;
            };
            let ends = |option: &Vec<Value>| option.first() == values.first() && option.last() == values.last();
            let known: Vec<&Value> = options.iter().flatten().collect();
            let strange = values.iter().find(|value| !known.contains(value));
            if !options.iter().any(ends) || strange.is_some() {
                lines.push(format!("seen {object} {field}: want {}, got {}", json!(options), json!(values)));
            }
        }
    }
    for ((object, field), options) in wanted {
        let moved = |option: &Vec<Value>| option.first() != option.last();
        if options.iter().all(moved) {
            lines.push(format!("seen {object} {field}: want {}, got no change", json!(options)));
        }
    }
    lines
}

/// A scale step that ran again before it saw its own annotation.
fn second_scale(line: &str) -> bool {
    let Some(numbers) = line.strip_prefix("Normal Scale scale from ") else { return false };
    numbers.split_once(" to ").is_some_and(|(from, to)| from == to)
}

/// What a new room shows depends on races: whether it was seen before its gates opened, and whether the GameServer
/// that had its name before met it.
fn of_a_new_room(line: &str) -> bool {
    let wishes = ["OpsState turn from ", "DeletionPriority turn ", "UpdatePriority turn ", "NetworkDisabled turn "];
    let start = ["Creating to NotReady ", "NotReady to Ready ", "Creating to Ready "];
    let reset = ["to None ", "to 0 ", "to false "].iter().any(|end| line.ends_with(end));
    line.starts_with("Warning ReadinessGatesNotReady")
        || start.iter().any(|end| line.ends_with(&format!("State turn from {end}")))
        || (reset && wishes.iter().any(|wish| line.contains(wish)))
}

/// A room changed in place is seen as NotReady on its way back, or not.
fn of_a_changed_room(line: &str) -> bool {
    let ends = ["Updating to NotReady ", "NotReady to Ready ", "Updating to Ready "];
    line.starts_with("Warning ReadinessGatesNotReady")
        || ends.iter().any(|end| line.ends_with(&format!("State turn from {end}")))
}

/// Compares events as sets by object.
pub fn events(step: &Value, seen: &Seen, loose: &BTreeSet<String>) -> Vec<String> {
    let free = |line: &str| {
        (line.contains("FailedDelete") && line.ends_with("not found"))
            || line.contains("CreatedImagePullJob")
            || second_scale(line)
    };
    let set = |value: &Value| -> BTreeSet<String> {
        value.as_array().into_iter().flatten().map(text).filter(|line| !free(line)).collect()
    };
    let mut objects: BTreeSet<String> = seen.events.keys().cloned().collect();
    for key in ["events", "varies_events"] {
        objects.extend(step[key].as_object().into_iter().flatten().map(|(object, _)| object.clone()));
    }
    let mut lines = Vec::new();
    for object in objects {
        if object.strip_prefix("gs/").is_some_and(|room| loose.contains(room)) {
            continue;
        }
        let room = object.strip_prefix("gs/").unwrap_or_default().to_owned();
        let made = seen.order.get("created").is_some_and(|made| made.contains(&room));
        let updated = seen.order.get("updated").is_some_and(|updated| updated.contains(&room));
        let set = |value: &Value| -> BTreeSet<String> {
            set(value)
                .into_iter()
                .filter(|line| !(made && of_a_new_room(line) || updated && of_a_changed_room(line)))
                .collect()
        };
        let got: BTreeSet<String> = set(&json!(seen.events.get(&object)));
        let mut options = vec![set(&step["events"][&object])];
        if let Some(varied) = step["varies_events"][&object].as_array() {
            options = varied.iter().map(set).collect();
        }
        let fits = |wanted: &BTreeSet<String>| {
            wanted.len() == got.len() && wanted.iter().zip(&got).all(|(a, b)| same(&json!(a), &json!(b)))
        };
        if !options.iter().any(fits) {
            lines.push(format!("events {object}: want {options:?}, got {got:?}"));
        }
    }
    lines
}
