//! From a journal back to what a run did: its steps, its ledger, and the writes of which nobody knows the end.
//!
//! What was done stands in notes. A run that was killed may have sent a write and not noted it; such a write is read
//! from its own body, which holds what was judged (the `test`s of its patch) and what was wanted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::drain::DRAIN;
use super::guard::{BLOCK_PATH, BLOCKED};
use super::ledger::{FieldChange, Ledger, Note, RETIRED, RoomChange};
use crate::cluster::{Recording, lock};
use crate::diagnostic::{Diagnostic, Kind};
use crate::okg::names;

/// What a journal tells of a run.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// The first record: script, parameters, flags.
    pub begin: Value,
    /// How many processes have worked on the run.
    pub parts: u64,
    /// The cluster, once it was reached.
    pub cluster: Option<Value>,
    /// The record of how it ended; nothing while it goes on or after it died.
    pub end: Option<Value>,
    /// What was done.
    pub ledger: Ledger,
    /// Writes of which it is not known whether they took effect.
    pub open: Vec<Open>,
    /// GameServerSets whose Lease the run asked for.
    pub locked: BTreeSet<String>,
    /// Those among them that it is known to have got.
    pub owned: BTreeSet<String>,
    /// Notes that were found in answered writes, because the run died before it noted them.
    pub recovered: Vec<Note>,
    /// Requests that were sent, or about to be.
    pub requests: u64,
    /// Those among them of which a part that died recorded no answer: the last may not have left.
    pub unanswered: u64,
    /// Bytes that were sent and received.
    pub bytes: u64,
    /// When the last record was written.
    pub last: String,
    steps: BTreeMap<String, Vec<(String, PastStep)>>,
}

/// A write of which it is not known whether it took effect.
#[derive(Clone, Debug)]
pub struct Open {
    /// Part of the run that sent it.
    pub part: u64,
    /// Number of the request.
    pub id: u64,
    /// Path of the object.
    pub path: String,
    /// What it would have changed.
    pub meant: Vec<Note>,
}

/// How far a step came.
#[derive(Clone, Debug, PartialEq)]
pub enum PastStep {
    /// It began, and its end is not recorded.
    Unfinished,
    /// It ended with this value.
    Done(Value),
    /// It ended with a value that cannot be written down, for this reason.
    Forgotten(String),
    /// It failed with this error, as a script sees it.
    Failed(Value),
}

impl PastStep {
    /// Adds the state to a step's record.
    pub fn write(&self, record: &mut Value) {
        let (state, key, value) = match self {
            PastStep::Unfinished => ("began", "value", Value::Null),
            PastStep::Done(value) => ("done", "value", value.clone()),
            PastStep::Forgotten(why) => ("done", "forgotten", Value::from(why.as_str())),
            PastStep::Failed(error) => ("failed", "error", error.clone()),
        };
        record["state"] = Value::from(state);
        record[key] = value;
    }

    fn read(record: &Value) -> PastStep {
        match (record["state"].as_str(), record["forgotten"].as_str()) {
            (Some("done"), Some(why)) => PastStep::Forgotten(why.to_owned()),
            (Some("done"), None) => PastStep::Done(record["value"].clone()),
            (Some("failed"), _) => PastStep::Failed(record["error"].clone()),
            _ => PastStep::Unfinished,
        }
    }
}

