//! The book of one run: every drain with who contested it, and every loss with whose doing it was.
//!
//! A drain begins with the tool's first attempt to hold a room (or to mark it, where there is no hold) and ends when the
//! room is free again, taken by somebody else, or its pod is gone. Between judgement and that attempt lie milliseconds;
//! a contest in them shows as the attempt's failed test.
//!
//! Whose doing a loss was is told by the deletion of the pod, not by the room:
//! 1. A pod that ran and was taken because replicas were lowered: the *tool's* if the tool had reserved its id; if the
//!    tool had marked any room of the set before, for scalers count marks; and if nobody else's lowering accounts for it: a
//!    scaler that lowers by k accounts for k rooms, whichever.
//! 2. Players sent to a room whose pod goes or is gone: as the deletion of that pod.
//! 3. Everything else, a crash above all: *not the tool's*.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use okgscript::bindings::ledger::{Ledger as Receipt, RETIRED};
use okgscript::okg::{names, reserve};
use okgscript::sandbox::api::Api;
use okgscript::sandbox::object::{self, Object, Patch};
use okgscript::sandbox::players::{Cause, End, Ledger};
use okgscript::sandbox::witness::{Attempt, Wish};
use serde_json::Value;

use super::{Score, Subject};

const GS: &str = "gameservers.game.kruise.io";
const GSS: &str = "gameserversets.game.kruise.io";
const MARK: &str = "WaitToBeDeleted";

/// A room between its judgement and its end.
#[derive(Debug, Default)]
struct Drain {
    /// The pod that was judged, where the hold's annotation says it.
    pod: String,
    contested: bool,
}

/// What the witness notes.
pub struct Book {
    api: Api,
    drains: BTreeMap<String, Drain>,
    score: Score,
    /// Whether the tool has marked a room, and whether it has lowered replicas.
    marked: bool,
    lowered: bool,
    /// Ids that the tool reserved and did not free.
    reserved: BTreeSet<i32>,
    /// Rooms that others' lowering accounts for.
    others: i64,
    /// Pods that were deleted, and whether by the tool's doing; by uid, and the last one by name.
    deleted: BTreeMap<String, bool>,
    last: BTreeMap<String, bool>,
    /// Rooms that the tool wrote: name and opsState, by resourceVersion.
    written: BTreeMap<String, (String, String)>,
    /// Versions of the set at which the tool retired rooms.
    retired: BTreeSet<String>,
    /// Pods with players of whom OKG does not know.
    unheard: BTreeSet<String>,
}

impl Book {
    pub fn new(api: &Api) -> Book {
        Book {
            api: api.clone(),
            drains: BTreeMap::new(),
            score: Score { worlds: 1, ..Score::default() },
            marked: false,
            lowered: false,
            reserved: BTreeSet::new(),
            others: 0,
            deleted: BTreeMap::new(),
            last: BTreeMap::new(),
            written: BTreeMap::new(),
            retired: BTreeSet::new(),
            unheard: BTreeSet::new(),
        }
    }

    /// Takes one attempt in.
    pub fn witness(&mut self, attempt: &Attempt<'_>) {
        let tool = Subject::manager(attempt.manager);
        match (attempt.resource, attempt.wish) {
            (GS, Wish::Delete) => {}
            (GS, wish) if attempt.subresource.is_empty() => {
                let Some(state) = ops_state_of(wish, attempt) else { return };
                if tool { self.tool_wrote(attempt, &state) } else { self.other_wrote(attempt, &state) }
            }
            (GSS, _) if attempt.subresource.is_empty() => self.set_written(attempt, tool),
            ("pods", Wish::Delete) => self.pod_deleted(attempt),
            _ => {}
        }
    }

