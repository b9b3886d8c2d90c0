//! Commands in containers and their logs: the websocket itself, `pod_exec` in process and over HTTP, who may, what
//! is refused.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use okgscript::clock::Clock;
use okgscript::cluster::{Cluster, Command, Outcome, Ran};
use okgscript::diagnostic::{Diagnostic, Kind};
use okgscript::sandbox::object::Actor;
use okgscript::sandbox::{Options, Sandbox};
use okgscript::script::Scope;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::cli::interrupt::interrupted;
use crate::support::fresh::on_cluster;
use crate::support::served::Served;
use crate::support::{Test, dedent};

const SCENARIO: &str = r#"
    apiVersion: okgscript.io/v1
    kind: Scenario
    metadata: {name: exec}
    world: {podStart: 1s, missingImages: ["arena:none"]}
    commands:
    - {pod: arena-1, command: [gamectl, "*"], stdout: "", stderr: "down\n", exitCode: 3}
    - {pod: arena-*, command: gamectl players *, stdout: "0 players on $(POD)\n"}
    - {command: cat, stdout: "<$(STDIN)>"}
    - {command: sleep, takes: 1h}
    - {namespace: elsewhere, stdout: never}
    logs:
    - {pod: arena-*, lines: ["map of $(NAMESPACE)/$(CONTAINER)", ready], every: 10s, then: ["tick $(N)"]}
    - {pod: arena-1, lines: [second room]}
    ---
    apiVersion: game.kruise.io/v1alpha1
    kind: GameServerSet
    metadata: {name: arena}
    spec:
      replicas: 2
      updateStrategy: {type: OnDelete}
      gameServerTemplate: {spec: {containers: [{name: arena, image: "arena:1"}]}}
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: two}
    spec: {containers: [{name: a, image: i}, {name: b, image: "arena:none"}]}
"#;

fn options() -> Options {
    Options { scenario: Some(("exec.yaml".into(), dedent(SCENARIO))), ..Options::default() }
}

/// A script's value on a fresh cluster, or how it failed.
fn value(script: &str) -> Result<Value, Diagnostic> {
    on_cluster(
        &options(),
        |_| BTreeMap::new(),
        |session, _| {
            let script =
                session.desk().compile("exec.rhai", script).unwrap_or_else(|error| panic!("{}", error.draw(false)));
            let value = session.evaluate(&mut Scope::new(), &script)?;
            Ok(okgscript::script::value::to_json(&value).unwrap())
        },
    )
}

