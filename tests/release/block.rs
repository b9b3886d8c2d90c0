//! Blocked scale-ins: a hook keeps every room until a run lets it go.

use serde_json::Value;

use crate::support::Test;

/// Six rooms without an autoscaler; the first has players for ten minutes.
const WORLD: &str = r#"
apiVersion: game.kruise.io/v1alpha1
kind: GameServerSet
metadata: { name: arena }
spec:
  replicas: 6
  updateStrategy: { type: OnDelete }
  gameServerTemplate:
    spec:
      containers: [{ name: game, image: "arena:1" }]
---
apiVersion: okgscript.io/v1
kind: Scenario
metadata: { name: blocked }
params: { gss: arena, image: "arena:2" }
rooms: [{ name: arena-0, playing: 10m }]
"#;

fn run(script: &str) -> Test {
    Test::new()
        .file("world.yaml", WORLD)
        .script(script)
        .args(["run", "a.rhai", "--scenario", "world.yaml", "--events", "events.jsonl"])
        .stdout_any()
        .stderr_any()
}

#[test]
fn the_hook_goes_in_with_the_image_and_every_room_has_the_label_before_the_first_hold() {
    let ran = Test::new()
        .file("world.yaml", WORLD)
        .args(["run", "lossless_release.rhai", "--scenario", "world.yaml", "--block", "--surge", "2", "--follow", "1h"])
        .args(["--events", "events.jsonl", "-o", "json"])
        .stderr_any()
        .stdout_any()
        .ok();
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let rooms = document["receipt"]["rooms"]["arena"].as_array().unwrap();
    let names: Vec<&str> = rooms.iter().map(|room| room["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["arena-6", "arena-7"], "{}", ran.stderr);
    assert_eq!(document["receipt"]["allocatedTouched"], 0);
    let changes = &document["receipt"]["changes"];
    let fields = changes["sets"]["arena"]["fields"].to_string();
    assert!(fields.contains("preDelete") && fields.contains("gameServerTemplate.metadata"), "{fields}");
    let written = changes["rooms"].as_array().unwrap();
    let version = |it: &Value| it["version"].as_str().unwrap().parse::<u64>().unwrap();
    let holds = written.iter().filter(|it| it["field"] == "opsState" && it["before"] == "None");
    let first_hold = holds.map(version).min().unwrap();
    for room in 0..6 {
        let blocked = written.iter().find(|it| it["name"] == format!("arena-{room}") && it["after"] == "true");
        assert!(blocked.is_some_and(|it| version(it) < first_hold), "arena-{room}: {blocked:?}, {first_hold}");
    }
}

#[test]
fn image_hook_and_label_are_one_write() {
    run(r#"
        let before = gss_get("arena").generation;
        gss_set_image("arena", "", "arena:2", #{ block: true });
        output(`${gss_get("arena").generation - before} ${gss_blocks("arena")}`);
    "#)
    .stdout_has("1 true\n")
    .ok();
}

#[test]
fn a_scale_in_by_somebody_else_waits_until_the_match_is_over() {
    let ran = run(r#"
        import "okg/drain" as drain;
        gss_set_image("arena", "", "arena:2", #{ block: true });
        gs_block("arena");
        // Somebody lowers replicas as far as it goes.
        gss_scale("arena", 0, #{ allow_scale_in: true });
        sleep("30s");
        output(`waiting ${gs_list("arena").map(|gs| `${gs.name} ${gs.state} ${gs.ops_state}`)}`);
        drain::lift_for("arena", "2m");
        output(`left ${gs_list("arena").map(|gs| `${gs.name} ${gs.state} ${gs.ops_state}`)}`);
        drain::lift_for("arena", "15m");
        output(`end ${gs_list("arena").len}`);
    "#)
    .ok();
    assert!(ran.stdout.contains("arena-0 PreDelete Allocated") && ran.stdout.contains("arena-5 PreDelete None"));
    assert!(ran.stdout.contains(r#"left ["arena-0 PreDelete Allocated"]"#), "{}", ran.stdout);
    assert!(ran.stdout.contains("end 0"), "{}", ran.stdout);
    assert!(ran.stderr.contains("arena-0 waits in PreDelete, opsState Allocated"), "{}", ran.stderr);
}

#[test]
fn a_room_that_is_taken_in_pre_delete_during_the_grace_is_not_let_go() {
    run(r#"
        gss_set_image("arena", "", "arena:2", #{ block: true });
        gs_block("arena");
        gss_scale("arena", 5, #{ allow_scale_in: true });
        wait_until(#{ timeout: "1m" }, || gs_get("arena-5").state == "PreDelete");
        gs_hold("arena-5", #{ pre_delete: true });
        let judged = gs_get("arena-5");
        // A blind matchmaker.
        gs_set_ops_state("arena-5", "Allocated");
        output(gs_lift(judged).skipped[0].reason);
        output(gs_lift("arena-5").skipped[0].reason);
        sleep("1m");
        output(gs_get("arena-5").state);
    "#)
    .stdout_has("opsState became Allocated\nin PreDelete, opsState Allocated\nPreDelete\n")
    .ok();
}

#[test]
fn a_later_run_lets_rooms_go_that_a_dead_one_left() {
    let ran = run(r#"
        import "okg/drain" as drain;
        gss_set_image("arena", "", "arena:2", #{ block: true });
        gs_block("arena");
        custom_ops_states(["Draining-dead"]);
        gs_set_ops_state(["arena-4", "arena-5"], "Draining-dead");
        gss_patch("arena", #{ spec: #{ replicas: 4, reserveGameServerIds: [4, 5] } });
        wait_until(#{ timeout: "1m" }, || gs_count("arena", #{ state: "PreDelete" }) == 2);
        // It does not ask for a block: the set has one.
        drain::retire("arena", #{ ids: 3 }, #{ end: "retire" });
        output(gs_list("arena").names);
    "#)
    .ok();
    let names = "[\n  \"arena-0\",\n  \"arena-1\",\n  \"arena-2\"\n]";
    assert!(ran.stdout.contains(names), "{}\n{}", ran.stdout, ran.stderr);
}

#[test]
fn rooms_are_not_marked_where_a_hook_blocks() {
    let blocked = run(r#"
        import "okg/drain" as drain;
        gss_set_image("arena", "", "arena:2", #{ block: true });
        for attempt in [
            || gss_check_release("arena", #{ end: "mark" }),
            || drain::retire("arena", #{ version: "old" }, #{ end: "mark" }),
            || drain::retire("arena", #{ version: "old" }, #{ mode: "fast" }),
        ] {
            try { attempt.call(); output("went on"); } catch (error) { output(error.kind); }
        }
        output(gss_check_release("arena").ending);
        output(gs_count("arena", #{ ops_state: "None" }));
    "#);
    blocked.stdout_has("refused\ninvalid\ninvalid\nretire\n5\n").ok();
}

#[test]
fn a_block_that_comes_after_the_image_is_refused_since_it_would_make_rooms_old() {
    run(r#"
        gss_set_image("arena", "", "arena:2");
        gss_set_image("arena", "", "arena:2", #{ block: true });
    "#)
    .stderr_has("error[refused]: the hook that blocks scale-ins of `arena` cannot be added any more")
    .code(4);
}
