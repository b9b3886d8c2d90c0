//! What the server adds to objects, keeps from changing, and refuses, kind by kind.

mod dump;
mod judge;
mod kinds;
mod metadata;
mod pod;

use serde_json::{Value, json};

use super::api::State;
use super::crd;
use super::kinds::Kind;
use super::object;
use super::schema::place::Place;
use super::schema::structural::Validator;
use super::schema::{Schema, Shape};
use super::status::{Cause, Status};

pub use kinds::protect;
pub use metadata::finalizer_warnings;
pub use pod::warnings as pod_warnings;

/// Built-in kinds that have a `generation`; custom resources always have one.
const COUNTED: [&str; 9] = [
    "pods",
    "jobs.batch",
    "cronjobs.batch",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "poddisruptionbudgets.policy",
    crd::KEY,
];

fn counted(kind: &Kind) -> bool {
    kind.custom || COUNTED.contains(&&*kind.key)
}

/// Returns whether a write without a version is refused.
pub fn needs_version(kind: &Kind) -> bool {
    kind.custom || ["leases.coordination.k8s.io", "poddisruptionbudgets.policy", crd::KEY].contains(&&*kind.key)
}

/// Returns whether a replace makes an object that is not there.
pub fn made_by_replace(kind: &Kind) -> bool {
    const MADE: [&str; 5] = ["leases.coordination.k8s.io", "limitranges", "events", "services", "endpoints"];
    kind.group == "rbac.authorization.k8s.io" || kind.group == "events.k8s.io" || MADE.contains(&&*kind.key)
}

/// Refuses a create in a namespace that is missing or terminating.
pub fn check_namespace(state: &State, kind: &Kind, namespace: &str, body: &Value) -> Result<(), Status> {
    let Some(found) = state.store.get("namespaces", "", namespace) else {
        return Err(Status::not_found("namespaces", namespace));
    };
    if object::text_at(&found, &["status", "phase"]) != "Terminating" && !object::terminating(&found) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = Status::forbidden(&kind.key, object::name(body), &why);
    status.details["causes"] = json!([{
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    }]);
    Err(status)
}

/// Fills in the defaults of a built-in kind; done whenever a body is read.
pub fn defaults(kind: &Kind, value: &mut Value) {
    match &*kind.key {
        "pods" => pod::defaults(object::member_mut(value, "spec"), true),
        crd::KEY => crd::fill(value),
        _ => kinds::defaults(kind, value),
    }
}

/// Fills in what the server sets on a new object.
pub fn prepare_create(kind: &Kind, value: &mut Value) {
    if kind.custom
        && kind.status
        && let Value::Object(map) = value
    {
        map.remove("status");
    }
    if counted(kind) {
        object::meta_mut(value).insert("generation".into(), 1.into());
    } else {
        object::meta_mut(value).remove("generation");
    }
    match &*kind.key {
        "pods" => pod::prepare_create(value),
        crd::KEY => value["status"] = crd::first_status(value),
        _ => kinds::prepare_create(kind, value),
    }
}

/// Keeps what a write may not touch, and raises the generation when the desired state changes.
pub fn prepare_update(kind: &Kind, subresource: &str, current: &Value, next: &mut Value) {
    const KEPT: [&str; 7] = [
        "namespace",
        "creationTimestamp",
        "resourceVersion",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generateName",
    ];
    keep_parts(kind, subresource, current, next);
    let meta = object::meta_mut(next);
    for field in KEPT {
        object::keep(meta, field, current["metadata"].get(field));
    }
    meta.remove("selfLink");
    if meta.get("uid").and_then(Value::as_str).unwrap_or("").is_empty() {
        meta.insert("uid".into(), current["metadata"]["uid"].clone());
    }
    match &*kind.key {
        "pods" => pod::prepare_update(subresource, current, next),
        _ => kinds::prepare_update(kind, subresource, current, next),
    }
    if counted(kind) && subresource != "status" && desired(kind, current) != desired(kind, next) {
        let generation = current["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        object::meta_mut(next).insert("generation".into(), generation.into());
    }
}

/// Takes status from writes of the object, and everything else from writes of the status.
fn keep_parts(kind: &Kind, subresource: &str, current: &Value, next: &mut Value) {
    let (Value::Object(new), Value::Object(old)) = (next, current) else { return };
    let keep = |new: &mut serde_json::Map<String, Value>, member: &str| object::keep(new, member, old.get(member));
    if subresource == "status" && kind.custom {
        let managed = new.get("metadata").and_then(|meta| meta.get("managedFields")).cloned();
        let uid = new.get("metadata").and_then(|meta| meta.get("uid")).cloned();
        new.retain(|member, _| member == "status" || old.contains_key(member));
        for member in old.keys().filter(|member| *member != "status") {
            keep(new, member);
        }
        if let Some(Value::Object(meta)) = new.get_mut("metadata") {
            for (field, value) in [("managedFields", managed), ("uid", uid)] {
                match value {
                    Some(value) => meta.insert(field.into(), value),
                    None => meta.remove(field),
                };
            }
        }
    } else if subresource == "status" {
        // Labels and annotations may come with the status of a built-in kind.
        keep(new, "spec");
        let owners = old.get("metadata").and_then(|meta| meta.get("ownerReferences"));
        if let Some(Value::Object(meta)) = new.get_mut("metadata") {
            object::keep(meta, "ownerReferences", owners);
        }
    } else if kind.status || !subresource.is_empty() {
        keep(new, "status");
    }
}

/// Returns the members of an object that count as desired state.
fn desired<'a>(kind: &Kind, value: &'a Value) -> Vec<(&'a String, &'a Value)> {
    let members = value.as_object().into_iter().flatten();
    members
        .filter(|(key, _)| !["metadata", "apiVersion", "kind"].contains(&key.as_str()))
        .filter(|(key, _)| !(kind.status && *key == "status"))
        .filter(|(key, _)| kind.custom || *key == "spec")
        .collect()
}

