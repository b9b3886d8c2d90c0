//! The classic demo, and what must survive a release.

use serde_json::Value;

use crate::support::Test;

/// The columns NAME STATE OPSSTATE DP UP of the first table that is printed.
fn first_table(stdout: &str) -> Vec<String> {
    let lines = stdout.lines().skip_while(|line| !line.starts_with("NAME")).take_while(|line| !line.is_empty());
    lines.map(|line| line.split_whitespace().take(5).collect::<Vec<_>>().join(" ")).collect()
}

const DESIGN_TABLE: [&str; 7] = [
    "NAME STATE OPSSTATE DP UP",
    "minecraft-0 Ready Allocated 0 0",
    "minecraft-1 Ready WaitToBeDeleted 0 0",
    "minecraft-2 Ready WaitToBeDeleted 0 0",
    "minecraft-3 Ready None 0 0",
    "minecraft-4 Ready None 0 0",
    "minecraft-5 Ready None 0 0",
];

fn release() -> Test {
    Test::new().args(["run", "lossless_release.rhai", "--sandbox"]).stdout_any().stderr_any()
}

#[test]
fn the_first_command_prints_the_table_when_rooms_are_marked() {
    let ran = release().ok();
    assert_eq!(first_table(&ran.stdout), DESIGN_TABLE);
    assert!(
        ran.stdout.contains("Allocated rooms touched: 0. minecraft-0 stays until its match ends"),
        "{}",
        ran.stdout
    );
    let back = "To go back: okgscript run lossless_release.rhai --gss minecraft --image acs/minecraft-demo:1.12.2\n";
    assert!(ran.stdout.contains(back), "{}", ran.stdout);
}

#[test]
fn the_plain_guarded_mark_gives_the_same_table() {
    assert_eq!(first_table(&release().args(["--drain", "fast"]).ok().stdout), DESIGN_TABLE);
}

