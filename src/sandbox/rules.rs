//! What the server adds to objects, keeps from changing, and refuses, kind by kind.

use serde_json::{Value, json};

use super::api::State;
use super::kinds::Kind;
use super::names;
use super::object;
use super::status::{Cause, Status};

/// Kinds of Kubernetes that have a `generation`; custom resources always have one.
const COUNTED: [&str; 4] =
    ["pods", "jobs.batch", "poddisruptionbudgets.policy", "customresourcedefinitions.apiextensions.k8s.io"];

fn counted(kind: &Kind) -> bool {
    kind.custom || COUNTED.contains(&&*kind.key)
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

/// Fills in what the server sets on a new object.
pub fn prepare_create(kind: &Kind, body: &mut Value) {
    body["apiVersion"] = kind.api_version(&kind.storage).into();
    body["kind"] = kind.kind.clone().into();
    if kind.custom
        && kind.status
        && let Value::Object(map) = body
    {
        map.remove("status");
    }
    if counted(kind) {
        object::meta_mut(body).insert("generation".into(), 1.into());
    }
    match &*kind.key {
        "namespaces" => {
            let name = object::name(body).to_owned();
            let labels = object::meta_mut(body).entry("labels").or_insert_with(|| json!({}));
            labels["kubernetes.io/metadata.name"] = name.into();
            object::member_mut(body, "spec").insert("finalizers".into(), json!(["kubernetes"]));
            object::member_mut(body, "status").insert("phase".into(), "Active".into());
        }
        "pods" => {
            object::member_mut(body, "status").insert("phase".into(), "Pending".into());
            let spec = object::member_mut(body, "spec");
            spec.entry("terminationGracePeriodSeconds").or_insert(30.into());
        }
        _ => {}
    }
}

/// Keeps what a write may not touch, and raises the generation when the desired state changes.
pub fn prepare_update(kind: &Kind, subresource: &str, current: &Value, next: &mut Value) {
    const KEPT: [&str; 8] = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "resourceVersion",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    next["apiVersion"] = current["apiVersion"].clone();
    next["kind"] = current["kind"].clone();
    if kind.status
        && let (Value::Object(next), Value::Object(current)) = (&mut *next, current)
    {
        if subresource == "status" {
            let status = next.remove("status");
            *next = current.clone();
            match status {
                Some(status) => next.insert("status".into(), status),
                None => next.remove("status"),
            };
        } else {
            match current.get("status") {
                Some(status) => next.insert("status".into(), status.clone()),
                None => next.remove("status"),
            };
        }
    }
    let meta = object::meta_mut(next);
    for field in KEPT {
        match current["metadata"].get(field) {
            Some(value) => meta.insert(field.into(), value.clone()),
            None => meta.remove(field),
        };
    }
    if counted(kind) && subresource != "status" && desired(kind, current) != desired(kind, next) {
        let generation = current["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        object::meta_mut(next).insert("generation".into(), generation.into());
    }
}

/// Returns the members of an object that count as desired state.
fn desired<'a>(kind: &Kind, value: &'a Value) -> Vec<(&'a String, &'a Value)> {
    let members = value.as_object().into_iter().flatten();
    members
        .filter(|(key, _)| !["metadata", "apiVersion", "kind"].contains(&key.as_str()))
        .filter(|(key, _)| !(kind.status && *key == "status"))
        .collect()
}

/// Judges an object; `current` is the stored one at an update.
pub fn validate(kind: &Kind, next: &Value, current: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = object::name(next);
    if current.is_none() {
        if name.is_empty() {
            causes.push(Cause::required("metadata.name", "name or generateName is required"));
        } else {
            let faults = match &*kind.key {
                "namespaces" => names::label(name),
                "services" => names::dns_1035(name),
                key if key.ends_with("rbac.authorization.k8s.io") => names::path_segment(name),
                _ => names::subdomain(name),
            };
            let value = Value::from(name);
            causes.extend(faults.iter().map(|why| Cause::invalid("metadata.name", &value, why)));
        }
    }
    causes
}
