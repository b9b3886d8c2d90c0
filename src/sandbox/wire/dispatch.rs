//! From a path to what it asks for.

use std::sync::Arc;

use axum::response::Response;
use http::Method;
use serde_json::{Value, json};

use super::accept::{self, Accepted, View};
use super::options::{self, bad_version};
use super::request::{Request, decoded};
use super::{answer, discovery, list, openapi, protobuf, reviews, subresources, table, watch};
use crate::sandbox::api::{Api, WriteOptions};
use crate::sandbox::authorize::{self, Attributes};
use crate::sandbox::convert;
use crate::sandbox::faults::WatchFault;
use crate::sandbox::kinds::{Kind, key};
use crate::sandbox::object::{self, Actor, DeleteOptions, Object, Patch};
use crate::sandbox::status::{Cause, Status, details};

/// Subresources of pods that are streams, not documents.
const STREAMS: [&str; 3] = ["exec", "attach", "portforward"];

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
        convert::from_stored(&self.kind, &self.version, value)
    }

    /// Returns the namespace to list, `None` for all.
    pub fn scope(&self) -> Option<&str> {
        (!self.kind.namespaced || !self.namespace.is_empty()).then_some(self.namespace.as_str())
    }
}

/// The parts of a path below a group and version.
#[derive(Clone, Debug, Default)]
struct Parts {
    group: String,
    version: String,
    namespace: String,
    plural: String,
    name: String,
    subresource: String,
    watching: bool,
}

fn parse(parts: &[&str]) -> Option<Parts> {
    let (group, version, rest) = match parts {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return None,
    };
    let (watching, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() && !["status", "finalize"].contains(&rest[0]) => {
            (*namespace, rest)
        }
        rest => ("", rest),
    };
    let [plural, names @ ..] = rest else { return None };
    Some(Parts {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        plural: (*plural).to_owned(),
        name: names.first().copied().unwrap_or("").to_owned(),
        subresource: names.get(1..).unwrap_or_default().join("/"),
        watching,
    })
}

fn verb(request: &Request, parts: &Parts) -> &'static str {
    let named = !parts.name.is_empty();
    match request.method {
        Method::GET | Method::HEAD if named => "get",
        Method::GET | Method::HEAD if parts.watching || request.flag("watch") => "watch",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => "",
    }
}

/// Returns what a request asks for, in the authorizer's words.
fn attributes(request: &Request, found: &Parts) -> Attributes {
    let mut attributes = Attributes {
        verb: verb(request, found).into(),
        group: found.group.clone(),
        resource: found.plural.clone(),
        subresource: found.subresource.clone(),
        namespace: found.namespace.clone(),
        name: found.name.clone(),
        path: String::new(),
    };
    if found.plural == "namespaces" && found.group.is_empty() {
        attributes.namespace.clone_from(&found.name);
    }
    if ["list", "watch", "deletecollection"].contains(&attributes.verb.as_str())
        && let Some(name) = crate::sandbox::selector::Fields::parse(request.option("fieldSelector").unwrap_or(""))
            .ok()
            .and_then(|fields| fields.name().map(str::to_owned))
    {
        attributes.name = name;
    }
    attributes
}

