//! The controllers behind the embedded API: cases as YAML, their pace, and that one seed makes one history.
//!
//! A case is `<name>.in.yaml`, documents that are created, or merged into what there is, each once the last has
//! settled; and `<name>.out.yaml`, documents that must be found afterwards with at least these members
//! (`absent: true`: that must not be found). They say what the real controllers do.

use std::path::PathBuf;
use std::time::Duration;

use okgscript::clock::Clock;
use okgscript::sandbox::api::Api;
use okgscript::sandbox::object::{Actor, DeleteOptions, Patch};
use okgscript::sandbox::{Options, Sandbox};
use serde_json::{Value, json};

const GSS: &str = "gameserversets.game.kruise.io";
const GS: &str = "gameservers.game.kruise.io";

/// Runs a test on a paused clock, on an empty cluster in the world of a built-in scenario.
fn cluster<F: Future<Output = T>, T>(scenario: &str, seed: u64, test: impl FnOnce(Sandbox) -> F) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clock = Clock::simulated("2026-06-01T08:00:00Z".parse().unwrap());
        let scenario = Some((scenario.to_owned(), String::new()));
        let options = Options { scenario, seed, empty: true, ..Options::default() };
        test(Sandbox::start(&options, clock).await.unwrap()).await
    })
}

fn actor() -> Actor {
    Actor::controller("test")
}

/// Waits until nothing but events has changed for five seconds.
async fn settle(api: &Api) {
    let mut seen = api.version();
    let mut deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while tokio::time::timeout_at(deadline, api.changed(seen)).await.is_ok() {
        if api.changes(seen).iter().any(|change| &*change.resource != "events") {
            deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        }
        seen = api.version();
    }
}

fn documents(path: &PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn place(api: &Api, document: &Value) -> (String, String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resource = api.resource_of(&text(&document["apiVersion"]), &text(&document["kind"])).unwrap();
    (resource.to_string(), "default".to_owned(), text(&document["metadata"]["name"]))
}

fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| found.get(key).map_or(wanted.is_null(), |found| contains(found, wanted)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| contains(found, wanted))
        }
        _ => found == wanted,
    }
}

#[test]
fn cases() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/controllers");
    let mut played = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(case) = name.strip_suffix(".in.yaml") else { continue };
        played += 1;
        let out = path.with_file_name(format!("{case}.out.yaml"));
        cluster("conformance", 1, |sandbox| async move {
            let api = sandbox.api();
            for mut document in documents(&path) {
                let (resource, namespace, name) = place(api, &document);
                document["metadata"]["namespace"] = namespace.clone().into();
                if document["deleted"] == true {
                    api.delete(&actor(), &resource, &namespace, &name, &DeleteOptions::default()).unwrap();
                } else if api.get(&resource, &namespace, &name).is_some() {
                    api.patch(&actor(), &resource, "", &namespace, &name, &Patch::Merge(document)).unwrap();
                } else {
                    api.create(&actor(), &resource, document).unwrap();
                }
                settle(api).await;
            }
            for wanted in documents(&out) {
                let (resource, namespace, name) = place(api, &wanted);
                let found = api.get(&resource, &namespace, &name);
                if wanted["absent"] == true {
                    assert!(found.is_none(), "{case}: {resource} {name} is there");
                    continue;
                }
                let found = found.unwrap_or_else(|| panic!("{case}: no {resource} {name}"));
                assert!(contains(&found, &wanted), "{case}: {resource} {name}\nwant {wanted:#}\ngot {found:#}");
            }
        });
    }
    assert!(played >= 5, "cases are missing");
}

fn set(replicas: usize) -> Value {
    json!({
        "apiVersion": "game.kruise.io/v1alpha1",
        "kind": "GameServerSet",
        "metadata": {"name": "rooms", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "updateStrategy": {"type": "OnDelete"},
            "gameServerTemplate": {"spec": {"containers": [{"name": "game", "image": "game:1"}]}},
        },
    })
}

