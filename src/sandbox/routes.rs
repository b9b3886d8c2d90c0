//! The HTTP server: from a request to its answer.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;

use super::api::Api;
use super::wire::request::Request;
use super::wire::{answer, dispatch};

/// How the server meets its clients.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// The token that the administrator sends; without one everybody is the administrator.
    pub token: Option<String>,
}

#[derive(Clone, Debug)]
struct Server {
    api: Api,
    options: HttpOptions,
}

/// Returns the server's router: all paths of a kube-apiserver.
pub fn router(api: Api, options: HttpOptions) -> Router {
    Router::new().fallback(handle).with_state(Server { api, options })
}

async fn handle(State(server): State<Server>, request: http::Request<Body>) -> Response {
    let answer = match Request::read(request, &server.options).await {
        Ok(request) => dispatch::answer(&server.api, request).await,
        Err(status) => Err(status),
    };
    answer.unwrap_or_else(|status| answer::refusal(&status))
}