/// Returns what a request asks for; only the method if its path is not that of a resource.
pub fn asked(request: &Request) -> Attributes {
    let parts: Vec<String> = request.path.trim_matches('/').split('/').map(|part| decoded(part, false)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let other = || Attributes { verb: request.method.as_str().to_lowercase(), ..Attributes::default() };
    parse(&parts).map_or_else(other, |found| attributes(request, &found))
}

/// Answers a request.
pub async fn answer(api: &Api, request: Request, fault: Option<WatchFault>) -> Result<Response, Status> {
    let whole = request.path.clone();
    let path = whole.trim_end_matches('/');
    let parts: Vec<String> = path.split('/').skip(1).map(|part| decoded(part, false)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if parts.len() > 2 && parts.contains(&"") {
        return Err(unknown_resource());
    }
    let Some(found) = parse(&parts) else {
        let verb = request.method.as_str().to_lowercase();
        let attributes = Attributes { verb, path: path.to_owned(), ..Attributes::default() };
        let attributes = if path.is_empty() { Attributes { path: "/".into(), ..attributes } } else { attributes };
        authorize::check(api, &request.actor, &attributes)?;
        if let Some(response) = openapi::answer(api, &request, &parts)? {
            return Ok(response);
        }
        return match discovery::answer(api, &request, &parts)? {
            Some(response) => Ok(response),
            None => Ok(answer::page_not_found()),
        };
    };
    let attributes = attributes(&request, &found);
    authorize::check(api, &request.actor, &attributes)?;
    if attributes.resource == "pods"
        && STREAMS.contains(&attributes.subresource.as_str())
        && attributes.verb != "create"
    {
        // A websocket begins with a GET; it needs the right to create all the same.
        let create = Attributes { verb: "create".into(), ..attributes.clone() };
        if authorize::allowed(api, &request.actor, &create).is_none() {
            let message = format!("pods {:?} is forbidden: ", create.name);
            return Err(Status::new(403, "Forbidden", message, details("pods", &create.name)));
        }
    }
    if let Some(response) = reviews::answer(api, &request, &found.group, &found.plural, &found.namespace) {
        return response;
    }
    let kind = api.kind(&key(&found.group, &found.plural)).filter(|kind| kind.versions.contains(&found.version));
    let Some(kind) = kind else { return missing_resource(api, &found) };
    let target = Target {
        kind,
        version: found.version.clone(),
        namespace: found.namespace.clone(),
        name: found.name.clone(),
        subresource: found.subresource.clone(),
    };
    let result = route(api, &request, &target, found.watching, fault).await;
    let form = target.kind.form(&target.version);
    match (result, &form.deprecation) {
        (Ok(response), Some(warning)) => Ok(answer::with_warnings(response, std::slice::from_ref(warning))),
        (result, _) => result,
    }
}

fn unknown_resource() -> Status {
    Status::new(404, "NotFound", "the server could not find the requested resource", json!({}))
}

/// Unknown resources of built-in groups get a Status, all others a text.
fn missing_resource(api: &Api, found: &Parts) -> Result<Response, Status> {
    let built_in = found.group.is_empty() && found.version == "v1";
    let other = api.read(|store| {
        store.kinds().any(|kind| !kind.custom && kind.group == found.group && kind.versions.contains(&found.version))
    });
    if built_in || other { Err(unknown_resource()) } else { Ok(answer::page_not_found()) }
}

async fn route(
    api: &Api,
    request: &Request,
    target: &Target,
    watching: bool,
    fault: Option<WatchFault>,
) -> Result<Response, Status> {
    let kind = &target.kind;
    let named = !target.name.is_empty();
    // Paths that do not fit the kind's scope are not served.
    let scoped = !target.namespace.is_empty();
    if scoped && !kind.namespaced {
        return if kind.custom { Ok(answer::page_not_found()) } else { Err(unknown_resource()) };
    }
    if kind.namespaced && !scoped && (named || !matches!(request.method, Method::GET | Method::HEAD)) {
        if kind.custom {
            return Ok(answer::page_not_found());
        }
        return Err(if named { unknown_resource() } else { not_allowed() });
    }
    if !target.subresource.is_empty()
        && let Some(response) = subresources::answer(api, request, target).await?
    {
        return Ok(response);
    }
    let form = || accept::negotiate(request.header("accept"), !kind.custom);
    match (&request.method, named) {
        (&Method::GET, false) if watching || request.flag("watch") => {
            watch::answer(api, request, target, &form()?, fault)
        }
        (&Method::GET | &Method::HEAD, false) => list::answer(api, request, target, &form()?).await,
        (&Method::GET | &Method::HEAD, true) => get(api, request, target, &form()?).await,
        (&Method::POST, true) if !kind.custom => Err(not_allowed()),
        (&Method::POST, _) => create(api, request, target, &form()?),
        (&Method::PUT | &Method::PATCH, false) if kind.custom => Err(Status::bad_request("name must be provided")),
        (&Method::PUT, true) => replace(api, request, target, &form()?),
        (&Method::PATCH, true) => patch(api, request, target, &form()?),
        (&Method::DELETE, true) => delete(api, request, target, &form()?),
        (&Method::DELETE, false) if &*kind.key != "namespaces" => delete_all(api, request, target, &form()?),
        _ => Err(not_allowed()),
    }
}

/// 405 of built-in paths.
pub fn not_allowed() -> Status {
    Status::method_not_allowed("the server does not allow this method on the requested resource")
}

/// 405 of custom resources.
pub fn not_supported(kind: &Kind, verb: &str) -> Status {
    let message = format!("{verb} is not supported on resources of kind \"{}\"", kind.key);
    Status::new(405, "MethodNotAllowed", message, details(&kind.key, ""))
}

/// Returns one object in the view that was agreed on.
pub fn one(
    api: &Api,
    request: &Request,
    target: &Target,
    form: &Accepted,
    code: u16,
    object: &Object,
) -> Result<Response, Status> {
    table::check(request, &form.view)?;
    if form.view.is_metadata() && list::asks_for(request) == (false, true) {
        if target.kind.custom {
            return Err(Status::unknown("content is not a list"));
        }
        let why = format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list ({})",
            list::inner_type(target, "")
        );
        return Err(Status::new(406, "NotAcceptable", why, Value::Null));
    }
    let value = match &form.view {
        View::Whole => target.shown(object),
        View::Metadata(version) => list::partial(object, version),
        View::Table(version) => {
            let meta = json!({"resourceVersion": object::meta(object, "resourceVersion")});
            table::table(api, request, target, std::slice::from_ref(object), meta, version, true)
        }
    };
    Ok(answer::encoded(request, form.encoding, code, &value))
}

async fn get(api: &Api, request: &Request, target: &Target, form: &Accepted) -> Result<Response, Status> {
    if let Some(text) = request.set_option("resourceVersion") {
        let version = text.parse::<u64>().map_err(|_| Status::unknown(bad_version(text)))?;
        list::reach(api, version).await?;
    }
    let object = api
        .get(&target.kind.key, &target.namespace, &target.name)
        .ok_or_else(|| Status::not_found(&target.kind.key, &target.name))?;
    one(api, request, target, form, 200, &object)
}

/// Returns who writes, with the name for managedFields.
pub fn actor(request: &Request) -> Actor {
    Actor { manager: request.manager(), ..request.actor.clone() }
}

fn write_options(target: &Target, options: &options::Write, findings: Vec<String>) -> WriteOptions {
    WriteOptions {
        dry_run: options.dry_run,
        validation: options.validation,
        version: Some(target.version.clone()),
        tracked: true,
        findings,
    }
}

const BODIES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// 415 with the types that are read.
pub fn unsupported(types: &str) -> Status {
    let message = format!("the body of the request was in an unknown format - accepted media types include: {types}");
    Status::new(415, "UnsupportedMediaType", message, Value::Null)
}

/// Reads an object out of a body, with the findings of the reader.
fn body(api: &Api, request: &Request, target: &Target) -> Result<(Value, Vec<String>), Status> {
    let kind = &target.kind;
    let unrecognized = |why: String| {
        Status::bad_request(format!("the object provided is unrecognized (must be of type {}): {why}", kind.kind))
    };
    // The first thirty bytes say what it is.
    let shown = || {
        let part = &request.body[..request.body.len().min(30)];
        let more = if part.len() < request.body.len() { " ..." } else { "" };
        match part.first() {
            None => "<empty>".to_owned(),
            Some(b'{') => format!("{}{more}", String::from_utf8_lossy(part)),
            Some(_) => part.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + more,
        }
    };
    let (value, repeated) = match request.content_type() {
        "" | "application/json" => {
            let read = super::json::read(&request.body).map_err(|why| {
                unrecognized(format!("couldn't get version/kind; json parse error: {why} ({})", shown()))
            })?;
            (read.value, read.repeated)
        }
        "application/yaml" => {
            let value = super::yaml::read(&request.body).map_err(|error| {
                unrecognized(format!("couldn't get version/kind; json parse error: {error} ({})", shown()))
            })?;
            (value, Vec::new())
        }
        protobuf::MEDIA => (protobuf::read(&request.body).map_err(Status::bad_request)?, Vec::new()),
        _ => return Err(unsupported(BODIES)),
    };
    if !value.is_object() {
        let found = match &value {
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            _ => "null",
        };
        const TYPE: &str =
            r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
        let why = format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type {TYPE} ({})",
            shown()
        );
        return Err(unrecognized(why));
    }
    check_kind(api, request, target, &value, &shown)?;
    Ok((value, repeated.into_iter().map(|path| format!("duplicate field {path:?}")).collect()))
}

