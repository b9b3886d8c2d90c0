//! A plan: writes are answered here and remembered, reads show them, and nothing that changes anything is sent.
//!
//! What is laid over the cluster is what our own writes say, no more: defaults, admission and controllers do not act.
//! A planned object keeps the resourceVersion it was read at, so that guards hold against the real one. A watch tells
//! what happens on the cluster, without the plan; a plan assumes that its waits succeed and does not watch.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tower::BoxError;

use super::client::Cluster;
use super::door::is_write;
use super::kind::Query;
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, Kind};

/// What a plan would do to one object, all its writes together.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Path of the object.
    pub path: String,
    /// The object as it is; nothing if it would be created.
    pub before: Option<Value>,
    /// The object as it would be; nothing if it would be deleted.
    pub after: Option<Value>,
    /// Writes that led there.
    pub writes: usize,
}

/// The writes of a plan; clones share them.
#[derive(Clone)]
pub struct Overlay(Arc<Shared>);

struct Shared {
    client: kube::Client,
    clock: Clock,
    /// One write at a time: each looks at the object that the one before it left.
    turn: tokio::sync::Mutex<()>,
    changes: Mutex<Vec<Change>>,
    supposed: OnceLock<Supposed>,
}

/// What is supposed of every object that is read.
type Supposed = Box<dyn Fn(&mut Value) + Send + Sync>;

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Overlay").field(&self.changes().len()).finish()
    }
}

/// A path of the API taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Path of the collection.
    pub collection: String,
    /// Name, for an object or a part of one.
    pub name: Option<String>,
    /// Part of the object: `status`, `scale`, `eviction`.
    pub subresource: Option<String>,
}

impl Target {
    pub(super) fn of(path: &str) -> Option<Target> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let root = match parts.first() {
            Some(&"api") => 2,
            Some(&"apis") => 3,
            _ => return None,
        };
        let rest = parts.get(root..)?;
        // `namespaces/NAME` is an object, `namespaces/NAME/pods` a collection in it.
        let plural = if rest.first() == Some(&"namespaces") && rest.len() > 2 { root + 2 } else { root };
        parts.get(plural)?;
        let text = |at: usize| parts.get(at).map(|part| (*part).to_owned());
        let collection = format!("/{}", parts.get(..=plural)?.join("/"));
        Some(Target { collection, name: text(plural + 1), subresource: text(plural + 2) })
    }

    /// Returns the path of the object, if it is one.
    pub fn object(&self) -> Option<String> {
        self.name.as_ref().map(|name| format!("{}/{name}", self.collection))
    }
}

