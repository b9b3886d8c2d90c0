//! The HTTP server: from a request to its answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header;
use serde_json::Value;

use super::api::Api;
use super::faults::{Answer, Asked, Faults, Verdict};
use super::requests::Requests;
use super::wire::request::Request;
use super::wire::{answer, dispatch, memory};
use super::{kinds, object};

/// How the server meets its clients.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// The token that the administrator sends. Without one everybody is the administrator, and who is acted for may do
    /// everything as well, unless the cluster has role bindings of its own.
    pub token: Option<String>,
    /// Tokens of other users: token, name, groups.
    pub tokens: Vec<(String, String, Vec<String>)>,
    /// What goes wrong on request.
    pub faults: Faults,
    /// Where requests are written down, if anywhere.
    pub requests: Option<Requests>,
    /// The seed of the time that each request takes when the clock jumps.
    pub seed: u64,
}

#[derive(Clone, Debug)]
struct Server {
    api: Api,
    options: Arc<HttpOptions>,
    rng: Arc<Mutex<fastrand::Rng>>,
}

/// Returns the server's router: all paths of a kube-apiserver.
pub fn router(api: Api, options: HttpOptions) -> Router {
    let rng = Arc::new(Mutex::new(fastrand::Rng::with_seed(options.seed ^ 0x6874_7470)));
    Router::new().fallback(enter).with_state(Server { api, options: Arc::new(options), rng })
}

impl Server {
    /// Where time jumps, a request takes one to three milliseconds: a loop of polls must let time pass.
    async fn take_time(&self) {
        if self.api.clock().jumps() {
            let micros = self.rng.lock().unwrap_or_else(PoisonError::into_inner).u64(1000..=3000);
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
    }

    /// Returns what goes wrong with a request.
    fn judge(&self, request: &Request) -> Verdict {
        let faults = &self.options.faults;
        if faults.is_empty() {
            return Verdict::default();
        }
        let about = dispatch::asked(request);
        let resource = kinds::key(&about.group, &about.resource);
        let new = || serde_json::from_slice::<Value>(&request.body).map(|body| object::name(&body).to_owned()).ok();
        let name = if about.verb == "create" && about.name.is_empty() { new().unwrap_or_default() } else { about.name };
        faults.judge(&Asked {
            method: request.method.as_str(),
            whole: &request.whole,
            verb: &about.verb,
            resource: &resource,
            subresource: &about.subresource,
            namespace: &about.namespace,
            name: &name,
            agent: &request.actor.manager,
            user: &request.actor.user,
            inside: false,
        })
    }
}

/// Lets a request in. One that wants another protocol and came over no connection is given one.
async fn enter(server: State<Server>, request: http::Request<Body>) -> Response {
    if memory::wanted(&request) {
        return memory::connect(Router::new().fallback(handle).with_state(server.0), request).await;
    }
    handle(server, request).await
}

async fn handle(State(server): State<Server>, request: http::Request<Body>) -> Response {
    let noted = server.options.requests.as_ref().map(|requests| (requests, requests.asked(&request)));
    server.take_time().await;
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let request = match Request::read(&server.api, request, &server.options).await {
        Ok(request) => request,
        Err(status) => return answer::refusal(&status, &accept),
    };
    if let Some((requests, place)) = noted {
        requests.came(place, &request);
    }
    let verdict = server.judge(&request);
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    if let Some(answer) = verdict.answer.as_ref().filter(|_| !verdict.after_applying) {
        return broken(answer);
    }
    let request = Request { age: verdict.age, ..request };
    let outcome = dispatch::answer(&server.api, request, verdict.watch).await;
    let mut response = outcome.unwrap_or_else(|status| answer::refusal(&status, &accept));
    if let Some((requests, place)) = noted {
        response = requests.done(place, response).await;
    }
    if !verdict.late.is_zero() {
        tokio::time::sleep(verdict.late).await;
    }
    if let Some(answer) = verdict.answer {
        return broken(&answer);
    }
    if let Some((requests, place)) = noted {
        requests.told(place);
    }
    response
}

/// Returns what a fault lets the client see.
fn broken(fault: &Answer) -> Response {
    match fault {
        Answer::Status(status) => answer::refusal(status, ""),
        Answer::Reset => {
            let error =
                std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset by a fault on request");
            let body = Body::from_stream(futures::stream::once(async move { Err::<bytes::Bytes, _>(error) }));
            answer::typed(200, "application/json", body)
        }
    }
}