/// Holds the kind and version of a body against those of the path.
fn check_kind(
    api: &Api,
    request: &Request,
    target: &Target,
    value: &Value,
    shown: &dyn Fn() -> String,
) -> Result<(), Status> {
    let kind = &target.kind;
    let (version, found) = (object::text_at(value, &["apiVersion"]), object::text_at(value, &["kind"]));
    let expected = kind.api_version(&target.version);
    if kind.custom {
        if found.is_empty() {
            let text = String::from_utf8_lossy(&request.body);
            let message = format!(
                "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{}' ({})",
                kind.kind,
                text.trim_end(),
                shown()
            );
            return Err(Status::bad_request(message));
        }
        if version != expected {
            let why =
                format!("the API version in the data ({version}) does not match the expected API version ({expected})");
            // A version of this kind that nobody knows has no members either.
            let own = version.split_once('/').is_some_and(|(group, _)| group == kind.group) && found == kind.kind;
            let members = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
            let warnings: Vec<String> = members
                .filter(|key| own && !["apiVersion", "kind", "metadata"].contains(key))
                .map(|key| format!("unknown field {key:?}"))
                .collect();
            return Err(Status::bad_request(why).warned(&warnings));
        }
        return Ok(());
    }
    if found.is_empty() && version.is_empty() {
        return Ok(());
    }
    let short = version.rsplit('/').next().unwrap_or("");
    let refused = |why: String| {
        let message = format!("{found} in version {short:?} cannot be handled as a {}: {why}", kind.kind);
        Err(Status::bad_request(message))
    };
    let registered = version == expected
        && api.read(|store| {
            store.kinds().any(|other| {
                other.kind == found
                    && !other.custom
                    && other.group == kind.group
                    && other.versions.iter().any(|it| it == short)
            })
        });
    if !registered && !version.is_empty() && !found.is_empty() {
        const SCHEME: &str = "in scheme \"pkg/runtime/scheme.go:111\"";
        return refused(format!("no kind {found:?} is registered for version {version:?} {SCHEME}"));
    }
    if found != kind.kind && !found.is_empty() {
        let package = if kind.group.is_empty() { "core" } else { kind.group.split('.').next().unwrap_or("") };
        return refused(format!("converting ({short}.{found}) to ({package}.{}): unknown conversion", kind.kind));
    }
    Ok(())
}

