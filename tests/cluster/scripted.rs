//! An API server that does as the test says: each request is answered by the next answer of a list.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use futures::stream;
use http::{Request, Response};
use okgscript::clock::Clock;
use okgscript::cluster::Cluster;
use serde_json::{Value, json};

/// One answer.
#[derive(Clone)]
pub enum Answer {
    /// A status and a JSON body.
    Json(u16, Value),
    /// A watch: its steps, in order.
    Watch(Vec<Step>),
    /// No answer: the connection breaks.
    Reset,
    /// No answer, ever.
    Never,
}

/// One step of a watch.
#[derive(Clone)]
pub enum Step {
    /// Time passes.
    Wait(Duration),
    /// Bytes of the body: an event and a line end.
    Event(Value),
    /// Bytes of the body as they are.
    Raw(&'static str),
    /// The connection breaks. Without this or [`Step::Hang`] the body ends.
    Break,
    /// Nothing more is ever said.
    Hang,
}

/// The answers that are still to be given, and what was asked.
#[derive(Clone, Default)]
pub struct Server {
    answers: Arc<Mutex<std::collections::VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn new(answers: impl IntoIterator<Item = Answer>) -> Server {
        Server { answers: Arc::new(Mutex::new(answers.into_iter().collect())), asked: Arc::default() }
    }

    /// Returns a client of this server in this process.
    pub fn cluster(&self) -> Cluster {
        let clock = Clock::simulated("2026-01-01T00:00:00Z".parse().unwrap());
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| server.clone().answer(request));
        Cluster::in_process(service, "default", "test", clock)
    }

    /// Returns what was asked so far: `LIST`, `WATCH 5`, `GET name`, `PATCH name`, …
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn answer(
        self,
        request: Request<kube::client::Body>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, std::io::Error>> + Send>> {
        let query = request.uri().query().unwrap_or_default();
        let version = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
        let name = request.uri().path().rsplit('/').next().unwrap_or_default();
        let asked = match (request.method().as_str(), query.contains("watch=1"), query.contains("limit=")) {
            ("GET", true, _) => format!("WATCH {}", version.unwrap_or("-")),
            ("GET", _, true) => "LIST".to_owned(),
            (method, ..) => format!("{method} {name}"),
        };
        self.asked.lock().unwrap().push(asked);
        let next = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Watch(vec![Step::Hang]));
        Box::pin(async move {
            // As every server, it takes a little time; without, a loop would stop the simulated clock.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let build = |status: u16, body: Body| Ok(Response::builder().status(status).body(body).unwrap());
            match next {
                Answer::Json(status, value) => build(status, Body::from(value.to_string())),
                Answer::Watch(steps) => build(200, Body::from_stream(play(steps))),
                Answer::Reset => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
                Answer::Never => std::future::pending().await,
            }
        })
    }
}

fn play(steps: Vec<Step>) -> impl futures::Stream<Item = Result<bytes::Bytes, std::io::Error>> {
    stream::unfold(steps.into_iter(), |mut steps| async move {
        loop {
            match steps.next()? {
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Event(event) => return Some((Ok(format!("{event}\n").into()), steps)),
                Step::Raw(text) => return Some((Ok(text.into()), steps)),
                Step::Break => return Some((Err(std::io::ErrorKind::ConnectionReset.into()), steps)),
                Step::Hang => std::future::pending().await,
            }
        }
    })
}

/// An object with a name, a version and one field.
pub fn object(name: &str, version: u64, state: &str) -> Value {
    json!({ "metadata": { "name": name, "resourceVersion": version.to_string(), "uid": name }, "state": state })
}

/// A list of such objects.
pub fn list(version: u64, items: &[Value]) -> Answer {
    Answer::Json(200, json!({ "metadata": { "resourceVersion": version.to_string() }, "items": items }))
}

/// An event of a watch.
pub fn event(kind: &str, object: Value) -> Step {
    Step::Event(json!({ "type": kind, "object": object }))
}

/// A bookmark.
pub fn bookmark(version: u64) -> Step {
    event("BOOKMARK", json!({ "metadata": { "resourceVersion": version.to_string() } }))
}

/// A Status of Kubernetes.
pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message })
}
