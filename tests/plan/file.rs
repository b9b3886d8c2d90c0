//! A plan in a file: carried out while it fits, refused when it does not, and kept to at every write.

use std::fs;

use serde_json::Value;

use super::waits;
use crate::runs::proxy::{ask, get};
use crate::runs::world::{Ended, NEW, World};

const ROOMS: &str = "/apis/game.kruise.io/v1alpha1/namespaces/default/gameservers";
const SET: &str = "/apis/game.kruise.io/v1alpha1/namespaces/default/gameserversets/minecraft";

/// Marks the rooms that are free once there are so many of them.
const MARK: &str = r#"
    let gss = param("gss", "minecraft", "the set");
    let free = param("free", 1, "how many are to be free");
    wait_until(#{ timeout: "60s" }, || gs_count(gss, #{ ops_state: "None" }) >= free);
    gs_set_ops_state(gs_select(gss, #{ ops_state: "None" }), "WaitToBeDeleted");
"#;

fn world(script: &str) -> World {
    let world = World::new();
    fs::write(world.path("a.rhai"), script).unwrap();
    world
}

/// Merge-patches an object by hand and returns what became of it.
fn patch(world: &World, path: &str, body: &str) -> Value {
    ask(world.server, "PATCH", path, "application/merge-patch+json", body)
}

fn set_state(world: &World, room: &str, state: &str) {
    let answer = patch(world, &format!("{ROOMS}/{room}"), &format!(r#"{{"spec":{{"opsState":"{state}"}}}}"#));
    assert_eq!(answer["spec"]["opsState"], state, "{answer}");
}

fn states(world: &World) -> Vec<String> {
    let rooms = get(world.server, ROOMS);
    rooms["items"].as_array().unwrap().iter().map(|it| it["spec"]["opsState"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn planned(world: &World, more: &[&str]) {
    let mut args = vec!["plan", "a.rhai", "--out", "plan.json"];
    args.extend(more);
    let ended = world.run(&args);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

fn carry_out(world: &World, more: &[&str]) -> Ended {
    let mut args = vec!["run", "--plan-file", "plan.json"];
    args.extend(more);
    world.run(&args)
}

/// Carries the plan out and expects a refusal that says all this, with nothing written.
#[track_caller]
fn refused(world: &World, more: &[&str], said: &[&str]) {
    let set = get(world.server, SET);
    world.proxy.clear();
    let ended = carry_out(world, more);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    for part in said {
        assert!(ended.err.contains(part), "no `{part}` in\n{}", ended.err);
    }
    let log = world.proxy.log();
    assert!(!log.iter().any(|exchange| exchange.write()), "something was sent: {log:?}");
    assert_eq!(get(world.server, SET)["spec"], set["spec"], "something was written");
}

#[test]
fn a_release_is_planned_in_one_process_and_carried_out_in_another() {
    let world = World::new();
    let args =
        ["plan", "lossless_release.rhai", "--gss", "minecraft", "--image", NEW, "--grace", "0s", "--out", "plan.json"];
    let ended = world.run(&args);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("go by it: minecraft-1, minecraft-2\n"), "{}", ended.out);
    assert!(ended.out.contains("should their matches end first: minecraft-0\n"), "{}", ended.out);
    let ended = carry_out(&world, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("2 rooms retired"), "{ended:?}");
    let after = world.end_state();
    assert_eq!((&after["image"], &after["replicas"]), (&Value::from(NEW), &Value::from(4)), "{after}");
    // Carried out, it does not fit any more.
    let ended = carry_out(&world, &[]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.err.contains("spec.replicas was 3, is 4"), "{}", ended.err);
}

#[test]
fn a_cluster_that_has_changed_is_refused_and_the_difference_listed() {
    let world = world(MARK);
    planned(&world, &[]);
    patch(&world, SET, r#"{"spec":{"replicas":4}}"#);
    refused(&world, &[], &["not as it was when the plan was made", "spec.replicas was 3, is 4"]);
    let image = r#"[{"op":"replace","path":"/spec/gameServerTemplate/spec/containers/0/image","value":"x:9"}]"#;
    ask(world.server, "PATCH", SET, "application/json-patch+json", image);
    refused(
        &world,
        &[],
        &["containers[minecraft].image was acs/minecraft-demo:1.12.2, is x:9", "replicas was 3, is 4"],
    );
    let set = get(world.server, SET);
    ask(world.server, "DELETE", SET, "application/json", "");
    let ended = carry_out(&world, &[]);
    assert!(ended.code == Some(4) && ended.err.contains("default/minecraft is gone"), "{ended:?}");
    let again = serde_json::json!({
        "apiVersion": set["apiVersion"], "kind": set["kind"],
        "metadata": {"name": "minecraft", "namespace": "default"}, "spec": set["spec"],
    });
    ask(world.server, "POST", SET.trim_end_matches("/minecraft"), "application/json", &again.to_string());
    let ended = carry_out(&world, &[]);
    assert!(ended.code == Some(4) && ended.err.contains("another set of that name"), "{ended:?}");
}

#[test]
fn more_rooms_than_planned_are_refused_and_listed_before_anything_is_written() {
    let world = world(MARK);
    set_state(&world, "minecraft-1", "Maintaining");
    planned(&world, &[]);
    set_state(&world, "minecraft-1", "None");
    refused(
        &world,
        &[],
        &[
            "more would be touched now",
            "room default/minecraft-1: not in the plan (spec.opsState: None -> WaitToBeDeleted)",
        ],
    );
    // The rooms of the plan alone are no refusal.
    set_state(&world, "minecraft-1", "Maintaining");
    let ended = carry_out(&world, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(states(&world), ["Allocated", "Maintaining", "WaitToBeDeleted"]);
}

#[test]
fn rooms_that_got_or_lost_players_are_judged_again() {
    let world = world(MARK);
    planned(&world, &[]);
    set_state(&world, "minecraft-0", "None");
    set_state(&world, "minecraft-2", "Allocated");
    let ended = carry_out(&world, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(states(&world), ["WaitToBeDeleted", "WaitToBeDeleted", "Allocated"]);
}

/// Starts the plan's run, frees a room beyond the plan while it waits, and returns how it ended.
fn freed_meanwhile(world: &World) -> Ended {
    world.proxy.clear();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| carry_out(world, &[]));
        waits(world);
        set_state(world, "minecraft-1", "None");
        run.join().unwrap()
    })
}

#[test]
fn a_write_beyond_the_plan_is_refused_before_it_is_sent_also_after_a_resume() {
    let world = world(MARK);
    set_state(&world, "minecraft-1", "Maintaining");
    // Two are to be free: in the plan that is assumed, in the run it is waited for.
    planned(&world, &["--free", "2"]);
    let ended = freed_meanwhile(&world);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.err.contains("a write to GameServer `default/minecraft-1` lies beyond the plan"), "{}", ended.err);
    assert!(ended.err.contains("of rooms it covers minecraft-2, minecraft-0"), "{}", ended.err);
    assert_eq!(states(&world)[1], "None");
    let log = world.proxy.log();
    assert!(!log.iter().any(|it| it.write() && it.path.contains("gameservers/minecraft-1")), "it was sent");

    set_state(&world, "minecraft-2", "None");
    let ended = world.run(&["resume"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.err.contains("lies beyond the plan"), "{}", ended.err);
    assert_eq!(states(&world)[1], "None");
}

#[test]
fn a_scale_in_that_would_take_another_room_is_refused() {
    let script = r#"
        let gss = "minecraft";
        wait_until(#{ timeout: "60s" }, || pods_list(gss)[2].labels["game.kruise.io/gs-opsState"] == "Maintaining");
        gss_scale(gss, 2, #{ allow_scale_in: true });
    "#;
    let world = world(script);
    planned(&world, &[]);
    let ended = std::thread::scope(|scope| {
        world.proxy.clear();
        let run = scope.spawn(|| carry_out(&world, &[]));
        waits(&world);
        // OKG takes another one now: what is Maintaining goes last.
        set_state(&world, "minecraft-2", "Maintaining");
        run.join().unwrap()
    });
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.err.contains("it would take minecraft-1, which the plan does not cover"), "{}", ended.err);
    assert_eq!(get(world.server, SET)["spec"]["replicas"], 3);
}

#[test]
fn another_script_other_parameters_and_another_place_are_refused() {
    let world = world(MARK);
    planned(&world, &[]);
    refused(&world, &["--free", "2"], &["parameters are given that are not the plan's", "free is 2; the plan has 1"]);
    refused(&world, &["-n", "other"], &["made for another namespace", "the plan's is `default`, this is `other`"]);
    let config = fs::read_to_string(world.path("kubeconfig")).unwrap();
    let direct = config.replace(&world.proxy.address.to_string(), &world.server.to_string());
    fs::write(world.path("other"), direct).unwrap();
    refused(&world, &["--kubeconfig", "other"], &["made for another cluster"]);
    let renamed = config.replace("okgscript-sandbox", "another-name");
    fs::write(world.path("renamed"), renamed).unwrap();
    let other = ["--kubeconfig", "renamed", "--context", "another-name"];
    refused(&world, &other, &["made for another context", "the plan's is `okgscript-sandbox`, this is `another-name`"]);
    let ended = carry_out(&world, &["--sandbox"]);
    assert!(ended.code == Some(4) && ended.err.contains("made for another cluster"), "{ended:?}");

    fs::write(world.path("a.rhai"), format!("{MARK}\n// one more word")).unwrap();
    refused(&world, &[], &["the script `a.rhai` has changed since the plan was made"]);
    fs::write(world.path("b.rhai"), "1").unwrap();
    let ended = world.run(&["run", "b.rhai", "--plan-file", "plan.json"]);
    assert!(ended.code == Some(4) && ended.err.contains("`b.rhai` reads otherwise"), "{ended:?}");
    fs::write(world.path("a.rhai"), "import \"m\" as m;\nlet free = m::free();").unwrap();
    fs::write(world.path("m.rhai"), "fn free() { 1 }").unwrap();
    planned(&world, &[]);
    fs::write(world.path("m.rhai"), "fn free() { 2 }").unwrap();
    refused(&world, &[], &["the module `m", "has changed since the plan was made"]);
}

#[test]
fn a_file_that_is_not_what_was_saved_is_refused() {
    let world = world(MARK);
    planned(&world, &[]);
    let text = fs::read_to_string(world.path("plan.json")).unwrap();
    // The layout may be another.
    let compact: Value = serde_json::from_str(&text).unwrap();
    fs::write(world.path("plan.json"), compact.to_string()).unwrap();
    assert_eq!(carry_out(&world, &[]).code, Some(0));
    let faults = [
        (text.replace(r#""free": 1"#, r#""free": 2"#), "was altered after it was made"),
        (text.replacen("minecraft-2", "minecraft-9", 1), "was altered after it was made"),
        (text.replace("okgscript.io/plan/v1", "okgscript.io/plan/v7"), "has another form than this okgscript reads"),
        (text[..text.len() / 2].to_owned(), "is damaged"),
        ("{}".to_owned(), "is no plan"),
        (String::new(), "is damaged"),
    ];
    for (fault, said) in faults {
        assert_ne!(fault, text);
        fs::write(world.path("plan.json"), fault).unwrap();
        refused(&world, &[], &[said, "Nothing was sent"]);
    }
    fs::remove_file(world.path("plan.json")).unwrap();
    let ended = carry_out(&world, &[]);
    assert!(ended.code == Some(2) && ended.err.contains("the plan `plan.json` cannot be read"), "{ended:?}");
    let ended = world.run(&["run", "a.rhai", "--out", "x.json"]);
    assert!(ended.code == Some(2) && ended.err.contains("nothing is planned"), "{ended:?}");
}

/// Carries a planned release out and ends the match in `minecraft-0` when the run follows.
fn followed(args: &[&str]) -> (World, Ended) {
    let world = World::new();
    let mut plan = vec!["plan", "lossless_release.rhai", "--gss", "minecraft", "--image", NEW, "--out", "plan.json"];
    plan.extend(["--grace", "50ms", "--follow", "20s"]);
    plan.extend(args);
    let ended = world.run(&plan);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("touched too, should their matches end first: minecraft-0"), "{}", ended.out);
    let ended = std::thread::scope(|scope| {
        let run = scope.spawn(|| carry_out(&world, &[]));
        // The first retirement lowers replicas; then only the room with players is old.
        let mut looks = 0;
        while get(world.server, SET)["spec"]["replicas"] != 4 {
            looks += 1;
            assert!(looks < 12_000, "replicas do not become 4");
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        set_state(&world, "minecraft-0", "None");
        run.join().unwrap()
    });
    (world, ended)
}

#[test]
fn a_match_that_ends_while_the_run_follows_is_covered() {
    let (world, ended) = followed(&[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("3 rooms retired (3 gone)"), "{}", ended.out);
    assert_eq!(world.end_state()["replicas"], 3);
}

#[test]
fn a_release_with_a_block_is_covered() {
    let (world, ended) = followed(&["--block"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("3 rooms retired (3 gone)"), "{}", ended.out);
    assert_eq!(world.end_state()["replicas"], 3);
}