const SPACE: &str = "the namespace of the provided object does not match the namespace sent on the request";

fn create(api: &Api, request: &Request, target: &Target, form: &Accepted) -> Result<Response, Status> {
    request.check_size()?;
    let options = options::write(request, "CreateOptions", false)?;
    let (value, findings) = body(api, request, target)?;
    let options = write_options(target, &options, findings);
    let (kind, space) = (&target.kind, &target.namespace);
    let written = api.create_with(&actor(request), &kind.key, space, value, &options)?;
    let response = one(api, request, target, form, 201, &written.object)?;
    Ok(answer::with_warnings(response, &written.warnings))
}

fn replace(api: &Api, request: &Request, target: &Target, form: &Accepted) -> Result<Response, Status> {
    request.check_size()?;
    let options = options::write(request, "UpdateOptions", false)?;
    let (value, findings) = body(api, request, target)?;
    let Target { kind, namespace, name, subresource, .. } = target;
    let found = object::name(&value);
    if found.is_empty() {
        let why = format!("the name of the object ({name} based on URL) was undeterminable: name must be provided");
        return Err(Status::bad_request(why));
    }
    if found != name {
        let why = format!("the name of the object ({found}) does not match the name on the URL ({name})");
        return Err(Status::bad_request(why));
    }
    let space = object::namespace(&value);
    if kind.namespaced && !space.is_empty() && space != namespace {
        return Err(Status::bad_request(SPACE));
    }
    let options = write_options(target, &options, findings);
    let written = api.replace_with(&actor(request), &kind.key, subresource, namespace, name, value, &options)?;
    let code = if written.created { 201 } else { 200 };
    let response = one(api, request, target, form, code, &written.object)?;
    Ok(answer::with_warnings(response, &written.warnings))
}

