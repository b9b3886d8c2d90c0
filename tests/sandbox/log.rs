//! The log of changes: who lives in the cluster loses none of them, however many come at once; a client is told 410.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use okgscript::clock::Clock;
use okgscript::sandbox::object::{Actor, Patch};
use okgscript::sandbox::{Options, Sandbox};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Plays on a cluster that remembers fifty changes.
fn play<T>(course: impl AsyncFnOnce(Sandbox) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let clock = Clock::simulated("2026-06-01T08:00:00Z".parse().expect("a time"));
        let scenario = Some(("conformance".to_owned(), String::new()));
        let options = Options { scenario, empty: true, ..Options::default() };
        let sandbox = Sandbox::start(&options, clock).await.expect("the sandbox starts");
        sandbox.api().keep_changes(50);
        course(sandbox).await
    })
}

/// Writes a ConfigMap again and again, at once.
fn burst(sandbox: &Sandbox, writes: u32) {
    let (api, actor) = (sandbox.api(), Actor::controller("test"));
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "busy", "namespace": "default"}});
    api.create(&actor, "configmaps", map).expect("created");
    for number in 0..writes {
        let patch = Patch::Merge(json!({"data": {"number": number.to_string()}}));
        api.patch(&actor, "configmaps", "", "default", "busy", &patch).expect("patched");
    }
}

#[test]
fn controllers_lose_no_change() {
    let ready = play(async |sandbox| {
        let set = json!({
            "apiVersion": "game.kruise.io/v1alpha1",
            "kind": "GameServerSet",
            "metadata": {"name": "rooms", "namespace": "default"},
            "spec": {
                "replicas": 3,
                "updateStrategy": {"type": "OnDelete"},
                "gameServerTemplate": {"spec": {"containers": [{"name": "game", "image": "game:1"}]}},
            },
        });
        let gss = "gameserversets.game.kruise.io";
        sandbox.api().create(&Actor::controller("test"), gss, set).expect("created");
        burst(&sandbox, 200);
        tokio::time::sleep(Duration::from_secs(60)).await;
        sandbox.api().get(gss, "default", "rooms").expect("the set")["status"]["readyReplicas"].clone()
    });
    assert_eq!(ready, 3);
}

#[test]
fn whoever_comes_late_gets_all_objects_first() {
    play(async |sandbox| {
        burst(&sandbox, 200);
        let api = sandbox.api();
        let mut follower = api.follow(0);
        let first = follower.next().await;
        assert!(first.iter().any(|change| &*change.resource == "namespaces" && change.previous.is_none()));
        assert_eq!(first.last().map(|change| change.version), Some(api.version()));
        burst_again(&sandbox);
        let versions: Vec<u64> = follower.next().await.iter().map(|change| change.version).collect();
        assert_eq!(versions, (api.version() - 99..=api.version()).collect::<Vec<u64>>());
    });
}

fn burst_again(sandbox: &Sandbox) {
    for number in 0..100 {
        let patch = Patch::Merge(json!({"data": {"again": number.to_string()}}));
        let actor = Actor::controller("test");
        sandbox.api().patch(&actor, "configmaps", "", "default", "busy", &patch).expect("patched");
    }
}

#[test]
fn a_client_that_is_too_far_behind_is_told_410() {
    play(async |sandbox| {
        let from = sandbox.api().version();
        let watch = async |version: u64| -> Value {
            let uri = format!("/api/v1/configmaps?watch=true&resourceVersion={version}");
            let request = http::Request::get(uri).body(Body::empty()).expect("a request");
            let mut body = sandbox.router().oneshot(request).await.expect("an answer").into_body();
            let frame = body.frame().await.expect("an event").expect("a frame");
            let line = frame.into_data().expect("data");
            serde_json::Deserializer::from_slice(&line).into_iter().next().expect("an event").expect("JSON")
        };
        burst(&sandbox, 200);
        let gone = watch(from).await;
        assert_eq!((&gone["type"], &gone["object"]["code"]), (&json!("ERROR"), &json!(410)));
        let kept = watch(sandbox.api().version() - 50).await;
        assert_eq!(kept["type"], "MODIFIED");
    });
}

#[test]
fn what_clients_may_not_ask_for_any_more_is_let_go_once_all_have_read_it() {
    play(async |sandbox| {
        let api = sandbox.api();
        let mut follower = api.follow(api.version());
        let begun = api.version();
        burst(&sandbox, 200);
        assert_eq!(api.changes(begun).len(), 201);
        assert_eq!(api.oldest(), api.version() - 50);
        assert_eq!(follower.next().await.len(), 201);
        tokio::time::sleep(Duration::from_secs(1)).await;
        burst_again(&sandbox);
        assert_eq!(follower.next().await.len(), 100);
        drop(follower);
        tokio::time::sleep(Duration::from_secs(1)).await;
        burst_again(&sandbox);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let patch = Patch::Merge(json!({"data": {"last": "one"}}));
        api.patch(&Actor::controller("test"), "configmaps", "", "default", "busy", &patch).expect("patched");
        assert!(api.changes(begun).len() <= 51, "{}", api.changes(begun).len());
    });
}
