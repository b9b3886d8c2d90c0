//! Faults that a scenario lists: what a user notices of each, in process and served, and whom they meet.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use okgscript::sandbox::Sandbox;
use okgscript::sandbox::object::{Actor, DeleteOptions, Patch};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tower::ServiceExt as _;

use super::{arena, pass, start};
use crate::support::Test;
use crate::support::served::{Served, start as run};

const ROOMS: &str = "gameservers.game.kruise.io";
const SETS: &str = "gameserversets.game.kruise.io";
const LABEL: &str = "game.kruise.io/gs-opsState";

/// Every kind of fault but `down`, each on an object of its own, so that one script can meet them all.
const EVERY: &str = r#"
apiVersion: okgscript.io/v1
kind: Scenario
faults:
- {kind: forbidden, name: f403, verb: patch}
- {kind: conflict, name: f409}
- {kind: invalid, name: f422, message: no such colour}
- {kind: tooManyRequests, name: f429, verb: patch, retryAfter: 90s}
- {kind: serverError, name: f500, verb: patch}
- {kind: unavailable, name: f503, verb: patch}
- {kind: timeout, name: f504, applied: true}
- {kind: reset, name: before, verb: patch}
- {kind: reset, name: after, applied: true}
- {kind: slow, name: slow, verb: get, delay: 1500ms}
- {kind: staleList, resource: cm, name: stale, lag: 1h}
- {kind: watchEnds, resource: gs, after: 100ms}
- {kind: watchGone, resource: pods, times: 2}
- {kind: watchSilent, resource: secrets, after: 200ms}
- {kind: labelLag, lag: 1500ms, name: arena-1}
"#;

const OBJECTS: [&str; 12] =
    ["none", "f403", "f409", "f422", "f429", "f500", "f503", "f504", "before", "after", "slow", "stale"];

fn every() -> String {
    let object = |name: &&str| format!("---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}\n");
    format!("{EVERY}{}{}", arena(2), OBJECTS.iter().map(object).collect::<String>())
}

const MEET: &str = r#"
let told = [];
for name in ["none", "f403", "f409", "f422", "f429", "f500", "f503", "f504", "before", "after"] {
    let said = "done";
    try { kube_patch("cm", name, #{ data: #{ a: "1" } }); } catch (e) {
        said = e.kind;
        if "code" in e { said += ` ${e.code}`; }
        if "retry_after_seconds" in e { said += ` after ${e.retry_after_seconds}`; }
    }
    let written = "data" in kube_get("cm", name);
    told.push(`${name}: ${said}, ${if written { "written" } else { "not written" }}`);
}
let quick = deadline("1s");
kube_get("cm", "slow");
told.push(`slow: ${quick.over}`);
kube_patch("cm", "stale", #{ data: #{ a: "1" } });
told.push(`stale: ${"data" in kube_list("cm", #{ fields: "metadata.name=stale" })[0]} ${"data" in kube_get("cm", "stale")}`);
gs_set_ops_state("arena-1", "Maintaining");
quick = deadline("1s");
wait_until(#{ timeout: "20s" }, || {
    pods_list("arena").filter(|pod| pod.name == "arena-1")[0].labels["game.kruise.io/gs-opsState"] == "Maintaining"
});
told.push(`label late: ${quick.over}`);
for line in told { print(line); }
"#;

const MET: &str = "\
none: done, written
f403: forbidden 403, not written
f409: conflict 409, not written
f422: invalid 422, not written
f429: too-many-requests 429 after 90, not written
f500: unavailable 500, not written
f503: unavailable 503, not written
f504: unknown-outcome 504, written
before: unknown-outcome, not written
after: unknown-outcome, written
slow: true
stale: false true
label late: true
";

#[test]
fn each_kind_is_noticed_in_process() {
    let test = Test::new().file("s.yaml", &every()).script(MEET);
    test.args(["run", "a.rhai", "--scenario", "s.yaml"]).stdout_has(MET).stderr_any().ok();
}

#[test]
fn each_kind_is_noticed_by_clients_of_a_served_cluster() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s.yaml"), every()).unwrap();
    std::fs::write(folder.path().join("a.rhai"), MEET).unwrap();
    let served = Served::new(folder.path(), &["--scenario", "s.yaml"]);
    let ran = run(folder.path(), &["run", "a.rhai"]).output();
    assert!(ran.0.contains(MET), "{}\n{}", ran.0, ran.1);
    let watch = |plural: &str, seconds: u32| {
        let (begun, path) = (Instant::now(), format!("/{plural}?watch=true&timeoutSeconds={seconds}"));
        let body = served.body("GET", &path);
        (body, begun.elapsed())
    };
    let (rooms, took) = watch("apis/game.kruise.io/v1alpha1/namespaces/default/gameservers", 60);
    assert!(rooms.matches("\"ADDED\"").count() == 2 && took < Duration::from_secs(30), "{took:?} {rooms}");
    // The script's own watches of pods took the two that are gone; whoever asks for a version meets the next.
    let (secrets, took) = watch("api/v1/namespaces/default/secrets", 2);
    assert!(!secrets.contains("ADDED") && took >= Duration::from_secs(2), "{took:?} {secrets}");
}

