//! The kube client behind plain verbs on any kind of object.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::{BoxError, Layer as _, Service};

use super::collection::Collection;
use super::connect::Connect;
use super::discovery::Found;
use super::door::{Despite, DoorLayer, EntryId};
use super::errors::{Call, Origin};
use super::gate::Gate;
use super::journal::Journal;
use super::kind::{Kind, Query, Selector};
use super::list::Identified;
use super::transport::{Transport, copy};
use crate::clock::Clock;
use crate::diagnostic::Diagnostic;

/// Name under which our writes appear in `managedFields`.
pub const FIELD_MANAGER: &str = "okgscript";

/// Longest wait for the answer to one request, unless told otherwise.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What a time-out of zero means, as for kubectl.
const NO_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A connection to one API server; clones share everything.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    client: kube::Client,
    /// The way over the network; none in process.
    way: Option<Transport>,
    origin: Origin,
    namespace: String,
    clock: Clock,
    journal: Journal,
    gate: Gate,
    timeout: Duration,
    seed: u64,
    kinds: tokio::sync::OnceCell<Vec<Found>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("context", &self.context()).field("namespace", &self.namespace()).finish()
    }
}

/// A change to an object, in one of the API's notations.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902: a list of operations; a failed `test` changes nothing.
    Json(Value),
    /// RFC 7386: an object laid over the present one; lists are replaced.
    Merge(Value),
    /// Server-side apply of an object's intended fields.
    Apply {
        /// The fields, with `apiVersion`, `kind` and `metadata.name`.
        body: Value,
        /// Whether fields of other managers are taken over.
        force: bool,
    },
}

/// What a deletion asks for; nothing, unless told.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Delete only the object with this uid.
    pub uid: Option<String>,
    /// Delete only this version of the object.
    pub version: Option<String>,
    /// `Background`, `Foreground` or `Orphan`.
    pub propagation: Option<String>,
    /// Seconds that a pod gets to stop.
    pub grace_seconds: Option<u32>,
}

/// Which part of a container's log is wanted; all of it, unless told.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Container; may be left out if the pod has only one.
    pub container: Option<String>,
    /// Only so many of the last lines.
    pub tail_lines: Option<u32>,
    /// Only lines of so many last seconds.
    pub since_seconds: Option<u32>,
    /// The log of the container's previous run.
    pub previous: bool,
}

impl Cluster {
    /// Connects to the cluster that the options, a kubeconfig or a service account name. Nothing is sent and no TLS
    /// roots are read before the first request. Call inside a runtime.
    ///
    /// Fails with `no-cluster` when nothing is configured, `missing` for a file or context that does not exist, and
    /// `invalid` for a kubeconfig that cannot be understood.
    pub async fn connect(options: &Connect, clock: Clock) -> Result<Cluster, Diagnostic> {
        let target = options.target()?;
        let origin = target.origin();
        let namespace = target.namespace.clone();
        let timeout = options.request_timeout.unwrap_or(REQUEST_TIMEOUT);
        let timeout = if timeout.is_zero() { NO_TIMEOUT } else { timeout };
        let way = Transport::new(target, clock);
        let inner = Cluster::assemble(way.clone(), origin, namespace, clock, timeout, fastrand::u64(..));
        Ok(Cluster(Arc::new(Inner { way: Some(way), ..inner })))
    }

