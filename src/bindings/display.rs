//! How values look: tables for people, data for programs.

use std::collections::BTreeSet;

use rhai::{Array, Dynamic, Map};
use serde_json::{Value, json};

use super::outcome::Outcome;
use super::property::Property;
use super::values::{
    GAME_SERVER, GAME_SERVER_SET, GameServerSetValue, GameServerValue, GameServers, POD, PodValue, pods_table,
    rooms_table, sets_table,
};
use super::{table as drawing, values};
use crate::script::value;

/// Returns a value as people read it: rooms, sets and pods as tables, anything else as Rhai writes it; nothing for `()`.
pub fn text(shown: &Dynamic) -> String {
    if shown.is_unit() {
        return String::new();
    }
    if let Some(rooms) = shown.read_lock::<GameServers>() {
        let count = rooms.rooms.len();
        let noun = if count == 1 { "room" } else { "rooms" };
        return if count == 0 {
            "0 rooms".to_owned()
        } else {
            format!("{}\n{count} {noun}", rooms_table(&rooms.rooms))
        };
    }
    if is_object(shown) || is_object_list(shown) {
        return table(shown);
    }
    if let Ok(text) = shown.clone().into_immutable_string() {
        return format!("{text:?}");
    }
    match value::to_json(shown) {
        Ok(data) if data.is_object() || data.is_array() => serde_json::to_string_pretty(&data).unwrap_or_default(),
        _ => shown.to_string(),
    }
}

fn is_object(shown: &Dynamic) -> bool {
    shown.is::<GameServerValue>() || shown.is::<GameServerSetValue>() || shown.is::<PodValue>() || shown.is::<Outcome>()
}

fn is_object_list(shown: &Dynamic) -> bool {
    shown.read_lock::<Array>().is_some_and(|items| !items.is_empty() && items.iter().all(is_object))
}

/// Returns a value as a table.
pub fn table(shown: &Dynamic) -> String {
    if let Some(rooms) = shown.read_lock::<GameServers>() {
        return rooms_table(&rooms.rooms);
    }
    if let Some(outcome) = shown.read_lock::<Outcome>() {
        return outcome.table();
    }
    let items: Array = match shown.read_lock::<Array>() {
        Some(items) => items.clone(),
        None => vec![shown.clone()],
    };
    if let Some(rooms) = all::<GameServerValue>(&items) {
        return rooms_table(&rooms);
    }
    if let Some(sets) = all::<GameServerSetValue>(&items) {
        return sets_table(&sets);
    }
    if let Some(pods) = all::<PodValue>(&items) {
        return pods_table(&pods);
    }
    if let Some(maps) = all::<Map>(&items) {
        return maps_table(&maps);
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn all<T: Clone + Send + Sync + 'static>(items: &[Dynamic]) -> Option<Vec<T>> {
    if items.is_empty() {
        return None;
    }
    items.iter().map(|item| item.clone().try_cast::<T>()).collect()
}

fn maps_table(maps: &[Map]) -> String {
    let keys: BTreeSet<&str> = maps.iter().flat_map(|map| map.keys().map(|key| key.as_str())).collect();
    let cell = |map: &Map, key: &str| map.get(key).filter(|value| !value.is_unit()).map(ToString::to_string);
    let rows: Vec<Vec<String>> =
        maps.iter().map(|map| keys.iter().map(|key| cell(map, key).unwrap_or_default()).collect()).collect();
    let headers: Vec<String> = keys.iter().map(|key| key.to_uppercase()).collect();
    drawing::draw(&headers.iter().map(String::as_str).collect::<Vec<_>>(), &rows)
}

/// Returns a value in one line, for the end of a step; empty where there is nothing to say.
pub fn summary(shown: &Dynamic) -> String {
    if let Some(outcome) = shown.read_lock::<Outcome>() {
        return outcome.summary();
    }
    if let Some(rooms) = shown.read_lock::<GameServers>() {
        let names: Vec<&str> = rooms.rooms.iter().take(6).map(|gs| gs.room.name()).collect();
        let more = if rooms.rooms.len() > names.len() { ", …" } else { "" };
        return match names.len() {
            0 => "no rooms".to_owned(),
            _ => format!("{}{more}", names.join(", ")),
        };
    }
    String::new()
}

/// Returns a value as data: typed objects become maps of their properties.
pub fn data(shown: &Dynamic) -> Value {
    if let Some(rooms) = shown.read_lock::<GameServers>() {
        return Value::Array(rooms.rooms.iter().map(|gs| properties(GAME_SERVER, gs)).collect());
    }
    if let Some(gs) = shown.read_lock::<GameServerValue>() {
        return properties(GAME_SERVER, &gs);
    }
    if let Some(gss) = shown.read_lock::<GameServerSetValue>() {
        return properties(GAME_SERVER_SET, &gss);
    }
    if let Some(pod) = shown.read_lock::<PodValue>() {
        return properties(POD, &pod);
    }
    if let Some(outcome) = shown.read_lock::<Outcome>() {
        return outcome.to_json();
    }
    if let Some(items) = shown.read_lock::<Array>() {
        return Value::Array(items.iter().map(data).collect());
    }
    if let Some(map) = shown.read_lock::<Map>() {
        return Value::Object(map.iter().map(|(key, value)| (key.to_string(), data(value))).collect());
    }
    value::to_json(shown).unwrap_or_else(|_| json!(shown.to_string()))
}

fn properties<T>(properties: &[Property<T>], of: &T) -> Value {
    let entries = properties.iter().map(|property| (property.name.to_owned(), data(&(property.get)(of))));
    Value::Object(entries.collect())
}

/// Returns the records of all types with properties.
pub fn types() -> Vec<super::property::TypeRecord> {
    values::types()
}
