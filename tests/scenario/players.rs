//! Players: one seed, one course of events; and who loses players to whom.

use std::time::Duration;

use okgscript::sandbox::Sandbox;
use okgscript::sandbox::object::{Actor, Object, Patch};
use okgscript::sandbox::players::{Cause, End};
use serde_json::json;

use super::{arena, pass, start};

const ROOMS: &str = "gameservers.game.kruise.io";
const SETS: &str = "gameserversets.game.kruise.io";

async fn busy(players: &str, more: &str, seed: u64) -> Sandbox {
    let head = "apiVersion: okgscript.io/v1\nkind: Scenario\nworld: {podStart: 2s, termination: 8s, okg: {qps: 100}}\n";
    start(&format!("{head}players: [{players}]\n{more}{}", arena(16)), seed).await
}

/// Everything that was ever written, as text.
fn written(sandbox: &Sandbox) -> String {
    let changes = sandbox.api().changes(0);
    changes.iter().map(|change| format!("{} {:?} {}\n", change.version, change.kind, change.object)).collect()
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_course_of_events() {
    let run = async |seed: u64| {
        let crowd = "{gss: arena, perMinute: 10, match: {mean: 1m}, disconnects: 0.2, players: 4}";
        let more = "disturbances: [{kind: crash, gss: arena, perHour: 30}]\n";
        let sandbox = busy(crowd, more, seed).await;
        pass(900).await;
        (written(&sandbox), sandbox.players().ledger().matches())
    };
    let (first, again, other) = (run(7).await, run(7).await, run(8).await);
    assert!(first.1.len() > 100, "{}", first.1.len());
    assert_eq!(first.1, again.1);
    assert!(first.0 == again.0, "the same seed gave another log");
    assert_ne!(first.1, other.1);
    assert!(first.0 != other.0, "another seed gave the same log");
}

#[tokio::test(start_paused = true)]
async fn matches_begin_and_end_and_the_ledger_knows() {
    let sandbox =
        busy("{gss: arena, perMinute: 6, match: {from: 30s, to: 90s}, disconnects: 0.5, players: 3}", "", 1).await;
    pass(3600).await;
    let ledger = sandbox.players().ledger();
    let matches = ledger.matches();
    assert!((250..500).contains(&matches.len()), "{}", matches.len());
    assert_eq!(ledger.lost(), []);
    let (arrived, gave_up) = ledger.crowds();
    assert_eq!((arrived % 3, gave_up), (0, 0));
    let left = matches.iter().filter(|game| game.end == Some(End::Left)).count();
    let over = matches.iter().filter(|game| game.end == Some(End::Over)).count();
    assert!(left > over / 2 && over > left / 2, "{left} left early, {over} over");
    for game in matches.iter().filter(|game| game.end == Some(End::Over)) {
        let length = game.until.unwrap().duration_since(game.from).as_secs_f64();
        assert!((29.9..90.1).contains(&length), "{length}");
    }
    // Whoever plays has a room that says so.
    for game in matches.iter().filter(|game| game.until.is_none()) {
        let room = sandbox.api().get(ROOMS, "default", &game.room).unwrap();
        assert_eq!(room["spec"]["opsState"], "Allocated");
        assert_eq!(ledger.playing(&game.pod), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_and_a_deletion_are_told_apart() {
    let crash = "disturbances: [{kind: crash, gss: arena, perHour: 120}]\n";
    let sandbox = busy("{gss: arena, perMinute: 20, match: 2m}", crash, 2).await;
    pass(1200).await;
    let losses = sandbox.players().ledger().losses();
    assert!(losses[&Cause::Crashed] > 3 && losses.len() == 1, "{losses:?}");

    let sandbox = busy("{gss: arena, perMinute: 20, match: 2m, matchmaker: guarded}", "", 2).await;
    pass(60).await;
    let ledger = sandbox.players().ledger();
    let game = ledger.matches().into_iter().find(|game| game.until.is_none()).unwrap();
    sandbox.api().delete(&Actor::controller("test"), "pods", "default", &game.room, &Default::default()).unwrap();
    pass(1).await;
    assert_eq!(ledger.losses().into_iter().collect::<Vec<_>>(), [(Cause::Deleted, 1)]);
}

#[tokio::test(start_paused = true)]
async fn without_rooms_players_give_up_and_marked_rooms_can_follow_a_match() {
    let sandbox =
        busy("{gss: arena, perMinute: 20, match: 30s, patience: 20s, afterMatch: WaitToBeDeleted}", "", 3).await;
    pass(1200).await;
    let ledger = sandbox.players().ledger();
    assert!(ledger.crowds().1 > 100, "{:?}", ledger.crowds());
    assert_eq!(ledger.matches().len(), 16);
    assert!(super::rooms(&sandbox).iter().all(|(_, state)| state == "WaitToBeDeleted"));
}

/// How idle rooms are marked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Marker {
    /// Reads, and writes five seconds later whatever was idle.
    Naive,
    /// The write tests that the room is idle still.
    Guarded,
    /// Holds first, waits longer than a matchmaker works from its cache, and marks what is held still.
    Hold,
}

/// Marks and takes away two rooms at a time for a quarter of an hour, with players about; returns the lost matches.
async fn release(matchmaker: &str, lag: &str, marker: Marker) -> Vec<(Cause, String)> {
    let crowd = format!("{{gss: arena, perMinute: 12, match: 30s, matchmaker: {matchmaker}, lag: {lag}}}");
    let sandbox = busy(&crowd, "", 11).await;
    let (api, actor) = (sandbox.api(), Actor::controller("marker"));
    let patch = |room: &Object, from: &str, to: &str| {
        let name = room["metadata"]["name"].as_str().unwrap();
        let guarded = Patch::Json(json!([{"op": "test", "path": "/spec/opsState", "value": from},
            {"op": "replace", "path": "/spec/opsState", "value": to}]));
        let blind = Patch::Merge(json!({"spec": {"opsState": to}}));
        let patch = if marker == Marker::Naive { blind } else { guarded };
        api.patch(&actor, ROOMS, "", "default", name, &patch).is_ok()
    };
    let mark = |rooms: &[Object], from: &str| {
        for room in rooms {
            patch(room, from, "WaitToBeDeleted");
        }
    };
    for _ in 0..40 {
        let idle: Vec<Object> = api
            .list(ROOMS, Some("default"))
            .into_iter()
            .filter(|room| room["spec"]["opsState"] == "None" && room["status"]["currentState"] == "Ready")
            .take(2)
            .collect();
        match marker {
            Marker::Naive => {
                pass(5).await;
                mark(&idle, "None");
            }
            Marker::Guarded => mark(&idle, "None"),
            Marker::Hold => {
                let held: Vec<Object> = idle.into_iter().filter(|room| patch(room, "None", "Draining")).collect();
                pass(5).await;
                mark(&held, "Draining");
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let label = "game.kruise.io/gs-opsState";
        let pods = api.list("pods", Some("default"));
        let marked = pods.iter().filter(|pod| pod["metadata"]["labels"][label] == "WaitToBeDeleted").count();
        let scale = |replicas: usize| {
            let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
            api.patch(&actor, SETS, "", "default", "arena", &patch).unwrap();
        };
        scale(16 - marked);
        pass(12).await;
        scale(16);
        pass(10).await;
    }
    let loss = |game: okgscript::sandbox::players::Match| match game.end {
        Some(End::Lost(loss)) => (loss.cause, loss.ops_state),
        other => panic!("{other:?}"),
    };
    sandbox.players().ledger().lost().into_iter().map(loss).collect()
}

#[tokio::test(start_paused = true)]
async fn a_naive_marker_loses_players_to_every_matchmaker() {
    for (matchmaker, lag, cause) in
        [("blind", "2s", Cause::ScaledIn), ("guarded", "20ms", Cause::ScaledIn), ("slow", "15s", Cause::SentToNowhere)]
    {
        let lost = release(matchmaker, lag, Marker::Naive).await;
        assert!(lost.iter().any(|(found, _)| *found == cause), "{matchmaker}: {lost:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_guarded_mark_is_enough_for_guarded_matchmakers_only() {
    assert_eq!(release("guarded", "20ms", Marker::Guarded).await, []);
    let lost = release("blind", "2s", Marker::Guarded).await;
    assert!(lost.iter().any(|(_, state)| state == "Allocated"), "{lost:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hold_longer_than_the_lag_loses_nobody() {
    assert_eq!(release("guarded", "20ms", Marker::Hold).await, []);
    assert_eq!(release("blind", "2s", Marker::Hold).await, []);
    let lost = release("slow", "15s", Marker::Hold).await;
    assert!(!lost.is_empty());
}
