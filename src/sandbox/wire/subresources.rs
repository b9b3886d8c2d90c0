//! Subresources: scale, and what pods have beside their status.

use axum::response::Response;
use http::Method;
use serde_json::{Map, Value, json};

use super::accept::{self, View};
use super::dispatch::{self, Target, actor, not_allowed, not_supported};
use super::request::Request;
use super::{answer, logs, options, protobuf, streams};
use crate::sandbox::api::{Api, WriteOptions};
use crate::sandbox::kinds::Scale;
use crate::sandbox::object::{self, DeleteOptions, Object, Patch};
use crate::sandbox::schema::{table, typed::Reader};
use crate::sandbox::selector;
use crate::sandbox::status::Status;
use crate::sandbox::{patch, status};

/// Answers a request for a subresource; `None` for those that are written like the object: status and finalize.
pub async fn answer(api: &Api, request: &Request, target: &Target) -> Result<Option<Response>, Status> {
    let kind = &target.kind;
    let form = kind.form(&target.version);
    let scale = form.scale.clone().or_else(|| built_in_scale(&kind.key));
    let known = match target.subresource.as_str() {
        "status" => kind.status,
        "scale" => scale.is_some(),
        "finalize" => &*kind.key == "namespaces",
        _ => &*kind.key == "pods",
    };
    if !known {
        let missing = Status::new(404, "NotFound", "the server could not find the requested resource", json!({}));
        return Err(if kind.custom { Status::not_found(&kind.key, &target.name) } else { missing });
    }
    match (target.subresource.as_str(), scale) {
        ("status" | "finalize", _) => match request.method {
            Method::GET | Method::PUT | Method::PATCH | Method::HEAD => Ok(None),
            _ => Err(refused(request, target)),
        },
        ("scale", Some(scale)) => self::scale(api, request, target, &scale).map(Some),
        ("log", _) => logs::answer(api, request, target).map(Some),
        ("binding", _) => bind(api, request, target).map(Some),
        ("eviction", _) => evict(api, request, target).map(Some),
        ("exec" | "attach" | "portforward", _) => streams::answer(api, request, target).await.map(Some),
        ("ephemeralcontainers" | "resize", _) if request.method == Method::GET => {
            let pod = find(api, target)?;
            let form = accept::negotiate(request.header("accept"), true)?;
            dispatch::one(api, request, target, &form, 200, &pod).map(Some)
        }
        _ => Err(Status::new(404, "NotFound", "the server could not find the requested resource", json!({}))),
    }
}

fn refused(request: &Request, target: &Target) -> Status {
    let verb = match request.method {
        Method::POST => "create",
        Method::DELETE => "delete",
        _ => return not_allowed(),
    };
    if target.kind.custom { not_supported(&target.kind, verb) } else { not_allowed() }
}

/// Returns the object that a path names.
pub fn find(api: &Api, target: &Target) -> Result<Object, Status> {
    let found = api.get(&target.kind.key, &target.namespace, &target.name);
    found.ok_or_else(|| Status::not_found(&target.kind.key, &target.name))
}

fn built_in_scale(key: &str) -> Option<Scale> {
    let scaled = ["deployments.apps", "replicasets.apps", "statefulsets.apps", "replicationcontrollers"];
    scaled.contains(&key).then(|| Scale {
        spec: vec!["spec".into(), "replicas".into()],
        status: vec!["status".into(), "replicas".into()],
        selector: Vec::new(),
    })
}

fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// Returns the Scale of an object.
fn scale_of(object: &Value, scale: &Scale) -> Value {
    let mut meta = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            meta.insert(field.into(), value.clone());
        }
    }
    let wanted = at(object, &scale.spec).and_then(Value::as_i64).unwrap_or(0);
    let present = at(object, &scale.status).and_then(Value::as_i64).unwrap_or(0);
    let mut status = json!({"replicas": present});
    if let Some(text) = at(object, &scale.selector).and_then(Value::as_str).filter(|text| !text.is_empty()) {
        status["selector"] = text.into();
    }
    let spec = if wanted == 0 { json!({}) } else { json!({"replicas": wanted}) };
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status})
}

