//! The server's own log of requests: what was asked, what became of it, and whether the client was told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::wire::request::Request;

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// The HTTP method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The body, if it is JSON.
    pub body: Value,
    /// The status that the request came to; none if it was not carried out.
    pub status: Option<u16>,
    /// The answer, unless it is a watch's.
    pub answer: Value,
    /// Whether the client was told what the request came to.
    pub told: bool,
}

/// The log. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Mutex<Vec<Exchange>>>);

impl Requests {
    fn list(&self) -> MutexGuard<'_, Vec<Exchange>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what has passed, oldest first.
    pub fn all(&self) -> Vec<Exchange> {
        self.list().clone()
    }

    /// Notes a request that begins, and returns its place.
    pub(super) fn asked(&self, request: &http::Request<Body>) -> usize {
        let path = request.uri().path_and_query().map_or("", |part| part.as_str()).to_owned();
        let mut list = self.list();
        list.push(Exchange { method: request.method().to_string(), path, ..Exchange::default() });
        list.len() - 1
    }

    /// Notes that a request has come whole.
    pub(super) fn came(&self, place: usize, request: &Request) {
        if let Some(exchange) = self.list().get_mut(place) {
            exchange.body = serde_json::from_slice(&request.body).unwrap_or_default();
        }
    }

    /// Notes what a request came to.
    pub(super) async fn done(&self, place: usize, response: Response) -> Response {
        let status = response.status().as_u16();
        let watch = self.list().get(place).is_some_and(|exchange| exchange.path.contains("watch="));
        let (response, answer) = if watch { (response, Value::Null) } else { read(response).await };
        if let Some(exchange) = self.list().get_mut(place) {
            (exchange.status, exchange.answer) = (Some(status), answer);
        }
        response
    }

    /// Notes that the client is told what its request came to.
    pub(super) fn told(&self, place: usize) {
        if let Some(exchange) = self.list().get_mut(place) {
            exchange.told = true;
        }
    }
}

async fn read(response: Response) -> (Response, Value) {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let answer = serde_json::from_slice(&bytes).unwrap_or_default();
    (Response::from_parts(head, Body::from(bytes)), answer)
}
