//! Waits: driven by watches, one list and one watch a collection, a fresh list before a success; a time-out that says
//! which room fails which clause.

use serde_json::Value;

use crate::support::Test;

/// Requests of a run by what they ask of a resource: `list`, `watch`.
fn asked(events: &str, resource: &str) -> (usize, usize) {
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let paths: Vec<String> = events
        .filter(|event| event["event"] == "request")
        .map(|event| event["path"].as_str().unwrap().to_owned())
        .filter(|path| path.contains(&format!("/{resource}?")))
        .collect();
    let watches = paths.iter().filter(|path| path.contains("watch=")).count();
    (paths.len() - watches, watches)
}

fn waiting(script: &str) -> Test {
    Test::new()
        .script(script)
        .args(["run", "a.rhai", "--sandbox", "--events", "events.jsonl"])
        .stdout_any()
        .stderr_any()
}

#[test]
fn one_list_and_one_watch_however_long_and_one_list_before_the_success() {
    // A watch lives 290 s; 20 minutes need five, one after the other.
    let ran = waiting(
        r#"
        let ends = deadline("20m");
        wait_until(#{ timeout: "1h" }, || gs_count("minecraft", #{ state: ["Ready", "NotReady"] }) >= 0 && ends.over);
    "#,
    );
    let events = ran.ok().file("events.jsonl");
    for resource in ["gameservers", "pods", "gameserversets", "statefulsets"] {
        let (lists, watches) = asked(&events, resource);
        assert_eq!(lists, 2, "lists of {resource}");
        assert!((4..=7).contains(&watches), "{watches} watches of {resource}");
    }
}

#[test]
fn a_condition_is_evaluated_again_when_what_it_reads_changes() {
    let ran = waiting(
        r#"
        let evaluations = 0;
        gss_scale_up("minecraft", 4);
        gs_wait("minecraft", #{ version: "current", open: true }, 4, "5m");
        let before = gss_get("minecraft").replicas;
        parallel([1, 2], |branch| {
            if branch == 1 {
                sleep("30s");
                gss_scale_up("minecraft", 5);
            } else {
                wait_until(#{ timeout: "10m" }, || gs_count("minecraft", #{ matchable: true }) + gs_count("minecraft", #{ ops_state: "Allocated" }) >= 5);
            }
        });
        output(gss_get("minecraft").replicas);
    "#,
    );
    assert_eq!(ran.ok().stdout.lines().next(), Some("5"));
}

#[test]
fn stable_for_makes_the_condition_hold_for_a_time() {
    let ran = waiting(
        r#"
        let begun = deadline("1h");
        wait_until(#{ timeout: "5m", stable_for: "40s" }, || gs_count("minecraft", #{ state: "Ready" }) == 3);
        output(begun.left);
    "#,
    );
    let left = ran.ok().stdout.lines().next().unwrap().to_owned();
    assert!(left.starts_with("59m1") || left.starts_with("59m20"), "{left}");
}

#[test]
fn a_time_out_names_what_is_missing_and_ends_with_5() {
    Test::new()
        .script(r#"gs_wait("minecraft", #{ version: "current", open: true }, 9, "2m");"#)
        .args(["run", "a.rhai", "--sandbox"])
        .stdout_any()
        .stderr_has(
            "error[timeout]: 3 of 9 rooms of `default/minecraft` matched #{open: true, version: \"current\"} after 2m",
        )
        .stderr_has("only 3 rooms are of that kind; the set has replicas 3, 3 GameServers, 3 pods")
        .code(5);
}

#[test]
fn retries_back_off_and_give_up() {
    Test::new()
        .script(
            r#"
            let tries = 0;
            let ends = deadline("1h");
            output(retry_backoff(#{ initial: "10s", factor: 2, limit: 5 }, || { tries += 1; if tries == 3 { "third" } }));
            output(ends.left);
            try {
                retry_backoff(#{ initial: "1s", limit: 2 }, || false);
            } catch (e) { output(`${e.kind}: ${e.message}`); }
            try {
                retry_backoff(#{ initial: "1s", limit: 5 }, || gs_get("minecraft-9"));
            } catch (e) { output(e.kind); }
        "#,
        )
        .args(["run", "a.rhai", "--sandbox"])
        .stdout_has("third\n59m3")
        .stdout_has("timeout: gave up after 2 attempts in 1s\n")
        .stdout_has("not-found\n")
        .stderr_has("again in 10s (attempt 2): it gave")
        .stderr_has("again in 20s (attempt 3)")
        .ok();
}

#[test]
fn a_time_out_names_the_room_the_clause_and_why_its_container_waits() {
    let world = r#"
        apiVersion: game.kruise.io/v1alpha1
        kind: GameServerSet
        metadata: { name: lobby }
        spec:
          replicas: 2
          updateStrategy: { type: OnDelete }
          gameServerTemplate: { spec: { containers: [{ name: game, image: "acs/lobby:1" }] } }
        ---
        apiVersion: okgscript.io/v1
        kind: Scenario
        metadata: { name: typo }
        world: { missingImages: ["acs/lobby:2-nwe"] }
    "#;
    Test::new()
        .file("world.yaml", world)
        .args(["run", "lossless_release.rhai", "--scenario", "world.yaml", "--gss", "lobby"])
        .args(["--image", "acs/lobby:2-nwe", "--surge", "1", "--timeout", "3m"])
        .stdout_any()
        .stderr_has(
            "error[timeout]: 0 of 1 rooms of `default/lobby` matched #{open: true, version: \"current\"} after 3m",
        )
        .stderr_has("why:  lobby-2 Creating (container game ImagePullBackOff")
        .stderr_has("fails open: true (is state Creating) for 3m")
        .stderr_has(
            "done: lobby: image of game acs/lobby:1 -> acs/lobby:2-nwe; lobby: replicas 2 -> 3; no room was written",
        )
        .stderr_has("okgscript run lossless_release.rhai --gss lobby --image acs/lobby:1   # goes back")
        .code(5);
}