fn scale(api: &Api, request: &Request, target: &Target, scale: &Scale) -> Result<Response, Status> {
    let current = || find(api, target);
    let name = &target.name;
    match request.method {
        Method::GET | Method::HEAD => {
            let form = accept::negotiate(request.header("accept"), false)?;
            let shown = scale_of(&*current()?, scale);
            let shown = match &form.view {
                View::Table(version) => super::table::of_scale(api, &shown, version),
                _ => shown,
            };
            return Ok(answer::encoded(request, form.encoding, 200, &shown));
        }
        Method::PUT | Method::PATCH => {}
        _ => return Err(refused(request, target)),
    }
    let is_put = request.method == Method::PUT;
    let (body, options) = if is_put {
        let options = options::write(request, "UpdateOptions", false)?;
        let body = super::json::read(&request.body).map_err(Status::bad_request)?.value;
        if object::text_at(&body, &["kind"]) != "Scale" {
            let why = "no kind is registered for the type v1.Scale in scheme \"pkg/runtime/scheme.go:111\"";
            return Err(Status::bad_request(why));
        }
        (body, options)
    } else {
        let (patch, _) = dispatch::read_patch(request, &target.kind)?;
        let apply = matches!(patch, Patch::Apply { .. });
        let options = options::write(request, "PatchOptions", apply)?;
        let mut next = scale_of(&*current()?, scale);
        match patch {
            Patch::Json(operations) => patch::json(&mut next, &operations)?,
            Patch::Merge(body) | Patch::Strategic(body) | Patch::Apply { body, .. } => patch::merge(&mut next, &body),
        }
        (next, options)
    };
    let current = current()?;
    let schema = table::builtin().get("io.k8s.api.autoscaling.v1.Scale").cloned().unwrap_or_default();
    let shown = body.to_string();
    let read = Reader { unknown: Vec::new() }.read(body, &schema).map_err(|why| {
        if is_put {
            Status::bad_request(format!("Scale in version \"v1\" cannot be handled as a Scale: {why}"))
        } else {
            Status::unreadable_patch(&shown, &why)
        }
    })?;
    if object::name(&read) != name.as_str() {
        let found = object::name(&read);
        let why = format!("the name of the object ({found}) does not match the name on the URL ({name})");
        return Err(Status::bad_request(why));
    }
    let wanted = read["spec"]["replicas"].as_i64().unwrap_or(0);
    let mut change = json!(wanted);
    for key in scale.spec.iter().rev() {
        change = json!({key.as_str(): change});
    }
    let version = object::meta(&read, "resourceVersion");
    if !version.is_empty() {
        object::meta_mut(&mut change).insert("resourceVersion".into(), version.into());
    }
    let write = WriteOptions {
        dry_run: options.dry_run,
        version: Some(target.version.clone()),
        tracked: true,
        ..WriteOptions::default()
    };
    let (kind, space) = (&target.kind, &target.namespace);
    let written = api.patch_with(&actor(request), &kind.key, "", space, name, &Patch::Merge(change), &write)?;
    drop(current);
    Ok(answer::json(200, &scale_of(&written.object, scale)))
}

/// Returns the container that a request means: the one it names, or the only one.
pub fn container<'a>(request: &Request, pod: &'a Value) -> Result<&'a str, Status> {
    let names = |list: &str| {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.filter_map(|container| container["name"].as_str()).collect::<Vec<&str>>()
    };
    let (own, name) = (names("containers"), object::name(pod));
    match (request.set_option("container"), &own[..]) {
        (Some(wanted), _) => {
            let others = ["initContainers", "ephemeralContainers"].map(names).concat();
            let found = own.iter().chain(&others).find(|container| **container == wanted);
            found.copied().ok_or_else(|| Status::bad_request(format!("container {wanted} is not valid for pod {name}")))
        }
        (None, [only]) => Ok(only),
        (None, _) => {
            let choose = own.join(" ");
            let why = format!("a container name must be specified for pod {name}, choose one of: [{choose}]");
            Err(Status::bad_request(why))
        }
    }
}