/// Judges a new object.
pub fn validate_create(kind: &Kind, value: &Value, version: &str) -> Vec<Cause> {
    let mut causes = metadata::create(kind, value);
    if kind.custom {
        custom(kind, "", value, None, version, &mut causes);
    } else if &*kind.key == "pods" {
        // Pods are judged by their own rules below their metadata.
        causes.extend(pod::validate(value, None));
    } else if &*kind.key == crd::KEY {
        causes.extend(crd::validate(value));
    } else {
        causes.extend(judge::validate(kind, value, None));
    }
    causes
}

/// Judges an object that replaces another.
pub fn validate_update(kind: &Kind, subresource: &str, next: &Value, current: &Value, version: &str) -> Vec<Cause> {
    let mut causes = metadata::update(kind, next, current);
    if kind.custom {
        custom(kind, subresource, next, Some(current), version, &mut causes);
    } else if &*kind.key == "pods" {
        if subresource != "status" {
            causes.extend(pod::validate_update(next, current));
        }
    } else if &*kind.key == crd::KEY {
        causes.extend(crd::validate(next));
    } else if subresource == "status" {
        causes.extend(judge::validate_status(kind, next));
    } else {
        causes.extend(judge::validate(kind, next, Some(current)));
    }
    causes
}

fn custom(kind: &Kind, sub: &str, value: &Value, current: Option<&Value>, version: &str, causes: &mut Vec<Cause>) {
    let found = object::text_at(value, &["kind"]);
    if found != kind.kind {
        causes.clear();
        causes.push(Cause::invalid("kind", &Value::from(found), format!("must be {}", kind.kind)));
        return;
    }
    let form = kind.form(version);
    if sub == "status" {
        if let (Some(schema), Some(status)) = (form.schema.member("status"), value.get("status")) {
            let mut validator = Validator { root: "status", causes: Vec::new() };
            validator.judge(status, current.and_then(|current| current.get("status")), schema, &Place::ROOT);
            causes.append(&mut validator.causes);
        }
        return;
    }
    let mut validator = Validator { root: "", causes: Vec::new() };
    root(&mut validator, &form.schema, value, current);
    causes.append(&mut validator.causes);
    if let Some(scale) = &form.scale {
        causes.extend(scale_fault(value, &scale.spec));
    }
}

/// Judges all members but the metadata, which has its own rules.
fn root(validator: &mut Validator, schema: &Schema, value: &Value, current: Option<&Value>) {
    let Shape::Object(members) = &schema.shape else { return };
    for key in schema.required.iter().filter(|key| value.get(key.as_str()).is_none()) {
        validator.causes.push(Cause::required(key.clone(), ""));
    }
    for (key, member) in members.iter().filter(|(key, _)| *key != "metadata") {
        if let Some(inner) = value.get(key) {
            validator.judge(inner, current.and_then(|current| current.get(key)), member, &Place::ROOT.member(key));
        }
    }
}

/// The wanted number behind the scale subresource must be one, and no negative one.
fn scale_fault(value: &Value, path: &[String]) -> Option<Cause> {
    let place = format!(".{}", path.join("."));
    let mut at = value;
    for (depth, key) in path.iter().enumerate() {
        let Some(map) = at.as_object() else {
            return Some(accessor(&place, at, "map[string]interface{}"));
        };
        let inner = map.get(key)?;
        if inner.is_null() && depth + 1 < path.len() {
            return None;
        }
        at = inner;
    }
    match at.as_i64() {
        Some(number) if number < 0 => Some(Cause::invalid(place, at, "should be a non-negative integer")),
        Some(number) if number > i64::from(i32::MAX) => {
            Some(Cause::invalid(place, at, format!("should be less than or equal to {}", i32::MAX)))
        }
        Some(_) => None,
        None => Some(accessor(&place, at, "int64")),
    }
}

fn accessor(place: &str, value: &Value, wanted: &str) -> Cause {
    let why = format!(
        "{place} accessor error: {} is of the type {}, expected {wanted}",
        go_text(value),
        match value {
            Value::Null => "<nil>",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float64",
            Value::Number(_) => "int64",
            Value::String(_) => "string",
            Value::Array(_) => "[]interface {}",
            Value::Object(_) => "map[string]interface {}",
        }
    );
    Cause::invalid(place, &Value::from(0), why)
}

/// Returns a value as Go prints it.
pub fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let members: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
            format!("map[{}]", members.join(" "))
        }
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or(0.0);
            if number.fract() == 0.0 && number.abs() < 1e21 { format!("{number:.0}") } else { number.to_string() }
        }
        other => other.to_string(),
    }
}