impl Past {
    /// Reads a journal; one without a whole first record tells nothing.
    pub fn read(recording: &Recording) -> Result<Past, Diagnostic> {
        let records = &recording.records;
        let Some(begin) = records.first().filter(|first| first["type"] == "begin") else {
            return Err(Diagnostic::new(Kind::Failed, "the journal does not say what was run")
                .why("the run ended before its first record was written")
                .help("nothing was written to the cluster: start it anew"));
        };
        let mut past = Past { begin: begin.clone(), parts: 1, ..Past::default() };
        let mut notes: Vec<(usize, Note)> = Vec::new();
        let mut asked: Vec<(usize, &Value)> = Vec::new();
        let mut ends: BTreeMap<(u64, u64), &Value> = BTreeMap::new();
        let mut found: BTreeSet<(u64, u64)> = BTreeSet::new();
        let mut leases: BTreeMap<(u64, u64), String> = BTreeMap::new();
        let mut summed = 0;
        let mut pending: BTreeSet<(u64, u64)> = BTreeSet::new();
        for (index, record) in records.iter().enumerate() {
            let part = record["part"].as_u64().unwrap_or(1);
            let key = (part, record["id"].as_u64().unwrap_or(0));
            if let Some(at) = record["at"].as_str() {
                at.clone_into(&mut past.last);
            }
            if part > summed {
                past.bytes += record["sent"].as_u64().unwrap_or(0);
                past.bytes += record["bytes"].as_u64().unwrap_or(0);
            }
            match record["type"].as_str().unwrap_or_default() {
                "resumed" => {
                    past.parts = past.parts.max(part);
                    past.end = None;
                }
                "cluster" => past.cluster = Some(record.clone()),
                "read" if part > summed => {
                    past.requests += 1;
                    pending.insert(key);
                }
                "got" => {
                    pending.remove(&key);
                }
                "asked" => {
                    past.requests += u64::from(part > summed);
                    pending.insert(key);
                    if let Some(set) = lease_of(record) {
                        past.locked.insert(set.clone());
                        leases.insert(key, set);
                    }
                    asked.push((index, record));
                }
                "answered" => {
                    pending.remove(&key);
                    if record["status"].as_u64().is_some_and(|status| (200..300).contains(&status)) {
                        past.owned.extend(leases.remove(&key));
                    }
                    ends.insert(key, record);
                }
                "found" => {
                    found.insert((record["of"].as_u64().unwrap_or(1), key.1));
                }
                "note" => {
                    if let Ok(note) = serde_json::from_value::<Note>(record.clone()) {
                        past.ledger.apply(note.clone());
                        notes.push((index, note));
                    }
                }
                "step" => past.step(record),
                "end" => {
                    past.end = Some(record.clone());
                    past.requests = record["requests"].as_u64().unwrap_or(past.requests);
                    past.bytes = record["bytesInAll"].as_u64().unwrap_or(past.bytes);
                    // What is still open at an end in good order was sent: watches.
                    pending.retain(|(of, _)| *of != part);
                    summed = part;
                }
                _ => {}
            }
        }
        for (index, record) in asked {
            let key = (record["part"].as_u64().unwrap_or(1), record["id"].as_u64().unwrap_or(0));
            let path = record["path"].as_str().unwrap_or_default();
            let end = ends.get(&key);
            let status = end.and_then(|end| end["status"].as_u64());
            if found.contains(&key) || status.is_some_and(|status| (400..500).contains(&status)) {
                continue;
            }
            let mut meant = meant(path, &record["body"], &past.ledger);
            meant.retain(|note| !notes.iter().any(|(at, known)| *at > index && same(note, known)));
            if status.is_some_and(|status| (200..300).contains(&status)) {
                let version = end.and_then(|end| end["resourceVersion"].as_str()).unwrap_or_default();
                past.recovered.extend(meant.into_iter().map(|note| versioned(note, version)));
            } else if !meant.is_empty() {
                past.open.push(Open { part: key.0, id: key.1, path: path.to_owned(), meant });
            }
        }
        for note in past.recovered.clone() {
            past.ledger.apply(note);
        }
        past.unanswered += pending.len() as u64;
        Ok(past)
    }

