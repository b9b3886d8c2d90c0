//! Writes that are looked at one by one before they are sent: what a plan does not cover stays here.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures::FutureExt as _;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::Value;
use tower::BoxError;

use super::client::Cluster;
use super::door::is_write;
use super::overlay::{Target, forward, patched};
use crate::diagnostic::Diagnostic;

/// A write that is about to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// HTTP method.
    pub method: Method,
    /// Path with parameters.
    pub path: String,
    /// What it is about, where the path is one of objects.
    pub target: Option<Target>,
    /// Content type of the body.
    pub content: String,
    /// The body; null where it is no JSON.
    pub body: Value,
}

impl Outgoing {
    /// Returns what the write makes of an object, as far as can be foreseen.
    pub fn applied_to(&self, object: Value) -> Option<Value> {
        match self.method {
            Method::PATCH => patched(object, &self.content, &self.body).ok(),
            Method::PUT => Some(self.body.clone()),
            _ => None,
        }
    }

    /// Returns the identity that the write holds the object to: a JSON Patch's `test`, a deletion's precondition.
    pub fn held_to_uid(&self) -> Option<&str> {
        let tested = self.body.as_array().into_iter().flatten();
        let mut tested = tested.filter(|it| it["op"] == "test" && it["path"] == "/metadata/uid");
        let tested = tested.next().and_then(|it| it["value"].as_str());
        tested.or_else(|| self.body.pointer("/preconditions/uid").and_then(Value::as_str))
    }
}

impl fmt::Display for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Cluster {
    /// Returns a cluster that asks `judge` about each write before it is sent; an error is what the caller gets, and
    /// nothing is sent.
    pub fn confined<F, A>(&self, judge: F) -> Cluster
    where
        F: Fn(Outgoing) -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), Diagnostic>> + Send + 'static,
    {
        let (judge, client) = (Arc::new(judge), self.client().clone());
        self.through(tower::service_fn(move |request: Request<Body>| {
            let (judge, client) = (judge.clone(), client.clone());
            async move {
                if let Some(write) = outgoing(&request) {
                    judge(write).await.map_err(|refusal| Box::new(refusal) as BoxError)?;
                }
                forward(&client, request).await
            }
        }))
    }
}

fn outgoing(request: &Request<Body>) -> Option<Outgoing> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    if !is_write(request.method(), &path) {
        return None;
    }
    let bytes = request.body().try_clone().and_then(|body| body.collect().now_or_never());
    let bytes = bytes.and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let content = request.headers().get(http::header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    Some(Outgoing {
        method: request.method().clone(),
        target: Target::of(request.uri().path()),
        path,
        content: content.unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    })
}
