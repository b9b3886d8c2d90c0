//! Plays the exchanges that were recorded from a real kube-apiserver.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use okgscript::sandbox::coverage;
use serde_json::{Value, json};

use super::record;
use super::unify::{Comparison, Tokens, pick, short};
use crate::envtest::{Server, TOKEN, on_both_servers};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/api")
}

/// A step that did not come out as recorded.
pub struct Failure {
    pub step: String,
    pub differences: Vec<String>,
}

/// One group on one server.
pub struct Player {
    pub server: Server,
    pub tokens: Tokens,
    managed: bool,
    failures: Vec<Failure>,
    played: usize,
}

/// What came back, with the body unread.
pub type Answer = http::Response<Body>;

impl Player {
    pub fn new(group: &Value, server: Server) -> Player {
        let managed = group["managedFields"] == true;
        Player { server, tokens: Tokens::default(), managed, failures: Vec::new(), played: 0 }
    }

    pub async fn send(&self, request: &Value) -> Result<Answer, String> {
        let path = self.tokens.fill(request["path"].as_str().unwrap_or("/"))?;
        let mut headers: BTreeMap<String, Option<String>> = BTreeMap::new();
        headers.insert("accept".into(), Some("application/json".into()));
        headers.insert("user-agent".into(), Some("conformance".into()));
        match request["auth"].as_str() {
            Some("none") => {}
            Some(_) => drop(headers.insert("authorization".into(), Some("Bearer nobody-has-this".into()))),
            None => drop(headers.insert("authorization".into(), Some(format!("Bearer {TOKEN}")))),
        }
        let mut body = Vec::new();
        if let Some(value) = request.get("body") {
            body = self.tokens.fill_value(value)?.to_string().into_bytes();
        } else if let Some(fill) = request.get("bodyFill") {
            let mut object = self.tokens.fill_value(&fill["object"])?;
            let bytes = usize::try_from(fill["bytes"].as_u64().unwrap_or(0)).unwrap_or(0);
            let key = fill["annotation"].as_str().unwrap_or("fill").to_owned();
            object["metadata"]["annotations"][key] = "x".repeat(bytes).into();
            body = object.to_string().into_bytes();
        } else if let Some(text) = request["bodyText"].as_str() {
            body = self.tokens.fill(text)?.into_bytes();
        } else if let Some(text) = request["bodyBase64"].as_str() {
            use base64::Engine as _;
            body = base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| e.to_string())?;
        }
        if request.get("body").is_some() || request.get("bodyFill").is_some() {
            headers.insert("content-type".into(), Some("application/json".into()));
        }
        for (key, value) in request["headers"].as_object().into_iter().flatten() {
            let value = value.as_str().map(|text| self.tokens.fill(text)).transpose()?;
            headers.insert(key.to_lowercase(), value);
        }
        let mut out = http::Request::builder().method(request["method"].as_str().unwrap_or("GET")).uri(path);
        for (key, value) in &headers {
            if let Some(value) = value {
                out = out.header(key, value);
            }
        }
        let out = out.body(Body::from(body)).map_err(|error| error.to_string())?;
        self.server.send(out).await
    }

    /// Plays one step; returns its differences.
    async fn step(&mut self, step: &Value) -> Vec<String> {
        if let Some(pause) = step["pause_ms"].as_u64() {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if step.get("watch").is_some() {
            return self.stream(step).await;
        }
        let tries = step["retry_s"].as_u64().unwrap_or(0) * 2 + 1;
        let mut differences = Vec::new();
        for attempt in 0..tries {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            let answer = match self.send(&step["request"]).await {
                Ok(answer) => answer,
                Err(error) => return vec![error],
            };
            let head = step["request"]["method"] == "HEAD";
            let mut tokens = self.tokens.clone();
            differences = compare(&mut tokens, self.managed, &step["response"], answer, head).await;
            if differences.is_empty() || attempt + 1 == tries {
                self.tokens = tokens;
            }
            if differences.is_empty() {
                break;
            }
        }
        differences
    }

    async fn stream(&mut self, step: &Value) -> Vec<String> {
        let mut answer = match self.send(&step["watch"]).await {
            Ok(answer) => answer,
            Err(error) => return vec![error],
        };
        let expected = step["events"].as_array().cloned().unwrap_or_default();
        let status = u64::from(answer.status().as_u16());
        if step["response"]["status"] != json!(status) {
            let body = text(answer.into_body()).await;
            return vec![format!("status {status}: {body}")];
        }
        let plain = |event: &Value| {
            event["type"] == "BOOKMARK"
                && event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"].is_null()
        };
        let bookmarks = expected.iter().any(plain);
        let mut lines = Lines { body: &mut answer, buffer: String::new(), over: false };
        let mut events: Vec<Value> = Vec::new();
        let settle = step["settle_events"].as_u64().unwrap_or(0);
        while (events.len() as u64) < settle {
            match lines.next(Duration::from_secs(3)).await {
                Some(event) => events.push(event),
                None => break,
            }
        }
        let during = step["during"].as_array().cloned().unwrap_or_default();
        for inner in &during {
            let differences = Box::pin(self.step(inner)).await;
            self.note(inner, differences);
        }
        let closes = step["ends"] == "server";
        let longest = if closes { step["within_s"].as_u64().unwrap_or(5) } else { 1 };
        while let Some(event) = lines.next(Duration::from_secs(longest)).await {
            events.push(event);
        }
        let ended = lines.over;
        let mut kept: Vec<Value> = Vec::new();
        for event in events {
            if plain(&event) {
                if !bookmarks {
                    continue;
                }
                if kept.last().is_some_and(plain) {
                    kept.pop();
                }
            }
            kept.push(event);
        }
        let mut comparison = Comparison { unordered: &[], managed: self.managed, differences: Vec::new() };
        comparison.value(&mut self.tokens, &Value::Array(expected), &Value::Array(kept), "events");
        let mut differences = comparison.differences;
        if ended != closes {
            differences.push(format!("the stream {}", if ended { "ended" } else { "stayed open" }));
        }
        differences
    }

    fn note(&mut self, step: &Value, differences: Vec<String>) {
        self.played += 1;
        if !differences.is_empty() {
            let step = step["name"].as_str().unwrap_or("?").to_owned();
            self.failures.push(Failure { step, differences });
        }
    }
}

