//! How much a large GameServerSet costs on virtual time: made, Ready and listed.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use okgscript::clock::Clock;
use okgscript::sandbox::object::Actor;
use okgscript::sandbox::{Options, Sandbox};
use serde_json::json;

const GSS: &str = "gameserversets.game.kruise.io";
const GS: &str = "gameservers.game.kruise.io";

/// Makes a set of `rooms`, waits until all are Ready, and lists them.
fn fill(rooms: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let clock = Clock::simulated("2026-06-01T08:00:00Z".parse().expect("a time"));
        let scenario = Some(("conformance".to_owned(), String::new()));
        let options = Options { scenario, empty: true, ..Options::default() };
        let sandbox = Sandbox::start(&options, clock).await.expect("the sandbox starts");
        let set = json!({
            "apiVersion": "game.kruise.io/v1alpha1",
            "kind": "GameServerSet",
            "metadata": {"name": "rooms", "namespace": "default"},
            "spec": {
                "replicas": rooms,
                "updateStrategy": {"type": "OnDelete"},
                "gameServerTemplate": {"spec": {"containers": [{"name": "game", "image": "game:1"}]}},
            },
        });
        let api = sandbox.api();
        api.create(&Actor::controller("bench"), GSS, set).expect("the set is created");
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let set = api.get(GSS, "default", "rooms").expect("the set");
            if set["status"]["readyReplicas"] == rooms {
                let listed = api.list(GS, Some("default"));
                if listed.iter().filter(|gs| gs["status"]["currentState"] == "Ready").count() == rooms {
                    black_box(listed);
                    return;
                }
            }
        }
    });
}

fn rooms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rooms of one set made, Ready and listed");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(5));
    for rooms in [100, 1000, 10_000] {
        group.bench_function(rooms.to_string(), |bencher| bencher.iter(|| fill(rooms)));
    }
    group.finish();
}

criterion_group!(benches, rooms);
criterion_main!(benches);
