//! Questions about rights and about oneself.

use axum::response::Response;
use http::Method;
use serde_json::{Value, json};

use super::request::Request;
use super::{answer, protobuf};
use crate::sandbox::api::Api;
use crate::sandbox::authorize::{self, Attributes};
use crate::sandbox::object::{self, Actor};
use crate::sandbox::schema::{table, typed::Reader};
use crate::sandbox::status::{Cause, Status};

const AUTHORIZATION: &str = "authorization.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Answers a review, or returns `None` for other paths.
pub fn answer(
    api: &Api,
    request: &Request,
    group: &str,
    plural: &str,
    namespace: &str,
) -> Option<Result<Response, Status>> {
    let kind = match (group, plural) {
        (AUTHORIZATION, "selfsubjectaccessreviews") => "SelfSubjectAccessReview",
        (AUTHORIZATION, "subjectaccessreviews") => "SubjectAccessReview",
        (AUTHORIZATION, "localsubjectaccessreviews") => "LocalSubjectAccessReview",
        (AUTHORIZATION, "selfsubjectrulesreviews") => "SelfSubjectRulesReview",
        (AUTHENTICATION, "selfsubjectreviews") => "SelfSubjectReview",
        _ => return None,
    };
    if request.method != Method::POST {
        return Some(Err(super::dispatch::not_allowed()));
    }
    Some(review(api, request, group, kind, namespace))
}

fn review(api: &Api, request: &Request, group: &str, kind: &str, namespace: &str) -> Result<Response, Status> {
    let value = match request.content_type() {
        protobuf::MEDIA => protobuf::read(&request.body).map_err(Status::bad_request)?,
        _ => super::json::read(&request.body).map_err(Status::bad_request)?.value,
    };
    let package = if group == AUTHORIZATION { "authorization" } else { "authentication" };
    let schema = table::builtin().get(&format!("io.k8s.api.{package}.v1.{kind}")).cloned().unwrap_or_default();
    let refused =
        |why: String| Status::bad_request(format!("{kind} in version \"v1\" cannot be handled as a {kind}: {why}"));
    let mut value = Reader { unknown: Vec::new() }.read(value, &schema).map_err(refused)?;
    value["apiVersion"] = format!("{group}/v1").into();
    value["kind"] = kind.into();
    object::member_mut(&mut value, "metadata");
    match kind {
        "SelfSubjectReview" => {
            let now = object::stamp(api.clock().now());
            value["metadata"] = json!({"creationTimestamp": now});
            let mut user = json!({"username": request.actor.user, "groups": request.actor.groups});
            if request.actor.user == "admin" {
                // The administrator of the server's own token has a uid as well.
                user["uid"] = "admin".into();
            }
            value["status"] = json!({"userInfo": user});
        }
        "SelfSubjectRulesReview" => {
            let space = object::text_at(&value, &["spec", "namespace"]).to_owned();
            if space.is_empty() {
                return Err(Status::bad_request("no namespace on request"));
            }
            value["spec"] = json!({});
            value["status"] = rules(api, &request.actor, &space);
        }
        _ => value["status"] = access(api, request, kind, &value, namespace)?,
    }
    Ok(answer::json(201, &value))
}

fn access(api: &Api, request: &Request, kind: &str, value: &Value, namespace: &str) -> Result<Value, Status> {
    let spec = &value["spec"];
    let text = |part: &Value, field: &str| part[field].as_str().unwrap_or("").to_owned();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_object() == path.is_object() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        let cause = Cause::invalid("spec.resourceAttributes", &Value::Null, why);
        return Err(Status::invalid(".authorization.k8s.io", "", &[cause]));
    }
    let mut wanted = Attributes {
        verb: text(resource, "verb"),
        group: text(resource, "group"),
        resource: text(resource, "resource"),
        subresource: text(resource, "subresource"),
        namespace: text(resource, "namespace"),
        name: text(resource, "name"),
        path: String::new(),
    };
    if path.is_object() {
        wanted = Attributes { verb: text(path, "verb"), path: text(path, "path"), ..Attributes::default() };
    }
    if kind == "LocalSubjectAccessReview" && wanted.namespace != namespace {
        let why = format!("must match metadata.namespace ({namespace})");
        let cause = Cause::invalid("spec.resourceAttributes.namespace", &wanted.namespace.into(), why);
        return Err(Status::invalid(".authorization.k8s.io", "", &[cause]));
    }
    let actor = if kind == "SelfSubjectAccessReview" {
        request.actor.clone()
    } else {
        let groups = spec["groups"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let groups: Vec<String> = groups.map(str::to_owned).collect();
        if text(spec, "user").is_empty() && groups.is_empty() {
            let cause = Cause::invalid("spec.user", &"".into(), "at least one of user or group must be specified");
            return Err(Status::invalid(".authorization.k8s.io", "", &[cause]));
        }
        Actor { user: text(spec, "user"), groups, manager: String::new() }
    };
    Ok(match authorize::allowed(api, &actor, &wanted) {
        Some(reason) if reason.is_empty() => json!({"allowed": true}),
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    })
}

/// Returns all rules that somebody has in a namespace.
fn rules(api: &Api, actor: &Actor, namespace: &str) -> Value {
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    let mut grants: Vec<Value> = authorize::grants(api, actor, namespace).into_iter().map(|grant| grant.rule).collect();
    if actor.groups.iter().any(|group| group == "system:masters") && grants.is_empty() {
        grants.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
    }
    for rule in grants {
        if rule["resources"].as_array().is_some_and(|list| !list.is_empty()) {
            resources.push(rule);
        } else if rule["nonResourceURLs"].is_array() {
            paths.push(rule);
        }
    }
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}
