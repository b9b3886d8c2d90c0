//! What is refused before anything is written.

use crate::support::Test;
use crate::support::served::Served;

/// A GameServerSet with an update strategy, and one Allocated room.
fn world(strategy: &str) -> String {
    format!(
        r#"
        apiVersion: game.kruise.io/v1alpha1
        kind: GameServerSet
        metadata: {{ name: lobby, namespace: default }}
        spec:
          replicas: 3
          updateStrategy: {strategy}
          gameServerTemplate:
            spec:
              containers: [{{ name: game, image: "acs/lobby:1" }}]
        "#
    )
}

/// Releases the set; the events show whether any write was sent.
fn release(world: &str) -> Test {
    let script = r#"
        gs_set_ops_state("lobby-0", "Allocated");
        let before = gss_get("lobby");
        try {
            gss_check_release("lobby", #{ image: "acs/lobby:2" });
            output("went on");
        } catch (error) {
            output(error.kind);
            for why in error.why { output(why); }
            for help in error.help { output(help); }
        }
        output(`unchanged: ${gss_get("lobby").generation == before.generation}`);
    "#;
    Test::new()
        .file("world.yaml", world)
        .script(script)
        .args(["run", "a.rhai", "--scenario", "world.yaml"])
        .stderr_any()
}

#[test]
fn an_empty_rolling_update_is_refused_since_okg_recreates_every_room() {
    release(&world("{ type: OnDelete, rollingUpdate: {} }"))
        .stdout_has("refused\n")
        .stdout_has("rollingUpdate is present")
        .stdout_has("remove it: gss_patch(\"lobby\", #{ spec: #{ updateStrategy: #{ type: \"OnDelete\", rollingUpdate: () } } })")
        .stdout_has("1 Allocated: lobby-0")
        .stdout_has("unchanged: true")
        .ok();
}

#[test]
fn rolling_update_and_the_default_are_refused() {
    release(&world("{ type: RollingUpdate }"))
        .stdout_has("refused\n")
        .stdout_has("is RollingUpdate, not OnDelete")
        .ok();
    release(&world("{}")).stdout_has("refused\n").stdout_has("is RollingUpdate, not OnDelete").ok();
}

#[test]
fn on_delete_goes_on() {
    release(&world("{ type: OnDelete }")).stdout_has("went on").ok();
}

#[test]
fn the_shipped_script_exits_with_4_and_sends_no_write() {
    let ran = Test::new()
        .file("world.yaml", &world("{ type: OnDelete, rollingUpdate: {} }"))
        .args(["run", "lossless_release.rhai", "--scenario", "world.yaml", "--gss", "lobby", "--image", "acs/lobby:2"])
        .args(["-o", "json", "--events", "events.jsonl"])
        .stdout_has(r#""kind": "refused""#)
        .stdout_has(r#""sets": {}"#)
        .stdout_has(r#""rooms": []"#)
        .stderr_has("error[refused]: a new image would make OKG recreate the rooms of `default/lobby`")
        .stderr_has("nothing was changed")
        .code(4);
    let events = ran.file("events.jsonl");
    let events: Vec<serde_json::Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sent = events.iter().filter(|event| event["event"] == "request" && event["method"] != "GET");
    // Asking for one's rights is a POST that changes nothing.
    let writes: Vec<&serde_json::Value> =
        sent.filter(|event| !event["path"].as_str().unwrap().contains("selfsubjectaccessreviews")).collect();
    assert!(writes.is_empty(), "{writes:?}");
}

#[test]
fn a_merge_patch_that_would_erase_ports_is_refused() {
    let world = r#"
        apiVersion: game.kruise.io/v1alpha1
        kind: GameServerSet
        metadata: { name: lobby, namespace: default }
        spec:
          replicas: 1
          updateStrategy: { type: OnDelete }
          gameServerTemplate:
            spec:
              containers:
              - { name: game, image: "acs/lobby:1", ports: [{ containerPort: 7777 }], env: [{ name: A, value: b }] }
              - { name: telemetry, image: "acs/telemetry:4" }
    "#;
    let script = r#"
        gss_patch("lobby", #{ spec: #{ gameServerTemplate: #{ spec: #{ containers: [#{ name: "game", image: "acs/lobby:2" }] } } } });
    "#;
    Test::new()
        .file("world.yaml", world)
        .script(script)
        .args(["run", "a.rhai", "--scenario", "world.yaml"])
        .stdout_any()
        .stderr_has("error[refused]: this patch would erase parts of container `game` of GameServerSet `default/lobby`")
        .stderr_has("it would lose of `game`: env (1), ports (1), container `telemetry`")
        .stderr_has(r#"gss_set_image("lobby", "game", "acs/lobby:2") changes the image alone"#)
        .stderr_has("Nothing was sent.")
        .code(4);
}

#[test]
fn an_accidental_scale_in_is_refused_and_says_which_rooms_would_go() {
    Test::new()
        .script(r#"gss_scale("minecraft", 1);"#)
        .args(["run", "a.rhai", "--sandbox"])
        .stdout_any()
        .stderr_has("error[refused]: this would scale `default/minecraft` in from 3 to 1")
        .stderr_has("these rooms would go: minecraft-1 (None), minecraft-2 (None)")
        .code(4);
}

#[test]
fn a_gitops_owner_of_replicas_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::new(folder.path(), &[]);
    let path = "/apis/game.kruise.io/v1alpha1/namespaces/default/gameserversets/minecraft";
    let query = "?fieldManager=argocd-controller&force=true";
    let body = r#"{"apiVersion":"game.kruise.io/v1alpha1","kind":"GameServerSet","metadata":{"name":"minecraft"},"spec":{"replicas":3}}"#;
    assert_eq!(served.send("PATCH", &format!("{path}{query}"), "application/apply-patch+yaml", body), 200);
    let config = folder.path().join("kubeconfig");
    let release = |more: &[&str]| {
        Test::new()
            .args(["run", "lossless_release.rhai", "--gss", "minecraft", "--image", "acs/minecraft-demo:2"])
            .args(more.iter().copied())
            .env("KUBECONFIG", &config)
            .stdout_any()
    };
    release(&[])
        .stderr_has("error[refused]: what a release writes to GameServerSet `default/minecraft` would be put back")
        .stderr_has("Argo CD owns `spec.replicas`")
        .stderr_has("nothing was changed")
        .code(4);
    release(&["--allow-reverted", "--drain", "fast"]).stderr_any().ok();
}