    fn step(&mut self, record: &Value) {
        let scope = self.steps.entry(record["scope"].as_str().unwrap_or_default().to_owned()).or_default();
        let n = record["n"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        let name = record["name"].as_str().unwrap_or_default().to_owned();
        let entry = (name, PastStep::read(record));
        // Steps of a scope begin one after another.
        if n == scope.len() {
            scope.push(entry);
        } else if let Some(slot) = scope.get_mut(n) {
            *slot = entry;
        }
    }

    /// Returns the n-th step of a scope, and whether others followed.
    pub fn step_at(&self, scope: &str, n: usize) -> Option<(&str, &PastStep, bool)> {
        let steps = self.steps.get(scope)?;
        let (name, step) = steps.get(n)?;
        Some((name, step, n + 1 < steps.len()))
    }

    /// Returns the steps of the main script, in their order, with how far they came.
    pub fn main_steps(&self) -> impl Iterator<Item = (&str, &PastStep)> {
        self.steps.get("").into_iter().flatten().map(|(name, step)| (name.as_str(), step))
    }

    /// Returns the sets that the run wrote to or took a Lease of.
    pub fn sets(&self) -> BTreeSet<String> {
        self.locked.union(&self.ledger.written_sets()).cloned().collect()
    }

    /// Returns the run's id.
    pub fn run(&self) -> &str {
        self.begin["run"].as_str().unwrap_or_default()
    }
}

/// Returns the set whose Lease a write is about.
fn lease_of(asked: &Value) -> Option<String> {
    let path = asked["path"].as_str()?.split('?').next()?;
    let name = asked["body"].pointer("/metadata/name")?.as_str()?;
    path.contains("/leases").then(|| lock::set_of(name).map(str::to_owned))?
}

/// Gives a note the resourceVersion that its write got.
pub fn versioned(mut note: Note, version: &str) -> Note {
    if let Note::Room(change) = &mut note {
        version.clone_into(&mut change.version);
    }
    note
}

/// Returns whether two notes are about the same write.
fn same(one: &Note, other: &Note) -> bool {
    match (one, other) {
        (Note::Room(a), Note::Room(b)) => (&a.uid, &a.field, &a.after) == (&b.uid, &b.field, &b.after),
        (Note::Replicas { set, to, .. }, Note::Replicas { set: other, to: after, .. }) => (set, to) == (other, after),
        (Note::Image { set, image }, Note::Image { set: other, image: after }) => {
            set == other && image.container == after.container && image.to == after.to
        }
        (Note::Field { set, field }, Note::Field { set: other, field: after }) => {
            set == other && field.path == after.path
        }
        (Note::Freed { set, ids }, Note::Freed { set: other, ids: after }) => set == other && ids == after,
        // Looked at again after its answer was lost, and told as skipped or failed.
        (Note::Room(change), Note::Skipped(remark) | Note::Failed(remark)) => change.name == remark.name,
        // `kube_patch` and its like note the object and not its fields.
        (one, Note::Other { text }) => object(one).is_some_and(|name| text.rsplit('/').next() == Some(&name)),
        _ => false,
    }
}

/// Returns the name of the object that a note is about.
fn object(note: &Note) -> Option<String> {
    match note {
        Note::Room(change) => Some(change.name.clone()),
        Note::Replicas { set, .. } | Note::Image { set, .. } | Note::Field { set, .. } | Note::Freed { set, .. } => {
            Some(set.clone())
        }
        Note::Other { text } => text.rsplit('/').next().map(str::to_owned),
        Note::Skipped(_)
        | Note::Failed(_)
        | Note::Seen { .. }
        | Note::Pods { .. }
        | Note::RestsOn { .. }
        | Note::Approved(_) => None,
    }
}

/// Returns what a write says that it changes. Leases are no result of a run.
pub fn meant(path: &str, body: &Value, ledger: &Ledger) -> Vec<Note> {
    let path = path.split('?').next().unwrap_or_default();
    let mut parts = path.rsplit('/');
    let (name, plural) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match (plural, body) {
        (_, _) if path.contains("/leases") => Vec::new(),
        ("gameservers", Value::Array(operations)) => room(name, operations),
        ("gameserversets", Value::Array(operations)) => set(name, operations, ledger),
        ("gameserversets", Value::Object(_)) => merged(name, body),
        _ => {
            // A new object is sent to its collection and has its name inside.
            let named = body.pointer("/metadata/name").and_then(Value::as_str);
            let named = named.filter(|named| *named != name).map(|named| format!("/{named}")).unwrap_or_default();
            vec![Note::Other { text: format!("wrote {path}{named}") }]
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn tested<'a>(operations: &'a [Value], path: &str) -> Option<&'a Value> {
    operations.iter().find(|it| it["op"] == "test" && it["path"] == path).map(|it| &it["value"])
}

fn written<'a>(operations: &'a [Value], path: &str) -> Option<&'a Value> {
    let writes = |it: &&Value| (it["op"] == "add" || it["op"] == "replace") && it["path"] == path;
    operations.iter().find(writes).map(|it| &it["value"])
}

