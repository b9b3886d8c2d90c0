//! What a receipt must say, from nothing but the requests and answers that passed: no line of it may be missing, added
//! or altered.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::proxy::Exchange;

/// Compares a receipt with the log; an error says what does not agree.
pub fn check(receipt: &Value, log: &[Exchange]) -> Result<(), String> {
    let expected = derive(log);
    let told = told(receipt, log);
    for (key, expected) in expected.as_object().unwrap() {
        if told[key] != *expected {
            return Err(format!("{key}: the receipt says\n{:#}\nand the log\n{expected:#}", told[key]));
        }
    }
    if receipt["rooms"]["minecraft"].as_array().is_none() || told.as_object().unwrap().len() != 10 {
        return Err("the receipt lacks a part".into());
    }
    Ok(())
}

pub fn sorted(mut items: Vec<Value>) -> Value {
    items.sort_by_key(Value::to_string);
    Value::Array(items)
}

pub fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// The receipt, in the form that the log gives.
fn told(receipt: &Value, log: &[Exchange]) -> Value {
    let changes = &receipt["changes"];
    let set = &changes["sets"]["minecraft"];
    let mut rooms = list(&changes["rooms"]);
    for room in rooms.iter_mut().filter(|room| room["version"] == "") {
        // The run cannot know the version if the answer never came, and only then.
        let of_room = format!("/gameservers/{}?", room["name"].as_str().unwrap());
        let retired = room["field"] == "retired";
        let lost = log.iter().find(|it| {
            let wrote = wanted(&it.body, "/spec/opsState") == Some(&room["after"]);
            let took = wanted(&it.body, "/spec/reserveGameServerIds").is_some();
            it.lost && it.done() && if retired { took } else { it.path.contains(&of_room) && wrote }
        });
        if let Some(lost) = lost {
            room["version"] = lost.answer["metadata"]["resourceVersion"].clone();
        }
    }
    let (retired, written): (Vec<Value>, Vec<Value>) = rooms.into_iter().partition(|it| it["field"] == "retired");
    let retired = retired.iter().map(|it| json!([it["name"], it["uid"], it["version"]])).collect();
    let room = |it: &Value| json!([it["name"], it["uid"], it["state"], it["opsState"]]);
    json!({
        "written": sorted(written),
        "retired": sorted(retired),
        "images": set["images"],
        "replicas": set["replicas"],
        "freed": sorted(list(&set["freed"])),
        "rooms": sorted(list(&receipt["rooms"]["minecraft"]).iter().map(room).collect()),
        "gone": sorted(list(&receipt["gone"]["minecraft"]).iter().map(|it| it["name"].clone()).collect()),
        "allocatedTouched": receipt["allocatedTouched"],
        "requests": requests(receipt, log),
        "other": [changes["others"], changes["failed"], set["fields"]],
    })
}

/// The number of requests; a run that was killed cannot know whether the last it had noted were sent.
fn requests(receipt: &Value, log: &[Exchange]) -> Value {
    let (all, unanswered) = (receipt["requests"].as_u64().unwrap(), receipt["unanswered"].as_u64().unwrap());
    let passed = log.len() as u64;
    json!(if passed <= all && passed + unanswered >= all { passed } else { all })
}

pub fn operation<'a>(body: &'a Value, op: &[&str], path: &str) -> Option<&'a Value> {
    let found = |it: &&Value| op.contains(&it["op"].as_str().unwrap()) && it["path"] == path;
    body.as_array().into_iter().flatten().find(found).map(|it| &it["value"])
}

pub fn tested<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    operation(body, &["test"], path)
}

pub fn wanted<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    operation(body, &["add", "replace"], path)
}

/// Ids of a list like `["0-2", 7]`.
pub fn ids(value: Option<&Value>) -> Vec<i64> {
    let mut ids = Vec::new();
    for entry in value.and_then(Value::as_array).into_iter().flatten() {
        let text = entry.as_str().map_or_else(|| entry.to_string(), str::to_owned);
        let (from, to) = text.split_once('-').unwrap_or((&text, &text));
        ids.extend(from.parse::<i64>().unwrap()..=to.parse::<i64>().unwrap());
    }
    ids
}

