//! A plan sends nothing that changes anything, whatever the script: shipped ones with all their modes, and generated
//! ones with every function that there is.
//!
//! The world stands still, so that its version moves only by what the plan sends; what the server is asked is written
//! down at the server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};

use okgscript::bindings;
use okgscript::bindings::binding::Binding;
use okgscript::bindings::host::{Parts, Source};
use okgscript::bindings::stage::{Event, Stage};
use okgscript::clock::Clock;
use okgscript::cluster::Cluster;
use okgscript::diagnostic::Diagnostic;
use okgscript::plan::forecast;
use okgscript::sandbox::object::Actor;
use okgscript::sandbox::{Options, Sandbox};
use okgscript::script::{Interrupt, STACK_SIZE, shipped};
use okgscript::session::{Desk, simulated_runtime};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::fresh::on_cluster;

/// Kinds of the world, owners first.
const KINDS: [&str; 5] = [
    "gameserversets.game.kruise.io",
    "statefulsets.apps.kruise.io",
    "pods",
    "gameservers.game.kruise.io",
    "scaledobjects.keda.sh",
];

struct Silent;

impl Stage for Silent {
    fn show(&self, _: &Event) {}
}

/// The objects of a settled `minecraft`.
fn settled() -> &'static Vec<(&'static str, Value)> {
    static WORLD: OnceLock<Vec<(&'static str, Value)>> = OnceLock::new();
    WORLD.get_or_init(|| {
        on_cluster(
            &Options::default(),
            |_| BTreeMap::new(),
            |_, sandbox| {
                let of = |kind: &'static str| {
                    let all = sandbox.api().list(kind, Some("default"));
                    all.into_iter().map(move |object| (kind, (*object).clone())).collect::<Vec<_>>()
                };
                KINDS.into_iter().flat_map(of).collect()
            },
        )
    })
}

/// Makes the settled world on a server without controllers.
fn still(sandbox: &Sandbox) {
    let (api, actor) = (sandbox.api(), Actor::controller("test"));
    let mut uids: Vec<(String, String)> = Vec::new();
    for (kind, object) in settled() {
        let mut text = object.to_string();
        for (old, new) in &uids {
            text = text.replace(old, new);
        }
        let mut object: Value = serde_json::from_str(&text).unwrap();
        let old = object["metadata"]["uid"].as_str().unwrap().to_owned();
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            object["metadata"].as_object_mut().unwrap().remove(field);
        }
        let made = api.create(&actor, kind, object.clone()).unwrap_or_else(|error| panic!("{kind}: {}", error.message));
        uids.push((old, made["metadata"]["uid"].as_str().unwrap().to_owned()));
        if !object["status"].is_null() {
            let mut whole = (*made).clone();
            whole["status"] = object["status"].clone();
            api.replace(&actor, kind, "status", whole).unwrap_or_else(|error| panic!("{kind}: {}", error.message));
        }
    }
}

/// What a plan came to.
struct Planned {
    result: Result<String, Diagnostic>,
    changes: usize,
    assumptions: Vec<String>,
}