#[test]
fn a_script_runs_commands_in_process() {
    let ran = value(r#"pod_exec("arena-0", "gamectl players now")"#).unwrap();
    assert_eq!(ran, json!({"stdout": "0 players on arena-0\n", "stderr": "", "exit_code": 0}));
    let ran = value(r#"pod_exec("arena-1", ["gamectl", "players now"], #{ container: "arena" })"#).unwrap();
    assert_eq!(ran, json!({"stdout": "", "stderr": "down\n", "exit_code": 3}));
    let long = "long ".repeat(20_000);
    let ran = value(&format!(r#"pod_exec("arena-1", "cat", #{{ stdin: "{long}" }}).stdout"#)).unwrap();
    assert_eq!(ran, format!("<{long}>"), "input of many messages, to its end");
}

#[test]
fn what_cannot_be_run_says_why() {
    let fault = |script: &str| value(script).unwrap_err();
    let undeclared = fault(r#"pod_exec("arena-0", "reboot now")"#);
    assert_eq!(undeclared.kind, Kind::Invalid);
    assert!(undeclared.why[0].contains("no answer for `reboot now` in container \"arena\""), "{:?}", undeclared.why);
    assert_eq!(fault(r#"pod_exec("arena-7", "cat")"#).kind, Kind::NotFound);
    assert_eq!(fault(r#"pod_exec("two", "cat")"#).kind, Kind::Invalid, "which of two containers?");
    let waiting = fault(r#"pod_exec("two", "cat", #{ container: "b" })"#);
    assert!(waiting.kind == Kind::NotFound && waiting.why[0].contains("container not found (\"b\")"), "{waiting:?}");
    assert_eq!(fault(r#"pod_exec("arena-0", [1])"#).kind, Kind::WrongArguments);
    assert_eq!(fault(r#"pod_exec("arena-0", "  ")"#).kind, Kind::Invalid);
    assert_eq!(fault(r#"pod_exec("arena-0", "cat", #{ shell: true })"#).kind, Kind::UnknownKey);
    let late =
        fault(r#"let began = now(); try { pod_exec("arena-0", "sleep", #{ timeout: "20s" }) } catch (e) { throw e }"#);
    assert_eq!(late.kind, Kind::Timeout, "{}", late.draw(false));
}

#[tokio::test(start_paused = true)]
async fn a_command_takes_its_time_and_its_entry_stays_open_so_long() {
    let clock = Clock::simulated("2026-01-05T04:00:00Z".parse().unwrap());
    let sandbox = Sandbox::start(&options(), clock).await.unwrap();
    let cluster = Cluster::in_process(sandbox.router(), "default", "test", clock);
    let command = |words: &str, timeout: u64| Command {
        words: words.split(' ').map(str::to_owned).collect(),
        timeout: Duration::from_secs(timeout),
        ..Command::default()
    };
    let began = clock.now();
    assert_eq!(cluster.exec("default", "arena-0", &command("sleep", 4000)).await.unwrap(), Ran::default());
    assert_eq!(clock.now().duration_since(began).as_secs(), 3600);
    let cut = cluster.exec("default", "arena-0", &command("sleep", 60)).await.unwrap_err();
    assert_eq!(cut.kind, Kind::Timeout);
    let refused = cluster.exec("default", "arena-9", &command("sleep", 60)).await.unwrap_err();
    assert_eq!(refused.kind, Kind::NotFound);
    let entries: Vec<(bool, Option<u16>, Outcome, i64)> = cluster
        .journal()
        .entries()
        .into_iter()
        .map(|entry| {
            let took = entry.ended.unwrap().duration_since(entry.started).as_secs();
            (entry.write, entry.status, entry.outcome, took)
        })
        .collect();
    assert_eq!(
        entries,
        [
            (true, Some(101), Outcome::Answered, 3600),
            (true, Some(101), Outcome::Cut, 60),
            (true, Some(404), Outcome::Answered, 0),
        ]
    );
    cluster.gate().close("this only reads");
    let closed = cluster.exec("default", "arena-0", &command("cat", 60)).await.unwrap_err();
    assert_eq!(closed.kind, Kind::Refused, "a command may change something");
}

#[test]
fn a_plan_runs_nothing_and_says_what_it_assumes() {
    let script = r#"
        let players = pod_exec("minecraft-0", "list players", #{ planned: "none" }).stdout;
        if players != "none" { fail("a plan ran it: " + players); }
    "#;
    Test::new()
        .script(script)
        .args(["plan", "a.rhai", "--sandbox"])
        .stdout_has("`list players` in pod default/minecraft-0 ends with exit code 0")
        .stderr_any()
        .ok();
}

/// Rights of users on pods/exec, by the verbs they have.
fn bindings() -> Vec<(&'static str, Value)> {
    let group = "rbac.authorization.k8s.io";
    let mut objects = Vec::new();
    for (user, verbs) in [("reader", vec!["get"]), ("starter", vec!["create"]), ("operator", vec!["get", "create"])] {
        let rules = json!([{"apiGroups": [""], "resources": ["pods/exec"], "verbs": verbs}]);
        objects.push((
            "roles.rbac.authorization.k8s.io",
            json!({"metadata": {"name": user, "namespace": "default"}, "rules": rules}),
        ));
        objects.push((
            "rolebindings.rbac.authorization.k8s.io",
            json!({
                "metadata": {"name": user, "namespace": "default"},
                "roleRef": {"apiGroup": group, "kind": "Role", "name": user},
                "subjects": [{"kind": "User", "apiGroup": group, "name": user}],
            }),
        ));
    }
    objects
}

#[tokio::test(start_paused = true)]
async fn a_websocket_needs_the_right_to_get_and_to_create() {
    let clock = Clock::simulated("2026-01-05T04:00:00Z".parse().unwrap());
    let sandbox = Sandbox::start(&options(), clock).await.unwrap();
    for (resource, body) in bindings() {
        sandbox.api().create(&Actor::controller("test"), resource, body).unwrap();
    }
    let mut came = Vec::new();
    for user in ["nobody", "reader", "starter", "operator"] {
        let routes = sandbox.router();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let mut request = request.map(axum::body::Body::new);
            request.headers_mut().insert("impersonate-user", user.parse().unwrap());
            routes.clone().oneshot(request)
        });
        let cluster = Cluster::in_process(service, "default", "test", clock);
        let command = Command { words: vec!["cat".into()], timeout: Duration::from_secs(5), ..Command::default() };
        came.push(match cluster.exec("default", "arena-0", &command).await {
            Ok(ran) => ran.stdout,
            Err(error) => format!("{} {}", error.kind.name(), error.why.join(" ")),
        });
    }
    let cannot = |user: &str| {
        format!(
            "forbidden 403 from the API server: `pods \"arena-0\" is forbidden: User \"{user}\" cannot get resource \
             \"pods/exec\" in API group \"\" in the namespace \"default\"`"
        )
    };
    let no_create = "forbidden 403 from the API server: `pods \"arena-0\" is forbidden: `".to_owned();
    assert_eq!(came, [cannot("nobody"), no_create, cannot("starter"), "<>".to_owned()]);
}

/// One message of a server: its kind and data.
fn frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let mut length = usize::from(head[1]);
    if length == 126 {
        let mut long = [0; 2];
        stream.read_exact(&mut long).unwrap();
        length = usize::from(u16::from_be_bytes(long));
    }
    let mut data = vec![0; length];
    stream.read_exact(&mut data).unwrap();
    (head[0] & 0x0f, data)
}

/// What comes over a websocket: the status line, the chosen protocol, the messages up to the server's farewell.
fn websocket(served: &Served, path: &str, protocols: &str) -> (String, Vec<String>) {
    let mut stream = TcpStream::connect(served.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let offer = if protocols.is_empty() { String::new() } else { format!("sec-websocket-protocol: {protocols}\r\n") };
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n",
        served.address()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.lines().next().unwrap().to_owned();
    let chosen = answer.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: ")).unwrap_or("none");
    let status = format!("{status}, {chosen}");
    if !status.contains(" 101 ") {
        return (status, Vec::new());
    }
    let mut messages = Vec::new();
    loop {
        let (kind, data) = frame(&mut stream);
        if kind == 8 {
            messages.push(format!("close {}", u16::from_be_bytes([data[0], data[1]])));
            // An empty farewell, masked with zeros.
            stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
            return (status, messages);
        }
        let channel = if kind == 2 { format!("{} ", data[0]) } else { String::new() };
        messages.push(format!("{channel}{}", String::from_utf8_lossy(&data[usize::from(kind == 2)..])));
    }
}

#[test]
fn every_protocol_of_the_websocket_is_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("exec.yaml");
    std::fs::write(&file, dedent(SCENARIO)).unwrap();
    let served = Served::new(folder.path(), &["--scenario", file.to_str().unwrap()]);
    let pod = |name: &str, query: &str| format!("/api/v1/namespaces/default/pods/{name}/exec?{query}");
    let failing = pod("arena-1", "command=gamectl&command=stop&stdout=true&stderr=true");
    let switched = |protocol: &str| format!("HTTP/1.1 101 Switching Protocols, {protocol}");
    let failure = r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
    let same = |text: &str, json: &str| {
        serde_json::from_str::<Value>(text).unwrap() == serde_json::from_str::<Value>(json).unwrap()
    };
    for offer in ["v5.channel.k8s.io, v4.channel.k8s.io", "v4.channel.k8s.io,v5.channel.k8s.io", "v4.channel.k8s.io"] {
        let (status, messages) = websocket(&served, &failing, offer);
        let chosen = if offer.contains("v5") { "v5.channel.k8s.io" } else { offer };
        assert_eq!(status, switched(chosen));
        assert_eq!(messages[..2], ["1 ", "2 down\n"]);
        assert!(same(messages[2].strip_prefix("3 ").unwrap(), failure), "{messages:?}");
        assert_eq!(messages[3..], ["close 1000"]);
    }
    let (status, messages) = websocket(&served, &failing, "v4.base64.channel.k8s.io");
    assert_eq!(
        (status, &messages[..2]),
        (switched("v4.base64.channel.k8s.io"), &["1".to_owned(), "2ZG93bgo=".into()][..])
    );
    let (status, messages) = websocket(&served, &failing, "");
    assert_eq!(status, switched("none"));
    assert_eq!(messages, ["1 ", "2 down\n", "3 command terminated with exit code 3", "close 1000"]);
    let (status, messages) =
        websocket(&served, &pod("arena-0", "command=gamectl&command=players&command=x"), "v5.channel.k8s.io");
    assert_eq!(status, switched("v5.channel.k8s.io"));
    assert_eq!(messages[..2], ["1 ", "1 0 players on arena-0\n"]);
    assert!(same(&messages[2][2..], r#"{"metadata":{},"status":"Success"}"#), "{messages:?}");

    // With the newest protocol troubles of the container come over the stream, with an older one by HTTP.
    let waiting = pod("two", "command=cat&container=b");
    let (status, messages) = websocket(&served, &waiting, "v5.channel.k8s.io");
    assert_eq!(status, switched("v5.channel.k8s.io"));
    let trouble: Value = serde_json::from_str(&messages[1][2..]).unwrap();
    assert_eq!(
        (&trouble["code"], &trouble["message"]),
        (&json!(500), &json!("Internal error occurred: unable to upgrade connection: container not found (\"b\")"))
    );
    let refused = |path: &str, offer: &str| websocket(&served, path, offer).0;
    assert_eq!(refused(&waiting, "v4.channel.k8s.io"), "HTTP/1.1 500 Internal Server Error, none");
    assert_eq!(refused(&failing, "chat"), "HTTP/1.1 403 Forbidden, none");
    assert_eq!(refused(&pod("arena-0", "stdout=true"), "v5.channel.k8s.io"), "HTTP/1.1 400 Bad Request, none");
    let nothing = pod("arena-0", "command=cat&stdout=false&stderr=false");
    assert_eq!(refused(&nothing, "v5.channel.k8s.io"), "HTTP/1.1 400 Bad Request, none");
    assert_eq!(refused(&pod("arena-9", "command=cat"), "v5.channel.k8s.io"), "HTTP/1.1 404 Not Found, none");
    assert_eq!(served.send("GET", &failing, "text/plain", ""), 400, "no upgrade was asked for");
}

#[tokio::test(start_paused = true)]
async fn logs_are_the_scenarios_lines_in_the_part_that_is_asked_for() {
    use http_body_util::BodyExt as _;
    let clock = Clock::simulated("2026-01-05T04:00:00Z".parse().unwrap());
    let sandbox = Sandbox::start(&Options { speed: 1.0, ..options() }, clock).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let started: jiff::Timestamp = {
        let pod = sandbox.api().get("pods", "default", "arena-0").unwrap();
        let start = &pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"];
        start.as_str().unwrap().parse().unwrap()
    };
    let age = |seconds: i64| (clock.now().duration_since(started).as_secs() - seconds).to_string();
    let ask = async |pod: &str, query: &str| {
        let path = format!("/api/v1/namespaces/default/pods/{pod}/log?{query}");
        let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let answer = sandbox.router().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let message =
            |text: String| serde_json::from_str::<Value>(&text).unwrap()["message"].as_str().unwrap().to_owned();
        (status, if status == 200 { text } else { message(text) })
    };
    let ok = |text: &str| (200, text.to_owned());
    let bad = |text: &str| (400, text.to_owned());
    let whole = ask("arena-0", "").await.1;
    assert!(whole.starts_with("map of default/arena\nready\ntick 1\ntick 2\n"), "{whole}");
    assert!(ask("arena-1", "").await.1.starts_with("map of default/arena\nready\nsecond room\n"));
    let last = whole.lines().last().unwrap().to_owned();
    assert_eq!(ask("arena-0", "tailLines=1").await, ok(&format!("{last}\n")));
    assert_eq!(ask("arena-0", "tailLines=0").await, ok(""));
    assert_eq!(ask("arena-0", &format!("sinceSeconds={}&limitBytes=9", age(11))).await, ok("tick 2\nti"));
    let since = format!("sinceTime={}", started.checked_add(jiff::SignedDuration::from_secs(5)).unwrap());
    assert!(ask("arena-0", &since).await.1.starts_with("tick 1\n"));
    let stamp = started.strftime("%Y-%m-%dT%H:%M:%S.000000000Z");
    let stamped = ask("arena-0", "timestamps=true&limitBytes=52").await;
    assert_eq!(stamped, ok(&format!("{stamp} map of default/arena\n")));
    assert_eq!(
        ask("arena-0", "previous=true").await,
        bad("previous terminated container \"arena\" in pod \"arena-0\" not found")
    );
    assert_eq!(
        ask("two", "container=b").await,
        bad("container \"b\" in pod \"two\" is waiting to start: trying and failing to pull image")
    );
    assert_eq!(ask("two", "").await, bad("a container name must be specified for pod two, choose one of: [a b]"));
    assert_eq!(ask("two", "container=x").await, bad("container x is not valid for pod two"));
    assert_eq!(
        ask("arena-0", "tailLines=-1").await,
        (
            422,
            "PodLogOptions \"arena-0\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"
                .into()
        )
    );
    assert_eq!(ask("arena-0", "sinceSeconds=0").await.0, 422);
    assert_eq!(ask("arena-0", &format!("sinceSeconds=5&{since}")).await.0, 422);
    // A log that is followed goes on until its pod is gone.
    let api = sandbox.api().clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(25)).await;
        let options = okgscript::sandbox::object::DeleteOptions::grace(0);
        api.delete(&Actor::controller("test"), "pods", "default", "arena-0", &options).unwrap();
    });
    let before = whole.lines().count();
    let followed = ask("arena-0", "follow=true").await.1;
    assert!(followed.starts_with(&whole), "{followed}");
    assert!((before + 2..=before + 3).contains(&followed.lines().count()), "{before}: {followed}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_command_that_does_not_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("exec.yaml");
    std::fs::write(&file, dedent(SCENARIO)).unwrap();
    let _served = Served::new(folder.path(), &["--scenario", file.to_str().unwrap()]);
    let config = folder.path().join("kubeconfig");
    let flags = ["--kubeconfig", config.to_str().unwrap()];
    let (took, stderr, code) = interrupted(&flags, r#"pod_exec("arena-0", "sleep", #{ timeout: "1h" })"#);
    assert_eq!(code, Some(130), "{stderr}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}