    fn tool_wrote(&mut self, attempt: &Attempt<'_>, state: &str) {
        let name = attempt.name;
        if matches!(attempt.wish, Wish::Replace) || state.starts_with("Draining-") || state == MARK {
            let score = &mut self.score;
            let held = attempt.before.is_some_and(|room| ops_state(room).starts_with("Draining-"));
            self.drains.entry(name.to_owned()).or_insert_with(|| {
                score.drains += 1;
                Drain { pod: if held { String::new() } else { pod_in(attempt.wish) }, contested: false }
            });
        }
        match attempt.outcome {
            Ok(after) => {
                self.written.insert(object::version(after).to_string(), (name.to_owned(), state.to_owned()));
                if state == MARK {
                    self.score.ended += 1;
                    self.marked = true;
                    let before = attempt.before.map(|room| ops_state(room).to_owned()).unwrap_or_default();
                    let judged = self.drains.get(name).map(|drain| drain.pod.clone()).unwrap_or_default();
                    let pod = self.api.get("pods", "default", name);
                    let pod = pod.as_ref().map(|pod| object::meta(pod, "uid")).unwrap_or_default();
                    let right = before.starts_with("Draining-") || before == "None";
                    if !right || (!judged.is_empty() && judged != pod) {
                        self.score.unjudged += 1;
                    }
                } else if state == "None" {
                    self.close(name);
                }
            }
            // A failed test: somebody wrote since the room was judged.
            Err(status) if status.code != 404 => {
                self.contest(name, attempt.before.map_or("unknown", |_| "before the tool's own write"));
                self.close(name);
            }
            Err(_) => self.close(name),
        }
    }

    fn other_wrote(&mut self, attempt: &Attempt<'_>, state: &str) {
        self.contest(attempt.name, attempt.manager);
        if attempt.outcome.is_ok() && !state.starts_with("Draining-") && state != MARK {
            self.close(attempt.name);
        }
    }

    fn contest(&mut self, name: &str, by: &str) {
        if let Some(drain) = self.drains.get_mut(name) {
            drain.contested = true;
            *self.score.by.entry(by.to_owned()).or_default() += 1;
        }
    }

    fn close(&mut self, name: &str) {
        if self.drains.remove(name).is_some_and(|drain| drain.contested) {
            self.score.contested += 1;
        }
    }

    fn set_written(&mut self, attempt: &Attempt<'_>, tool: bool) {
        let (Some(before), Ok(after)) = (attempt.before, attempt.outcome) else { return };
        let replicas = |set: &Object| set["spec"]["replicas"].as_i64().unwrap_or(0);
        let less = replicas(before) - replicas(after);
        if !tool {
            // Raised again, as much less is to go.
            self.others = (self.others + less).max(0);
            return;
        }
        self.reserved = reserve::parse_or_empty(after["spec"].get("reserveGameServerIds"));
        if less > 0 {
            self.lowered = true;
            self.score.ended += usize::try_from(less).unwrap_or(0);
            self.retired.insert(object::version(after).to_string());
        }
    }

    /// Whether a running pod that is deleted goes by the tool's doing.
    fn tools(&mut self, pod: &str) -> bool {
        if self.marked {
            return true;
        }
        if names::ordinal(pod).is_some_and(|ordinal| self.reserved.contains(&ordinal)) {
            return true;
        }
        if self.others > 0 {
            self.others -= 1;
            return false;
        }
        self.lowered
    }

    fn pod_deleted(&mut self, attempt: &Attempt<'_>) {
        let (Some(before), Ok(_)) = (attempt.before, attempt.outcome) else { return };
        let uid = object::meta(before, "uid");
        if !object::terminating(before) {
            let failed = before["status"]["phase"] == "Failed";
            let tools = !failed && self.tools(attempt.name);
            self.deleted.insert(uid.to_owned(), tools);
            self.last.insert(attempt.name.to_owned(), tools);
            if self.unheard.remove(uid) {
                self.lose(tools, "unheard of");
            }
        }
        if self.api.get("pods", "default", attempt.name).is_none_or(|pod| object::meta(&pod, "uid") != uid) {
            self.close(attempt.name);
        }
    }

    fn lose(&mut self, tools: bool, cause: &str) {
        if tools {
            self.score.lost += 1;
        } else {
            self.score.lost_without += 1;
        }
        let whose = if tools { "tool" } else { "other" };
        *self.score.causes.entry(format!("{whose}: {cause}")).or_default() += 1;
    }