#[test]
fn followed_the_scaler_recycles_marked_rooms_and_the_last_one_when_its_match_ends() {
    let ran = release().args(["--follow", "1h", "-o", "json"]).ok();
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let rooms = document["receipt"]["rooms"]["minecraft"].as_array().unwrap();
    let names: Vec<&str> = rooms.iter().map(|room| room["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["minecraft-3", "minecraft-4", "minecraft-5"], "{}", ran.stderr);
    assert_eq!(document["receipt"]["allocatedTouched"], 0);
}

#[test]
fn retire_takes_exactly_the_idle_old_rooms_and_frees_their_ids() {
    let ran = release().args(["--end", "retire", "-o", "json"]).ok();
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let rooms = document["receipt"]["rooms"]["minecraft"].as_array().unwrap();
    let names: Vec<&str> = rooms.iter().map(|room| room["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["minecraft-0", "minecraft-3", "minecraft-4", "minecraft-5"], "{}", ran.stderr);
    assert_eq!(document["receipt"]["changes"]["sets"]["minecraft"]["freed"], serde_json::json!([1, 2]));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed: &str| {
        let ran = release().args(["--seed", seed, "--events", "events.jsonl"]).ok();
        (ran.stdout.clone(), ran.stderr.clone(), ran.file("events.jsonl"))
    };
    assert_eq!(run("7"), run("7"));
}

#[test]
fn run_again_it_changes_nothing_more() {
    let script = r#"
        import "okg/drain" as drain;
        let again = |gss, image| {
            gss_check_release(gss, #{ image: image });
            gss_set_image(gss, "", image);
            let wanted = gss_scale_up(gss, "3");
            gs_wait(gss, #{ version: "current", open: true }, wanted, "5m");
            drain::retire(gss, #{ version: "old" }).changed
        };
        let image = "acs/minecraft-demo:1.12.2-new";
        let first = again.call("minecraft", image);
        let before = gss_get("minecraft");
        let second = again.call("minecraft", image);
        let after = gss_get("minecraft");
        output(#{ first: first, second: second, generations: after.generation - before.generation,
                  replicas: after.replicas });
    "#;
    Test::new()
        .script(script)
        .args(["run", "a.rhai", "--sandbox"])
        .stdout_has(
            r#""first": [
    "minecraft-1",
    "minecraft-2"
  ]"#,
        )
        .stdout_has(r#""generations": 0"#)
        .stdout_has(r#""second": []"#)
        .stdout_has(r#""replicas": 6"#)
        .stderr_any()
        .ok();
}

#[test]
fn a_plan_says_what_would_change_and_sends_no_write() {
    let ran = Test::new()
        .args(["plan", "lossless_release.rhai", "--sandbox", "--events", "events.jsonl", "-o", "json"])
        .stdout_any()
        .stderr_any()
        .ok();
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let objects = document["plan"]["objects"].as_array().unwrap();
    let said: Vec<String> = objects
        .iter()
        .flat_map(|object| {
            let name = object["object"].as_str().unwrap();
            let changes = object["changes"].as_array().unwrap().iter();
            changes.map(move |change| {
                format!("{name} {} {} -> {}", change["path"], change["from"], change["to"]).replace('"', "")
            })
        })
        .collect();
    assert_eq!(
        said,
        [
            "GameServerSet default/minecraft spec.gameServerTemplate.spec.containers[minecraft].image \
             acs/minecraft-demo:1.12.2 -> acs/minecraft-demo:1.12.2-new",
            "GameServerSet default/minecraft spec.replicas 3 -> 6",
            "GameServer default/minecraft-1 spec.opsState None -> WaitToBeDeleted",
            "GameServer default/minecraft-2 spec.opsState None -> WaitToBeDeleted",
        ]
    );
    let events = ran.file("events.jsonl");
    let requests: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let methods: Vec<&str> = requests.iter().filter_map(|event| event["method"].as_str()).collect();
    // Beside GETs only questions after rights, which the server answers and does not store.
    let asks = |event: &&Value| event["path"].as_str().is_some_and(|path| path.ends_with("/selfsubjectaccessreviews"));
    let others = requests.iter().filter(|event| event["method"] != "GET" && !asks(event));
    let others: Vec<&Value> = others.filter(|event| event["method"].is_string()).collect();
    assert!(methods.contains(&"GET") && others.is_empty(), "{others:?}");
}

#[test]
fn sidecar_ports_and_env_survive() {
    let world = r#"
        apiVersion: game.kruise.io/v1alpha1
        kind: GameServerSet
        metadata: { name: lobby, namespace: default }
        spec:
          replicas: 2
          updateStrategy: { type: OnDelete }
          gameServerTemplate:
            spec:
              containers:
              - name: game
                image: acs/lobby:1
                ports: [{ containerPort: 7777, protocol: UDP }]
                env: [{ name: REGION, value: eu }]
                resources: { limits: { cpu: "1" } }
              - { name: telemetry, image: "acs/telemetry:4" }
    "#;
    let script = r#"
        import "okg/drain" as drain;
        let before = gss_get("lobby").to_map().spec.gameServerTemplate;
        gss_set_image("lobby", "game", "acs/lobby:2");
        gs_wait("lobby", #{ version: "current", open: true }, gss_scale_up("lobby", 2), "5m");
        drain::retire("lobby", #{ version: "old" }, #{ end: "retire" });
        let after = gss_get("lobby").to_map().spec.gameServerTemplate;
        before.spec.containers[0].image = "acs/lobby:2";
        output(before == after);
        output(gs_list("lobby").map(|gs| gs.images));
    "#;
    Test::new()
        .file("world.yaml", world)
        .script(script)
        .args(["run", "a.rhai", "--scenario", "world.yaml"])
        .stdout_has("true\n")
        .stdout_has(
            r#""game": "acs/lobby:2",
    "telemetry": "acs/telemetry:4""#,
        )
        .stderr_any()
        .ok();
}
