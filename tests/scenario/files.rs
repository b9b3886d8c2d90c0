//! What a scenario file may hold, and how its faults are told.

use okgscript::sandbox::scenario::{REFERENCE, Scenario};

use super::{arena, rooms, start};
use crate::support::{Test, dedent};

/// What is said about a faulty file: first line and help.
fn fault(text: &str) -> String {
    let fault = Scenario::parse("s.yaml", &dedent(text)).unwrap_err();
    assert_eq!(fault.kind.exit_code() as i32, 2, "{}", fault.what);
    [vec![fault.what.clone()], fault.help.clone()].concat().join("\n")
}

fn scenario_with(line: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: n}}\n---\napiVersion: okgscript.io/v1\nkind: Scenario\n{line}\n"
    )
}

#[test]
fn an_unknown_field_is_named_with_its_place_and_what_is_allowed() {
    let told = fault(&scenario_with("world: {podStrat: 5s}"));
    assert_eq!(
        told,
        "`s.yaml`, document 2: there is no field `world.podStrat`\ndid you mean `podStart`?\nallowed here: base, nodes, \
         podStart, podStartOf, restart, termination, network, labelLag, okg, missingImages"
    );
    assert!(fault(&scenario_with("worlds: {}")).contains("did you mean `world`?"));
    assert!(fault(&scenario_with("players: [{gss: a, perMinutes: 2}]")).contains("`players[0].perMinutes`"));
    assert!(fault(&scenario_with("autoscaler: {pol: 1s}")).contains("`autoscaler.pol`"));
}

#[test]
fn values_of_the_wrong_kind_are_named() {
    for (line, told) in [
        ("age: 10", "document 2: `age` is 10: its unit is missing\nwrite 10s for seconds"),
        ("age: 10 parsecs", "`age` is `10 parsecs`, not a duration"),
        ("settle: maybe", "`settle` is `maybe`, not true or false"),
        ("start: tomorrow", "`start` is `tomorrow`, not a time"),
        ("world: [1]", "`world` is a list, not a mapping"),
        ("world: {nodes: 0}", "`world.nodes` is 0\na number from 1 to 5000"),
        ("world: {nodes: []}", "`world.nodes` is empty"),
        ("world: {base: shiped}", "did you mean `shipped`?"),
        ("world: {podStart: {from: 9s, to: 4s}}", "`world.podStart.from` is longer than `to`"),
        ("world: {podStart: {mean: 9s}}", "`world.podStart` has a mean"),
        ("world: {podStartOf: {arena: {from: 9s}}}", "`world.podStartOf.arena` is no span of time"),
        ("world: {okg: {qps: 0}}", "`world.okg.qps` is 0"),
        ("world: {missingImages: [1]}", "`world.missingImages[0]` is `1`, not a text"),
        ("rooms: [{opsState: None}]", "`rooms[0].name` is missing"),
        ("rooms: [{name: a-0, deletionPriority: 1.5}]", "neither a whole number nor a text"),
        ("{settle: false, rooms: [{name: a-0}]}", "is no YAML"),
        ("settle: false\nrooms: [{name: a-0}]", "`rooms` needs `settle: true`"),
        ("players: [{perMinute: 1}]", "`players[0].gss` is missing"),
        ("players: [{gss: a}]", "`players[0].perMinute` is missing"),
        ("players: [{gss: a, perMinute: 1, matchmaker: blnd}]", "did you mean `blind`?"),
        ("players: [{gss: a, perMinute: 1, disconnects: 2}]", "a number from 0 to 1"),
        ("disturbances: [{gss: a, kind: earthquake, perHour: 1}]", "allowed here: serviceQuality, crash"),
        ("autoscaler: {poll: 0s}", "`autoscaler.poll` is zero"),
        ("faults: [{verb: get}]", "`faults[0].kind` is missing"),
        ("faults: [{kind: unavailble}]", "`faults[0].kind` is `unavailble`\ndid you mean `unavailable`?"),
        ("faults: [{kind: slow}]", "`faults[0].delay` is missing"),
        ("faults: [{kind: slow, dely: 3s}]", "there is no field `faults[0].dely`\ndid you mean `delay`?"),
        ("faults: [{kind: slow, delay: 3}]", "`faults[0].delay` is 3: its unit is missing\nwrite 3s for seconds"),
        ("faults: [{kind: slow, delay: soon}]", "`faults[0].delay` is `soon`, not a duration"),
        ("faults: [{kind: slow, delay: 1s, retryAfter: 3s}]", "`faults[0].retryAfter` means nothing to `slow`"),
        ("faults: [{kind: down, controller: okg, nth: 1}]", "`faults[0].nth` means nothing to `down`"),
        ("faults: [{kind: timeout, verb: pach}]", "`faults[0].verb` is `pach`\ndid you mean `patch`?"),
        (
            "faults: [{kind: conflict, verb: [patch, list]}]",
            "`faults[0].verb[1]` is `list`, which `conflict` does not meet",
        ),
        ("faults: [{kind: reset, applied: true, verb: get}]", "only a write can be done although it fails"),
        (
            "faults: [{kind: reset, resource: gameserver}, {kind: reset, resource: gamesrvers}]",
            "`faults[1].resource` is `gamesrvers`, no kind of the embedded cluster\ndid you mean `gameservers`?",
        ),
        ("faults: [{kind: down}]", "`faults[0].controller` is missing\none of: okg, kruise, gameserverset"),
        ("faults: [{kind: down, controller: kublet}]", "did you mean `kubelet`?"),
        ("faults: [{kind: reset, probability: 1.5}]", "a number from 0 to 1"),
        ("faults: [{kind: reset, nth: [1, 0]}]", "`faults[0].nth[1]` is `0`, not a whole number from 1"),
        ("faults: [{kind: reset, times: [1]}]", "`faults[0].times` is a list"),
        ("faults: [{kind: reset, from: 5m, until: 1m}]", "`faults[0].until` is not after `from`"),
        ("params: 3", "`params` is not a mapping"),
    ] {
        let found = fault(&scenario_with(line));
        assert!(found.contains(told), "{line}: {found}");
    }
}

