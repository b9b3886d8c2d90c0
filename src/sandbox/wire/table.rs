//! Tables, as kubectl asks for them.

use serde_json::{Value, json};

use super::accept::View;
use super::columns;
use super::dispatch::Target;
use super::list::partial;
use super::request::Request;
use crate::sandbox::api::Api;
use crate::sandbox::kinds::Column;
use crate::sandbox::object::{self, Object};
use crate::sandbox::status::Status;

/// Refuses an `includeObject` that nobody knows.
pub fn check(request: &Request, view: &View) -> Result<(), Status> {
    let include = request.option("includeObject").unwrap_or("");
    if !matches!(view, View::Table(_)) || ["", "None", "Metadata", "Object"].contains(&include) {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "Unable to convert to Table as requested: includeObject: Invalid value: {include:?}: must be 'Metadata', \
         'Object', 'None', or empty"
    )))
}

/// Returns objects as a table.
pub fn table(
    api: &Api,
    request: &Request,
    target: &Target,
    objects: &[Object],
    meta: Value,
    version: &str,
    with_columns: bool,
) -> Value {
    let now = api.clock().now();
    let form = target.kind.form(&target.version);
    let (definitions, rows): (Vec<Value>, Vec<Vec<Value>>) = if target.kind.custom {
        let columns = custom_columns(&form.columns);
        let rows = objects.iter().map(|object| custom_cells(&target.shown(object), &columns, now)).collect();
        (columns.iter().map(definition).collect(), rows)
    } else {
        let names = columns::headers(&target.kind.key);
        let rows = objects.iter().map(|object| columns::cells(&target.kind.key, object, now)).collect();
        (names.iter().map(|(name, kind, priority)| built_in(name, kind, *priority)).collect(), rows)
    };
    let include = request.option("includeObject").unwrap_or("");
    let rows: Vec<Value> = objects
        .iter()
        .zip(rows)
        .map(|(object, cells)| {
            let object = match include {
                "None" => Value::Null,
                "Object" => target.shown(object),
                _ => partial(object, version),
            };
            json!({"cells": cells, "object": object})
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": meta,
        "columnDefinitions": if with_columns { definitions.into() } else { Value::Null },
        "rows": rows,
    })
}

/// Returns a Scale as a table.
pub fn of_scale(api: &Api, scale: &Value, version: &str) -> Value {
    let columns = [("Name", "string"), ("Desired", "integer"), ("Available", "integer"), ("Age", "string")];
    let count = |part: &str| scale[part]["replicas"].as_i64().unwrap_or(0);
    let age = columns::age(object::meta(scale, "creationTimestamp"), api.clock().now());
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": {"resourceVersion": object::meta(scale, "resourceVersion")},
        "columnDefinitions": columns.map(|(name, kind)| built_in(name, kind, 0)),
        "rows": [{"cells": [object::name(scale), count("spec"), count("status"), age], "object": partial(scale, version)}],
    })
}

fn built_in(name: &str, kind: &str, priority: i64) -> Value {
    let format = if name == "Name" { "name" } else { "" };
    json!({"name": name, "type": kind, "format": format, "description": "", "priority": priority})
}

fn definition(column: &Column) -> Value {
    let description = if column.description.is_empty() {
        format!("Custom resource definition column (in JSONPath format): {}", column.path)
    } else {
        column.description.clone()
    };
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": description,
        "priority": column.priority,
    })
}

/// The name comes first; without any columns of its own a kind shows its age.
fn custom_columns(declared: &[Column]) -> Vec<Column> {
    let named = |name: &str, kind: &str, format: &str, path: &str| Column {
        name: name.into(),
        kind: kind.into(),
        format: format.into(),
        path: path.into(),
        ..Column::default()
    };
    let mut columns = vec![named("Name", "string", "name", ".metadata.name")];
    columns.extend(declared.iter().cloned());
    if declared.is_empty() {
        columns.push(named("Age", "date", "", ".metadata.creationTimestamp"));
    }
    columns
}

fn custom_cells(object: &Value, columns: &[Column], now: jiff::Timestamp) -> Vec<Value> {
    columns.iter().map(|column| custom_cell(object, column, now)).collect()
}

fn custom_cell(object: &Value, column: &Column, now: jiff::Timestamp) -> Value {
    let found = find(object, &column.path);
    let Some(first) = found.first() else { return Value::Null };
    match column.kind.as_str() {
        "integer" => match first {
            Value::Number(number) if number.is_f64() => json!(number.as_f64().unwrap_or(0.0).trunc()),
            Value::Number(_) => (*first).clone(),
            _ => Value::Null,
        },
        "number" => {
            if first.is_number() {
                (*first).clone()
            } else {
                Value::Null
            }
        }
        "boolean" => {
            if first.is_boolean() {
                (*first).clone()
            } else {
                Value::Null
            }
        }
        "date" => first.as_str().map_or(Value::Null, |text| columns::age(text, now).into()),
        _ => {
            let texts: Vec<String> =
                found.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect();
            texts.join(",").into()
        }
    }
}

/// Returns what a JSONPath of a column finds: members, `[*]`, `[0]` and `[?(@.a=="b")]`.
fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    for step in steps(path) {
        found = match step {
            Step::Member(name) => found.into_iter().filter_map(|value| value.get(&name)).collect(),
            Step::All => found.into_iter().filter_map(Value::as_array).flatten().collect(),
            Step::Index(index) => found.into_iter().filter_map(|value| value.get(index)).collect(),
            Step::Where(name, wanted) => found
                .into_iter()
                .filter_map(Value::as_array)
                .flatten()
                .filter(|item| object::text_at(item, &name.split('.').collect::<Vec<_>>()) == wanted)
                .collect(),
        };
    }
    found
}

enum Step {
    Member(String),
    All,
    Index(usize),
    Where(String, String),
}

fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut name = String::new();
    let mut chars = path.chars().peekable();
    let flush = |name: &mut String, steps: &mut Vec<Step>| {
        if !name.is_empty() {
            steps.push(Step::Member(std::mem::take(name)));
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '\\' => name.extend(chars.next()),
            '.' => flush(&mut name, &mut steps),
            '[' => {
                flush(&mut name, &mut steps);
                let inner: String = chars.by_ref().take_while(|c| *c != ']').collect();
                if inner == "*" {
                    steps.push(Step::All);
                } else if let Ok(index) = inner.parse() {
                    steps.push(Step::Index(index));
                } else if let Some(test) = inner.strip_prefix("?(@.") {
                    let test = test.trim_end_matches(')');
                    let (key, wanted) = test.split_once("==").unwrap_or((test, ""));
                    let wanted = wanted.trim().trim_matches(['"', '\'']);
                    steps.push(Step::Where(key.trim().to_owned(), wanted.to_owned()));
                } else {
                    steps.push(Step::Member(inner.trim_matches(['"', '\'']).to_owned()));
                }
            }
            c => name.push(c),
        }
    }
    flush(&mut name, &mut steps);
    steps
}