/// A request to a cluster in this process.
async fn send(sandbox: &Sandbox, method: &str, path: &str, agent: &str, body: &str) -> http::Response<Body> {
    let request = http::Request::builder().method(method).uri(path).header("user-agent", agent);
    let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = request.header("content-type", content).body(Body::from(body.to_owned())).unwrap();
    sandbox.router().oneshot(request).await.unwrap()
}

async fn code(sandbox: &Sandbox, path: &str, agent: &str) -> u16 {
    send(sandbox, "GET", path, agent, "").await.status().as_u16()
}

fn with(faults: &str, more: &str) -> String {
    let lines: Vec<&str> = faults.lines().map(str::trim).collect();
    format!(
        "apiVersion: okgscript.io/v1\nkind: Scenario\nworld: {{base: conformance}}\nfaults:\n{}\n{more}",
        lines.join("\n")
    )
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(start_paused = true)]
async fn a_watch_ends_is_silent_or_is_gone() {
    let faults = "- {kind: watchEnds, resource: configmaps, client: ends, after: 5s}
                  - {kind: watchSilent, resource: configmaps, client: silent, after: 5s}
                  - {kind: watchGone, resource: configmaps, client: gone}";
    let sandbox = start(&with(faults, ""), 1).await;
    let path = format!("{MAPS}?watch=true&resourceVersion={}", sandbox.api().version());
    let watch = |agent: &'static str| {
        let (sandbox, path) = (&sandbox, &path);
        async move { send(sandbox, "GET", path, agent, "").await.into_body() }
    };
    let write = |name: &str| {
        let body = json!({"metadata": {"name": name, "namespace": "default"}});
        sandbox.api().create(&Actor::controller("test"), "configmaps", body).unwrap();
    };
    let gone = watch("gone").await.collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&gone).contains("\"code\":410"));
    let begun = Instant::now();
    let (mut ends, mut silent, mut other) = (watch("ends").await, watch("silent").await, watch("other").await);
    write("a");
    for body in [&mut ends, &mut silent, &mut other] {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(String::from_utf8_lossy(&frame).contains("\"ADDED\""));
    }
    assert!(ends.frame().await.is_none());
    assert_eq!(begun.elapsed().as_secs(), 5);
    pass(1).await;
    write("b");
    assert!(other.frame().await.is_some());
    assert!(timeout(Duration::from_secs(600), silent.frame()).await.is_err(), "it says nothing and stays open");
}

#[tokio::test(start_paused = true)]
async fn faults_have_a_time_and_a_number() {
    let faults = "- {kind: unavailable, name: a, from: 10s, until: 20s}
                  - {kind: serverError, name: b, nth: [2, 4]}
                  - {kind: timeout, name: c, times: 2}
                  - {kind: slow, name: c, delay: 3s}";
    let sandbox = start(&with(faults, ""), 1).await;
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(code(&sandbox, &format!("{MAPS}/a"), "x").await);
        pass(10).await;
    }
    assert_eq!(codes, [404, 503, 404]);
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.push(code(&sandbox, &format!("{MAPS}/b"), "x").await);
    }
    assert_eq!(codes, [404, 500, 404, 500, 404]);
    let begun = Instant::now();
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(code(&sandbox, &format!("{MAPS}/c"), "x").await);
    }
    // Of several faults the first counts, so that the slow answers come after both time-outs.
    assert_eq!((codes, begun.elapsed().as_secs()), (vec![504, 504, 404], 3));
}

