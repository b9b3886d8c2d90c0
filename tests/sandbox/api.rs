//! The API as controllers call it, and the same over the wire.

use jiff::Timestamp;
use okgscript::clock::Clock;
use okgscript::sandbox::api::Api;
use okgscript::sandbox::object::{Actor, ChangeKind, DeleteOptions, Patch};
use serde_json::json;

const SETS: &str = "gameserversets.game.kruise.io";

fn api() -> Api {
    Api::new(Clock::simulated(Timestamp::UNIX_EPOCH), 7)
}

#[tokio::test(start_paused = true)]
async fn a_set_lives_from_creation_to_its_end() {
    let (api, actor) = (api(), Actor::controller("test"));
    let body = json!({"metadata": {"name": "m", "namespace": "default"}, "spec": {"replicas": 3}});
    let made = api.create(&actor, SETS, body.clone()).unwrap();
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["metadata"]["creationTimestamp"], "1970-01-01T00:00:00Z");
    assert_eq!(api.create(&actor, SETS, body).unwrap_err().reason, "AlreadyExists");

    let scale = Patch::Merge(json!({"spec": {"replicas": 4}}));
    let scaled = api.patch(&actor, SETS, "", "default", "m", &scale).unwrap();
    assert_eq!(scaled["metadata"]["generation"], 2);
    let again = api.patch(&actor, SETS, "", "default", "m", &scale).unwrap();
    assert_eq!(again["metadata"]["resourceVersion"], scaled["metadata"]["resourceVersion"]);
    let status = Patch::Merge(json!({"spec": {"replicas": 9}, "status": {"replicas": 4, "readyReplicas": 0,
        "availableReplicas": 0, "currentReplicas": 4, "updatedReplicas": 4}}));
    let judged = api.patch(&actor, SETS, "status", "default", "m", &status).unwrap();
    assert_eq!(
        (&judged["spec"]["replicas"], &judged["status"]["replicas"], &judged["metadata"]["generation"]),
        (&json!(4), &json!(4), &json!(2))
    );

    let guard = Patch::Json(json!([{"op": "test", "path": "/spec/replicas", "value": 5}]));
    assert_eq!(api.patch(&actor, SETS, "", "default", "m", &guard).unwrap_err().code, 422);
    let before = api.version();
    assert_eq!(api.delete(&actor, SETS, "default", "m", &DeleteOptions::default()).unwrap(), None);
    let changes = api.changes(before);
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].kind, changes[0].version), (ChangeKind::Deleted, before + 1));
}

#[tokio::test(start_paused = true)]
async fn a_pod_on_a_node_takes_its_grace() {
    let (api, actor) = (api(), Actor::controller("test"));
    let body = json!({"metadata": {"name": "p", "namespace": "default"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    api.create(&actor, "pods", body).unwrap();
    let held = api.delete(&actor, "pods", "default", "p", &DeleteOptions::default()).unwrap().unwrap();
    assert_eq!(held["metadata"]["deletionTimestamp"], "1970-01-01T00:00:30Z");
    assert_eq!(held["metadata"]["deletionGracePeriodSeconds"], 30);
    let before = api.version();
    assert!(api.delete(&actor, "pods", "default", "p", &DeleteOptions::grace(0)).unwrap().is_none());
    let kinds: Vec<ChangeKind> = api.changes(before).iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Modified, ChangeKind::Deleted]);
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_history() {
    let history = || {
        let (api, actor) = (api(), Actor::controller("test"));
        let body = json!({"metadata": {"generateName": "m-", "namespace": "default"}});
        for _ in 0..5 {
            api.create(&actor, "gameservers.game.kruise.io", body.clone()).unwrap();
        }
        api.changes(0).iter().map(|change| change.object.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(history(), history());
}
