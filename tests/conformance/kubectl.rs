//! Plays the kubectl commands that were recorded on a real kube-apiserver, against the embedded server on loopback.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use okgscript::clock::Clock;
use okgscript::sandbox::api::Api;
use okgscript::sandbox::coverage;
use okgscript::sandbox::routes::{self, HttpOptions};
use regex::Regex;
use serde_json::Value;

use super::api::folder;
use crate::envtest::TOKEN;

const TOPICS: [&str; 5] = ["auth", "describe-explain", "get", "misc", "write"];

struct Outcome {
    exit: i64,
    stdout: String,
    stderr: String,
}

fn read(name: &str) -> Value {
    let path = folder().join("kubectl").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn run(home: &Path, kubeconfig: &Path, namespace: &str, step: &Value) -> Outcome {
    use std::io::Write as _;
    for (name, text) in step["files"].as_object().into_iter().flatten() {
        std::fs::write(home.join(name), text.as_str().unwrap()).unwrap();
    }
    let mut command = Command::new("kubectl");
    command.args(["-n", namespace]).current_dir(home).env_clear();
    command.args(step["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()));
    command.env("PATH", std::env::var("PATH").unwrap_or_default()).env("HOME", home).env("KUBECONFIG", kubeconfig);
    for (name, value) in step["env"].as_object().into_iter().flatten() {
        command.env(name, value.as_str().unwrap());
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // kubectl may end without reading.
    let _ = stdin.write_all(step["stdin"].as_str().unwrap_or("").as_bytes());
    drop(stdin);
    let out = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { exit: out.status.code().unwrap_or(-1).into(), stdout: text(&out.stdout), stderr: text(&out.stderr) }
}

/// Replaces what differs from run to run.
pub fn normal(text: &str, server: &str) -> String {
    let address = server.trim_start_matches("http://");
    let text = text.replace(server, "<server>").replace(&server.replace("http:", "https:"), "<server>");
    let text = text.replace(address, "<address>");
    let rules = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
        (r"\b(?:20(?:1\d|2[1-9]|[3-9]\d))-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", "<time>"),
        (
            r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} (?:20(?:1\d|2[1-9]|[3-9]\d)) \d\d:\d\d:\d\d [+-]\d{4}",
            "<date>",
        ),
        (r"20(?:1\d|2[1-9]|[3-9]\d)-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}", "<time>"),
        (r#"(resourceVersion"?: ?)"\d+""#, "$1\"<rv>\""),
        (r"(Resource Version:\s+)\d+", "$1<rv>"),
        (r"/tmp/LIVE-\d+", "<LIVE>"),
        (r"/tmp/MERGED-\d+", "<MERGED>"),
        (r#"/tmp/kubectl-edit-\d+\.yaml"#, "<file>"),
        (r"(^|[\s(])(?:\d+y)?(?:\d+d)?(?:\d+h)?(?:\d+m)?\d+(?:s|m|h|d)([\s),]|$)", "$1<age>$2"),
    ];
    let blanks = Regex::new(r"[ \t]{2,}").unwrap();
    let rules = rules.map(|(pattern, with)| (Regex::new(pattern).unwrap(), with));
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        for (pattern, with) in &rules {
            line = pattern.replace_all(&line, *with).into_owned();
        }
        let lead = line.len() - line.trim_start().len();
        let (head, rest) = line.split_at(lead);
        let rest = blanks.replace_all(rest, "  ").into_owned();
        lines.push(format!("{head}{rest}").trim_end().to_owned());
    }
    lines.join("\n")
}

/// Returns the lines of `kubectl explain` that are no prose.
fn structure(text: &str) -> Vec<String> {
    let heads = ["GROUP:", "KIND:", "VERSION:", "FIELD:", "ENUM:", "FIELDS:"];
    let kept = text.lines().filter(|line| line.contains("\t<") || heads.iter().any(|head| line.starts_with(head)));
    let blanks = Regex::new(r"(\S) {2,}").unwrap();
    kept.map(|line| blanks.replace_all(line.trim_end(), "$1  ").into_owned()).collect()
}

fn differences(step: &Value, outcome: &Outcome, server: &str) -> Vec<String> {
    let mut out = Vec::new();
    if step["exit"] != outcome.exit {
        out.push(format!("exit {}, expected {}: {}", outcome.exit, step["exit"], outcome.stderr.trim()));
    }
    let expect = |key: &str| normal(step[key].as_str().unwrap_or(""), "http://no-such-server");
    if let Some(wanted) = step["structure"].as_array() {
        let wanted: Vec<String> = wanted.iter().map(|line| line.as_str().unwrap().to_owned()).collect();
        let found = structure(&outcome.stdout);
        if wanted != found {
            out.push(format!("structure:\n{wanted:#?}\n{found:#?}"));
        }
        return out;
    }
    for (key, found) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
        let (wanted, found) = (expect(key), normal(found, server));
        let same = if step["unordered"] == true && key == "stdout" {
            wanted.lines().collect::<BTreeSet<_>>() == found.lines().collect::<BTreeSet<_>>()
        } else {
            wanted == found
        };
        if !same {
            out.push(format!("{key}:\n--- expected\n{wanted}\n--- came\n{found}"));
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_command_of_kubectl_comes_out_the_same_or_is_listed() {
    let total: usize = TOPICS.iter().map(|topic| read(topic)["commands"].as_array().unwrap().len()).sum();
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        println!("skipped: {total} commands, kubectl is not on the PATH");
        return;
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let options = HttpOptions { token: Some(TOKEN.into()), ..HttpOptions::default() };
    // kubectl sends no token without TLS, so the door here adds it.
    let door = axum::middleware::map_request(|mut request: http::Request<axum::body::Body>| async move {
        let token = format!("Bearer {TOKEN}").parse().unwrap();
        request.headers_mut().insert(http::header::AUTHORIZATION, token);
        request
    });
    let router = routes::router(Api::new(Clock::wall(), 1), options).layer(door);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let only = std::env::var("CONFORMANCE").unwrap_or_default();
    let listed: BTreeSet<(String, String)> =
        coverage::recordings().map(|(group, step)| (group.to_owned(), step.to_owned())).collect();
    let play = tokio::task::spawn_blocking(move || {
        let fixtures = read("fixtures");
        let (mut passed, mut surprises, mut fine) = (0, Vec::new(), Vec::new());
        for topic in TOPICS {
            let (data, home) = (read(topic), tempfile::tempdir().unwrap());
            let kubeconfig = home.path().join("kubeconfig");
            let config = serde_json::json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "c", "user": {"token": TOKEN}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            });
            std::fs::write(&kubeconfig, config.to_string()).unwrap();
            let namespace = data["namespace"].as_str().unwrap();
            let make = serde_json::json!({"args": ["create", "namespace", namespace]});
            let made = run(home.path(), &kubeconfig, "default", &make);
            assert_eq!(made.exit, 0, "{}", made.stderr);
            for fixture in data["fixtures"].as_array().into_iter().flatten() {
                for step in fixtures[fixture.as_str().unwrap()].as_array().unwrap() {
                    let outcome = run(home.path(), &kubeconfig, namespace, step);
                    assert_eq!(outcome.exit, 0, "{topic}: {}: {}", step["args"], outcome.stderr);
                }
            }
            let commands = data["commands"].as_array().unwrap();
            let before = passed;
            for step in commands {
                let outcome = run(home.path(), &kubeconfig, namespace, step);
                let differences = differences(step, &outcome, &server);
                let words: Vec<&str> = step["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                let key = (format!("kubectl/{topic}"), words.join(" "));
                if differences.is_empty() {
                    passed += 1;
                    fine.push(key);
                    continue;
                }
                if only.split(',').any(|wanted| wanted == topic || wanted == "all") {
                    println!("  {}\n{}", key.1, differences.join("\n"));
                }
                surprises.push((key, differences.join("; ")));
            }
            println!("kubectl {topic:<17} {:>3} of {:>3}", passed - before, commands.len());
        }
        (passed, surprises, fine)
    });
    let (passed, failures, fine) = play.await.unwrap();
    println!("commands: {passed} of {total} as recorded");
    let failed: BTreeSet<&(String, String)> = failures.iter().map(|(key, _)| key).collect();
    let unneeded: Vec<_> = fine.iter().filter(|key| listed.contains(*key) && !failed.contains(key)).collect();
    assert!(unneeded.is_empty(), "listed, but they pass: {unneeded:?}");
    let surprises: Vec<String> = failures
        .iter()
        .filter(|(key, _)| !listed.contains(key))
        .map(|(key, text)| format!("{} {}: {text}", key.0, key.1))
        .collect();
    assert!(surprises.is_empty(), "{} commands differ:\n{}", surprises.len(), surprises.join("\n"));
}
