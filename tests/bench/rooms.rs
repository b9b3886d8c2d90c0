//! How much a large GameServerSet costs on virtual time: made, Ready and listed, in time and memory.
//!
//! `cargo bench --bench rooms [-- COUNT…]`

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[allow(dead_code, reason = "no benchmark needs all of it")]
mod figure;

use std::hint::black_box;
use std::time::Duration;

use okgscript::clock::Clock;
use okgscript::sandbox::object::Actor;
use okgscript::sandbox::{Options, Sandbox};
use serde_json::json;

const GSS: &str = "gameserversets.game.kruise.io";
const GS: &str = "gameservers.game.kruise.io";

/// Makes a set of `rooms`, waits until all are Ready, and lists them; returns how many writes that took.
fn fill(rooms: usize) -> u64 {
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
        let begun = api.version();
        api.create(&Actor::controller("bench"), GSS, set).expect("the set is created");
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let set = api.get(GSS, "default", "rooms").expect("the set");
            if set["status"]["readyReplicas"] == rooms {
                let listed = api.list(GS, Some("default"));
                if listed.iter().filter(|gs| gs["status"]["currentState"] == "Ready").count() == rooms {
                    black_box(listed);
                    return api.version() - begun;
                }
            }
        }
    })
}

fn main() {
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let counts = if asked.is_empty() { vec![100, 1000, 10_000] } else { asked };
    let mut first = None;
    for rooms in counts {
        let (took, writes) = figure::best((3000 / rooms).clamp(1, 10), || fill(rooms));
        let each = took.wall.as_secs_f64() / rooms as f64;
        let against = each / *first.get_or_insert(each);
        println!(
            "{rooms} rooms of one set made, Ready and listed: {:.3} s, {writes} writes of {:.1} µs, \
             {against:.2} times the first line's time a room",
            took.wall.as_secs_f64(),
            took.wall.as_secs_f64() * 1e6 / writes as f64,
        );
        if rooms == 10_000 {
            figure::show_time(took, 10.0);
            if let Some(peak) = figure::peak_memory() {
                figure::show("  memory at its peak", peak as f64 / f64::from(1 << 20), 1536.0, "MiB");
            }
        }
    }
}