/// Plans a script on a world that stands still. Panics if anything was sent that can change something.
fn plan(text: &str, params: &BTreeMap<String, Value>, without_players: bool) -> Planned {
    let run = || {
        let runtime = simulated_runtime().unwrap();
        let _inside = runtime.enter();
        let clock = Clock::simulated("2026-01-05T04:00:00Z".parse().unwrap());
        let options =
            Options { scenario: Some(("conformance".into(), String::new())), controllers: false, ..Options::default() };
        let sandbox = runtime.block_on(Sandbox::start(&options, clock)).unwrap();
        still(&sandbox);
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (router, log) = (sandbox.router(), asked.clone());
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            log.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
            router.clone().oneshot(request.map(axum::body::Body::new))
        });
        let cluster = Cluster::in_process(service, "default", "sandbox", clock);
        let interrupt = Interrupt::new();
        let desk = Desk::new(&interrupt);
        let script = desk.compile("main.rhai", text).unwrap_or_else(|error| panic!("{}\n{text}", error.draw(false)));
        let parts = Parts {
            clock,
            interrupt,
            sources: desk.sources.clone(),
            stage: Arc::new(Silent),
            params: params.clone(),
            run: "test".to_owned(),
            record: None,
            seed: 1,
            exclusive: true,
            plan: true,
            runtime: runtime.clone(),
            source: Source::Ready(cluster.clone()),
        };
        let session = desk.open(parts);
        let host = session.host().clone();
        if without_players {
            host.suppose(forecast::without_players).unwrap();
        }
        let before = sandbox.api().version();
        let result = session.run(&script);
        let asked = asked.lock().unwrap().clone();
        // Questions after rights are the command line's; a script asks none.
        let sent: Vec<&String> =
            asked.iter().filter(|line| !line.starts_with("GET ") || line.contains("/exec")).collect();
        assert!(sent.is_empty(), "sent: {sent:?}\n{text}");
        assert!(cluster.journal().writes().is_empty(), "{:?}\n{text}", cluster.journal().writes());
        assert_eq!(sandbox.api().version(), before, "the store has moved\n{text}");
        let assumptions = host.ledger().assumptions.clone();
        let result = result.map(|value| value.to_string());
        Planned { result, changes: host.planned().len(), assumptions }
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, run);
        thread.unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[track_caller]
fn planned(text: &str) -> Planned {
    let planned = plan(text, &BTreeMap::new(), false);
    if let Err(error) = &planned.result {
        panic!("{}\n{text}", error.draw(false));
    }
    planned
}

#[test]
fn the_world_that_stands_still_is_a_whole_one() {
    let seen = planned(
        r#"`${gss_unsettled("minecraft")}|${gs_count("minecraft", #{ version: "current" })}|${gs_count("minecraft", #{ matchable: true })}`"#,
    );
    assert_eq!(seen.result.unwrap(), "|3|2");
}

#[test]
fn every_shipped_script_in_every_mode() {
    let given = |name: &str| match name {
        "gss" => Some("minecraft"),
        "image" => Some("acs/minecraft-demo:9"),
        _ => None,
    };
    let modes: [&[(&str, Value)]; 7] = [
        &[],
        &[("drain", json!("fast"))],
        &[("end", json!("mark")), ("follow", json!("2h"))],
        &[("end", json!("retire")), ("follow", json!("2h")), ("batch", json!(1))],
        &[("end", json!("retire")), ("block", json!(true))],
        &[("surge", json!("50%")), ("grace", json!("1m"))],
        &[("allow_recreate", json!(true)), ("allow_reverted", json!(true))],
    ];
    let mut changes = 0;
    for (name, text) in shipped::SCRIPTS {
        let desk = Desk::new(&Interrupt::new());
        let script = desk.compile(name, text).unwrap();
        let mut params = BTreeMap::new();
        for param in &script.params {
            let value = param.default.clone().or_else(|| given(&param.name).map(Value::from));
            let value = value.unwrap_or_else(|| panic!("{name} needs `{}`: say here what to give it", param.name));
            params.insert(param.name.clone(), value);
        }
        for mode in modes {
            let known =
                |(name, value): &(&str, Value)| params.contains_key(*name).then(|| ((*name).to_owned(), value.clone()));
            let mut all = params.clone();
            all.extend(mode.iter().filter_map(known));
            for without_players in [false, true] {
                let seen = plan(text, &all, without_players);
                assert!(seen.result.is_ok(), "{name} {mode:?}: {:?}", seen.result);
                changes += seen.changes;
            }
        }
    }
    assert!(changes > 30, "the plans say next to nothing: {changes} changes");
}