/// Reads a patch by its type; with a merge patch come the paths of fields that it names twice.
pub fn read_patch(request: &Request, kind: &Kind) -> Result<(Patch, Vec<String>), Status> {
    const CUSTOM: &str = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    let content_type = request.content_type();
    let strategic = content_type == "application/strategic-merge-patch+json";
    if strategic && kind.custom {
        return Err(unsupported(CUSTOM));
    }
    let wrong = |why: String| Status::bad_request(format!("error decoding patch: {why}"));
    let json = || super::json::read(&request.body).map_err(wrong);
    let misfit = |value: &Value, wanted: &str| {
        let found = match value {
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            Value::Null => "null",
        };
        wrong(format!("json: cannot unmarshal {found} into Go value of type {wanted}"))
    };
    match content_type {
        "application/json-patch+json" => {
            let value = json()?.value;
            let Value::Array(operations) = &value else { return Err(misfit(&value, "[]handlers.jsonPatchOp")) };
            match operations.iter().find(|operation| !operation.is_object() && !operation.is_null()) {
                Some(operation) => Err(misfit(operation, "handlers.jsonPatchOp")),
                None => Ok((Patch::Json(value), Vec::new())),
            }
        }
        "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
            let super::json::Read { value, repeated } = json()?;
            if value.is_null() && !strategic {
                return Err(Status::bad_request("Invalid JSON Patch"));
            }
            if !value.is_object() {
                let mut refusal = misfit(&value, "map[string]interface {}");
                if strategic {
                    refusal.message = refusal.message.replacen("error decoding patch: ", "", 1);
                }
                return Err(refusal);
            }
            let patch = if strategic { Patch::Strategic(value) } else { Patch::Merge(value) };
            Ok((patch, repeated))
        }
        "application/apply-patch+yaml" => {
            let value = match super::json::read(&request.body) {
                Ok(read) => Ok(read.value),
                Err(_) => super::yaml::read(&request.body),
            };
            let body = value.map_err(|why| Status::bad_request(format!("error decoding YAML: {why}")))?;
            Ok((Patch::Apply { body, force: request.flag("force") }, Vec::new()))
        }
        _ if kind.custom => Err(unsupported(CUSTOM)),
        // Routes of built-in kinds say so before anybody looks at the patch.
        _ => Err(Status::new(415, "UnsupportedMediaType", "415: Unsupported Media Type", json!({}))),
    }
}

fn patch(api: &Api, request: &Request, target: &Target, form: &Accepted) -> Result<Response, Status> {
    request.check_size()?;
    let Target { kind, namespace, name, subresource, .. } = target;
    let (patch, repeated) = read_patch(request, kind)?;
    let apply = matches!(patch, Patch::Apply { .. });
    let options = options::write(request, "PatchOptions", apply)?;
    if let Patch::Apply { body, .. } = &patch {
        check_applied(target, body)?;
    }
    let repeated = repeated.into_iter().map(|path| format!("duplicate field {path:?}"));
    let options = write_options(target, &options, repeated.collect());
    let written = api.patch_with(&actor(request), &kind.key, subresource, namespace, name, &patch, &options)?;
    let code = if written.created { 201 } else { 200 };
    let response = one(api, request, target, form, code, &written.object)?;
    Ok(answer::with_warnings(response, &written.warnings))
}

fn check_applied(target: &Target, body: &Value) -> Result<(), Status> {
    let (version, found) = (object::text_at(body, &["apiVersion"]), object::text_at(body, &["kind"]));
    let expected = target.kind.api_version(&target.version);
    if version != expected || found != target.kind.kind {
        let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
        return Err(Status::bad_request(format!("invalid object type: {version}, Kind={found}")));
    }
    let name = object::name(body);
    if !name.is_empty() && name != target.name {
        let why = format!("the name of the object ({name}) does not match the name on the URL ({})", target.name);
        return Err(Status::bad_request(why));
    }
    let space = object::namespace(body);
    if !space.is_empty() && space != target.namespace {
        return Err(Status::bad_request(SPACE));
    }
    Ok(())
}