#[tokio::test(start_paused = true)]
async fn chance_comes_from_the_seed() {
    let draw = async |seed: u64| {
        let sandbox = start(&with("- {kind: unavailable, resource: configmaps, probability: 0.3}", ""), seed).await;
        let mut met = Vec::new();
        for _ in 0..200 {
            met.push(code(&sandbox, &format!("{MAPS}/a"), "x").await == 503);
        }
        met
    };
    let (first, again, other) = (draw(3).await, draw(3).await, draw(4).await);
    assert_eq!(first, again);
    assert_ne!(first, other);
    let met = first.iter().filter(|met| **met).count();
    assert!((40..80).contains(&met), "{met} of 200 at 0.3");
}

#[tokio::test(start_paused = true)]
async fn a_fault_meets_whom_it_names() {
    let faults = "- {kind: unavailable, resource: configmaps, client: kubectl}
                  - {kind: serverError, resource: configmaps, client: \"system:serviceaccount:*\"}
                  - {kind: timeout, resource: pods/exec}
                  - {kind: forbidden, resource: gss, namespace: other}
                  - {kind: invalid, resource: configmaps, verb: create, name: new-*}";
    let sandbox = start(&with(faults, &arena(1)), 1).await;
    let path = format!("{MAPS}/a");
    assert_eq!(code(&sandbox, &path, "kubectl/v1.32.0 (linux/amd64)").await, 503);
    assert_eq!(code(&sandbox, &path, "okgscript/0.1.0").await, 404);
    let request = http::Request::get(&path).header("impersonate-user", "system:serviceaccount:default:robot");
    let answer = sandbox.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status().as_u16(), 500);
    assert_eq!(code(&sandbox, "/api/v1/namespaces/default/pods/arena-0", "x").await, 200);
    assert_eq!(code(&sandbox, "/api/v1/namespaces/default/pods/arena-0/exec?command=ls", "x").await, 504);
    let sets = |namespace: &str| format!("/apis/game.kruise.io/v1alpha1/namespaces/{namespace}/gameserversets");
    assert_eq!(code(&sandbox, &sets("other"), "x").await, 403);
    assert_eq!(code(&sandbox, &sets("default"), "x").await, 200);
    for (name, expected) in [("new-1", 422), ("old-1", 201)] {
        let body = json!({"metadata": {"name": name}}).to_string();
        assert_eq!(send(&sandbox, "POST", MAPS, "x", &body).await.status().as_u16(), expected, "{name}");
    }
    // The cluster's own actors meet only what names them: the rooms are there.
    assert_eq!(sandbox.api().list(ROOMS, Some("default")).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn labels_lag_where_and_when_the_fault_says() {
    let sandbox =
        start(&with("- {kind: labelLag, lag: 20s, name: arena-1, from: 10s, until: 60s}", &arena(2)), 1).await;
    let label = format!("/metadata/labels/{}", LABEL.replace('/', "~1"));
    let lag = async |name: &str, state: &str| {
        merge(&sandbox, ROOMS, name, json!({"spec": {"opsState": state}}));
        let begun = Instant::now();
        while !has(&sandbox, "pods", name, &label, &json!(state)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        begun.elapsed().as_secs()
    };
    assert_eq!((lag("arena-1", "Maintaining").await, lag("arena-0", "Maintaining").await), (0, 0));
    pass(15).await;
    assert_eq!((lag("arena-1", "None").await, lag("arena-0", "None").await), (20, 0));
    pass(60).await;
    assert_eq!(lag("arena-1", "Maintaining").await, 0);
}

#[tokio::test(start_paused = true)]
async fn players_meet_what_names_them() {
    let crowd = "players: [{gss: arena, perMinute: 30, matchmaker: guarded, match: 20s}]\n";
    let begun = async |fault: &str, seconds: u64| {
        let sandbox = start(&with(fault, &format!("{crowd}{}", arena(8))), 5).await;
        pass(seconds).await;
        let matches = sandbox.players().ledger().matches();
        let rooms = super::rooms(&sandbox);
        (matches.len(), rooms.iter().filter(|(_, state)| state == "Allocated").count())
    };
    let (usual, _) = begun("- {kind: unavailable, client: nobody}", 300).await;
    assert!(usual > 80, "{usual}");
    assert_eq!(begun("- {kind: unavailable, client: matchmaker}", 300).await, (0, 0));
    assert_eq!(begun("- {kind: unavailable, client: players, verb: list}", 300).await, (0, 0));
    let (some, _) = begun("- {kind: conflict, client: matchmaker, probability: 0.5}", 300).await;
    assert!(some > usual / 2, "they look again: {some} of {usual}");
    // The write is done and nobody hears of it: rooms that nobody will ever leave.
    let (matches, taken) = begun("- {kind: timeout, client: matchmaker, applied: true, times: 3}", 900).await;
    assert!(matches > 200 && taken >= 3, "{matches} matches, {taken} taken");
    // A game server says it again until it is heard.
    let (matches, _) = begun("- {kind: unavailable, client: game-server, probability: 0.4}", 900).await;
    assert!(matches > 200, "{matches}: every room would be taken for good after about twenty");
}

#[tokio::test(start_paused = true)]
async fn controllers_meet_what_names_them_and_try_again() {
    let faults = "- {kind: serverError, client: okg-manager, resource: gameservers, verb: create, until: 10s}
                  - {kind: conflict, client: controllers, resource: pods, probability: 0.3}
                  - {kind: reset, applied: true, client: kruise-manager, verb: create, nth: 2}";
    let text = with(faults, &arena(4)).replace("kind: Scenario\n", "kind: Scenario\nsettle: false\n");
    let sandbox = start(&text, 1).await;
    pass(8).await;
    let (rooms, pods) = (sandbox.api().list(ROOMS, None), sandbox.api().list("pods", None));
    assert_eq!((rooms.len(), pods.len()), (0, 4));
    pass(120).await;
    let rooms = sandbox.api().list(ROOMS, Some("default"));
    assert_eq!(rooms.len(), 4);
    assert!(rooms.iter().all(|room| room["status"]["currentState"] == "Ready"), "{rooms:?}");
}

/// A cluster in which something is down for a minute, and what shows that it is.
async fn down(controller: &str, more: &str, act: impl Fn(&Sandbox), up: impl Fn(&Sandbox) -> bool) {
    let fault = format!("faults: [{{kind: down, controller: {controller}, until: 1m}}]\n");
    let head = format!("apiVersion: okgscript.io/v1\nkind: Scenario\nworld: {{base: conformance}}\n{fault}");
    let sandbox = start(&(head + more), 1).await;
    act(&sandbox);
    pass(55).await;
    assert!(!up(&sandbox), "{controller} is down");
    pass(60).await;
    assert!(up(&sandbox), "{controller} is up again");
}

fn merge(sandbox: &Sandbox, resource: &str, name: &str, patch: Value) {
    let patch = Patch::Merge(patch);
    sandbox.api().patch(&Actor::controller("test"), resource, "", "default", name, &patch).unwrap();
}

fn has(sandbox: &Sandbox, resource: &str, name: &str, pointer: &str, value: &Value) -> bool {
    let found = sandbox.api().get(resource, "default", name);
    found.is_some_and(|object| object.pointer(pointer) == Some(value))
}

#[tokio::test(start_paused = true)]
async fn each_controller_can_be_down() {
    let workloads = "statefulsets.apps.kruise.io";
    let scale = |sandbox: &Sandbox| merge(sandbox, SETS, "arena", json!({"spec": {"replicas": 2}}));
    for word in ["gameserverset", "okg"] {
        let taken_over = |s: &Sandbox| has(s, workloads, "arena", "/spec/replicas", &json!(2));
        down(word, &arena(1), scale, taken_over).await;
    }
    for word in ["statefulset", "kruise"] {
        down(word, &arena(1), scale, |s| s.api().get("pods", "default", "arena-1").is_some()).await;
    }
    let bound = |s: &Sandbox| has(s, "pods", "arena-1", "/spec/nodeName", &json!("node-0"));
    down("scheduler", &arena(1), scale, bound).await;
    let runs = |s: &Sandbox| has(s, "pods", "arena-1", "/status/phase", &json!("Running"));
    down("kubelet", &arena(1), scale, runs).await;
    let mark = |s: &Sandbox| merge(s, ROOMS, "arena-0", json!({"spec": {"opsState": "Maintaining"}}));
    let label = format!("/metadata/labels/{}", LABEL.replace('/', "~1"));
    let shown = |s: &Sandbox| has(s, "pods", "arena-0", &label, &json!("Maintaining"));
    down("gameserver", &arena(1), mark, shown).await;
    let make = |resource: &'static str, body: Value| {
        move |s: &Sandbox| drop(s.api().create(&Actor::controller("test"), resource, body.clone()).unwrap())
    };
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let bound = |s: &Sandbox| has(s, "persistentvolumeclaims", "c", "/status/phase", &json!("Bound"));
    let volume = "---\napiVersion: v1\nkind: PersistentVolume\nmetadata: {name: v}\nspec:\n  accessModes: [ReadWriteOnce]\n  \
        capacity: {storage: 1Gi}\n  hostPath: {path: /v}\n";
    down("volume", volume, make("persistentvolumeclaims", claim), bound).await;
    let space = "---\n{apiVersion: v1, kind: Namespace, metadata: {name: n}}\n";
    let delete = |s: &Sandbox, resource: &str, at: (&str, &str)| {
        let background = DeleteOptions { propagation_policy: Some("Background".into()), ..DeleteOptions::default() };
        s.api().delete(&Actor::controller("test"), resource, at.0, at.1, &background).unwrap();
    };
    let gone = |s: &Sandbox| s.api().get("namespaces", "", "n").is_none();
    down("namespace", space, |s| delete(s, "namespaces", ("", "n")), gone).await;
    let gone = |s: &Sandbox| s.api().get("pods", "default", "arena-0").is_none();
    down("garbage", &arena(1), |s| delete(s, SETS, ("default", "arena")), gone).await;
}

#[tokio::test(start_paused = true)]
async fn networks_probes_and_the_autoscaler_can_be_down() {
    let networked = arena(1).replace(
        "\"gameServerTemplate\":",
        r#""network": {"networkType": "Kubernetes-HostPort", "networkConf": [{"name": "ContainerPorts", "value": "arena:80/TCP"}]}, "gameServerTemplate":"#,
    );
    let scale = |sandbox: &Sandbox| merge(sandbox, SETS, "arena", json!({"spec": {"replicas": 2}}));
    let ready = |s: &Sandbox| has(s, ROOMS, "arena-1", "/status/networkStatus/currentNetworkState", &json!("Ready"));
    down("network", &networked, scale, ready).await;
    let quality = json!({"spec": {"serviceQualities": [{"name": "idle", "containerName": "arena", "permanent": false,
        "exec": {"command": ["true"]}, "serviceQualityAction": [{"state": true, "opsState": "Maintaining"}]}]}});
    let probe = |s: &Sandbox| merge(s, SETS, "arena", quality.clone());
    let probed = |s: &Sandbox| {
        let markers = s.api().list("podprobemarkers.apps.kruise.io", Some("default"));
        markers.first().is_some_and(|marker| marker["status"]["observedGeneration"] == 1)
    };
    down("podprobemarker", &arena(1), probe, probed).await;
    let scaled = "---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: arena}\nspec:\n  \
        scaleTargetRef: {apiVersion: game.kruise.io/v1alpha1, kind: GameServerSet, name: arena}\n  minReplicaCount: 1\n  \
        maxReplicaCount: 9\n  triggers: [{type: external, metadata: {minAvailable: \"3\"}}]\n";
    let opened = |s: &Sandbox| has(s, SETS, "arena", "/spec/replicas", &json!(3));
    for word in ["scaler", "hpa"] {
        let begin = |s: &Sandbox| s.load_yaml("scaled.yaml", scaled).unwrap();
        down(word, &arena(1), begin, opened).await;
    }
}

#[test]
fn a_controller_that_is_down_is_noticed_by_clients_of_a_served_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let text = with("- {kind: down, controller: okg, until: 10s}", &arena(1));
    std::fs::write(folder.path().join("s.yaml"), text).unwrap();
    let _served = Served::new(folder.path(), &["--scenario", "s.yaml"]);
    let script = r#"
        gs_set_ops_state("arena-0", "Maintaining");
        let shown = || pods_list("arena")[0].labels["game.kruise.io/gs-opsState"] == "Maintaining";
        let early = shown.call();
        wait_until(#{ timeout: "60s" }, shown);
        print(`${early}`);
    "#;
    let (out, err) = run(folder.path(), &["eval", script]).output();
    assert!(out.starts_with("false"), "{out}\n{err}");
}