/// The events of a watch.
pub struct Lines<'a> {
    pub body: &'a mut Answer,
    pub buffer: String,
    pub over: bool,
}

impl Lines<'_> {
    pub async fn next(&mut self, longest: Duration) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.buffer.split_once('\n') {
                let event = serde_json::from_str(line).unwrap();
                self.buffer = rest.to_owned();
                return Some(event);
            }
            match tokio::time::timeout(longest, self.body.body_mut().frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.push_str(std::str::from_utf8(&data).unwrap());
                    }
                }
                Ok(_) => {
                    self.over = true;
                    return None;
                }
                Err(_) => return None,
            }
        }
    }
}

async fn text(body: Body) -> String {
    let collected = tokio::time::timeout(Duration::from_secs(5), body.collect()).await;
    match collected {
        Ok(Ok(bytes)) => String::from_utf8_lossy(&bytes.to_bytes()).into_owned(),
        Ok(Err(error)) => format!("body: {error}"),
        Err(_) => "the body did not end".into(),
    }
}

async fn compare(tokens: &mut Tokens, managed: bool, expected: &Value, answer: Answer, head: bool) -> Vec<String> {
    let unordered: Vec<String> = expected["unordered"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pattern| pattern.as_str().map(str::to_owned))
        .collect();
    let mut comparison = Comparison { unordered: &unordered, managed, differences: Vec::new() };
    let status = answer.status().as_u16();
    let headers = answer.headers().clone();
    let with_body = expected.get("body").is_some() || expected.get("picks").is_some();
    for (name, always) in [
        ("content-type", with_body),
        ("warning", true),
        ("retry-after", true),
        ("location", true),
        ("allow", true),
        ("www-authenticate", true),
        ("etag", false),
        ("vary", false),
        ("cache-control", false),
    ] {
        let listed = expected["headers"][name].as_str();
        let wanted = match listed {
            None if name == "content-type" => "application/json",
            other => other.unwrap_or(""),
        };
        if listed.is_none() && !always {
            continue;
        }
        let found: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        let found = found.join(", ");
        if !tokens.text(wanted, &found) {
            comparison.differences.push(format!("header {name}:\n      expected {wanted}\n      came     {found}"));
        }
    }
    let bytes = match tokio::time::timeout(Duration::from_secs(20), answer.into_body().collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => {
            comparison.differences.push("the body did not end".into());
            return comparison.differences;
        }
    };
    if expected["status"] != json!(status) {
        let body = short(&Value::from(String::from_utf8_lossy(&bytes)));
        comparison.differences.insert(0, format!("status {status}, expected {}: {body}", expected["status"]));
    }
    if head {
        return comparison.differences;
    }
    if let Some(magic) = expected["bodyMagic"].as_str() {
        let found: String = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        if found != magic {
            comparison.differences.push(format!("the body begins with {found}, expected {magic}"));
        }
    }
    if let Some(wanted) = expected["bodyText"].as_str() {
        let found = String::from_utf8_lossy(&bytes);
        if !tokens.text(wanted, &found) {
            comparison.differences.push(format!("text:\n      expected {wanted:?}\n      came     {found:?}"));
        }
    }
    if with_body {
        match serde_json::from_slice::<Value>(&bytes) {
            Err(error) => comparison.differences.push(format!("no JSON: {error}")),
            Ok(actual) => {
                if let Some(body) = expected.get("body") {
                    comparison.value(tokens, body, &actual, "");
                }
                for (pointer, wanted) in expected["picks"].as_object().into_iter().flatten() {
                    match pick(&actual, pointer) {
                        Some(found) => comparison.value(tokens, wanted, &found, pointer),
                        None => comparison.differences.push(format!("{pointer}: missing, expected {}", short(wanted))),
                    }
                }
            }
        }
    }
    comparison.differences
}

