//! Guarded patches over loopback HTTP, beside a handler of the same stack that answers the same bytes and stores
//! nothing.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[allow(dead_code, reason = "no benchmark needs all of it")]
mod figure;

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use futures::future::join_all;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use okgscript::clock::Clock;
use okgscript::sandbox::{Options, Sandbox};
use serde_json::json;

const ROOMS: usize = 100;
const PATCHES: usize = 1000;

const SCENARIO: &str = r#"
apiVersion: okgscript.io/v1
kind: Scenario
metadata: {name: requests}
---
apiVersion: game.kruise.io/v1alpha1
kind: GameServerSet
metadata: {name: arena, namespace: default}
spec:
  replicas: 100
  updateStrategy: {type: OnDelete}
  gameServerTemplate:
    spec:
      containers:
      - {name: arena, image: "arena:1.0"}
"#;

type Http = Client<HttpConnector, Full<Bytes>>;

/// Serves as `okgscript sandbox` does.
async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

/// Sends one guarded patch: from one opsState to the other, if the room is in the first.
async fn patch(http: &Http, address: SocketAddr, room: usize, back: bool) -> (http::response::Parts, Bytes) {
    let (from, to) = if back { ("Maintaining", "None") } else { ("None", "Maintaining") };
    let body = json!([
        {"op": "test", "path": "/spec/opsState", "value": from},
        {"op": "replace", "path": "/spec/opsState", "value": to},
    ]);
    let path = "apis/game.kruise.io/v1alpha1/namespaces/default/gameservers";
    let request = Request::patch(format!("http://{address}/{path}/arena-{room}"))
        .header(header::CONTENT_TYPE, "application/json-patch+json")
        .header(header::USER_AGENT, "bench")
        .body(Full::from(body.to_string()))
        .expect("a request");
    let (head, body) = http.request(request).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    assert!(head.status.is_success(), "{}: {}", head.status, String::from_utf8_lossy(&body));
    (head, body)
}

/// Sends them all, so many at a time: each sender has rooms of its own, and goes over them again and again.
async fn send(http: &Http, address: SocketAddr, at_once: usize) {
    let rooms = ROOMS / at_once;
    join_all((0..at_once).map(async |sender| {
        for number in 0..PATCHES / at_once {
            patch(http, address, sender * rooms + number % rooms, number / rooms % 2 == 1).await;
        }
    }))
    .await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let http: Http = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let (sandbox, address) = runtime.block_on(async {
        let scenario = Some(("requests".to_owned(), SCENARIO.to_owned()));
        let sandbox = Sandbox::start(&Options { scenario, ..Options::default() }, Clock::wall()).await;
        let sandbox = sandbox.unwrap_or_else(|error| panic!("{error:?}"));
        let address = serve(sandbox.router()).await;
        (sandbox, address)
    });
    let echo = runtime.block_on(async {
        patch(&http, address, 0, false).await;
        let (head, bytes) = patch(&http, address, 0, true).await;
        let kind = head.headers.get(header::CONTENT_TYPE).cloned().expect("a type");
        let answer = async move |request: Request<Body>| {
            request.into_body().collect().await.expect("a body");
            ([(header::CONTENT_TYPE, kind)], bytes)
        };
        serve(Router::new().fallback(answer)).await
    });
    println!("{PATCHES} guarded patches over loopback HTTP, OKG's controllers at work behind them:");
    for at_once in [1, 10] {
        let (empty, ()) = figure::best(10, || runtime.block_on(send(&http, echo, at_once)));
        let (stored, ()) = figure::best(10, || runtime.block_on(send(&http, address, at_once)));
        let rate = |took: figure::Took| PATCHES as f64 / took.wall.as_secs_f64();
        println!(
            "  {at_once} at a time: {:.0} a second, {:.0} of a handler that stores nothing: ratio {:.2}, 0.33 wanted",
            rate(stored),
            rate(empty),
            rate(stored) / rate(empty)
        );
    }
    drop(sandbox);
}
