//! Service qualities whose probes get their results from the scenario's commands.

use okgscript::sandbox::object::{Actor, Patch};
use serde_json::json;

use super::{pass, rooms, start};

const SCENARIO: &str = r#"
    apiVersion: okgscript.io/v1
    kind: Scenario
    metadata: {name: probes}
    world: {base: conformance}
    commands:
    - {pod: arena-1, command: idle.sh --since *}
    - {pod: arena-*, command: idle.sh --since *, exitCode: 1}
    - {pod: arena-2, command: load.sh, stdout: "7\n"}
    ---
    apiVersion: game.kruise.io/v1alpha1
    kind: GameServerSet
    metadata: {name: arena}
    spec:
      replicas: 3
      updateStrategy: {type: OnDelete}
      gameServerTemplate: {spec: {containers: [{name: arena, image: "arena:1"}]}}
      serviceQualities:
      - name: idle
        containerName: arena
        permanent: false
        exec: {command: [idle.sh, --since, 5m]}
        serviceQualityAction: [{state: true, opsState: WaitToBeDeleted}]
      - name: load
        containerName: arena
        permanent: false
        exec: {command: [load.sh]}
        serviceQualityAction: [{state: true, deletionPriority: "{{.Result}}"}]
"#;

#[tokio::test(start_paused = true)]
async fn a_probe_that_the_scenario_answers_decides_which_room_goes() {
    let sandbox = start(SCENARIO, 1).await;
    let state = |name: &str, state: &str| (format!("arena-{name}"), state.to_owned());
    assert_eq!(rooms(&sandbox), [state("0", "None"), state("1", "WaitToBeDeleted"), state("2", "None")]);
    let room = |name: &str| sandbox.api().get("gameservers.game.kruise.io", "default", name).unwrap();
    assert_eq!(room("arena-2")["spec"]["deletionPriority"], 7);
    let told = room("arena-0")["status"]["serviceQualitiesConditions"].clone();
    assert_eq!((&told[0]["name"], &told[0]["status"]), (&json!("idle"), &json!("False")));
    assert!(told.as_array().unwrap().iter().all(|told| told["name"] != "load" || told["status"].is_null()), "{told}");
    let fewer = Patch::Merge(json!({"spec": {"replicas": 2}}));
    let actor = Actor::controller("test");
    sandbox.api().patch(&actor, "gameserversets.game.kruise.io", "", "default", "arena", &fewer).unwrap();
    pass(30).await;
    assert_eq!(rooms(&sandbox), [state("0", "None"), state("2", "None")]);
}
