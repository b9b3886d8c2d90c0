//! Which kind a word means.

use okgscript::cluster::{Kind, kind};
use okgscript::diagnostic;
use serde_json::json;

use super::scripted::{Answer, Server};

#[tokio::test(start_paused = true)]
async fn words_for_what_okg_works_with_need_no_question() {
    let server = Server::new([]);
    let cluster = server.cluster();
    let cases: &[(&str, Kind)] = &[
        ("gs", kind::GAME_SERVER),
        ("gss", kind::GAME_SERVER_SET),
        ("gameserversets", kind::GAME_SERVER_SET),
        ("GameServer", kind::GAME_SERVER),
        ("pod", kind::POD),
        ("v1/Pod", kind::POD),
        ("game.kruise.io/v1alpha1/GameServer", kind::GAME_SERVER),
        ("statefulsets", kind::APPS_STATEFUL_SET),
        ("StatefulSet", kind::APPS_STATEFUL_SET),
        ("asts", kind::STATEFUL_SET),
        ("statefulsets.apps.kruise.io", kind::STATEFUL_SET),
        ("apps.kruise.io/v1beta1/StatefulSet", kind::STATEFUL_SET),
        ("deployments.v1.apps", kind::DEPLOYMENT),
    ];
    for (word, expected) in cases {
        assert_eq!(cluster.resolve(word).await.unwrap(), *expected, "{word}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn other_kinds_are_asked_for_once() {
    let resource = |plural: &str, kind: &str, scope: &str| json!({ "resource": plural, "responseKind": { "kind": kind }, "scope": scope, "singularResource": "", "shortNames": ["x"] });
    let list = |items: serde_json::Value| Answer::Json(200, json!({ "kind": "APIGroupDiscoveryList", "items": items }));
    let versions = json!([
        { "version": "v2", "resources": [resource("widgets", "Widget", "Cluster")] },
        { "version": "v1", "resources": [resource("widgets", "Widget", "Namespaced")] },
    ]);
    let server = Server::new([
        list(
            json!([{ "metadata": {}, "versions": [{ "version": "v1", "resources": [resource("endpoints", "Endpoints", "Namespaced")] }] }]),
        ),
        list(json!([{ "metadata": { "name": "acme.io" }, "versions": versions }])),
    ]);
    let cluster = server.cluster();
    let error = cluster.resolve("wigdets").await.unwrap_err();
    assert_eq!(error.kind, diagnostic::Kind::NotInstalled);
    assert!(error.help[0].contains("did you mean `widgets`?"), "{:?}", error.help);
    let widget = cluster.resolve("widgets").await.unwrap();
    assert_eq!((widget.api_version().as_str(), widget.namespaced), ("acme.io/v2", false));
    let old = cluster.resolve("acme.io/v1/Widget").await.unwrap();
    assert_eq!((old.version.as_ref(), old.namespaced), ("v1", true));
    assert_eq!(cluster.resolve("x").await.unwrap().plural, "endpoints", "the server's own kinds come first");
    assert_eq!(server.asked(), ["GET api", "GET apis"]);
}

#[tokio::test(start_paused = true)]
async fn older_servers_are_asked_group_by_group() {
    let resources = |kind: &str, plural: &str| {
        let subresource = json!({ "name": format!("{plural}/status"), "kind": kind, "namespaced": true });
        let resource = json!({ "name": plural, "kind": kind, "namespaced": true, "singularName": kind.to_lowercase() });
        Answer::Json(200, json!({ "kind": "APIResourceList", "resources": [subresource, resource] }))
    };
    let server = Server::new([
        Answer::Json(200, json!({ "kind": "APIVersions", "versions": ["v1"] })),
        resources("Endpoints", "endpoints"),
        Answer::Json(
            200,
            json!({ "kind": "APIGroupList", "groups": [{ "name": "acme.io", "preferredVersion": { "groupVersion": "acme.io/v1" } }] }),
        ),
        resources("Widget", "widgets"),
    ]);
    let cluster = server.cluster();
    let widget = cluster.resolve("widget").await.unwrap();
    assert_eq!(widget.collection_path("games"), "/apis/acme.io/v1/namespaces/games/widgets");
    assert_eq!(
        cluster.resolve("endpoints").await.unwrap().collection_path("games"),
        "/api/v1/namespaces/games/endpoints"
    );
    assert_eq!(server.asked(), ["GET api", "GET v1", "GET apis", "GET v1"]);
}
