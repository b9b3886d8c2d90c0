//! KEDA, the HPA and OKG's external scaler: when marked rooms go.

use okgscript::sandbox::Sandbox;
use okgscript::sandbox::object::{Actor, Patch};
use serde_json::{Value, json};

use super::{arena, pass, rooms, start};

const SETS: &str = "gameserversets.game.kruise.io";

/// A cluster with `arena` and a ScaledObject whose HPA looks every second.
async fn scaled(replicas: u32, metadata: Value, spec: Value) -> Sandbox {
    let mut object = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "arena"},
        "spec": {"scaleTargetRef": {"apiVersion": "game.kruise.io/v1alpha1", "kind": "GameServerSet", "name": "arena"},
            "minReplicaCount": 1, "maxReplicaCount": 30, "triggers": [{"type": "external", "metadata": metadata}]},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    let head = "apiVersion: okgscript.io/v1\nkind: Scenario\nworld: {base: conformance}\nautoscaler: {poll: 1s}\n";
    start(&format!("{head}{}---\n{object}\n", arena(replicas)), 1).await
}

fn mark(sandbox: &Sandbox, ordinals: &[u32]) {
    for ordinal in ordinals {
        let patch = Patch::Merge(json!({"spec": {"opsState": "WaitToBeDeleted"}}));
        let (api, name) = (sandbox.api(), format!("arena-{ordinal}"));
        api.patch(&Actor::controller("test"), "gameservers.game.kruise.io", "", "default", &name, &patch).unwrap();
    }
}

fn replicas(sandbox: &Sandbox) -> i64 {
    sandbox.api().get(SETS, "default", "arena").unwrap()["spec"]["replicas"].as_i64().unwrap()
}

fn window(seconds: u32) -> Value {
    json!({"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": seconds}}}})
}

#[tokio::test(start_paused = true)]
async fn marked_rooms_go_after_the_window() {
    for (advanced, seconds) in [(json!({}), 300), (window(45), 45)] {
        let sandbox = scaled(6, json!({"minAvailable": "1"}), json!({"advanced": advanced})).await;
        pass(5).await;
        mark(&sandbox, &[1, 2]);
        pass(seconds - 5).await;
        assert_eq!(replicas(&sandbox), 6, "window {seconds}");
        pass(15).await;
        assert_eq!(replicas(&sandbox), 4, "window {seconds}");
        let names: Vec<String> = rooms(&sandbox).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["arena-0", "arena-3", "arena-4", "arena-5"]);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_per_cent_are_forgotten() {
    let sandbox = scaled(20, json!({}), json!({"advanced": window(10)})).await;
    mark(&sandbox, &[3, 4]);
    pass(60).await;
    assert_eq!(replicas(&sandbox), 20);
    mark(&sandbox, &[5]);
    pass(60).await;
    assert_eq!(replicas(&sandbox), 17);
}

#[tokio::test(start_paused = true)]
async fn scaling_out_comes_first_so_marks_pile_up() {
    let sandbox = scaled(4, json!({"minAvailable": "4"}), json!({"advanced": window(10), "maxReplicaCount": 6})).await;
    mark(&sandbox, &[0, 1, 2]);
    pass(60).await;
    // Three more were wanted, two were allowed: as long as one is missing, no marked room goes.
    assert_eq!(replicas(&sandbox), 6);
    let marked = rooms(&sandbox).iter().filter(|(_, state)| state == "WaitToBeDeleted").count();
    assert_eq!(marked, 3);
    let status = sandbox.api().get("scaledobjects.keda.sh", "default", "arena").unwrap()["status"].clone();
    assert_eq!(
        (&status["conditions"][0]["status"], &status["conditions"][1]["status"]),
        (&"True".into(), &"True".into())
    );
    let hpa = sandbox.api().get("horizontalpodautoscalers.autoscaling", "default", "keda-hpa-arena").unwrap();
    assert_eq!((&hpa["spec"]["maxReplicas"], &hpa["status"]["desiredReplicas"]), (&6.into(), &6.into()));
}

#[tokio::test(start_paused = true)]
async fn paused_it_lowers_nothing() {
    for annotation in ["paused", "paused-scale-in"] {
        let sandbox = scaled(6, json!({}), json!({"advanced": window(5)})).await;
        let actor = Actor::controller("test");
        let annotate = |value: Value| {
            let patch = json!({"metadata": {"annotations": {(format!("autoscaling.keda.sh/{annotation}")): value}}});
            let api = sandbox.api();
            api.patch(&actor, "scaledobjects.keda.sh", "", "default", "arena", &Patch::Merge(patch)).unwrap();
        };
        annotate("true".into());
        mark(&sandbox, &[0, 1]);
        pass(120).await;
        assert_eq!(replicas(&sandbox), 6, "{annotation}");
        annotate(Value::Null);
        pass(30).await;
        assert_eq!(replicas(&sandbox), 4, "{annotation}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_it_cannot_read_shows_in_the_status_and_moves_nothing() {
    let sandbox = scaled(3, json!({"minAvailable": "many"}), json!({"advanced": window(5)})).await;
    mark(&sandbox, &[0]);
    pass(60).await;
    assert_eq!(replicas(&sandbox), 3);
    let scaled = sandbox.api().get("scaledobjects.keda.sh", "default", "arena").unwrap();
    let ready = &scaled["status"]["conditions"][0];
    assert_eq!(ready["status"], "False");
    assert!(ready["message"].as_str().unwrap().contains("many"), "{ready}");
}