/// An answer that is made here.
pub(super) type Refusal = (u16, &'static str, String);

/// Name of the condition that keeps a plan's writes from being sent.
const PLAN: &str = "plan";

impl Cluster {
    /// Lets writes pass again after a plan.
    pub fn end_plan(&self) {
        self.gate().release(PLAN);
    }

    /// Returns a cluster that shows this one with a plan laid over it, and the plan.
    ///
    /// Should a write ever find another way, the gate stands before it: it is closed until the plan is over.
    pub fn plan(&self) -> (Cluster, Overlay) {
        let refusal = Diagnostic::new(Kind::Refused, "a write was refused before it was sent")
            .why("a plan sends nothing that changes anything");
        self.gate().require(PLAN, move || Some(refusal.clone()));
        let overlay = Overlay(Arc::new(Shared {
            client: self.client().clone(),
            clock: self.clock(),
            turn: tokio::sync::Mutex::default(),
            changes: Mutex::default(),
            supposed: OnceLock::new(),
        }));
        let answering = overlay.clone();
        let service = tower::service_fn(move |request| answering.clone().answer(request));
        (self.through(service), overlay)
    }
}

impl Overlay {
    /// Returns what the plan would change, in the order of the first writes.
    pub fn changes(&self) -> Vec<Change> {
        self.planned().clone()
    }

    /// Shows every object as `suppose` changes it, before the plan's writes: what if? Only the first call counts.
    pub fn suppose(&self, suppose: impl Fn(&mut Value) + Send + Sync + 'static) {
        let _ = self.0.supposed.set(Box::new(suppose));
    }

    fn supposed(&self, mut object: Value) -> Value {
        if let Some(suppose) = self.0.supposed.get() {
            suppose(&mut object);
        }
        object
    }

    /// Sends a request to the cluster. What another layer said of it stays what it is.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        forward(&self.0.client, request).await
    }

    fn planned(&self) -> MutexGuard<'_, Vec<Change>> {
        self.0.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, path: &str) -> Option<Change> {
        self.planned().iter().find(|change| change.path == path).cloned()
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let uri = request.uri().clone();
        let whole = uri.path_and_query().map_or("/", |path| path.as_str());
        let target = Target::of(uri.path());
        if is_write(request.method(), whole) {
            let _turn = self.0.turn.lock().await;
            return match target {
                Some(target) => self.write(target, request).await,
                None => Ok(refusal((405, "MethodNotAllowed", "a plan cannot foresee this".to_owned()))),
            };
        }
        let watch = whole.contains("watch=");
        let Some(target) = target.filter(|_| request.method() == Method::GET && !watch) else {
            return self.send(request).await;
        };
        match (target.object(), target.subresource.as_deref()) {
            (Some(path), None | Some("status")) => match self.find(&path) {
                Some(Change { after: Some(object), .. }) => Ok(success(200, &object)),
                Some(_) => Ok(refusal(absent(&path))),
                None => match (self.0.supposed.get(), target.subresource.is_none()) {
                    (Some(_), true) => Ok(self.read(&path).await?.map_or_else(
                        |answer| answer,
                        |object| object.map_or_else(|| refusal(absent(&path)), |object| success(200, &object)),
                    )),
                    _ => self.send(request).await,
                },
            },
            (None, _) => self.list(&target, request).await,
            _ => self.send(request).await,
        }
    }

    /// Lays the plan over a page of a list. Objects that would be created come with the last page.
    async fn list(&self, target: &Target, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let mut planned: BTreeMap<String, Option<Value>> = BTreeMap::new();
        for change in self.planned().iter() {
            let holder = change.path.rsplit_once('/').map_or("", |(holder, _)| holder);
            if within(holder, &target.collection) {
                planned.insert(change.path.clone(), change.after.clone());
            }
        }
        if planned.is_empty() && self.0.supposed.get().is_none() {
            return self.send(request).await;
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let (head, body) = self.send(request).await?.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let Ok(mut page) = serde_json::from_slice::<Value>(&bytes) else {
            return Ok(Response::from_parts(head, Body::from(bytes)));
        };
        let Some(items) = page["items"].as_array_mut() else {
            return Ok(Response::from_parts(head, Body::from(bytes)));
        };
        let path_of = |object: &Value| {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            object_path(&target.collection, &text("namespace"), &text("name"))
        };
        for item in items.iter_mut() {
            *item = self.supposed(item.take());
        }
        items.retain_mut(|item| match planned.remove(&path_of(item)) {
            Some(Some(object)) => {
                *item = object;
                true
            }
            Some(None) => false,
            None => true,
        });
        if page["metadata"]["continue"].as_str().is_none_or(str::is_empty)
            && let Some(items) = page["items"].as_array_mut()
        {
            items.extend(planned.into_values().flatten().filter(|object| selected(object, &query)));
        }
        Ok(success(head.status.as_u16(), &page))
    }

    async fn write(&self, target: Target, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (head, body) = request.into_parts();
        let content = head.headers.get(http::header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body.collect().await?.to_bytes()).unwrap_or_default();
        let path = match (target.object(), body["metadata"]["name"].as_str()) {
            (Some(path), _) => path,
            (None, Some(name)) => format!("{}/{name}", target.collection),
            (None, None) => {
                let prefix = body["metadata"]["generateName"].as_str().unwrap_or_default();
                format!("{}/{prefix}{}", target.collection, self.planned().len() + 1)
            }
        };
        let present = match self.find(&path) {
            Some(change) => change.after,
            None => match self.read(&path).await? {
                Ok(object) => object,
                Err(answer) => return Ok(answer),
            },
        };
        let subresource = target.subresource.as_deref();
        let result = match (&head.method, present.clone()) {
            (&Method::POST, Some(_)) if subresource == Some("eviction") => Ok(None),
            (&Method::POST, Some(_)) => Err((409, "AlreadyExists", format!("`{path}` exists already"))),
            (&Method::POST, None) if target.name.is_none() => Ok(Some(self.created(&path, body))),
            (&Method::PATCH, None) if content.starts_with("application/apply-patch") => {
                Ok(Some(self.created(&path, body)))
            }
            (_, None) => Err(absent(&path)),
            (&Method::PATCH, Some(object)) => patched(object, content, &body).map(Some),
            (&Method::PUT, Some(object)) => replaced(object, body).map(Some),
            (&Method::DELETE, Some(object)) => deleted(&object, &body).map(|()| None),
            _ => Err((405, "MethodNotAllowed", "a plan cannot foresee this".to_owned())),
        };
        let after = match result {
            Ok(after) => after.map(|after| generation(present.as_ref(), after, subresource)),
            Err(refused) => return Ok(refusal(refused)),
        };
        self.remember(path, present, after.clone());
        let code = if head.method == Method::POST { 201 } else { 200 };
        Ok(success(code, &after.unwrap_or_else(|| json!({ "kind": "Status", "status": "Success" }))))
    }

    fn remember(&self, path: String, before: Option<Value>, after: Option<Value>) {
        let mut changes = self.planned();
        match changes.iter_mut().find(|change| change.path == path) {
            Some(change) => {
                change.after = after;
                change.writes += 1;
            }
            None => changes.push(Change { path, before, after, writes: 1 }),
        }
    }

    /// Reads an object as it is on the cluster; an answer that is neither it nor its absence is passed on.
    async fn read(&self, path: &str) -> Result<Result<Option<Value>, Response<Body>>, BoxError> {
        let answer = self.send(super::client::get(&Query::default().on(path))).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            let (head, body) = answer.into_parts();
            let bytes = body.collect().await?.to_bytes();
            let status: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            // Absent, or a kind that does not exist?
            let named = status["details"]["name"].as_str().is_some_and(|name| !name.is_empty());
            return Ok(if named { Ok(None) } else { Err(Response::from_parts(head, Body::from(bytes))) });
        }
        if !answer.status().is_success() {
            return Ok(Err(answer));
        }
        let bytes = answer.into_body().collect().await?.to_bytes();
        Ok(Ok(Some(self.supposed(serde_json::from_slice(&bytes)?))))
    }

    fn created(&self, path: &str, mut object: Value) -> Value {
        let name = path.rsplit('/').next().unwrap_or_default();
        object["metadata"]["name"] = json!(name);
        if let Some(namespace) = namespace_of(path) {
            object["metadata"]["namespace"] = json!(namespace);
        }
        object["metadata"]["uid"] = json!(format!("planned-{}", self.planned().len() + 1));
        object["metadata"]["creationTimestamp"] = json!(format!("{:.0}", self.0.clock.now()));
        object["metadata"]["generation"] = json!(1);
        object
    }
}