/// Calls of every function with arguments that fit; what stands in braces is drawn.
const CALLS: &[(&str, &[&str])] = &[
    ("approve", &[r#"approve("it");"#, r#"approve("it", #{ timeout: "{time}", gss: "minecraft" });"#]),
    ("custom_ops_states", &[r#"custom_ops_states(["Paused"]); gs_set_ops_state({rooms}, "Paused");"#]),
    ("deadline", &[r#"let ends = deadline("{time}"); log(ends.left);"#]),
    ("env", &[r#"env("SURELY_NOT_SET", "{n}");"#]),
    ("event", &[r#"event("e", #{ n: {n} });"#]),
    ("fail", &[r#"try { fail("no", #{ kind: "refused" }); } catch (e) { log(e.kind); }"#]),
    ("finally", &[r#"finally(|| gs_set_ops_state({rooms}, "{state}"));"#]),
    (
        "gs_adopt",
        &[
            r#"gs_adopt("minecraft");"#,
            r#"kube_patch("gs", "{room}", #{ metadata: #{ annotations: #{ "okgscript.io/drain": "{\"run\":\"x\",\"pod\":\"\",\"from\":\"None\"}" } }, spec: #{ opsState: "Draining-x" } }); gs_adopt("minecraft");"#,
        ],
    ),
    ("gs_block", &[r#"gss_set_image("minecraft", "", "a:9", #{ block: true }); gs_block("minecraft");"#]),
    ("gs_count", &[r#"gs_count("minecraft", {filter});"#]),
    ("gs_get", &[r#"gs_get("{room}");"#]),
    ("gs_held", &[r#"gs_hold({rooms}); gs_held("minecraft", #{ timeout: "{time}", agree: {flag} });"#]),
    ("gs_hold", &[r#"gs_hold({rooms});"#]),
    (
        "gs_lift",
        &[r#"gss_set_image("minecraft", "", "a:9", #{ block: true }); gs_block("minecraft"); gs_lift({rooms});"#],
    ),
    ("gs_lingering", &[r#"gs_set_ops_state({rooms}, "WaitToBeDeleted"); gs_lingering("minecraft");"#]),
    ("gs_list", &[r#"gs_list("minecraft");"#]),
    ("gs_mark_held", &[r#"gs_hold("minecraft-1"); gs_mark_held(gs_held("minecraft"));"#]),
    ("gs_release", &[r#"gs_hold({rooms}); gs_release("minecraft");"#]),
    ("gs_select", &[r#"gs_select("minecraft", {filter});"#, r#"gs_select("minecraft", |gs| gs.ordinal > {n});"#]),
    ("gs_set_deletion_priority", &[r#"gs_set_deletion_priority({rooms}, 1{n});"#]),
    ("gs_set_network_disabled", &[r#"gs_set_network_disabled({rooms}, true);"#]),
    (
        "gs_set_ops_state",
        &[
            r#"gs_set_ops_state({rooms}, "{state}");"#,
            r#"gs_set_ops_state({rooms}, "{state}", #{ allow_allocated: {flag}, limit: 2 });"#,
        ],
    ),
    ("gs_set_update_priority", &[r#"gs_set_update_priority({rooms}, 1{n});"#]),
    ("gs_wait", &[r#"gs_wait("minecraft", {filter}, {n}, "{time}", #{ stable_for: "5s" });"#]),
    ("gss_blocks", &[r#"gss_blocks("minecraft");"#]),
    ("gss_check_release", &[r#"gss_check_release("minecraft", #{ end: "retire", allow_recreate: true });"#]),
    (
        "gss_free_ids",
        &[r#"gs_hold("minecraft-2"); gss_retire("minecraft", gs_held("minecraft")); gss_free_ids("minecraft");"#],
    ),
    ("gss_get", &[r#"gss_get("minecraft");"#]),
    ("gss_list", &["gss_list();"]),
    (
        "gss_patch",
        &[
            r#"gss_patch("minecraft", #{ metadata: #{ labels: #{ season: "{n}" } } });"#,
            r#"gss_patch("minecraft", [#{ op: "replace", path: "/spec/replicas", value: {n} }], #{ type: "json" });"#,
            r#"gss_patch("minecraft", #{ spec: #{ gameServerTemplate: #{ spec: #{ containers: [#{ name: "minecraft", image: "a:{n}" }] } } } }, #{ replace_lists: true });"#,
        ],
    ),
    ("gss_retire", &[r#"gs_hold({rooms}); gss_retire("minecraft", gs_held("minecraft"));"#]),
    ("gss_scale", &[r#"gss_scale("minecraft", {n}, #{ allow_scale_in: true });"#, r#"gss_scale("minecraft", 1{n});"#]),
    (
        "gss_scale_up",
        &[
            r#"gss_scale_up("minecraft", 5{n});"#,
            r#"gss_set_image("minecraft", "", "a:{n}"); gss_scale_up("minecraft", "50%");"#,
        ],
    ),
    ("gss_set_image", &[r#"gss_set_image("minecraft", "minecraft", "a:{n}", #{ timeout: "{time}" });"#]),
    ("gss_unsettled", &[r#"gss_unsettled("minecraft");"#]),
    ("gss_victims", &[r#"gss_victims("minecraft", {n});"#]),
    (
        "kube_apply",
        &[
            r#"kube_apply(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "c{n}" }, data: #{ a: "{n}" } }, #{ force: {flag} });"#,
        ],
    ),
    (
        "kube_create",
        &[
            r#"try { kube_create(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "d{n}" } }); } catch (e) { }"#,
            r#"kube_create(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ generateName: "d-" } });"#,
            r#"kube_create(#{ apiVersion: "batch/v1", kind: "Job", metadata: #{ generateName: "j-" }, spec: #{ template: #{ spec: #{ restartPolicy: "Never", containers: [#{ name: "a", image: "a" }] } } } });"#,
        ],
    ),
    (
        "kube_delete",
        &[
            r#"try { kube_delete("pod", "{room}", #{ allow_allocated: true }); } catch (e) { }"#,
            r#"try { kube_delete("gss", "minecraft", #{ propagation: "Orphan" }); } catch (e) { }"#,
            r#"try { kube_delete("gs", "{room}"); } catch (e) { }"#,
        ],
    ),
    ("kube_events", &[r#"kube_events("minecraft");"#]),
    ("kube_get", &[r#"kube_get("gss", "minecraft");"#]),
    ("kube_list", &[r#"kube_list("pods", #{ labels: "game.kruise.io/owner-gss=minecraft" });"#]),
    (
        "kube_patch",
        &[
            r#"kube_patch("gs", "{room}", #{ spec: #{ opsState: "{state}" } });"#,
            r#"kube_patch("pod", "{room}", #{ metadata: #{ labels: #{ zone: "{n}" } } });"#,
            r#"kube_patch("scaledobjects.keda.sh", "minecraft", [#{ op: "replace", path: "/spec/minReplicaCount", value: {n} }]);"#,
        ],
    ),
    ("log", &[r#"log("{n}");"#]),
    ("now", &["log(now());"]),
    ("on_failure", &[r#"on_failure(|e| gs_set_ops_state({rooms}, "{state}"));"#]),
    ("outcome", &[r#"let all = outcome(); all += gs_set_ops_state({rooms}, "{state}");"#]),
    ("output", &[r#"output(#{ n: {n} });"#]),
    (
        "parallel",
        &[
            r#"parallel(["minecraft-1", "minecraft-2"], |room| gs_set_ops_state(room, "{state}"), #{ limit: 2 });"#,
            r#"parallel([1, 2, 3], |n| gss_scale_up("minecraft", n + 5));"#,
        ],
    ),
    ("param", &[r#"let p = param("p", 1, "a number");"#]),
    ("pod_exec", &[r#"pod_exec("{room}", ["kill", "1"], #{ timeout: "{time}", planned: "ok" });"#]),
    ("pod_logs", &[r#"pod_logs("{room}", #{ tail: {n} });"#]),
    ("pods_list", &[r#"pods_list("minecraft");"#]),
    ("pods_ready", &[r#"pods_ready("minecraft", #{ version: "current" });"#]),
    (
        "retry_backoff",
        &[
            r#"retry_backoff(#{ initial: "1s", limit: 3, timeout: "{time}" }, || { gs_set_ops_state({rooms}, "{state}"); {flag} });"#,
        ],
    ),
    ("run_id", &["log(run_id());"]),
    ("sleep", &[r#"sleep("{time}");"#]),
    ("step", &[r#"step("s{n}", || gs_set_ops_state({rooms}, "{state}"));"#]),
    ("table", &[r#"table(gs_list("minecraft"));"#]),
    (
        "wait_until",
        &[r#"wait_until(#{ timeout: "{time}", stable_for: "5s" }, || gs_count("minecraft", {filter}) > {n});"#],
    ),
    ("warn", &[r#"warn("{n}");"#]),
];

/// Calls of the modules' functions.
const MODULES: &[(&str, &str)] = &[
    ("options", r#"drain::options(#{ batch: 5 });"#),
    ("retire", r#"drain::retire("minecraft", {filter}, #{ end: "{end}", batch: 2, keep: {n} });"#),
    ("retire", r#"drain::retire("minecraft", {filter}, #{ mode: "fast" });"#),
    ("sweep", r#"drain::sweep("minecraft", {filter}, "{time}", #{ end: "{end}" });"#),
    ("lift_for", r#"drain::lift_for("minecraft", "{time}");"#),
];

/// What is drawn for a word in braces.
fn drawn(word: &str) -> &'static [&'static str] {
    match word {
        "room" => &["minecraft-1", "minecraft-0", "minecraft-2"],
        "rooms" => &[
            r#"gs_select("minecraft", #{ ops_state: "None" })"#,
            r#""minecraft-1""#,
            r#"["minecraft-0", "minecraft-2"]"#,
            r#"gs_get("minecraft-2")"#,
            r#"gs_list("minecraft")"#,
            r#"gs_select("minecraft", #{ version: "current" })"#,
            r#"gs_held("minecraft")"#,
        ],
        "filter" => &[
            r#"#{ ops_state: "None" }"#,
            r#"#{ version: "old" }"#,
            r#"#{ version: "current" }"#,
            r#"#{ ids: "1-2", not_ops_state: "Kill" }"#,
            r#"#{ matchable: true }"#,
            r#"#{ state: "Ready" }"#,
        ],
        "state" => &["WaitToBeDeleted", "Maintaining", "None", "Allocated", "Kill"],
        "n" => &["1", "0", "2", "3"],
        "time" => &["10s", "1h", "0s"],
        "flag" => &["true", "false"],
        "end" => &["mark", "retire"],
        other => panic!("nothing is drawn for {other}"),
    }
}

/// Fills a call in: each word in braces takes the next pick.
fn filled(call: &str, picks: &[u8]) -> String {
    let (mut text, mut rest, mut picks) = (String::new(), call, picks.iter().cycle());
    while let Some(at) = rest.find('{') {
        let word: String = rest[at + 1..].chars().take_while(char::is_ascii_lowercase).collect();
        if !word.is_empty() && rest[at + 1 + word.len()..].starts_with('}') {
            let choices = drawn(&word);
            text.push_str(&rest[..at]);
            text.push_str(choices[usize::from(*picks.next().unwrap_or(&0)) % choices.len()]);
            rest = &rest[at + word.len() + 2..];
        } else {
            text.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
        }
    }
    text + rest
}

fn writes(record: &Binding) -> bool {
    let reads = ["get", "list", "watch"];
    record.access.iter().any(|rule| rule.verbs.iter().any(|verb| !reads.contains(verb)))
}

#[test]
fn the_generator_knows_every_function_and_its_arguments_fit() {
    let known: BTreeSet<&str> = CALLS.iter().map(|(name, _)| *name).collect();
    let records: BTreeSet<&str> = bindings::records().map(|record| record.name).collect();
    assert_eq!(known, records, "add calls of new functions to CALLS: a plan of them must send nothing");
    for (module, text) in shipped::STDLIB {
        for line in text.lines().filter_map(|line| line.strip_prefix("fn ")) {
            let function = line.split('(').next().unwrap_or_default();
            let called = MODULES.iter().any(|(name, _)| *name == function);
            assert!(called, "add a call of `{function}` of {module} to MODULES");
        }
    }
    for record in bindings::records().filter(|record| writes(record)) {
        let (_, calls) = CALLS.iter().find(|(name, _)| *name == record.name).unwrap();
        let mut foreseen = 0;
        for call in *calls {
            assert!(call.contains(record.name), "{}: {call}", record.name);
            let seen = planned(&filled(call, &[0]));
            foreseen += seen.changes + seen.assumptions.len();
        }
        assert!(foreseen > 0, "the calls of {} come to nothing in a plan", record.name);
    }
}

fn call() -> impl Strategy<Value = String> {
    // Parameters stand at the top.
    let calls = CALLS.iter().filter(|(name, _)| *name != "param").flat_map(|(_, calls)| calls.iter().copied());
    let calls: Vec<&'static str> = calls.collect();
    let modules: Vec<&'static str> = MODULES.iter().map(|(_, call)| *call).collect();
    let chosen = prop_oneof![4 => prop::sample::select(calls), 1 => prop::sample::select(modules)];
    (chosen, prop::collection::vec(any::<u8>(), 1..4)).prop_map(|(call, picks)| filled(call, &picks))
}

/// Statements: calls, alone and inside of every flow that there is.
fn statements() -> impl Strategy<Value = String> {
    call().prop_recursive(3, 16, 3, |inner| {
        let block = prop::collection::vec(inner, 1..4).prop_map(|all| all.join(" "));
        (block, 0_usize..12).prop_map(|(block, flow)| match flow {
            0 => format!(r#"step("work", || {{ {block} }});"#),
            1 => format!(r"try {{ {block} }} catch (e) {{ log(e); }}"),
            2 => format!(r#"try {{ {block} throw "no"; }} catch {{ {block} }}"#),
            3 => format!(r"parallel([1, 2], |n| {{ {block} }});"),
            4 => format!(r#"retry_backoff(#{{ initial: "1s", limit: 2 }}, || {{ {block} false }});"#),
            5 => format!(r#"wait_until(#{{ timeout: "1m" }}, || {{ {block} false }});"#),
            6 => format!(r#"if gs_count("minecraft") > 2 {{ {block} }} else {{ {block} }}"#),
            7 => format!(r"for round in 0..2 {{ {block} }}"),
            8 => format!(r"finally(|| {{ {block} }});"),
            9 => format!(r"on_failure(|e| {{ {block} }});"),
            10 => format!(r"let work = || {{ {block} }}; work.call();"),
            _ => format!("{{ {block} }}"),
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_scripts(
        body in prop::collection::vec(statements(), 1..5),
        fails in any::<bool>(),
        without_players in any::<bool>(),
    ) {
        let last = if fails { "fail(\"in the end\");" } else { "" };
        let text = format!("import \"okg/drain\" as drain;\nlet p = param(\"p\", 1, \"a number\");\n{}\n{last}", body.join("\n"));
        let params = BTreeMap::from([("p".to_owned(), json!(1)), ("gss".to_owned(), json!("minecraft"))]);
        // Whether the script comes to its end or fails half-way: `plan` looks at what was sent.
        let _ = plan(&text, &params, without_players);
    }
}