    /// Closes the book: what became of matches, and whether the receipt is true.
    pub fn score(&mut self, players: &Ledger, receipt: &Receipt) -> Score {
        for name in self.drains.keys().cloned().collect::<Vec<_>>() {
            self.close(&name);
        }
        for game in players.lost() {
            let Some(End::Lost(loss)) = game.end else { continue };
            let tools = match loss.cause {
                Cause::Crashed | Cause::Recreated => false,
                _ => {
                    let of_pod = self.deleted.get(&game.pod).copied();
                    of_pod.or_else(|| self.last.get(&game.room).copied()).unwrap_or(false)
                }
            };
            self.lose(tools, &format!("{:?}", loss.cause));
        }
        self.score.matches = players.matches().len();
        for change in &receipt.rooms {
            let true_line = if change.field == RETIRED {
                self.retired.contains(&change.version)
            } else if change.field == "opsState" {
                self.written.remove(&change.version) == Some((change.name.clone(), change.after.clone()))
            } else {
                true
            };
            self.score.lies += usize::from(!true_line);
        }
        if !receipt.rooms.is_empty() {
            self.score.lies += self.written.len();
        }
        let marked = self.api.list(GS, Some("default"));
        self.score.still_held = marked.iter().filter(|room| ops_state(room).starts_with("Draining-")).count();
        self.score.clone()
    }
}

fn ops_state(room: &Value) -> &str {
    room["spec"]["opsState"].as_str().unwrap_or_default()
}

/// Returns the opsState that a write wants, if it is about that.
fn ops_state_of(wish: Wish<'_>, attempt: &Attempt<'_>) -> Option<String> {
    match wish {
        Wish::Patch(Patch::Json(operations)) => {
            let written = |it: &&Value| it["op"] != "test" && it["path"] == "/spec/opsState";
            operations.as_array()?.iter().find(written)?["value"].as_str().map(str::to_owned)
        }
        Wish::Patch(Patch::Merge(body) | Patch::Strategic(body)) => {
            body["spec"]["opsState"].as_str().map(str::to_owned)
        }
        // A lost update shows no body: taken as one of ours, since nobody else replaces GameServers.
        Wish::Replace => match attempt.outcome {
            Ok(after) if attempt.before.is_some_and(|before| ops_state(before) == ops_state(after)) => None,
            Ok(after) => Some(ops_state(after).to_owned()),
            Err(_) => Subject::manager(attempt.manager).then(|| MARK.to_owned()),
        },
        _ => None,
    }
}

/// Returns the pod that a hold's annotation names.
fn pod_in(wish: Wish<'_>) -> String {
    let Wish::Patch(Patch::Json(operations)) = wish else { return String::new() };
    let notes = operations.as_array().into_iter().flatten().filter_map(|it| match &it["value"] {
        Value::String(text) => serde_json::from_str::<Value>(text).ok(),
        Value::Object(map) => serde_json::from_str(map.get("okgscript.io/drain")?.as_str()?).ok(),
        _ => None,
    });
    let mut pods = notes.filter_map(|note| note["pod"].as_str().map(str::to_owned));
    pods.next().unwrap_or_default()
}

/// Lets players play for 20 s in rooms that stay None: nobody tells OKG of them.
pub fn unheard(per_minute: u32, seed: u64, api: &Api, book: &Arc<Mutex<Book>>) {
    if per_minute == 0 {
        return;
    }
    let (api, book, mut rng) = (api.clone(), book.clone(), fastrand::Rng::with_seed(seed ^ 0x756e_6865));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(60) / per_minute).await;
            let rooms = api.list(GS, Some("default"));
            let free: Vec<&Object> = rooms
                .iter()
                .filter(|room| ops_state(room) == "None" && room["status"]["currentState"] == "Ready")
                .collect();
            let Some(room) = rng.choice(&free) else { continue };
            let Some(pod) = api.get("pods", "default", object::name(room)) else { continue };
            let uid = object::meta(&pod, "uid").to_owned();
            book.lock().unwrap().unheard.insert(uid.clone());
            let book = book.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(20)).await;
                book.lock().unwrap().unheard.remove(&uid);
            });
        }
    });
}