/// Waits until a condition holds; returns the seconds that it took.
async fn until(api: &Api, condition: impl Fn(&Api) -> bool) -> f64 {
    let start = tokio::time::Instant::now();
    while !condition(api) {
        assert!(start.elapsed() < Duration::from_secs(3600), "it does not come true");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    start.elapsed().as_secs_f64()
}

fn labelled(api: &Api, value: &str) -> usize {
    let pods = api.list("pods", Some("default"));
    pods.iter().filter(|pod| pod["metadata"]["labels"]["game.kruise.io/gs-opsState"] == value).count()
}

/// Measured on the real manager with the shipped manifest: five requests a second, ten at once, per kind.
#[test]
fn a_shipped_manager_takes_its_time() {
    cluster("minecraft", 1, |sandbox| async move {
        let api = sandbox.api();
        api.create(&actor(), GSS, set(100)).unwrap();
        let created = until(api, |api| {
            let ready = api.list(GS, Some("default"));
            ready.iter().filter(|gs| gs["status"]["currentState"] == "Ready").count() == 100
        });
        let created = created.await;
        assert!((40.0..80.0).contains(&created), "100 new GameServers took {created} s, measured: 55");
        settle(api).await;
        for room in 0..100 {
            let patch = Patch::Merge(json!({"spec": {"opsState": "Allocated"}}));
            api.patch(&actor(), GS, "", "default", &format!("rooms-{room}"), &patch).unwrap();
        }
        let marked = until(api, |api| labelled(api, "Allocated") == 100).await;
        assert!((17.0..19.5).contains(&marked), "100 marks took {marked} s, measured: 18");
    });
}

#[test]
fn a_scale_in_right_after_a_mark_misses_it() {
    for seed in 1..=10 {
        cluster("conformance", seed, |sandbox| async move {
            let api = sandbox.api();
            api.create(&actor(), GSS, set(4)).unwrap();
            settle(api).await;
            let mark = Patch::Merge(json!({"spec": {"opsState": "WaitToBeDeleted"}}));
            api.patch(&actor(), GS, "", "default", "rooms-0", &mark).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
            let fewer = Patch::Merge(json!({"spec": {"replicas": 3}}));
            api.patch(&actor(), GSS, "", "default", "rooms", &fewer).unwrap();
            settle(api).await;
            assert!(api.get(GS, "default", "rooms-0").is_some(), "seed {seed}: the mark was seen");
            assert!(api.get(GS, "default", "rooms-3").is_none(), "seed {seed}: another room went");
        });
    }
}

/// Plays creation, marks, an update and a scale-in; returns every change.
fn history(seed: u64) -> String {
    cluster("minecraft", seed, |sandbox| async move {
        let api = sandbox.api();
        api.create(&actor(), GSS, set(20)).unwrap();
        settle(api).await;
        for room in 0..5 {
            let patch = Patch::Merge(json!({"spec": {"opsState": "WaitToBeDeleted", "deletionPriority": room}}));
            api.patch(&actor(), GS, "", "default", &format!("rooms-{room}"), &patch).unwrap();
        }
        let update = json!({"spec": {"replicas": 12, "updateStrategy": {"rollingUpdate": {"maxUnavailable": "30%"}},
            "gameServerTemplate": {"spec": {"containers": [{"name": "game", "image": "game:2"}]}}}});
        api.patch(&actor(), GSS, "", "default", "rooms", &Patch::Merge(update)).unwrap();
        settle(api).await;
        let changes = api.changes(0);
        let lines = changes.iter().map(|change| format!("{:?} {} {}\n", change.kind, change.resource, change.object));
        lines.collect()
    })
}

#[test]
fn one_seed_makes_one_history() {
    let first = history(7);
    assert!(first.contains("game:2"), "the update happened");
    assert_eq!(first, history(7), "the same seed makes the same bytes");
    assert_ne!(first, history(8), "another seed makes another history");
}
