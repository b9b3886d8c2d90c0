//! What is said of fields, and which values they may have, for `kubectl explain`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Value, json};

const WORDS: &str = include_str!("words.txt");

#[derive(Default)]
struct Words {
    /// By `Type.field`.
    values: BTreeMap<&'static str, Vec<&'static str>>,
    /// By `Type.field`.
    fields: BTreeMap<&'static str, &'static str>,
    /// By kind and path.
    kinds: BTreeMap<(&'static str, &'static str), &'static str>,
}

fn words() -> &'static Words {
    static READ: OnceLock<Words> = OnceLock::new();
    READ.get_or_init(|| {
        let mut words = Words::default();
        for line in WORDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            if first == "enum" {
                let (field, values) = rest.split_once(' ').unwrap_or((rest, ""));
                words.values.insert(field, values.split(' ').collect());
            } else if first.contains('.') {
                words.fields.insert(first, rest);
            } else {
                let (path, text) = rest.split_once(' ').unwrap_or((rest, ""));
                words.kinds.insert((first, path), text);
            }
        }
        words
    })
}

/// Adds to the definition of a built-in type's field what is known of it.
pub fn describe(type_name: &str, field: &str, definition: &mut Value) {
    let place = format!("{type_name}.{field}");
    if let Some(text) = words().fields.get(&*place) {
        definition["description"] = (*text).into();
    }
    if let Some(values) = words().values.get(&*place) {
        definition["enum"] = json!(values);
    }
    if let Some(values) = words().values.get(&*format!("{place}[]")) {
        definition["items"]["enum"] = json!(values);
    }
}

/// Adds words to a custom kind's schema wherever it has none of its own.
pub fn describe_kind(kind: &str, schema: &mut Value) {
    walk(kind, "", schema);
}

fn walk(kind: &str, path: &str, schema: &mut Value) {
    let known = words().kinds.get(&(kind, if path.is_empty() { "." } else { path }));
    if let Some(text) = known
        && schema["description"].is_null()
    {
        schema["description"] = (*text).into();
    }
    // The items of a list have the list's path.
    let inner = if schema["items"].is_object() { &mut schema["items"] } else { schema };
    let Some(members) = inner.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, member) in members {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        walk(kind, &path, member);
    }
}