/// What was done to the set and its rooms; rooms and retirements say whether the answer was lost.
#[derive(Default, Debug)]
pub struct Lines {
    pub rooms: Vec<Value>,
    pub retired: Vec<Value>,
    pub freed: Vec<Value>,
    pub images: Vec<Value>,
    /// First and last, if they changed.
    pub replicas: Vec<Value>,
}

/// What was done, from the log alone.
pub fn happened(log: &[Exchange]) -> Lines {
    let mut lines = Lines::default();
    let mut reserved: Vec<i64> = Vec::new();
    let mut uids: BTreeMap<String, Value> = BTreeMap::new();
    for exchange in log.iter().filter(|it| it.write() && it.done()) {
        let (body, answer) = (&exchange.body, &exchange.answer);
        let (name, uid) = (&answer["metadata"]["name"], &answer["metadata"]["uid"]);
        let version = &answer["metadata"]["resourceVersion"];
        if exchange.path.contains("/gameservers/") {
            assert_eq!(tested(body, "/metadata/uid"), Some(uid), "unguarded: {exchange:?}");
            uids.insert(name.as_str().unwrap().to_owned(), uid.clone());
            lines.rooms.push(json!({
                "name": name, "uid": uid, "field": "opsState", "version": version, "lost": exchange.lost,
                "before": tested(body, "/spec/opsState"), "after": wanted(body, "/spec/opsState"),
            }));
            continue;
        }
        if !exchange.path.contains("/gameserversets/") {
            assert!(exchange.path.contains("/leases"), "an unexpected write: {exchange:?}");
            continue;
        }
        let container = "/spec/gameServerTemplate/spec/containers/0";
        if let Some(image) = wanted(body, &format!("{container}/image")) {
            let from = tested(body, &format!("{container}/image"));
            let name = tested(body, &format!("{container}/name"));
            lines.images.push(json!({"container": name, "from": from, "to": image}));
        }
        if let Some(to) = wanted(body, "/spec/replicas") {
            let from = tested(body, "/spec/replicas").unwrap();
            let first = lines.replicas.first().map_or(from, |first| &first[0]).clone();
            lines.replicas = vec![json!([first, to])];
        }
        if operation(body, &["add", "replace", "remove"], "/spec/reserveGameServerIds").is_some() {
            let now = ids(wanted(body, "/spec/reserveGameServerIds"));
            for id in now.iter().filter(|id| !reserved.contains(id)) {
                let room = format!("minecraft-{id}");
                let uid = uids.get(&room).cloned();
                lines.retired.push(json!({"name": room, "uid": uid, "version": version, "lost": exchange.lost}));
            }
            lines.freed.extend(reserved.iter().filter(|id| !now.contains(id)).map(|id| json!(id)));
            reserved = now;
        }
    }
    lines
}

/// What a receipt must say, from the log alone.
fn derive(log: &[Exchange]) -> Value {
    let Lines { rooms: mut written, retired, freed, images, replicas } = happened(log);
    for room in &mut written {
        room.as_object_mut().unwrap().remove("lost");
    }
    let retired = retired.iter().map(|it| json!([it["name"], it["uid"], it["version"]])).collect();
    let lists = |plural: &str| {
        let path = format!("/namespaces/default/{plural}?");
        let of_set = log.iter().filter(move |it| it.path.contains(&path) && it.answer["items"].is_array());
        of_set.map(|it| list(&it.answer["items"])).collect::<Vec<_>>()
    };
    let (servers, pods) = (lists("gameservers"), lists("pods"));
    let room = |it: &Value| {
        let state = it["status"]["currentState"].as_str().unwrap_or_default();
        json!([it["metadata"]["name"], it["metadata"]["uid"], state, it["spec"]["opsState"]])
    };
    let (first, last) = (pods.first().unwrap(), pods.last().unwrap());
    let there = |pod: &&Value| !last.iter().any(|it| it["metadata"]["uid"] == pod["metadata"]["uid"]);
    let gone: Vec<Value> = first.iter().filter(there).map(|pod| pod["metadata"]["name"].clone()).collect();
    let allocated = written.iter().filter(|it| it["before"] == "Allocated").count();
    json!({
        "written": sorted(written),
        "retired": sorted(retired),
        "images": images,
        "replicas": replicas.first(),
        "freed": sorted(freed),
        "rooms": sorted(servers.last().unwrap().iter().map(room).collect()),
        "gone": sorted(gone),
        "allocatedTouched": allocated,
        "requests": log.len(),
        "other": [[], [], []],
    })
}