    /// Reaches an API server that lives in this process. Call inside a runtime.
    pub fn in_process<S, B>(service: S, namespace: &str, context: &str, clock: Clock) -> Cluster
    where
        S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let origin = Origin { context: context.to_owned(), server: "in process".to_owned(), proxy: None };
        Cluster(Arc::new(Cluster::assemble(service, origin, namespace.to_owned(), clock, REQUEST_TIMEOUT, 0)))
    }

    fn assemble<S, B>(
        service: S,
        origin: Origin,
        namespace: String,
        clock: Clock,
        timeout: Duration,
        seed: u64,
    ) -> Inner
    where
        S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (journal, gate) = (Journal::default(), Gate::default());
        let door = DoorLayer { journal: journal.clone(), gate: gate.clone(), clock };
        let client = kube::Client::new(door.layer(service), namespace.as_str());
        Inner {
            client,
            way: None,
            origin,
            namespace,
            clock,
            journal,
            gate,
            timeout,
            seed,
            kinds: tokio::sync::OnceCell::new(),
        }
    }

    /// Returns the namespace that is meant when none is named.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Returns the name of the context.
    pub fn context(&self) -> &str {
        &self.0.origin.context
    }

    /// Returns the server's address; `in process` for one without.
    pub fn server(&self) -> &str {
        &self.0.origin.server
    }

    /// Returns the clock that stamps the journal.
    pub fn clock(&self) -> Clock {
        self.0.clock
    }

    /// Returns the record of all requests.
    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// Returns the switch that refuses writes.
    pub fn gate(&self) -> &Gate {
        &self.0.gate
    }

    pub(super) fn client(&self) -> &kube::Client {
        &self.0.client
    }

    /// Returns a cluster whose requests go through a service of ours; all else is shared with this one.
    pub(super) fn through<S, B>(&self, service: S) -> Cluster
    where
        S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Inner { origin, namespace, clock, journal, gate, timeout, seed, way, .. } = &*self.0;
        Cluster(Arc::new(Inner {
            client: kube::Client::new(service, namespace.as_str()),
            way: way.clone(),
            origin: origin.clone(),
            namespace: namespace.clone(),
            clock: *clock,
            journal: journal.clone(),
            gate: gate.clone(),
            timeout: *timeout,
            seed: *seed,
            kinds: tokio::sync::OnceCell::new(),
        }))
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.0.origin
    }

    pub(super) fn seed(&self) -> u64 {
        self.0.seed
    }

    pub(super) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Returns an object; fails with `not-found` when it is absent.
    pub async fn get<T: DeserializeOwned>(&self, kind: &Kind, namespace: &str, name: &str) -> Result<T, Diagnostic> {
        let call = call("get", kind, namespace, name);
        let path = kind.object_path(namespace, name, None)?;
        self.read(&call, &path).await
    }

    /// Returns an object, or nothing when it is absent.
    pub async fn find<T: DeserializeOwned>(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<T>, Diagnostic> {
        match self.get(kind, namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.kind == crate::diagnostic::Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes an object and returns what became of it.
    ///
    /// A 422 without causes to a JSON Patch is a `conflict` with `guard` set: the server does not tell a failed
    /// `test` from a patch that is wrong.
    pub async fn patch<T: DeserializeOwned>(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
        patch: &Patch,
    ) -> Result<T, Diagnostic> {
        let mut call = call("patch", kind, namespace, name);
        let path = kind.object_path(namespace, name, subresource)?;
        let mut query = Query::default();
        query.add("fieldManager", FIELD_MANAGER);
        let (content, body) = match patch {
            Patch::Json(body) => ("application/json-patch+json", body),
            Patch::Merge(body) => ("application/merge-patch+json", body),
            Patch::Apply { body, force } => {
                query.add("force", if *force { "true" } else { "false" });
                ("application/apply-patch+yaml", body)
            }
        };
        call.json_patch = matches!(patch, Patch::Json(_));
        self.write(call, request("PATCH", &query.on(&path), content, body)).await
    }

    /// Creates an object and returns it as the server stored it.
    pub async fn create<T: DeserializeOwned>(
        &self,
        kind: &Kind,
        namespace: &str,
        object: &Value,
    ) -> Result<T, Diagnostic> {
        let name = object["metadata"]["name"].as_str().or(object["metadata"]["generateName"].as_str());
        let call = call("create", kind, namespace, name.unwrap_or_default());
        let mut query = Query::default();
        query.add("fieldManager", FIELD_MANAGER);
        let path = query.on(&kind.collection_path(namespace));
        self.write(call, request("POST", &path, "application/json", object)).await
    }

    /// Replaces an object; a resourceVersion in it makes the server refuse when the object has changed since.
    pub async fn replace<T: DeserializeOwned>(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
        object: &Value,
    ) -> Result<T, Diagnostic> {
        let call = call("replace", kind, namespace, name);
        let mut query = Query::default();
        query.add("fieldManager", FIELD_MANAGER);
        let path = query.on(&kind.object_path(namespace, name, subresource)?);
        self.write(call, request("PUT", &path, "application/json", object)).await
    }

    /// Replaces an object for which one condition of the gate does not hold.
    pub(super) async fn replace_despite<T: DeserializeOwned>(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        object: &Value,
        condition: &str,
    ) -> Result<T, Diagnostic> {
        let call = call("replace", kind, namespace, name);
        let mut query = Query::default();
        query.add("fieldManager", FIELD_MANAGER);
        let path = query.on(&kind.object_path(namespace, name, None)?);
        let mut request = request("PUT", &path, "application/json", object);
        request.extensions_mut().insert(Despite(condition.to_owned()));
        self.write(call, request).await
    }

    /// Deletes an object; returns it when it is still there, waiting for a finalizer or for its grace to end.
    pub async fn delete(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Option<Value>, Diagnostic> {
        let call = call("delete", kind, namespace, name);
        let path = kind.object_path(namespace, name, None)?;
        let mut body = json!({ "kind": "DeleteOptions", "apiVersion": "v1" });
        if options.uid.is_some() || options.version.is_some() {
            body["preconditions"] = json!({});
            if let Some(uid) = &options.uid {
                body["preconditions"]["uid"] = json!(uid);
            }
            if let Some(version) = &options.version {
                body["preconditions"]["resourceVersion"] = json!(version);
            }
        }
        if let Some(propagation) = &options.propagation {
            body["propagationPolicy"] = json!(propagation);
        }
        if let Some(seconds) = options.grace_seconds {
            body["gracePeriodSeconds"] = json!(seconds);
        }
        let answer: Value = self.write(call, request("DELETE", &path, "application/json", &body)).await?;
        Ok((answer["kind"] != "Status").then_some(answer))
    }

    /// Returns a container's log.
    pub async fn logs(&self, namespace: &str, pod: &str, options: &LogOptions) -> Result<String, Diagnostic> {
        let kind = super::kind::POD;
        let call = call("read the log of", &kind, namespace, pod);
        let mut query = Query::default();
        if let Some(container) = &options.container {
            query.add("container", container);
        }
        for (key, value) in [("tailLines", options.tail_lines), ("sinceSeconds", options.since_seconds)] {
            if let Some(value) = value {
                query.add(key, &value.to_string());
            }
        }
        if options.previous {
            query.add("previous", "true");
        }
        let path = query.on(&kind.object_path(namespace, pod, Some("log"))?);
        let answer = self.send(&call, get(&path)).await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Returns a cache of the objects that is kept fresh by one list and one watch; not started yet.
    pub fn collection<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        kind: &Kind,
        namespace: &str,
        selector: &Selector,
    ) -> Collection<T> {
        Collection::new(self.clone(), kind.clone(), namespace.to_owned(), selector.clone())
    }

    /// Returns what a path of the API server answers.
    pub async fn raw(&self, path: &str) -> Result<Value, Diagnostic> {
        self.raw_as(path, None).await
    }

    pub(super) async fn raw_as(&self, path: &str, accept: Option<&'static str>) -> Result<Value, Diagnostic> {
        let core = |text: &'static str| std::borrow::Cow::Borrowed(text);
        let kind = Kind { group: core(""), version: core(""), plural: core(""), kind: core("path"), namespaced: false };
        let call = call("get", &kind, "", path);
        let uri: http::Uri = path.parse().map_err(|error: http::uri::InvalidUri| {
            Diagnostic::new(crate::diagnostic::Kind::Invalid, format!("`{path}` is no path of an API server"))
                .why(error.to_string())
        })?;
        let mut request = get("/");
        *request.uri_mut() = uri;
        if let Some(accept) = accept {
            request.headers_mut().insert(http::header::ACCEPT, http::HeaderValue::from_static(accept));
        }
        let answer = self.send(&call, request).await?;
        self.parse(&call, &answer.body)
    }

    /// Returns the kinds that the server has, read once.
    pub(super) async fn discovered(&self) -> Result<&[Found], Diagnostic> {
        Ok(self.0.kinds.get_or_try_init(|| self.discover()).await?.as_slice())
    }

    /// Sends a question that changes nothing, although it is a POST.
    pub(super) async fn review(&self, kind: &Kind, body: &Value) -> Result<Value, Diagnostic> {
        let call = call("review", kind, "", "");
        let answer = self.send(&call, request("POST", &kind.collection_path(""), "application/json", body)).await?;
        self.parse(&call, &answer.body)
    }

    async fn read<T: DeserializeOwned>(&self, call: &Call, path: &str) -> Result<T, Diagnostic> {
        let answer = self.send(call, get(path)).await?;
        if let Ok(object) = serde_json::from_slice::<Identified>(&answer.body) {
            self.0.journal.identified(answer.entry, object.metadata.resource_version, None);
        }
        self.parse(call, &answer.body)
    }

    /// Sends a write from a task of its own: who gives up waiting for it does not take it back, and the journal
    /// learns how it ended. One that was surely not carried out is sent again.
    async fn write<T: DeserializeOwned>(&self, call: Call, request: Request<Body>) -> Result<T, Diagnostic> {
        let answer = again(&call, request, |request| {
            let (cluster, words) = (self.clone(), call.clone());
            let sent = tokio::spawn(async move { cluster.send_once(&words, request).await });
            async {
                match sent.await {
                    Ok(result) => result,
                    Err(error) => Err(self.0.origin.unknown(&call, error.to_string())),
                }
            }
        });
        self.parse(&call, &answer.await?.body)
    }

    /// Opens the way to the server, if that is still to be done: a login may take a person longer than a request.
    pub(super) async fn ready(&self) -> Result<(), Diagnostic> {
        match &self.0.way {
            Some(way) => way.ready().await.map_err(|error| self.0.origin.place(error)),
            None => Ok(()),
        }
    }

    /// Sends a request and reads the whole answer, again if the server could not serve it just then.
    pub(super) async fn send(&self, call: &Call, request: Request<Body>) -> Result<Answer, Diagnostic> {
        again(call, request, |request| self.send_once(call, request)).await
    }

    /// Sends a request and reads the whole answer within the request's time.
    async fn send_once(&self, call: &Call, request: Request<Body>) -> Result<Answer, Diagnostic> {
        self.ready().await?;
        let exchange = async {
            let answer = self.open(call, request).await?;
            let entry = answer.extensions().get::<EntryId>().map_or(0, |id| id.0);
            let body = answer.into_body().collect().await.map_err(|error| self.0.origin.failure(call, error))?;
            Ok(Answer { entry, body: body.to_bytes() })
        };
        match tokio::time::timeout(self.0.timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(self.0.origin.too_long(call, self.0.timeout)),
        }
    }

    /// Sends a request and returns the answer with its body still to come, if it is a success.
    pub(super) async fn open(&self, call: &Call, request: Request<Body>) -> Result<Response<Body>, Diagnostic> {
        let origin = &self.0.origin;
        let answer = self.0.client.send(request).await.map_err(|error| origin.failure(call, error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Err(origin.refusal(call, head.status.as_u16(), &head.headers, &body))
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, call: &Call, body: &[u8]) -> Result<T, Diagnostic> {
        serde_json::from_slice(body).map_err(|error| self.0.origin.unreadable(call, &error))
    }
}

/// Pauses before a request is sent again.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// The longest `Retry-After` that is waited for.
const LONGEST: Duration = Duration::from_secs(60);

/// Sends a request, and again after a pause where the same may succeed and nothing can be done twice: the server said
/// that it did not carry it out, or a read broke off.
async fn again<F: Future<Output = Result<Answer, Diagnostic>>>(
    call: &Call,
    request: Request<Body>,
    send: impl Fn(Request<Body>) -> F,
) -> Result<Answer, Diagnostic> {
    let (mut request, mut pauses) = (request, PAUSES.into_iter());
    loop {
        let next = copy(&request);
        let error = match send(request).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let first = pauses.len() == PAUSES.len();
        let wait = pauses.next().and_then(|pause| wait_for(call, &error, pause, first));
        let (Some(next), Some(wait)) = (next, wait) else { return Err(error) };
        tokio::time::sleep(wait).await;
        request = next;
    }
}

/// Returns how long to wait before the same request is sent again, if that makes sense.
fn wait_for(call: &Call, error: &Diagnostic, pause: Duration, first: bool) -> Option<Duration> {
    use crate::diagnostic::Kind::{TooManyRequests, Unavailable};
    let code = error.data.get("code").and_then(Value::as_u64);
    match error.kind {
        TooManyRequests => {
            let asked = error.data.get("retry_after_seconds").and_then(Value::as_u64).map(Duration::from_secs);
            asked.map_or(Some(pause), |asked| (asked <= LONGEST).then_some(asked.max(pause)))
        }
        Unavailable if code.is_some_and(|code| code >= 500) => Some(pause),
        Unavailable if !call.writes() && error.data.contains_key("broken") => Some(pause),
        // Who did not answer in time is asked once more: the connection may have been dead.
        Unavailable if !call.writes() && error.data.contains_key("silent") && first => Some(pause),
        _ => None,
    }
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) entry: u64,
    pub(super) body: Bytes,
}

pub(super) fn call(verb: &'static str, kind: &Kind, namespace: &str, name: &str) -> Call {
    Call { verb, kind: kind.clone(), namespace: namespace.to_owned(), name: name.to_owned(), json_patch: false }
}

/// How servers, audit logs and admission see who asks.
const USER_AGENT: &str = concat!("okgscript/", env!("CARGO_PKG_VERSION"));

/// Makes a request without a body.
pub(super) fn get(path: &str) -> Request<Body> {
    head("GET", path, HeaderMap::new(), Body::empty())
}

fn request(method: &str, path: &str, content: &'static str, body: &Value) -> Request<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content));
    head(method, path, headers, Body::from(body.to_string().into_bytes()))
}

fn head(method: &str, path: &str, headers: HeaderMap, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = method.parse().expect("methods are constants of this file");
    *request.uri_mut() = path.parse().expect("every segment and parameter is encoded");
    *request.headers_mut() = headers;
    request.headers_mut().insert(http::header::ACCEPT, http::HeaderValue::from_static("application/json"));
    request.headers_mut().insert(http::header::USER_AGENT, http::HeaderValue::from_static(USER_AGENT));
    request
}