/// Sends a request through a client of ours. What a layer below says of it stays what it is.
pub(super) async fn forward(client: &kube::Client, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    client.send(request).await.map_err(|error| match error {
        kube::Error::Service(said) => said,
        other => other.into(),
    })
}

/// Applies a patch; the error is the answer that a server would give.
pub(super) fn patched(mut object: Value, content: &str, body: &Value) -> Result<Value, Refusal> {
    match content {
        "application/json-patch+json" => {
            let unfit = |error: String| (422, "Invalid", error);
            let patch: json_patch::Patch =
                serde_json::from_value(body.clone()).map_err(|error| (400, "BadRequest", error.to_string()))?;
            json_patch::patch(&mut object, &patch).map_err(|error| unfit(error.to_string()))?;
        }
        "application/merge-patch+json" | "application/apply-patch+yaml" => json_patch::merge(&mut object, body),
        _ => return Err((415, "UnsupportedMediaType", format!("a plan cannot foresee `{content}`"))),
    }
    Ok(object)
}

fn replaced(present: Value, object: Value) -> Result<Value, Refusal> {
    let version = &object["metadata"]["resourceVersion"];
    if version.as_str().is_some_and(|version| !version.is_empty()) && *version != present["metadata"]["resourceVersion"]
    {
        return Err((409, "Conflict", "the object has been modified".to_owned()));
    }
    let mut object = object;
    for field in ["namespace", "uid", "creationTimestamp", "resourceVersion", "generation"] {
        if let Some(held) = present["metadata"].get(field) {
            object["metadata"][field] = held.clone();
        }
    }
    Ok(object)
}

fn deleted(object: &Value, options: &Value) -> Result<(), Refusal> {
    for (field, held) in [("uid", "uid"), ("resourceVersion", "resourceVersion")] {
        let wanted = &options["preconditions"][field];
        if !wanted.is_null() && *wanted != object["metadata"][held] {
            return Err((409, "Conflict", format!("precondition failed: {field}")));
        }
    }
    Ok(())
}

/// Counts the generation on when the specification has changed.
fn generation(before: Option<&Value>, mut after: Value, subresource: Option<&str>) -> Value {
    if let Some(before) = before
        && subresource != Some("status")
        && before["spec"] != after["spec"]
        && let Some(generation) = before["metadata"]["generation"].as_i64()
    {
        after["metadata"]["generation"] = json!(generation + 1);
    }
    after
}

fn absent(path: &str) -> Refusal {
    (404, "NotFound", path.rsplit('/').next().unwrap_or_default().to_owned())
}

fn namespace_of(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once("/namespaces/")?;
    rest.split_once('/').map(|(namespace, _)| namespace)
}

