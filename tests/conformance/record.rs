//! Writes down what a real API server answers: `RECORD=group` makes the recordings of a group in `ours/` anew.

use std::collections::BTreeMap;
use std::path::Path;

use http_body_util::BodyExt as _;
use regex::Regex;
use serde_json::{Map, Value, json};

use super::api::{Answer, Lines, Player};
use super::unify::pick;

/// What stands for what, found so far.
pub struct Recorder {
    player: Player,
    tokens: BTreeMap<(String, String), String>,
    versions: Vec<(u64, String)>,
    count: usize,
    /// Tokens of requests for what had a token already.
    aliases: BTreeMap<String, String>,
    managed: bool,
    uid: Regex,
    time: Regex,
    micro: Regex,
    age: Regex,
    version: Regex,
    record: Regex,
    dump: Regex,
}

const HEADERS: [&str; 5] = ["warning", "retry-after", "location", "allow", "www-authenticate"];

impl Recorder {
    pub fn new(player: Player, managed: bool) -> Recorder {
        let pattern = |text: &str| Regex::new(text).unwrap();
        Recorder {
            player,
            tokens: BTreeMap::new(),
            versions: Vec::new(),
            count: 100,
            aliases: BTreeMap::new(),
            managed,
            uid: pattern("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
            time: pattern(r"20(?:1\d|2[1-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
            micro: pattern(r"20(?:1\d|2[1-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"),
            age: pattern(r"^(?:\d+[smhdy])+$"),
            version: pattern(r"(resource version: (?:\d+ \()?|current: |current )(\d+)"),
            record: pattern(r"((?:precondition|record) \(|ResourceVersion in (?:precondition|object meta): )(\d+)"),
            dump: pattern(r#"Invalid value: "\{.*\}""#),
        }
    }

    /// Plays a group, and returns it with what came.
    pub async fn record(mut self, group: &Value) -> Value {
        let mut out = group.clone();
        for step in out["steps"].as_array_mut().unwrap() {
            self.step(step).await;
        }
        self.versions.sort();
        let order: Vec<String> = self.versions.into_iter().map(|(_, token)| token).collect();
        out["rvOrder"] = order.into();
        let mut text = out.to_string();
        for (alias, token) in &self.aliases {
            text = text.replace(alias, token);
        }
        serde_json::from_str(&text).unwrap()
    }

    async fn step(&mut self, step: &mut Value) {
        if step["action"] == "compaction" {
            self.player.server.compact().await;
            return;
        }
        if let Some(pause) = step["pause_ms"].as_u64() {
            tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        }
        let name = step["name"].as_str().unwrap_or("?").to_owned();
        if step.get("watch").is_some() {
            return self.stream(step).await;
        }
        let ready = step["until"].as_u64();
        let mut tries = 0;
        let answer = loop {
            let answer = self.player.send(&step["request"]).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            tries += 1;
            if ready.is_none_or(|status| u64::from(answer.status().as_u16()) == status) || tries > 60 {
                break answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        };
        if ready.is_some() {
            step["retry_s"] = 10.into();
        }
        let picks = step["picks"].as_array().cloned();
        let bind = step["bind"].as_object().cloned().unwrap_or_default();
        let head = step["request"]["method"] == "HEAD";
        step["response"] = self.answer(answer, picks, &bind, head).await;
        if let Some(unordered) = step.get("unordered").cloned() {
            step["response"]["unordered"] = unordered;
        }
    }

    async fn stream(&mut self, step: &mut Value) {
        let mut answer = self.player.send(&step["watch"]).await.unwrap();
        let status = answer.status().as_u16();
        step["response"] = json!({ "status": status });
        if status != 200 {
            step["events"] = json!([]);
            step["ends"] = "server".into();
            return;
        }
        let longest = std::time::Duration::from_secs(step["within_s"].as_u64().unwrap_or(1));
        let mut lines = Lines { body: &mut answer, buffer: String::new(), over: false };
        let mut events = Vec::new();
        let settle = step["settle_events"].as_u64().unwrap_or(0);
        while (events.len() as u64) < settle {
            events.push(lines.next(std::time::Duration::from_secs(3)).await.expect("an event"));
        }
        let mut during = step["during"].as_array().cloned().unwrap_or_default();
        for inner in &mut during {
            Box::pin(self.step(inner)).await;
        }
        if !during.is_empty() {
            step["during"] = during.into();
        }
        while let Some(event) = lines.next(longest).await {
            events.push(event);
        }
        step["ends"] = if lines.over { "server" } else { "client" }.into();
        let initial =
            |event: &Value| !event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"].is_null();
        let bookmarks = step["bookmarks"] == true;
        events.retain(|event| event["type"] != "BOOKMARK" || initial(event) || bookmarks);
        let events: Vec<Value> = events
            .into_iter()
            .map(|event| {
                let listed = event["type"] == "BOOKMARK";
                let mut out = json!({ "type": event["type"] });
                out["object"] = self.value(&event["object"], listed);
                out
            })
            .collect();
        step["events"] = events.into();
    }

    async fn answer(
        &mut self,
        answer: Answer,
        picks: Option<Vec<Value>>,
        bind: &Map<String, Value>,
        head: bool,
    ) -> Value {
        let mut out = json!({ "status": answer.status().as_u16() });
        let headers = answer.headers().clone();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = |name: &str| {
            let all: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
            all.join(", ")
        };
        let mut kept = Map::new();
        let content = text("content-type");
        if content != "application/json" && !head {
            kept.insert("content-type".into(), content.clone().into());
        }
        for name in HEADERS {
            if !text(name).is_empty() {
                kept.insert(name.into(), text(name).into());
            }
        }
        if !kept.is_empty() {
            out["headers"] = Value::Object(kept);
        }
        if head {
            return out;
        }
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(body) if content.starts_with("application/json") => {
                for (token, pointer) in bind {
                    if let Some(value) = pick(&body, pointer.as_str().unwrap()) {
                        self.bind(token, value.as_str().unwrap());
                    }
                }
                match picks {
                    None => out["body"] = self.value(&body, false),
                    Some(picks) => {
                        let mut found = Map::new();
                        for pointer in picks.iter().filter_map(Value::as_str) {
                            let value = pick(&body, pointer).unwrap_or_else(|| panic!("{pointer}: nothing there"));
                            found.insert(pointer.to_owned(), self.value(&value, false));
                        }
                        out["picks"] = Value::Object(found);
                    }
                }
            }
            _ if bytes.starts_with(b"k8s\0") => out["bodyMagic"] = "6b387300".into(),
            _ if picks.is_none() => out["bodyText"] = self.text(&String::from_utf8_lossy(&bytes)).into(),
            _ => {}
        }
        out
    }

    fn bind(&mut self, token: &str, value: &str) {
        let class = token.trim_start_matches('<').split(':').next().unwrap().to_owned();
        self.player.tokens.set(token, value);
        if let Some(known) = self.tokens.get(&(class.clone(), value.to_owned()))
            && class != "listrv"
        {
            self.aliases.insert(token.to_owned(), known.clone());
            return;
        }
        if class == "rv"
            && let Ok(number) = value.parse()
        {
            self.versions.push((number, token.to_owned()));
        }
        self.tokens.insert((class, value.to_owned()), token.to_owned());
    }

    /// Returns the token of a value, a new one if it was never seen.
    fn token(&mut self, class: &str, value: &str) -> String {
        if let Some(token) = self.tokens.get(&(class.to_owned(), value.to_owned()))
            && class != "listrv"
        {
            return token.clone();
        }
        self.count += 1;
        let token = format!("<{class}:{}>", self.count);
        self.bind(&token, value);
        token
    }

    fn text(&mut self, text: &str) -> String {
        let mut out = text.to_owned();
        let uids: Vec<String> = self.uid.find_iter(text).map(|found| found.as_str().to_owned()).collect();
        for uid in uids {
            let token = self.token("uid", &uid);
            out = out.replace(&uid, &token);
        }
        out = self.micro.replace_all(&out, "<microtime>").into_owned();
        out = self.time.replace_all(&out, "<time>").into_owned();
        let generated: Vec<(String, String)> = self
            .tokens
            .iter()
            .filter(|((class, _), _)| class == "gen")
            .map(|((_, value), token)| (value.clone(), token.clone()))
            .collect();
        for (value, token) in generated {
            out = out.replace(&value, &token);
        }
        out = self.dump.replace_all(&out, "Invalid value: \"<any>\"").into_owned();
        while let Some(found) = self.record.captures(&out) {
            let number = found.get(2).unwrap();
            let (from, to, number) = (number.start(), number.end(), number.as_str().to_owned());
            let token = self.token("rv", &number);
            out.replace_range(from..to, &token);
        }
        while let Some(found) = self.version.captures(&out) {
            let number = found.get(2).unwrap();
            let (from, to, number) = (number.start(), number.end(), number.as_str().to_owned());
            let token = self.token("listrv", &number);
            out.replace_range(from..to, &token);
        }
        out
    }

    /// Puts tokens for what differs from server to server. `listed`: the version is that of a collection.
    fn value(&mut self, value: &Value, listed: bool) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(list) => list.iter().map(|item| self.value(item, false)).collect(),
            Value::Object(map) => self.object(map, listed),
            other => other.clone(),
        }
    }

    fn object(&mut self, map: &Map<String, Value>, listed: bool) -> Value {
        let kind = map.get("kind").and_then(Value::as_str).unwrap_or("");
        let table = kind == "Table";
        let listed = listed || table || (kind.ends_with("List") && map.contains_key("items"));
        let mut out = Map::new();
        for (key, value) in map {
            match (key.as_str(), value) {
                ("storageVersionHash", _) => continue,
                ("description", _) if map.contains_key("priority") && map.contains_key("format") => continue,
                ("managedFields", _) if !self.managed => continue,
                ("metadata", Value::Object(meta)) => {
                    let meta = self.metadata(meta, listed);
                    out.insert(key.clone(), meta);
                    continue;
                }
                ("cells", Value::Array(cells)) => {
                    let cells: Vec<Value> = cells
                        .iter()
                        .map(|cell| match cell.as_str() {
                            Some(text) if self.age.is_match(text) => "<age>".into(),
                            _ => self.value(cell, false),
                        })
                        .collect();
                    out.insert(key.clone(), cells.into());
                    continue;
                }
                _ => {}
            }
            let value = self.value(value, false);
            out.insert(key.clone(), value);
        }
        Value::Object(out)
    }

    fn metadata(&mut self, meta: &Map<String, Value>, listed: bool) -> Value {
        let text = |key: &str| meta.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        if let Some(letters) = text("name").strip_prefix(&text("generateName"))
            && meta.contains_key("generateName")
            && letters.len() == 5
        {
            self.token("gen", letters);
        }
        let mut out = Map::new();
        for (key, value) in meta {
            let value = match (key.as_str(), value.as_str()) {
                ("managedFields", _) if !self.managed => continue,
                ("resourceVersion", Some(version)) if !version.is_empty() && version != "0" => {
                    self.token(if listed { "listrv" } else { "rv" }, version).into()
                }
                ("continue", Some(token)) if !token.is_empty() => self.token("continue", token).into(),
                _ => self.value(value, false),
            };
            out.insert(key.clone(), value);
        }
        Value::Object(out)
    }
}

/// Writes a group, a step on a line.
pub fn write(path: &Path, group: &Value) {
    let steps: Vec<String> = group["steps"].as_array().unwrap().iter().map(Value::to_string).collect();
    let mut head = group.clone();
    let order = head["rvOrder"].take();
    head.as_object_mut().unwrap().retain(|key, _| key != "steps" && key != "rvOrder");
    let head = head.to_string();
    let head = head.trim_end_matches('}');
    let text = format!("{head},\"steps\":[\n{}\n],\"rvOrder\":{order}}}\n", steps.join(",\n"));
    std::fs::write(path, text).unwrap();
}