fn room(name: &str, operations: &[Value]) -> Vec<Note> {
    let uid = tested(operations, "/metadata/uid").map(text).unwrap_or_default();
    let writes = operations.iter().filter(|it| it["op"] == "add" || it["op"] == "replace");
    let blocked = written(operations, BLOCK_PATH).map(|label| {
        let before = tested(operations, BLOCK_PATH).map_or_else(|| "-".to_owned(), text);
        RoomChange::new(name, &uid, BLOCKED, (before, text(label)))
    });
    let fields = writes.filter_map(|it| Some((it["path"].as_str()?.strip_prefix("/spec/")?, &it["value"])));
    let change = |(field, value): (&str, &Value)| {
        let before = tested(operations, &format!("/spec/{field}")).map_or_else(|| "unknown".to_owned(), text);
        RoomChange::new(name, &uid, field, (before, text(value)))
    };
    fields.map(change).chain(blocked).map(Note::Room).collect()
}

fn set(name: &str, operations: &[Value], ledger: &Ledger) -> Vec<Note> {
    let mut notes = Vec::new();
    for operation in operations.iter().filter(|it| it["op"] != "test") {
        let path = operation["path"].as_str().unwrap_or_default();
        let before = tested(operations, path);
        let value = &operation["value"];
        match path.strip_suffix("/image") {
            Some(container) => {
                let container = tested(operations, &format!("{container}/name")).map(text).unwrap_or_default();
                let from = before.map_or_else(|| "unknown".to_owned(), text);
                notes.push(Note::image(name, &container, &from, &text(value)));
            }
            None if path == "/spec/replicas" => {
                let from = before.and_then(Value::as_i64).unwrap_or(-1);
                notes.push(Note::Replicas { set: name.to_owned(), from, to: value.as_i64().unwrap_or(-1) });
            }
            None if path == "/spec/reserveGameServerIds" => notes.extend(reserved(name, operations, ledger)),
            None if path.starts_with("/metadata/annotations") => {}
            None => {
                let from = before.map_or_else(|| "unknown".to_owned(), text);
                let path = path.trim_start_matches('/').replace('/', ".");
                let field = FieldChange { path, from, to: text(value) };
                notes.push(Note::Field { set: name.to_owned(), field });
            }
        }
    }
    notes
}

/// A patch of the reserve list takes rooms away, or frees the ids of rooms that are gone.
fn reserved(set: &str, operations: &[Value], ledger: &Ledger) -> Vec<Note> {
    let annotation = written(operations, "/metadata/annotations/okgscript.io~1drain");
    let annotation = annotation.or_else(|| written(operations, "/metadata/annotations").map(|all| &all[DRAIN]));
    let note: Value =
        annotation.and_then(Value::as_str).and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
    let ids: BTreeSet<i32> = note["reserved"].as_array().into_iter().flatten().filter_map(id).collect();
    let of_set = |change: &&RoomChange| names::set_of(&change.name) == Some(set);
    let retired = ledger.rooms.iter().filter(of_set).filter(|change| change.field == RETIRED);
    let retired: BTreeSet<i32> = retired.filter_map(|change| names::ordinal(&change.name)).collect();
    let freed: BTreeSet<i32> = ledger.sets.get(set).into_iter().flat_map(|it| it.freed.iter().copied()).collect();
    if written(operations, "/spec/replicas").is_none() {
        let ids: Vec<i32> = retired.difference(&ids).copied().filter(|id| !freed.contains(id)).collect();
        return if ids.is_empty() { Vec::new() } else { vec![Note::Freed { set: set.to_owned(), ids }] };
    }
    let mut notes = Vec::new();
    // The annotation lists all ids of the run, those of earlier patches too.
    for id in ids.into_iter().filter(|id| !retired.contains(id) || freed.contains(id)) {
        let name = format!("{set}-{id}");
        let held = ledger.rooms.iter().rev().find(|change| change.name == name);
        let uid = held.map(|change| change.uid.clone()).unwrap_or_default();
        notes.push(Note::retired(&name, &uid, ""));
    }
    notes
}

fn id(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|id| i32::try_from(id).ok())
}

/// A merge patch tells what is wanted and not what was there.
fn merged(set: &str, body: &Value) -> Vec<Note> {
    let mut fields = Vec::new();
    leaves(body, "", &mut fields);
    let fields = fields.into_iter().filter(|(path, _)| path != "metadata.resourceVersion");
    let note = |(path, to): (String, String)| Note::Field {
        set: set.to_owned(),
        field: FieldChange { path, from: "unknown".to_owned(), to },
    };
    fields.map(note).collect()
}

fn leaves(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                leaves(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, found);
            }
        }
        other => found.push((path.to_owned(), text(other))),
    }
}
