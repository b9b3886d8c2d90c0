//! The older OpenAPI document, version 2: definitions of all kinds, as JSON and as the protobuf that kubectl reads.

use serde_json::{Map, Value};

use super::protobuf::varint;

const V3: &str = "#/components/schemas/";

/// Returns a definition of version 3 in the words of version 2: a reference stands alone, and nothing is a choice.
pub fn older(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            if let Some(reference) = reference(map) {
                let mut out = Map::new();
                out.insert("$ref".into(), reference.replace(V3, "#/definitions/").into());
                if let Some(text) = map.get("description") {
                    out.insert("description".into(), text.clone());
                }
                return Value::Object(out);
            }
            // Version 2 has no word for these, so that clients must not look closer.
            let flag = |key: &str| map.get(key) == Some(&Value::Bool(true));
            let open = ["nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"]
                .iter()
                .any(|key| flag(key));
            let looked_at = ["type", "properties", "items", "additionalProperties"];
            let mut out: Map<String, Value> = map
                .iter()
                .filter(|(key, _)| !["anyOf", "oneOf", "allOf", "not", "nullable"].contains(&key.as_str()))
                .filter(|(key, _)| !(open && looked_at.contains(&key.as_str())))
                .map(|(key, value)| (key.clone(), older(value)))
                .collect();
            if map.contains_key("oneOf") {
                out.insert("type".into(), "string".into());
            }
            Value::Object(out)
        }
        Value::Array(list) => list.iter().map(older).collect(),
        other => other.clone(),
    }
}

fn reference(map: &Map<String, Value>) -> Option<&str> {
    let whole = map.get("allOf").and_then(Value::as_array).and_then(|list| list.first());
    whole.and_then(|first| first["$ref"].as_str()).or(map.get("$ref").and_then(Value::as_str))
}

/// Returns a document of version 2 as gnostic's protobuf message; its paths are left out.
pub fn encoded(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    text(1, "2.0", &mut out);
    let mut info = Vec::new();
    text(1, document["info"]["title"].as_str().unwrap_or(""), &mut info);
    text(2, document["info"]["version"].as_str().unwrap_or(""), &mut info);
    bytes(2, &info, &mut out);
    bytes(8, &[], &mut out);
    bytes(9, &named(document["definitions"].as_object(), schema), &mut out);
    out
}

/// Writes members as entries of a name and a value.
fn named(members: Option<&Map<String, Value>>, write: fn(&Value) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in members.into_iter().flatten() {
        let mut entry = Vec::new();
        text(1, name, &mut entry);
        bytes(2, &write(value), &mut entry);
        bytes(1, &entry, &mut out);
    }
    out
}

fn schema(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (field, key) in [(1, "$ref"), (2, "format"), (4, "description"), (13, "pattern")] {
        if let Some(found) = value[key].as_str() {
            text(field, found, &mut out);
        }
    }
    for name in value["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text(19, name, &mut out);
    }
    for choice in value["enum"].as_array().into_iter().flatten() {
        bytes(20, &yaml(choice), &mut out);
    }
    match &value["additionalProperties"] {
        Value::Bool(any) => bytes(21, &[2 << 3, u8::from(*any)], &mut out),
        Value::Object(_) => {
            let mut item = Vec::new();
            bytes(1, &schema(&value["additionalProperties"]), &mut item);
            bytes(21, &item, &mut out);
        }
        _ => {}
    }
    if let Some(kind) = value["type"].as_str() {
        let mut item = Vec::new();
        text(1, kind, &mut item);
        bytes(22, &item, &mut out);
    }
    if value["items"].is_object() {
        let mut item = Vec::new();
        bytes(1, &schema(&value["items"]), &mut item);
        bytes(23, &item, &mut out);
    }
    if let Some(members) = value["properties"].as_object() {
        bytes(25, &named(Some(members), schema), &mut out);
    }
    for (name, extension) in value.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("x-")) {
        let mut entry = Vec::new();
        text(1, name, &mut entry);
        bytes(2, &yaml(extension), &mut entry);
        bytes(31, &entry, &mut out);
    }
    out
}

/// Writes a value of any kind: as YAML, of which JSON is a part.
fn yaml(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    text(2, &value.to_string(), &mut out);
    out
}

fn text(field: u64, text: &str, out: &mut Vec<u8>) {
    bytes(field, text.as_bytes(), out);
}

fn bytes(field: u64, content: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | 2, out);
    varint(content.len() as u64, out);
    out.extend_from_slice(content);
}
