//! From a path to what it asks for.

use std::sync::Arc;

use axum::response::Response;
use http::Method;
use serde_json::{Value, json};

use super::request::{Request, decoded};
use super::{answer, discovery, list, reviews, watch};
use crate::sandbox::api::{Api, WriteOptions};
use crate::sandbox::kinds::{Kind, key};
use crate::sandbox::object::{self, Actor, DeleteOptions, Patch};
use crate::sandbox::status::Status;

/// What a path of a resource names.
#[derive(Clone, Debug)]
pub struct Target {
    /// The kind.
    pub kind: Arc<Kind>,
    /// The version in the path.
    pub version: String,
    /// The namespace in the path, empty for none.
    pub namespace: String,
    /// The name in the path, empty for none.
    pub name: String,
    /// The subresource, empty for none.
    pub subresource: String,
}

impl Target {
    /// Returns an object in the version of the path.
    pub fn shown(&self, value: &Value) -> Value {
        let mut value = value.clone();
        value["apiVersion"] = self.kind.api_version(&self.version).into();
        value
    }

    /// Returns the namespace to list, `None` for all.
    pub fn scope(&self) -> Option<&str> {
        (!self.kind.namespaced || !self.namespace.is_empty()).then_some(self.namespace.as_str())
    }
}

/// Answers a request.
pub async fn answer(api: &Api, request: Request) -> Result<Response, Status> {
    let path = request.path.trim_end_matches('/').to_owned();
    let parts: Vec<String> = path.split('/').skip(1).map(|part| decoded(part, false)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if let Some(response) = discovery::answer(api, &request, &parts) {
        return Ok(response);
    }
    let (group, version, rest) = match &parts[..] {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Ok(answer::page_not_found()),
    };
    if let Some(response) = reviews::answer(&request, group, rest) {
        return response;
    }
    let (watching, rest) = match rest {
        ["watch", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() && !["status", "finalize"].contains(&rest[0]) => {
            (*namespace, rest)
        }
        rest => ("", rest),
    };
    let [plural, names @ ..] = rest else { return Ok(answer::page_not_found()) };
    let kind = api.kind(&key(group, plural)).filter(|kind| kind.versions.iter().any(|v| v == version));
    let Some(kind) = kind else {
        if group.is_empty() && version == "v1" {
            let message = "the server could not find the requested resource";
            return Err(Status::new(404, "NotFound", message, json!({})));
        }
        return Ok(answer::page_not_found());
    };
    let target = Target {
        kind,
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        name: names.first().copied().unwrap_or("").to_owned(),
        subresource: names.get(1..).unwrap_or_default().join("/"),
    };
    let watching = watching || (request.flag("watch") && target.name.is_empty());
    match (&request.method, target.name.is_empty()) {
        (&Method::GET, true) if watching => watch::answer(api, &request, &target),
        (&Method::GET, true) => list::answer(api, &request, &target),
        (&Method::GET | &Method::HEAD, false) => get(api, &target),
        (&Method::POST, _) => create(api, &request, &target),
        (&Method::PUT, false) => replace(api, &request, &target),
        (&Method::PATCH, false) => patch(api, &request, &target),
        (&Method::DELETE, false) => delete(api, &request, &target),
        (&Method::DELETE, true) => delete_all(api, &request, &target),
        _ => Err(Status::method_not_allowed("the server does not allow this method on the requested resource")),
    }
}

fn missing(target: &Target) -> Status {
    Status::not_found(&target.kind.key, &target.name)
}

fn get(api: &Api, target: &Target) -> Result<Response, Status> {
    let object = api.get(&target.kind.key, &target.namespace, &target.name).ok_or_else(|| missing(target))?;
    Ok(answer::json(200, &target.shown(&object)))
}

fn actor(request: &Request) -> Actor {
    let mut actor = request.actor.clone();
    if let Some(manager) = request.set_option("fieldManager") {
        actor.manager = manager.to_owned();
    }
    actor
}

fn options(request: &Request, target: &Target) -> WriteOptions {
    WriteOptions {
        dry_run: request.set_option("dryRun").is_some(),
        version: Some(target.version.clone()),
        tracked: true,
        ..WriteOptions::default()
    }
}

fn create(api: &Api, request: &Request, target: &Target) -> Result<Response, Status> {
    let (actor, options) = (actor(request), options(request, target));
    let written = api.create_with(&actor, &target.kind.key, &target.namespace, request.json()?, &options)?;
    Ok(answer::with_warnings(answer::json(201, &target.shown(&written.object)), &written.warnings))
}

fn replace(api: &Api, request: &Request, target: &Target) -> Result<Response, Status> {
    let (actor, options) = (actor(request), options(request, target));
    let Target { kind, namespace, name, subresource, .. } = target;
    let body = request.json()?;
    let written = api.replace_with(&actor, &kind.key, subresource, namespace, name, body, &options)?;
    Ok(answer::with_warnings(answer::json(200, &target.shown(&written.object)), &written.warnings))
}

fn patch(api: &Api, request: &Request, target: &Target) -> Result<Response, Status> {
    let (actor, options) = (actor(request), options(request, target));
    let Target { kind, namespace, name, subresource, .. } = target;
    let body = match request.content_type() {
        "application/apply-patch+yaml" => {
            serde_saphyr::from_slice(&request.body).map_err(|error| Status::bad_request(error.to_string()))?
        }
        _ => request.json()?,
    };
    let patch = match request.content_type() {
        "application/json-patch+json" => Patch::Json(body),
        "application/merge-patch+json" => Patch::Merge(body),
        "application/strategic-merge-patch+json" => Patch::Strategic(body),
        "application/apply-patch+yaml" => Patch::Apply { body, force: request.flag("force") },
        other => {
            let message = format!("the body of the request was in an unknown format - {other}");
            return Err(Status::new(415, "UnsupportedMediaType", message, json!({})));
        }
    };
    let written = api.patch_with(&actor, &kind.key, subresource, namespace, name, &patch, &options)?;
    let code = if written.created { 201 } else { 200 };
    Ok(answer::with_warnings(answer::json(code, &target.shown(&written.object)), &written.warnings))
}

fn delete_options(request: &Request) -> Result<DeleteOptions, Status> {
    let mut options = DeleteOptions {
        grace_period_seconds: request.option("gracePeriodSeconds").and_then(|text| text.parse().ok()),
        propagation_policy: request.set_option("propagationPolicy").map(str::to_owned),
        dry_run: request.set_option("dryRun").is_some(),
        ..DeleteOptions::default()
    };
    if request.body.is_empty() {
        return Ok(options);
    }
    let body = request.json()?;
    let text = |path: &[&str]| object::at(&body, path).and_then(Value::as_str).map(str::to_owned);
    options.grace_period_seconds = body["gracePeriodSeconds"].as_i64();
    options.propagation_policy = text(&["propagationPolicy"]);
    options.orphan_dependents = body["orphanDependents"].as_bool();
    options.uid = text(&["preconditions", "uid"]);
    options.resource_version = text(&["preconditions", "resourceVersion"]);
    options.dry_run |= body["dryRun"].as_array().is_some_and(|list| !list.is_empty());
    Ok(options)
}

/// Kinds whose deletion answers with the object.
const RETURNED: [&str; 5] = ["pods", "services", "serviceaccounts", "namespaces", "persistentvolumes"];

fn delete(api: &Api, request: &Request, target: &Target) -> Result<Response, Status> {
    let options = delete_options(request)?;
    let kind = &target.kind;
    let deleted = api.delete_with(&actor(request), &kind.key, &target.namespace, &target.name, &options)?;
    if !deleted.gone || RETURNED.contains(&&*kind.key) {
        return Ok(answer::json(200, &target.shown(&deleted.object)));
    }
    let mut details = crate::sandbox::status::details(&kind.key, &target.name);
    details["uid"] = object::meta(&deleted.object, "uid").into();
    let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    Ok(answer::json(200, &done))
}

fn delete_all(api: &Api, request: &Request, target: &Target) -> Result<Response, Status> {
    let options = delete_options(request)?;
    let selected = list::selected(api, request, target)?;
    for object in &selected {
        let (namespace, name) = (object::namespace(object), object::name(object));
        match api.delete_with(&actor(request), &target.kind.key, namespace, name, &options) {
            Err(status) if status.code != 404 => return Err(status),
            _ => {}
        }
    }
    Ok(answer::json(200, &list::document(target, &selected, api.version())))
}
