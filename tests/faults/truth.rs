//! What a receipt must say, from nothing but the server's own log, where requests were refused, lost, or done although
//! their answer was lost.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::runs::proxy::Exchange;
use crate::runs::truth::{Lines, happened, list, sorted};

/// Compares a receipt with the log; an error says what does not agree.
pub fn check(receipt: &Value, log: &[Exchange]) -> Result<(), String> {
    let changes = &receipt["changes"];
    let happened = happened(log);
    let told = told(receipt, &happened);
    for (what, told, happened) in [
        ("written", &told.rooms, &happened.rooms),
        ("retired", &told.retired, &happened.retired),
        ("freed", &told.freed, &happened.freed),
        ("images", &told.images, &happened.images),
        ("replicas", &told.replicas, &happened.replicas),
    ] {
        let mut left = told.clone();
        for line in happened {
            match left.iter().position(|it| it == line) {
                Some(at) => drop(left.remove(at)),
                None if in_doubt(receipt, line) => {}
                None => return Err(format!("{what}: the receipt lacks {line}\nit says {told:#?}")),
            }
        }
        if !left.is_empty() {
            return Err(format!("{what}: the receipt says {left:#?}, which never happened\nbut {happened:#?}"));
        }
    }
    let allocated = happened.rooms.iter().filter(|it| it["before"] == "Allocated").count();
    if receipt["allocatedTouched"] != allocated || allocated > 0 {
        return Err(format!("{allocated} Allocated rooms were touched, {} are told", receipt["allocatedTouched"]));
    }
    if receipt["requests"] != log.len() {
        return Err(format!("{} requests were sent, {} are told", log.len(), receipt["requests"]));
    }
    remarks(changes, log)?;
    last_look(receipt, log)
}

/// Whether the run says that nobody knows whether this was done.
fn in_doubt(receipt: &Value, line: &Value) -> bool {
    let doubtful = |text: &str| text.contains("nobody knows");
    let failed = list(&receipt["changes"]["failed"]);
    let room = failed.iter().any(|it| it["name"] == line["name"] && doubtful(it["reason"].as_str().unwrap()));
    line["lost"] == true && (room || receipt["error"].as_str().is_some_and(doubtful))
}

/// The receipt's lines; a version is left out only where its answer was lost.
fn told(receipt: &Value, happened: &Lines) -> Lines {
    let changes = &receipt["changes"];
    let set = &changes["sets"]["minecraft"];
    let mut lines = Lines::default();
    let known = |line: Value, happened: &[Value]| {
        let same = |it: &&Value| ["name", "uid", "before", "after"].iter().all(|key| it[*key] == line[*key]);
        let same: Vec<&Value> = happened.iter().filter(same).collect();
        let exact = same.iter().find(|it| it["version"] == line["version"]);
        // A room that was read after a lost answer has the version of then.
        exact.or_else(|| same.iter().find(|it| it["lost"] == true)).map_or(line, |it| (*it).clone())
    };
    for room in list(&changes["rooms"]) {
        if room["field"] == "retired" {
            let line = json!({"name": room["name"], "uid": room["uid"], "version": room["version"]});
            lines.retired.push(known(line, &happened.retired));
        } else {
            lines.rooms.push(known(room, &happened.rooms));
        }
    }
    lines.images = list(&set["images"]);
    lines.freed = list(&set["freed"]);
    lines.replicas = if set["replicas"].is_array() { vec![set["replicas"].clone()] } else { Vec::new() };
    lines
}

/// Whoever is said to have failed did; and a room whose last write was not done is told.
fn remarks(changes: &Value, log: &[Exchange]) -> Result<(), String> {
    let named = |key: &str| -> BTreeSet<String> {
        list(&changes[key]).iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let (failed, skipped) = (named("failed"), named("skipped"));
    let mut last: BTreeMap<String, bool> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for exchange in log.iter().filter(|it| it.write() && it.path.contains("/gameservers/")) {
        let room = exchange.path.split("/gameservers/").nth(1).unwrap().split('?').next().unwrap().to_owned();
        let heard = exchange.forwarded && !exchange.lost && (200..300).contains(&exchange.status);
        if !heard {
            refused.insert(room.clone());
        }
        last.insert(room, exchange.forwarded && (200..300).contains(&exchange.status));
    }
    // Without a Lease that holds nothing is sent.
    let lease_lost = log.iter().any(|it| it.write() && it.path.contains("/leases") && (!it.forwarded || it.lost));
    let unsent = |it: &Value| lease_lost && it["reason"].as_str().is_some_and(|why| why.starts_with("the lock on "));
    let remarks = list(&changes["failed"]);
    let invented = remarks.iter().find(|it| !refused.contains(it["name"].as_str().unwrap()) && !unsent(it));
    if let Some(remark) = invented {
        return Err(format!("failed: no write of this room failed: {remark}"));
    }
    let undone = last.iter().find(|(room, done)| !**done && !failed.contains(*room) && !skipped.contains(*room));
    undone.map_or(Ok(()), |(room, _)| Err(format!("the last write of {room} was not done, and the receipt is silent")))
}

/// The rooms that the receipt shows, and those that it calls gone, are as the last lists told the run.
fn last_look(receipt: &Value, log: &[Exchange]) -> Result<(), String> {
    let lists = |plural: &str| {
        let path = format!("/namespaces/default/{plural}?");
        let heard =
            log.iter().filter(move |it| it.path.contains(&path) && it.forwarded && !it.lost && it.status == 200);
        let lists: Vec<&Exchange> = heard.filter(|it| it.answer["items"].is_array()).collect();
        lists.into_iter().map(|it| list(&it.answer["items"])).collect::<Vec<_>>()
    };
    if !receipt["rooms"]["minecraft"].is_array() {
        return Ok(());
    }
    let (servers, pods) = (lists("gameservers"), lists("pods"));
    let (Some(servers), Some(first), Some(last)) = (servers.last(), pods.first(), pods.last()) else {
        return Err("rooms are told that were never read".into());
    };
    let room = |it: &Value| {
        let state = it["status"]["currentState"].as_str().unwrap_or_default();
        json!([it["metadata"]["name"], it["metadata"]["uid"], state, it["spec"]["opsState"]])
    };
    let told = |it: &Value| json!([it["name"], it["uid"], it["state"], it["opsState"]]);
    let seen = sorted(servers.iter().map(room).collect());
    let shown = sorted(list(&receipt["rooms"]["minecraft"]).iter().map(told).collect());
    let there = |pod: &&Value| !last.iter().any(|it| it["metadata"]["uid"] == pod["metadata"]["uid"]);
    let mut vanished: BTreeSet<&str> =
        first.iter().filter(there).filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
    // The two lists may be of different moments: a room that the run wrote is gone if either says so.
    let written = log.iter().filter(|it| it.write() && it.done() && it.path.contains("/gameservers/"));
    let names = written.filter_map(|it| it.answer["metadata"]["name"].as_str());
    vanished.extend(names.filter(|name| !servers.iter().any(|server| server["metadata"]["name"] == *name)));
    let vanished = sorted(vanished.into_iter().map(Value::from).collect());
    let gone = sorted(list(&receipt["gone"]["minecraft"]).iter().map(|it| it["name"].clone()).collect());
    if (&seen, &vanished) == (&shown, &gone) {
        return Ok(());
    }
    Err(format!("the receipt shows\n{shown:#}\ngone {gone}\nand the run was told\n{seen:#}\ngone {vanished}"))
}