/// Returns the path of an object that a list of this collection holds.
fn object_path(collection: &str, namespace: &str, name: &str) -> String {
    match collection.rsplit_once('/') {
        Some((root, plural)) if namespace_of(collection).is_none() && !namespace.is_empty() => {
            format!("{root}/namespaces/{namespace}/{plural}/{name}")
        }
        _ => format!("{collection}/{name}"),
    }
}

/// Whether the objects of one collection are among those of another, which may be that of all namespaces.
fn within(holder: &str, collection: &str) -> bool {
    let bare = |path: &str| match namespace_of(path) {
        Some(namespace) => path.replacen(&format!("/namespaces/{namespace}"), "", 1),
        None => path.to_owned(),
    };
    holder == collection || (namespace_of(collection).is_none() && bare(holder) == collection)
}

/// Whether an object that would be created meets the selectors of a list: equalities and bare labels are understood,
/// anything else is taken as met.
fn selected(object: &Value, query: &str) -> bool {
    query.split('&').filter_map(|pair| pair.split_once('=')).all(|(key, value)| {
        let value = super::connector::decode(value);
        let value = String::from_utf8_lossy(&value);
        let terms = value.split(',').map(str::trim).filter(|term| !term.is_empty());
        match key {
            "labelSelector" if !value.contains('(') => terms.into_iter().all(|term| {
                let labels = &object["metadata"]["labels"];
                match (term.split_once("!="), term.split_once('=')) {
                    (Some((label, value)), _) => labels[label] != value,
                    (None, Some((label, value))) => {
                        labels[label.trim_end_matches('=')] == value.trim_start_matches('=')
                    }
                    (None, None) => match term.strip_prefix('!') {
                        Some(label) => labels[label].is_null(),
                        None => !labels[term].is_null(),
                    },
                }
            }),
            "fieldSelector" => terms.into_iter().all(|term| match term.split_once('=') {
                Some(("metadata.name", name)) => object["metadata"]["name"] == name.trim_start_matches('='),
                _ => true,
            }),
            _ => true,
        }
    })
}

fn success(code: u16, value: &Value) -> Response<Body> {
    let mut answer = Response::new(Body::from(value.to_string().into_bytes()));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
    answer
}

fn refusal((code, reason, message): Refusal) -> Response<Body> {
    let mut status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    });
    if code == 404 {
        status["message"] = json!(format!("`{message}` is not there in this plan"));
        status["details"] = json!({ "name": message });
    }
    success(code, &status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let of = |path: &str| {
            let target = Target::of(path).unwrap();
            (target.collection.clone(), target.object(), target.subresource)
        };
        let pods = "/api/v1/namespaces/a/pods".to_owned();
        assert_eq!(of("/api/v1/namespaces/a/pods"), (pods.clone(), None, None));
        assert_eq!(
            of("/api/v1/namespaces/a/pods/p/log"),
            (pods.clone(), Some(format!("{pods}/p")), Some("log".into()))
        );
        assert_eq!(
            of("/api/v1/namespaces/a"),
            ("/api/v1/namespaces".into(), Some("/api/v1/namespaces/a".into()), None)
        );
        assert_eq!(of("/apis/g/v1/widgets/w").1, Some("/apis/g/v1/widgets/w".into()));
        assert_eq!(Target::of("/version"), None);
        assert_eq!(Target::of("/apis/g/v1"), None);
    }

    #[test]
    fn collections_of_all_namespaces_hold_those_of_each() {
        assert!(within("/api/v1/namespaces/a/pods", "/api/v1/pods"));
        assert!(within("/api/v1/namespaces/a/pods", "/api/v1/namespaces/a/pods"));
        assert!(!within("/api/v1/namespaces/a/pods", "/api/v1/namespaces/b/pods"));
        assert!(!within("/api/v1/namespaces/a/pods", "/api/v1/services"));
        assert_eq!(object_path("/api/v1/pods", "a", "p"), "/api/v1/namespaces/a/pods/p");
        assert_eq!(object_path("/api/v1/namespaces/a/pods", "a", "p"), "/api/v1/namespaces/a/pods/p");
        assert_eq!(object_path("/api/v1/nodes", "", "n"), "/api/v1/nodes/n");
    }

    #[test]
    fn new_objects_are_held_against_the_selectors() {
        let object = json!({ "metadata": { "name": "a", "labels": { "app": "x" } } });
        for query in [
            "",
            "labelSelector=app%3Dx",
            "labelSelector=app",
            "labelSelector=%21b,app%21%3Dy",
            "fieldSelector=metadata.name%3Da",
        ] {
            assert!(selected(&object, query), "{query}");
        }
        for query in
            ["labelSelector=app%3Dy", "labelSelector=b", "labelSelector=%21app", "fieldSelector=metadata.name%3Db"]
        {
            assert!(!selected(&object, query), "{query}");
        }
    }
}