#[test]
fn the_line_of_a_fault_is_shown() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n---\napiVersion: okgscript.io/v1\nkind: Scenario\n\
        # so many players\nfaults:\n- kind: slow\n  delay: 1s\n- {kind: down, controller: [hpa, kublet]}\n";
    let told = Scenario::parse("s.yaml", text).unwrap_err().draw(false);
    let expected = [
        "error[parameter]: `s.yaml`, document 2: `faults[1].controller[1]` is `kublet`",
        "  --> s.yaml:11:34",
        "   |",
        "11 | - {kind: down, controller: [hpa, kublet]}",
        "   |                                  ^^^^^^",
        "  help: did you mean `kubelet`?",
    ];
    assert!(told.starts_with(&expected.join("\n")), "{told}");
    let told = Scenario::parse("s.yaml", "apiVersion: okgscript.io/v1\nkind: Scenario\nworld:\n  podStrat: 5s\n");
    let told = told.unwrap_err().draw(false);
    assert!(told.contains("--> s.yaml:4:3\n"), "{told}");
    let told = Scenario::parse("s.yaml", "apiVersion: okgscript.io/v1\nkind: Scenario\nplayers:\n- perMinute: 3\n");
    assert!(told.unwrap_err().draw(false).contains("--> s.yaml:4:3\n"));
}

#[test]
fn objects_without_kind_or_name_and_second_descriptions_are_faults() {
    assert!(fault("apiVersion: v1\nknd: Pod\n").contains("has no `kind`\nit has `knd`; did you mean `kind`?"));
    assert!(fault("apiVersion: v1\nkind: Pod\n").contains("the Pod has no `metadata.name`"));
    assert!(fault("just a text\n").contains("document 1: it is no object of Kubernetes"));
    let twice = format!("{0}---\n{0}", scenario_with("age: 1s"));
    assert!(fault(&twice).contains("document 4: there is a Scenario already, in document 2"));
    assert!(fault("apiVersion: okgscript.io/v2\nkind: Scenario\n").contains("`apiVersion` is `okgscript.io/v2`"));
    let told = fault("a: 1\n---\n# only a comment\n---\na: b: c\n");
    assert!(told.starts_with("`s.yaml`, document 1: it has no `apiVersion`"), "{told}");
    let broken = Scenario::parse("s.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n---\na: [1\n").unwrap_err();
    assert_eq!(broken.what, "`s.yaml`, document 2: is no YAML");
    assert!(broken.why[0].contains("line 5") || broken.why[0].contains("line 6"), "{:?}", broken.why);
}

