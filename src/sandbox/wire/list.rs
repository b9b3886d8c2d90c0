//! Lists: selectors, pages, versions.

use std::time::Duration;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::accept::{Accepted, View};
use super::answer;
use super::dispatch::Target;
use super::options::{self, bad_version};
use super::request::Request;
use super::table;
use crate::sandbox::api::Api;
use crate::sandbox::kinds::Kind;
use crate::sandbox::object::{self, Object};
use crate::sandbox::selector::{Fields, Labels};
use crate::sandbox::status::Status;

/// Both selectors of a request.
#[derive(Clone, Debug)]
pub struct Selection {
    /// By labels.
    pub labels: Labels,
    /// By fields.
    pub fields: Fields,
}

impl Selection {
    /// Reads the selectors of a request.
    pub fn read(request: &Request, kind: &Kind) -> Result<Selection, Status> {
        let labels = Labels::parse(request.option("labelSelector").unwrap_or("")).map_err(Status::bad_request)?;
        let fields = Fields::parse(request.option("fieldSelector").unwrap_or("")).map_err(Status::bad_request)?;
        if let Some((field, _, _)) = fields.0.iter().find(|(field, _, _)| !selectable(kind, field)) {
            return Err(Status::bad_request(unsupported(kind, field)));
        }
        Ok(Selection { labels, fields })
    }

    /// Returns whether an object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    /// Returns whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

fn selectable(kind: &Kind, field: &str) -> bool {
    if ["metadata.name", "metadata.namespace"].contains(&field) {
        return kind.namespaced || field != "metadata.namespace" || kind.custom;
    }
    let more: &[&str] = match &*kind.key {
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        "nodes" => &["spec.unschedulable"],
        "namespaces" => &["status.phase"],
        "secrets" => &["type"],
        "services" => &["spec.clusterIP", "spec.type"],
        "replicationcontrollers" => &["status.replicas"],
        "replicasets.apps" => &["status.replicas"],
        "jobs.batch" => &["status.successful"],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "events.events.k8s.io" => &["reason", "type", "reportingController"],
        _ => &[],
    };
    more.contains(&field) || (&*kind.key == "events.events.k8s.io" && field.starts_with("regarding."))
}

fn unsupported(kind: &Kind, field: &str) -> String {
    const OWN_LABELS: [&str; 10] = [
        "pods",
        "nodes",
        "namespaces",
        "secrets",
        "services",
        "replicationcontrollers",
        "replicasets.apps",
        "jobs.batch",
        "events",
        "events.events.k8s.io",
    ];
    if &*kind.key == "jobs.batch" {
        return format!("field label {field:?} not supported for Job");
    }
    if kind.custom || OWN_LABELS.contains(&&*kind.key) {
        return format!("field label not supported: {field}");
    }
    format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
}

/// Returns the newest state of what a request selects, and the metadata of that list.
pub fn selected(api: &Api, request: &Request, target: &Target) -> Result<(Vec<Object>, Value), Status> {
    let selection = Selection::read(request, &target.kind)?;
    let limit = options::list(request, false)?.limit;
    let mut objects = api.list(&target.kind.key, target.scope());
    let (left, more) = page(&mut objects, &selection, limit);
    let mut meta = json!({"resourceVersion": api.version().to_string()});
    if more && let Some(last) = objects.last() {
        meta["continue"] = write_token(i64::try_from(api.version()).unwrap_or(-1), &place(last)).into();
        if selection.is_empty() {
            meta["remainingItemCount"] = left.into();
        }
    }
    Ok((objects, meta))
}

/// Waits for a version that is not there yet, and gives up after three seconds.
pub async fn reach(api: &Api, version: u64) -> Result<(), Status> {
    if version <= api.version() {
        return Ok(());
    }
    let wait = tokio::time::timeout(Duration::from_secs(3), api.changed(version - 1)).await;
    wait.map_err(|_| options::too_large(version, api.version()))
}

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a \
    new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
    results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
    deleted between the time the first chunk was returned and now may show up in the list.";

/// Answers a list.
pub async fn answer(api: &Api, request: &Request, target: &Target, form: &Accepted) -> Result<Response, Status> {
    table::check(request, &form.view)?;
    if form.view.is_metadata() && asks_for(request) == (true, false) {
        let kind =
            if target.kind.custom { "*unstructured.UnstructuredList".into() } else { inner_type(target, "List") };
        let why = format!("you requested PartialObjectMetadata, but the requested object is a list ({kind})");
        return Err(Status::new(406, "NotAcceptable", why, Value::Null));
    }
    let options = options::list(request, false)?;
    let selection = Selection::read(request, &target.kind)?;
    let given = match options.version.as_str() {
        "" => None,
        text => {
            let wrong = || Status::bad_request(format!("invalid resource version: {}", bad_version(text)));
            Some(text.parse::<u64>().map_err(|_| wrong())?)
        }
    };
    let token = if options.token.is_empty() { None } else { Some(read_token(&options.token)?) };
    if token.is_some() && given.is_some_and(|version| version > 0) {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    let limit = if given == Some(0) { 0 } else { options.limit };
    if let Some(version) = given {
        reach(api, version).await?;
    }
    // A page of a version is that version, even where nobody asked for it exactly.
    let exact = options.rule == "Exact" || (options.rule.is_empty() && limit > 0 && given.is_some_and(|v| v > 0));
    let wanted = match &token {
        Some(token) if token.version > 0 => Some(token.version),
        None if exact => given,
        _ => None,
    };
    // A list that is old on request is never older than its reader allows.
    let stale = api.version_of(request.age).max(given.unwrap_or(0));
    let (state, version) = api.read(|store| {
        let newest = || stale.min(store.version()).max(store.oldest());
        let version = wanted.unwrap_or_else(newest);
        (store.list_at(&target.kind.shelf, target.scope(), version), version)
    });
    let Some(mut objects) = state else {
        let Some(token) = token else {
            return Err(Status::expired("The resourceVersion for the provided list is too old."));
        };
        let mut status = Status::expired(TOO_OLD);
        status.extra.get_or_insert_default().continue_token = Some(write_token(-1, &token.after));
        return Err(status);
    };
    let after = token.map(|token| token.after).unwrap_or_default();
    objects.retain(|object| place(object).as_str() > after.as_str());
    let (left, more) = page(&mut objects, &selection, limit);
    let mut meta = json!({"resourceVersion": version.to_string()});
    if more && let Some(last) = objects.last() {
        let number = i64::try_from(version).unwrap_or(-1);
        meta["continue"] = write_token(number, &place(last)).into();
        if selection.is_empty() {
            meta["remainingItemCount"] = left.into();
        }
    }
    let list = shown(api, request, target, form, &objects, meta);
    Ok(answer::encoded(request, form.encoding, 200, &list))
}

/// Whether a request wants the metadata of one object, and of lists.
pub fn asks_for(request: &Request) -> (bool, bool) {
    let accept = request.header("accept");
    (accept.contains("as=PartialObjectMetadata;"), accept.contains("as=PartialObjectMetadataList;"))
}

/// Returns the name of the server's own type of a built-in kind.
pub fn inner_type(target: &Target, rest: &str) -> String {
    let package = match target.kind.group.split('.').next().unwrap_or("") {
        "" | "events" => "core",
        group => group,
    };
    format!("*{package}.{}{rest}", target.kind.kind)
}

/// Keeps what is selected, at most `limit` objects; returns how many more there are, and whether there is anything
/// more to look at, selected or not.
fn page(objects: &mut Vec<Object>, selection: &Selection, limit: usize) -> (usize, bool) {
    if limit == 0 {
        objects.retain(|object| selection.matches(object));
        return (0, false);
    }
    let all = std::mem::take(objects);
    let (mut left, mut more) = (0, false);
    for object in all {
        let full = objects.len() == limit;
        more |= full;
        if selection.matches(&object) {
            if full { left += 1 } else { objects.push(object) }
        }
    }
    (left, more)
}

/// Returns a list in the view that was agreed on.
pub fn shown(api: &Api, request: &Request, target: &Target, form: &Accepted, objects: &[Object], meta: Value) -> Value {
    match &form.view {
        View::Whole => document(target, objects, meta),
        View::Metadata(version) => {
            let items: Vec<Value> = objects.iter().map(|object| partial(object, version)).collect();
            json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": meta,
                "items": if items.is_empty() { Value::Null } else { items.into() },
            })
        }
        View::Table(version) => table::table(api, request, target, objects, meta, version, true),
    }
}