/// Plays a group and returns how many steps there were, and what failed.
pub async fn play(group: &Value, server: Server) -> (usize, Vec<Failure>) {
    let mut player = Player::new(group, server);
    for step in group["steps"].as_array().into_iter().flatten() {
        if step["action"] == "compaction" {
            player.server.compact().await;
            continue;
        }
        let differences = player.step(step).await;
        player.note(step, differences);
    }
    let mut last = 0;
    for token in group["rvOrder"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let Some(version) = player.tokens.get(token).and_then(|text| text.parse::<u64>().ok()) else { continue };
        if version <= last {
            let differences = vec![format!("{token} is {version}, not above {last}")];
            player.failures.push(Failure { step: "order of versions".into(), differences });
        }
        last = version;
    }
    (player.played, player.failures)
}

fn files(of: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

fn group(file: &Path) -> (String, Value) {
    let value: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    (value["group"].as_str().unwrap().to_owned(), value)
}

/// What cannot come out as recorded on the real server of the tests: it is configured in another way.
const CONFIGURED: &[(&str, &str, &str)] =
    &[("discovery", "/api", "the recorded server was told to advertise another address")];

/// Plays all groups, and holds what failed against what is listed.
#[expect(clippy::print_stdout, reason = "the count, for who asks for it with --nocapture")]
async fn play_all(of: &Path, listed: BTreeSet<(String, String)>, mut server: impl AsyncFnMut() -> Server) {
    let only = std::env::var("CONFORMANCE").unwrap_or_default();
    let (mut all, mut passed, mut surprises) = (0, 0, Vec::new());
    let groups: Vec<(String, Value)> = files(of).iter().map(|file| group(file)).collect();
    let here = |key: &(String, String)| groups.iter().any(|(name, _)| *name == key.0);
    let listed: BTreeSet<(String, String)> = listed.into_iter().filter(here).collect();
    let mut unneeded = listed.clone();
    for (name, group) in groups.iter().cloned() {
        let (played, failures) = play(&group, server().await).await;
        all += played;
        passed += played - failures.len().min(played);
        println!("{name:<14} {:>3} of {played:>3}", played - failures.len().min(played));
        for failure in failures {
            let key = (name.clone(), failure.step.clone());
            unneeded.remove(&key);
            if only.split(',').any(|wanted| wanted == name || wanted == "all") {
                println!("  {}\n    {}", failure.step, failure.differences.join("\n    "));
            }
            // Texts may be listed; what clients act on may not.
            if !listed.contains(&key) || failure.differences.iter().any(|difference| grave(difference)) {
                surprises.push(format!("{name}: {}: {}", failure.step, failure.differences.join("; ")));
            }
        }
    }
    println!("exchanges: {passed} of {all} as recorded, {} listed", listed.len());
    assert!(unneeded.is_empty(), "listed, but they pass: {unneeded:?}");
    assert!(surprises.is_empty(), "{} exchanges differ:\n{}", surprises.len(), surprises.join("\n"));
}

/// Whether a difference is one in status code, reason, version, generation or order of events.
fn grave(difference: &str) -> bool {
    let place = difference.split([':', ',']).next().unwrap_or_default();
    let begins = ["status ", "/reason", "/code", "header ", "events", "the stream", "order "];
    let ends = ["/resourceVersion", "/generation", "/observedGeneration", "/reason", "/code"];
    begins.iter().any(|begin| difference.starts_with(begin)) || ends.iter().any(|end| place.ends_with(end))
}

#[test]
fn what_clients_act_on_is_grave() {
    let grave_ones =
        ["status 422, expected 409: x", "/metadata/generation:\n expected 1", "the stream ended", "events/0/type: x"];
    assert!(grave_ones.iter().all(|difference| grave(difference)));
    assert!(!grave("/message:\n expected /reason") && !grave("/details/causes/0/message: /code"));
}

async fn play_folder(of: &Path, server: Server) {
    if server.is_real() {
        let listed = CONFIGURED.iter().map(|(group, step, _)| ((*group).to_owned(), (*step).to_owned()));
        play_all(of, listed.collect(), async || server.clone()).await;
    } else {
        let listed = coverage::recordings().map(|(group, step)| (group.to_owned(), step.to_owned()));
        play_all(of, listed.collect(), async || Server::embedded()).await;
    }
}

async fn every_recorded_exchange_comes_out_the_same_or_is_listed(server: Server) {
    play_folder(&folder().join("http"), server).await;
}

async fn every_exchange_of_our_own_comes_out_the_same_or_is_listed(server: Server) {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/ours");
    if server.is_real() {
        let wanted = std::env::var("RECORD").unwrap_or_default();
        for file in files(&ours) {
            let (name, value) = group(&file);
            if wanted.split(',').any(|one| one == name || one == "all") {
                let player = Player::new(&value, server.clone());
                let managed = value["managedFields"] == true;
                record::write(&file, &record::Recorder::new(player, managed).record(&value).await);
            }
        }
        if !wanted.is_empty() {
            // What a group makes is there now: it cannot be played on this server once more.
            return;
        }
    }
    play_folder(&ours, server).await;
}

on_both_servers!(
    every_recorded_exchange_comes_out_the_same_or_is_listed,
    every_exchange_of_our_own_comes_out_the_same_or_is_listed,
);
