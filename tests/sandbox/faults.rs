//! Faults on request, as a client of the router sees them.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use okgscript::clock::Clock;
use okgscript::sandbox::api::Api;
use okgscript::sandbox::faults::{Fault, Faults};
use okgscript::sandbox::routes::{HttpOptions, router};
use tower::ServiceExt;

const PODS: &str = "/api/v1/namespaces/default/pods";

fn server(faults: &Faults) -> (Api, axum::Router) {
    let api = Api::new(Clock::simulated(Timestamp::UNIX_EPOCH), 1);
    let router = router(api.clone(), HttpOptions { faults: faults.clone(), ..HttpOptions::default() });
    (api, router)
}

async fn send(router: &axum::Router, method: &str, path: &str, body: &str) -> http::Response<Body> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_status_is_answered_as_often_as_asked() {
    let fault = Fault { method: Some("GET".into()), path: Some("*/pods*".into()), ..Fault::default() };
    let faults = Faults::new(&[Fault { status: Some(429), retry_after: Some(7), skip: 1, times: Some(2), ..fault }]);
    let (_, router) = server(&faults);
    let mut codes = Vec::new();
    for _ in 0..4 {
        let answer = send(&router, "GET", PODS, "").await;
        let wait = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        codes.push((answer.status().as_u16(), wait));
    }
    let refused = (429, Some("7".to_owned()));
    assert_eq!(codes, [(200, None), refused.clone(), refused, (200, None)]);
}

#[tokio::test(start_paused = true)]
async fn a_write_may_be_done_although_its_answer_is_lost() {
    let faults = Faults::default();
    let (api, router) = server(&faults);
    let lost = Fault { method: Some("POST".into()), reset: true, ..Fault::default() };
    let body = |name: &str| format!(r#"{{"metadata": {{"name": "{name}"}}}}"#);
    let path = "/api/v1/namespaces/default/configmaps";
    faults.add(Fault { after_applying: true, ..lost.clone() });
    let answer = send(&router, "POST", path, &body("after")).await;
    assert!(answer.into_body().collect().await.is_err(), "the connection breaks");
    faults.add(lost);
    let answer = send(&router, "POST", path, &body("before")).await;
    assert!(answer.into_body().collect().await.is_err(), "the connection breaks");
    assert!(api.get("configmaps", "default", "after").is_some());
    assert!(api.get("configmaps", "default", "before").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_asked_and_is_gone_when_asked() {
    let ends = Fault { watch_ends: Some(Duration::from_secs(5)), ..Fault::default() };
    let faults = Faults::new(&[ends, Fault { watch_gone: true, ..Fault::default() }]);
    let (api, router) = server(&faults);
    let path = format!("{PODS}?watch=true&resourceVersion={}", api.version());
    let began = tokio::time::Instant::now();
    let answer = send(&router, "GET", &path, "").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    assert_eq!(began.elapsed().as_secs(), 5);
    let answer = send(&router, "GET", &path, "").await.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&answer).contains("\"code\":410"));
}