/// A pod whose node does not exist has nobody to ask; the refusal names the node with the word pods.
pub fn node_of(api: &Api, node: &str) -> Result<(), Status> {
    match api.get("nodes", "", node) {
        Some(_) => Ok(()),
        None => Err(Status::not_found("pods", node)),
    }
}

fn bind(api: &Api, request: &Request, target: &Target) -> Result<Response, Status> {
    if request.method != Method::POST {
        return Err(not_allowed());
    }
    let binding = super::json::read(&request.body).map_err(Status::bad_request)?.value;
    let pod = find(api, target)?;
    let node = object::text_at(&binding, &["target", "name"]);
    let bound = object::text_at(&pod, &["spec", "nodeName"]);
    if !bound.is_empty() {
        let why = format!("pod {} is already assigned to node {bound:?}", target.name);
        return Err(Status::conflict("pods/binding", &target.name, &why));
    }
    api.bind(&target.namespace, &target.name, node)?;
    Ok(answer::json(201, &dispatch::success(201, None)))
}

fn evict(api: &Api, request: &Request, target: &Target) -> Result<Response, Status> {
    if request.method != Method::POST {
        return Err(not_allowed());
    }
    let eviction = match request.content_type() {
        protobuf::MEDIA => protobuf::read(&request.body).map_err(Status::bad_request)?,
        _ => super::json::read(&request.body).map_err(Status::bad_request)?.value,
    };
    let pod = find(api, target)?;
    let phase = object::text_at(&pod, &["status", "phase"]);
    let guarded = !["Pending", "Succeeded", "Failed"].contains(&phase) && !object::terminating(&pod);
    if guarded && let Some(budget) = budget_of(api, target, &pod)? {
        let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
        if allowed <= 0 {
            return Err(budget_exceeded(&budget));
        }
        let patch = Patch::Merge(json!({"status": {"disruptionsAllowed": allowed - 1}}));
        let (space, name) = (object::namespace(&budget), object::name(&budget));
        api.patch(&actor(request), BUDGETS, "status", space, name, &patch)?;
    }
    let actor = actor(request);
    let reason = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastTransitionTime": object::stamp(api.clock().now()),
    });
    let wanted = &eviction["deleteOptions"];
    let options = DeleteOptions {
        grace_period_seconds: wanted["gracePeriodSeconds"].as_i64(),
        dry_run: wanted["dryRun"].as_array().is_some_and(|list| !list.is_empty()),
        ..DeleteOptions::default()
    };
    if !options.dry_run && !object::terminating(&pod) {
        let mut conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|condition| condition["type"] != reason["type"]);
        conditions.push(reason);
        let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
        api.patch(&actor, "pods", "status", &target.namespace, &target.name, &patch)?;
    }
    api.delete(&actor, "pods", &target.namespace, &target.name, &options)?;
    Ok(answer::json(201, &dispatch::success(201, None)))
}

const BUDGETS: &str = "poddisruptionbudgets.policy";

fn budget_of(api: &Api, target: &Target, pod: &Value) -> Result<Option<Object>, Status> {
    let budgets = api.list(BUDGETS, Some(&target.namespace));
    let mut covering: Vec<Object> = budgets
        .into_iter()
        .filter(|budget| {
            let selected = selector::from_object(budget["spec"].get("selector"));
            selected.is_some_and(|selected| selected.matches(pod))
        })
        .collect();
    if covering.len() > 1 {
        let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(Status::internal(why));
    }
    Ok(covering.pop())
}

fn budget_exceeded(budget: &Value) -> Status {
    let name = object::name(budget);
    let (needed, healthy) = (
        budget["status"]["desiredHealthy"].as_i64().unwrap_or(0),
        budget["status"]["currentHealthy"].as_i64().unwrap_or(0),
    );
    let text = format!("The disruption budget {name} needs {needed} healthy pods and has {healthy} currently");
    let details = json!({"causes": [{"reason": "DisruptionBudget", "message": text}]});
    const WHY: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
    status::Status::new(429, "TooManyRequests", WHY, details)
}
