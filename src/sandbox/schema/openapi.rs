//! Schemas as OpenAPI v3 documents, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{ListType, Schema, Shape, words};

/// The pattern that CRDs give to amounts.
pub const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// The rules that are kept by name.
const RULES: [&str; 16] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "enum",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
];

/// Returns a structural schema as a CRD writes it.
pub fn write(schema: &Schema) -> Value {
    let mut out = Map::new();
    let mut kind = |name: &str| drop(out.insert("type".into(), name.into()));
    match &schema.shape {
        Shape::Any => {}
        Shape::Object(_) | Shape::Map(_) => kind("object"),
        Shape::List(_) => kind("array"),
        Shape::Text | Shape::Bytes | Shape::Time | Shape::MicroTime => kind("string"),
        Shape::Integer => kind("integer"),
        Shape::Number => kind("number"),
        Shape::Boolean => kind("boolean"),
        Shape::IntOrString | Shape::Quantity => {
            out.insert("anyOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
            out.insert("x-kubernetes-int-or-string".into(), true.into());
            if matches!(schema.shape, Shape::Quantity) {
                out.insert("pattern".into(), QUANTITY.into());
            }
        }
    }
    match &schema.shape {
        Shape::Object(members) if !members.is_empty() => {
            let members = members.iter().map(|(name, member)| (name.clone(), write(member)));
            out.insert("properties".into(), Value::Object(members.collect()));
        }
        Shape::Map(values) => drop(out.insert("additionalProperties".into(), write(values))),
        Shape::List(items) => drop(out.insert("items".into(), write(items))),
        _ => {}
    }
    if !schema.required.is_empty() {
        out.insert("required".into(), json!(schema.required));
    }
    if !schema.format.is_empty() {
        out.insert("format".into(), schema.format.clone().into());
    }
    match &schema.list {
        ListType::Atomic => {}
        ListType::Set => drop(out.insert("x-kubernetes-list-type".into(), "set".into())),
        ListType::Map(keys) => {
            out.insert("x-kubernetes-list-type".into(), "map".into());
            out.insert("x-kubernetes-list-map-keys".into(), json!(keys));
        }
    }
    for (key, flag) in [
        ("x-kubernetes-preserve-unknown-fields", schema.open),
        ("x-kubernetes-embedded-resource", schema.embedded),
        ("nullable", schema.nullable),
    ] {
        if flag {
            out.insert(key.into(), true.into());
        }
    }
    if let Some(default) = &schema.default {
        out.insert("default".into(), default.clone());
    }
    for (rule, value) in &schema.rules {
        out.insert(rule.clone(), value.clone());
    }
    Value::Object(out)
}

/// Reads the schema of a CRD's version.
pub fn read(value: &Value) -> Schema {
    let flag = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(false);
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("");
    let mut schema = Schema {
        format: text("format").to_owned(),
        open: flag("x-kubernetes-preserve-unknown-fields"),
        embedded: flag("x-kubernetes-embedded-resource"),
        nullable: flag("nullable"),
        default: value.get("default").cloned(),
        atomic: text("x-kubernetes-map-type") == "atomic",
        required: texts(value.get("required")),
        ..Schema::default()
    };
    schema.shape = match text("type") {
        _ if flag("x-kubernetes-int-or-string") => Shape::IntOrString,
        "object" => match (value.get("properties"), value.get("additionalProperties")) {
            (None, Some(values @ Value::Object(_))) => Shape::Map(Arc::new(read(values))),
            (None, Some(Value::Bool(true))) => Shape::Map(Arc::default()),
            (members, _) => {
                let members = members.and_then(Value::as_object).into_iter().flatten();
                Shape::Object(members.map(|(name, member)| (name.clone(), Arc::new(read(member)))).collect())
            }
        },
        "array" => Shape::List(Arc::new(value.get("items").map(read).unwrap_or_default())),
        "string" => Shape::Text,
        "integer" => Shape::Integer,
        "number" => Shape::Number,
        "boolean" => Shape::Boolean,
        _ => Shape::Any,
    };
    schema.list = match text("x-kubernetes-list-type") {
        "set" => ListType::Set,
        "map" => ListType::Map(texts(value.get("x-kubernetes-list-map-keys"))),
        _ => ListType::Atomic,
    };
    let kept = RULES.iter().filter_map(|rule| value.get(*rule).map(|found| ((*rule).to_owned(), found.clone())));
    schema.rules = kept.collect::<BTreeMap<String, Value>>();
    schema
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Returns a built-in type for an OpenAPI document: other types are references.
pub fn definition(schema: &Schema, top: bool) -> Value {
    const REF: &str = "#/components/schemas/";
    if !top && !schema.name.is_empty() {
        return json!({"allOf": [{"$ref": format!("{REF}{}", schema.name)}]});
    }
    let reference = |name: &str| json!({"$ref": format!("{REF}{name}")});
    let wrapped = |name: &str| json!({"allOf": [reference(name)]});
    let mut out = Map::new();
    match &schema.shape {
        Shape::Time => return wrapped(TIME),
        Shape::MicroTime => return wrapped(MICRO_TIME),
        Shape::Quantity => return wrapped(QUANTITY_TYPE),
        Shape::IntOrString => return wrapped(INT_OR_STRING),
        Shape::Any => drop(out.insert("type".into(), "object".into())),
        Shape::Object(members) => {
            out.insert("type".into(), "object".into());
            let members = members.iter().map(|(name, member)| {
                let mut shown = definition(member, false);
                words::describe(schema.short_name(), name, &mut shown);
                (name.clone(), shown)
            });
            out.insert("properties".into(), Value::Object(members.collect()));
        }
        Shape::Map(values) => {
            out.insert("type".into(), "object".into());
            out.insert("additionalProperties".into(), definition(values, false));
        }
        Shape::List(items) => {
            out.insert("type".into(), "array".into());
            out.insert("items".into(), definition(items, false));
            let list = match &schema.list {
                ListType::Atomic => "atomic",
                ListType::Set => "set",
                ListType::Map(keys) => {
                    out.insert("x-kubernetes-list-map-keys".into(), json!(keys));
                    "map"
                }
            };
            out.insert("x-kubernetes-list-type".into(), list.into());
            if let Some(key) = &schema.merge_key {
                out.insert("x-kubernetes-patch-strategy".into(), "merge".into());
                if !key.is_empty() {
                    out.insert("x-kubernetes-patch-merge-key".into(), key.clone().into());
                }
            }
        }
        Shape::Text | Shape::Bytes => drop(out.insert("type".into(), "string".into())),
        Shape::Integer => drop(out.insert("type".into(), "integer".into())),
        Shape::Number => drop(out.insert("type".into(), "number".into())),
        Shape::Boolean => drop(out.insert("type".into(), "boolean".into())),
    }
    if schema.atomic {
        out.insert("x-kubernetes-map-type".into(), "atomic".into());
    }
    if !schema.format.is_empty() {
        out.insert("format".into(), schema.format.clone().into());
    }
    if !schema.required.is_empty() {
        out.insert("required".into(), json!(schema.required));
    }
    Value::Object(out)
}

/// The name of the type of times.
pub const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
/// The name of the type of times with six digits.
pub const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
/// The name of the type of amounts.
pub const QUANTITY_TYPE: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
/// The name of the type of numbers that may be texts.
pub const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
