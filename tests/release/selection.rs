//! What a filter selects: a list means any of its items, a map all of its entries.

use crate::support::Test;

const WORLD: &str = r#"
    apiVersion: game.kruise.io/v1alpha1
    kind: GameServerSet
    metadata: { name: lobby }
    spec:
      replicas: 2
      updateStrategy: { type: OnDelete }
      gameServerTemplate:
        spec:
          containers:
          - { name: game, image: "acs/lobby:1" }
          - { name: telemetry, image: "acs/telemetry:4" }
"#;

fn counts(script: &str) -> Test {
    Test::new()
        .file("world.yaml", WORLD)
        .script(script)
        .args(["run", "a.rhai", "--scenario", "world.yaml"])
        .stderr_any()
}

#[test]
fn images_of_a_map_must_all_run_and_of_a_list_any() {
    counts(
        r#"
        let count = |image| gs_count("lobby", #{ image: image });
        output([
            count.call(#{ game: "acs/lobby:1", telemetry: "acs/telemetry:4" }),
            count.call(#{ game: "acs/lobby:2", telemetry: "acs/telemetry:4" }),
            count.call([#{ game: "acs/lobby:2" }, #{ telemetry: "acs/telemetry:4" }]),
            count.call("acs/telemetry:4"),
            gs_count("lobby", #{ not_image: #{ game: "acs/lobby:2", telemetry: "acs/telemetry:4" } }),
            pods_ready("lobby", #{ image: #{ game: "acs/lobby:2", telemetry: "acs/telemetry:4" } }),
        ].to_string());
    "#,
    )
    .stdout_has("[2, 0, 2, 2, 2, 0]\n")
    .ok();
}

#[test]
fn labels_of_a_map_must_all_hold_and_of_a_list_any() {
    counts(
        r#"
        kube_patch("gs", "lobby-0", #{ metadata: #{ labels: #{ zone: "a" } } });
        let count = |label| gs_count("lobby", #{ label: label });
        output([
            count.call(#{ zone: "a", season: "7" }),
            count.call(#{ zone: "a", "game.kruise.io/owner-gss": "lobby" }),
            count.call(["zone=a", "season=7"]),
            count.call("zone"),
        ].to_string());
    "#,
    )
    .stdout_has("[0, 1, 1, 1]\n")
    .ok();
}

#[test]
fn an_empty_map_selects_nothing_in_silence() {
    counts(r#"let none = #{}; gs_select("lobby", #{ image: none });"#)
        .stdout_any()
        .stderr_has("error[wrong-arguments]: gs_select: filter `image` takes an image")
        .code(2);
}
