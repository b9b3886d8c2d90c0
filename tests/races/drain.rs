//! The shipped drain under a blind matchmaker, beside the flow that it replaces.

use okgscript::script::shipped;
use serde_json::json;

use super::{Score, play};

/// An arena under load: OKG's own matchmaker, which allocates from a cache and guards nothing.
fn arena(matchmaker: &str) -> String {
    format!(
        r#"
apiVersion: game.kruise.io/v1alpha1
kind: GameServerSet
metadata: {{ name: arena }}
spec:
  replicas: 12
  updateStrategy: {{ type: OnDelete }}
  gameServerTemplate:
    spec:
      containers: [{{ name: game, image: "arena:1" }}]
---
apiVersion: okgscript.io/v1
kind: Scenario
metadata: {{ name: races }}
world: {{ okg: {{ qps: 300, burst: 600 }} }}
players:
- {matchmaker}
"#
    )
}

const BLIND: &str = "{ gss: arena, matchmaker: blind, lag: 3s, perMinute: 20, match: { from: 20s, to: 60s } }";

/// Seeds of a comparison: enough for both halves of the statement.
const SEEDS: std::ops::Range<u64> = 1..13;

fn release(seed: u64, more: &[(&str, serde_json::Value)]) -> Score {
    let script = shipped::script("lossless_release").unwrap();
    // The last value counts old rooms that are left.
    let script = format!("{script}\ngs_count(gss, #{{ version: \"old\" }})");
    let mut params =
        vec![("gss", json!("arena")), ("image", json!("arena:2")), ("surge", json!("6")), ("follow", json!("20m"))];
    params.extend(more.iter().cloned());
    play(&arena(BLIND), seed, &script, &params)
}

fn sum(run: impl Fn(u64) -> Score) -> Score {
    let mut all = Score::default();
    for seed in SEEDS {
        all += run(seed);
    }
    all
}

/// Plays seeds until somebody loses a match, or all are played.
fn until_lost(run: impl Fn(u64) -> Score) -> Score {
    let mut all = Score::default();
    for seed in SEEDS {
        all += run(seed);
        if all.lost > 0 {
            break;
        }
    }
    all
}

#[test]
fn retire_loses_nobody_to_a_blind_matchmaker() {
    let score = sum(|seed| release(seed, &[]));
    assert_eq!(score.failure, None);
    assert_eq!((score.lost, score.old_rooms), (0, 0), "{score:?}");
    assert!(score.matches > 150 && score.contested >= 10, "nothing was at stake: {score:?}");
}

#[test]
fn without_a_grace_longer_than_its_cache_the_same_matchmaker_makes_it_lose() {
    let score = until_lost(|seed| release(seed, &[("grace", json!("0s"))]));
    assert!(score.lost > 0, "the assumption G is not needed? {score:?}");
}

#[test]
fn marking_idle_rooms_and_scaling_in_at_once_loses_players() {
    // The usual flow: choose, mark, lower replicas.
    let flow = r#"
        gss_set_image("arena", "", "arena:2");
        gs_wait("arena", #{ version: "current", open: true }, gss_scale_up("arena", 6), "10m");
        let ends = deadline("20m");
        while !ends.over {
            let idle = gs_select("arena", #{ version: "old", matchable: true });
            let marked = gs_set_ops_state(idle, "WaitToBeDeleted").changed.len();
            if marked > 0 { gss_scale("arena", gss_get("arena").replicas - marked, #{ allow_scale_in: true }); }
            sleep("20s");
        }
        0
    "#;
    let score = until_lost(|seed| play(&arena(BLIND), seed, flow, &[]));
    assert_eq!(score.failure, None);
    assert!(score.lost > 0, "{score:?}");
}