/// Returns an object's metadata alone.
pub fn partial(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object["metadata"],
    })
}

/// Returns a list as a document.
pub fn document(target: &Target, objects: &[Object], mut meta: Value) -> Value {
    let items: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut value = target.shown(object);
            if let Value::Object(map) = &mut value
                && !target.kind.custom
            {
                map.remove("apiVersion");
                map.remove("kind");
            }
            value
        })
        .collect();
    if target.kind.custom && meta.get("continue").is_none() {
        meta["continue"] = "".into();
    }
    json!({
        "apiVersion": target.kind.api_version(&target.version),
        "kind": target.kind.list_kind,
        "metadata": meta,
        "items": items,
    })
}

fn place(object: &Value) -> String {
    format!("{}\u{0}{}", object::namespace(object), object::name(object))
}

struct Token {
    version: u64,
    after: String,
}

fn write_token(version: i64, after: &str) -> String {
    URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": version, "start": after}).to_string())
}

fn read_token(token: &str) -> Result<Token, Status> {
    let wrong = |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|error| wrong(&error.to_string()))?;
    let parsed = match bytes.first() {
        // The server tells a byte that begins no JSON as the letter of that number.
        Some(byte @ 0x80..) => {
            return Err(wrong(&format!("invalid character '\\u{byte:04x}' looking for beginning of value")));
        }
        _ => super::json::read(&bytes).map_err(|why| wrong(&why))?.value,
    };
    let version = parsed["rv"].as_i64().unwrap_or(0);
    let after = parsed["start"].as_str().unwrap_or("").to_owned();
    if after.is_empty() {
        return Err(wrong("encoded start key empty (version meta.k8s.io/v1)"));
    }
    Ok(Token { version: u64::try_from(version).unwrap_or(0), after })
}