#[test]
fn the_example_of_the_reference_is_a_scenario() {
    let example: Vec<&str> = REFERENCE.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let example: Vec<&str> = example.into_iter().take_while(|line| !line.starts_with("forbidden")).collect();
    let scenario = Scenario::parse("example.yaml", &example.join("\n")).unwrap();
    assert_eq!((scenario.rooms.len(), scenario.players.len(), scenario.disturbances.len()), (2, 1, 2));
    assert_eq!(scenario.faults.len(), 5);
    assert_eq!(
        (scenario.name.as_str(), scenario.nodes.len(), scenario.params["gss"].as_str()),
        ("evening", 3, Some("arena"))
    );
    Test::new().args(["doc", "scenario"]).stdout(REFERENCE).ok();
}

#[test]
fn a_file_is_used_and_its_fault_ends_the_run_before_anything_is_sent() {
    let text = format!("{}{}", "apiVersion: okgscript.io/v1\nkind: Scenario\nstart: 2030-02-03T04:05:06Z\n", arena(2));
    let ran = Test::new().file("s.yaml", &text).args(["eval", "gss_get(\"arena\").replicas", "--scenario", "s.yaml"]);
    ran.stdout("2\n").ok();
    let ran = Test::new().file("s.yaml", "kind: Scenari\n").args(["eval", "1", "--scenario", "s.yaml"]);
    ran.stderr_has("error[parameter]: `s.yaml`, document 1: it has no `apiVersion`").code(2);
    let ran = Test::new().file("s.yaml", "apiVersion: x.io/v1\nkind: Ship\nmetadata: {name: s}\n");
    ran.args(["eval", "1", "--scenario", "s.yaml"])
        .stderr_has("the embedded cluster serves no `Ship` of `x.io/v1`")
        .code(1);
}

#[tokio::test(start_paused = true)]
async fn lists_and_what_kubectl_printed_are_loaded_and_rooms_are_set() {
    let sandbox = start(
        r#"
        apiVersion: okgscript.io/v1
        kind: Scenario
        world: {base: conformance, nodes: [a, b]}
        age: 1h
        rooms:
        - {names: [arena-0, arena-2], opsState: Maintaining, deletionPriority: 7}
        ---
        apiVersion: v1
        kind: List
        items:
        - apiVersion: v1
          kind: ConfigMap
          metadata: {name: c, uid: 0-0, resourceVersion: "17", creationTimestamp: 2020-01-01T00:00:00Z}
        - apiVersion: game.kruise.io/v1alpha1
          kind: GameServerSet
          metadata: {name: arena, namespace: default, generation: 4}
          spec: {replicas: 3, gameServerTemplate: {spec: {containers: [{name: arena, image: "arena:1"}]}}}
          status: {replicas: 9}
        "#,
        3,
    )
    .await;
    let state = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    let expected = [state("arena-0", "Maintaining"), state("arena-1", "None"), state("arena-2", "Maintaining")];
    assert_eq!(rooms(&sandbox), expected);
    let api = sandbox.api();
    let pod = api.get("pods", "default", "arena-2").unwrap();
    let labels = &pod["metadata"]["labels"];
    assert_eq!(
        (&labels["game.kruise.io/gs-opsState"], &labels["game.kruise.io/gs-delete-priority"]),
        (&"Maintaining".into(), &"7".into())
    );
    assert_eq!(pod["metadata"]["creationTimestamp"], "2026-01-05T03:00:00Z");
    assert_eq!(api.get("gameserversets.game.kruise.io", "default", "arena").unwrap()["status"]["replicas"], 3);
    let nodes: Vec<_> = api.list("nodes", None).iter().map(|node| node["metadata"]["name"].clone()).collect();
    assert_eq!(nodes, ["a", "b"]);
    assert!(api.get("configmaps", "default", "c").is_some());
    // A cluster that has come to rest stays as it is.
    let version = api.version();
    super::pass(300).await;
    assert_eq!(api.changes(version).iter().map(|change| change.object.to_string()).collect::<Vec<_>>(), [""; 0]);
}