/// Reads the options of a deletion from the query, or from the body.
pub fn delete_options(request: &Request) -> Result<DeleteOptions, Status> {
    let mut options = DeleteOptions {
        grace_period_seconds: request.option("gracePeriodSeconds").and_then(|text| text.parse().ok()),
        propagation_policy: request.set_option("propagationPolicy").map(str::to_owned),
        orphan_dependents: request.option("orphanDependents").map(|_| request.flag("orphanDependents")),
        ..DeleteOptions::default()
    };
    let mut dry: Vec<String> = request.options("dryRun").map(str::to_owned).collect();
    if !request.body.is_empty() {
        let value = match request.content_type() {
            protobuf::MEDIA => protobuf::read(&request.body).map_err(Status::bad_request)?,
            _ => {
                let wrong = |why| Status::bad_request(format!("couldn't get version/kind; json parse error: {why}"));
                super::json::read(&request.body).map_err(wrong)?.value
            }
        };
        let (version, kind) = (object::text_at(&value, &["apiVersion"]), object::text_at(&value, &["kind"]));
        if !kind.is_empty() && kind != "DeleteOptions" {
            let scheme = "in scheme \"pkg/runtime/scheme.go:111\"";
            let why = format!("no kind {kind:?} is registered for version {version:?} {scheme}");
            return Err(Status::bad_request(why));
        }
        let text = |path: &[&str]| object::at(&value, path).and_then(Value::as_str).map(str::to_owned);
        options = DeleteOptions {
            grace_period_seconds: value["gracePeriodSeconds"].as_i64(),
            propagation_policy: text(&["propagationPolicy"]),
            orphan_dependents: value["orphanDependents"].as_bool(),
            uid: text(&["preconditions", "uid"]),
            resource_version: text(&["preconditions", "resourceVersion"]),
            dry_run: false,
        };
        let list = value["dryRun"].as_array().into_iter().flatten();
        dry = list.filter_map(|item| item.as_str().map(str::to_owned)).collect();
    }
    if dry.iter().any(|item| item != "All") {
        let mut cause = Cause::not_supported("dryRun", &json!(dry), &["All"]);
        cause.message = format!("Unsupported value: {}: supported values: \"All\"", json!(dry));
        return Err(Status::invalid("DeleteOptions.meta.k8s.io", "", &[cause]));
    }
    options.dry_run = !dry.is_empty();
    Ok(options)
}

/// Kinds whose deletion answers with the object.
const RETURNED: [&str; 7] = [
    "pods",
    "services",
    "serviceaccounts",
    "namespaces",
    "persistentvolumes",
    "persistentvolumeclaims",
    "resourcequotas",
];

fn delete(api: &Api, request: &Request, target: &Target, form: &Accepted) -> Result<Response, Status> {
    request.check_size()?;
    let options = delete_options(request)?;
    let kind = &target.kind;
    let warnings = if orphans(kind, &options) { vec![ORPHANS.to_owned()] } else { Vec::new() };
    let deleted = api.delete_with(&actor(request), &kind.key, &target.namespace, &target.name, &options);
    let deleted = deleted.map_err(|status| status.warned(&warnings))?;
    let response = if !deleted.gone || RETURNED.contains(&&*kind.key) {
        one(api, request, target, form, 200, &deleted.object)?
    } else {
        let mut details = details(&kind.key, &target.name);
        details["uid"] = object::meta(&deleted.object, "uid").into();
        answer::encoded(request, form.encoding, 200, &success(200, Some(details)))
    };
    Ok(answer::with_warnings(response, &warnings))
}

const ORPHANS: &str = "child pods are preserved by default when jobs are deleted; \
    set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

/// Whether a deletion leaves the pods of jobs without having been told to.
fn orphans(kind: &Kind, options: &DeleteOptions) -> bool {
    &*kind.key == "jobs.batch" && options.propagation_policy.is_none() && options.orphan_dependents.is_none()
}

/// Returns a `Status` of success.
pub fn success(code: u16, details: Option<Value>) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    match details {
        Some(details) => status["details"] = details,
        None => status["code"] = code.into(),
    }
    status
}

fn delete_all(api: &Api, request: &Request, target: &Target, form: &Accepted) -> Result<Response, Status> {
    let options = delete_options(request)?;
    let (selected, mut meta) = list::selected(api, request, target)?;
    for object in &selected {
        let (namespace, name) = (object::namespace(object), object::name(object));
        match api.delete_with(&actor(request), &target.kind.key, namespace, name, &options) {
            Err(status) if status.code != 404 => return Err(status),
            _ => {}
        }
    }
    meta["resourceVersion"] = api.version().to_string().into();
    let list = list::shown(api, request, target, form, &selected, meta);
    let warnings = if orphans(&target.kind, &options) { vec![ORPHANS.to_owned()] } else { Vec::new() };
    Ok(answer::with_warnings(answer::encoded(request, form.encoding, 200, &list), &warnings))
}
