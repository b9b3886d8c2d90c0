//! A connection in memory, for requests that want to change the protocol and came over none: those of this process.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::header;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;

use super::answer;
use crate::sandbox::status::Status;

/// Bytes that may be on the way.
const CAPACITY: usize = 64 << 10;

/// Returns whether a request asks for another protocol and has no connection that could change to it.
pub fn wanted(request: &http::Request<Body>) -> bool {
    request.headers().contains_key(header::UPGRADE) && request.extensions().get::<OnUpgrade>().is_none()
}

/// Sends a request over a connection of its own, whose ends both lie in this process.
pub async fn connect(router: Router, mut request: http::Request<Body>) -> Response {
    let (near, far) = tokio::io::duplex(CAPACITY);
    let service = TowerToHyperService::new(router);
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
    tokio::spawn(serving.with_upgrades());
    let failed = |error: hyper::Error| answer::refusal(&Status::internal(error.to_string()), "");
    let (mut sender, connection) = match hyper::client::conn::http1::handshake(TokioIo::new(near)).await {
        Ok(connected) => connected,
        Err(error) => return failed(error),
    };
    tokio::spawn(connection.with_upgrades());
    request.headers_mut().entry(header::HOST).or_insert(header::HeaderValue::from_static("sandbox"));
    match sender.send_request(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => failed(error),
    }
}
