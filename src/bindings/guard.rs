//! Guarded writes to rooms: each holds the room to what was judged, and a room that changed meanwhile is left alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};

use super::drain::annotate;
use super::gs::distinct;
use super::host::{Host, ScriptResult};
use super::ledger::{Note, Remark, RoomChange};
use super::outcome::Outcome;
use super::values::GameServerValue;
use crate::cluster::{Cluster, Patch, kind};
use crate::diagnostic::{Diagnostic, Kind};
use crate::okg::game_server::{GameServer, Room};
use crate::okg::names;
use crate::script::{interrupted, throw};

/// [`RoomChange::field`] of the label that a preDelete hook looks for.
pub const BLOCKED: &str = "block";

/// Where that label stands.
pub const BLOCK_PATH: &str = "/metadata/labels/gs-sync~1okgscript-block";

/// How many writes are under way at once.
pub const AT_ONCE: usize = 16;

/// How often a write is repeated whose answer was lost or that the server put off.
const REPEATS: u32 = 4;

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// `spec.opsState`, from None to a hold, with its annotation.
    Hold(Hold),
    /// `spec.opsState`.
    OpsState(String),
    /// `spec.deletionPriority`.
    DeletionPriority(i64),
    /// `spec.updatePriority`.
    UpdatePriority(i64),
    /// `spec.networkDisabled`.
    NetworkDisabled(bool),
    /// The label by which a preDelete hook keeps a room: whoever plays in it, it is set; it is lifted only as judged.
    Block(bool),
}

/// A hold that is about to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The opsState, private to the run.
    pub value: String,
    /// The state that the room must be in.
    pub state: &'static str,
    /// The run.
    pub run: String,
    /// When, RFC 3339.
    pub at: String,
}

impl Field {
    fn name(&self) -> &'static str {
        match self {
            Field::OpsState(_) | Field::Hold(_) => "opsState",
            Field::DeletionPriority(_) => "deletionPriority",
            Field::UpdatePriority(_) => "updatePriority",
            Field::NetworkDisabled(_) => "networkDisabled",
            Field::Block(_) => BLOCKED,
        }
    }

    fn value(&self) -> Value {
        match self {
            Field::OpsState(state) => json!(state),
            Field::Hold(hold) => json!(hold.value),
            Field::DeletionPriority(number) | Field::UpdatePriority(number) => json!(number),
            Field::NetworkDisabled(flag) => json!(flag),
            Field::Block(_) => json!(self.text()),
        }
    }

    fn text(&self) -> String {
        match self {
            Field::OpsState(state) => state.clone(),
            Field::Hold(hold) => hold.value.clone(),
            Field::DeletionPriority(number) | Field::UpdatePriority(number) => number.to_string(),
            Field::NetworkDisabled(flag) | Field::Block(flag) => flag.to_string(),
        }
    }

    fn of(&self, server: &GameServer) -> String {
        match self {
            Field::OpsState(_) | Field::Hold(_) => server.ops_state().to_owned(),
            Field::DeletionPriority(_) => server.deletion_priority().to_owned(),
            Field::UpdatePriority(_) => server.update_priority().to_owned(),
            Field::NetworkDisabled(_) => server.network_disabled().to_string(),
            Field::Block(_) => server.metadata.labels.get(names::BLOCK).map_or("-", String::as_str).to_owned(),
        }
    }

    /// Returns whether it must still be the same opsState as judged.
    fn depends_on_ops_state(&self) -> bool {
        !matches!(self, Field::Block(true))
    }

    /// Refuses values that would freeze a room: OKG copies a priority to a pod label, and `-5` is none.
    pub fn check(&self, function: &str) -> Result<(), Diagnostic> {
        match self {
            Field::DeletionPriority(number) | Field::UpdatePriority(number) if *number < 0 => Err(Diagnostic::new(
                Kind::Invalid,
                format!("{function}: a priority of {number} would freeze the room"),
            )
            .why("OKG copies it to a pod label, and a label cannot begin with `-`: labels and status then stand still")
            .help("use 0 or more")),
            _ => Ok(()),
        }
    }
}

/// Returns where a [`RoomChange::field`] stands in a GameServer.
pub fn path_of(field: &str) -> String {
    if field == BLOCKED { BLOCK_PATH.to_owned() } else { format!("/spec/{field}") }
}

/// Returns the JSON Patch that changes a field of exactly the room that was judged.
pub fn patch(room: &Room, field: &Field) -> Value {
    let server = &room.server;
    let mut operations = vec![json!({"op": "test", "path": "/metadata/uid", "value": server.metadata.uid})];
    match server.metadata.owner_references.first() {
        Some(owner) if owner.kind == "Pod" => {
            operations.push(json!({"op": "test", "path": "/metadata/ownerReferences/0/uid", "value": owner.uid}));
        }
        // With reclaim policy Delete a GameServer outlives its pod: the start time tells pods apart.
        _ => {
            if let Some(start) = server.pod_start_time() {
                operations.push(json!({"op": "test", "path": "/status/podStatus/startTime", "value": start}));
            }
        }
    }
    if field.depends_on_ops_state() {
        operations.push(json!({"op": "test", "path": "/spec/opsState", "value": server.ops_state()}));
    }
    // A label that is not there cannot be tested.
    if matches!(field, Field::Block(_)) && server.metadata.labels.contains_key(names::BLOCK) {
        operations.push(json!({"op": "test", "path": BLOCK_PATH, "value": field.of(server)}));
    }
    if let Field::Hold(hold) = field {
        operations.push(json!({"op": "test", "path": "/status/currentState", "value": hold.state}));
        let pod = room.pod.as_ref().map(|pod| pod.metadata.uid.as_str()).unwrap_or_default();
        let note = json!({"run": hold.run, "pod": pod, "from": server.ops_state(), "at": hold.at}).to_string();
        operations.push(annotate(!server.metadata.annotations.is_empty(), &note));
    }
    // OKG's own label is on every GameServer: there are labels to add one to.
    operations.push(json!({"op": "add", "path": path_of(field.name()), "value": field.value()}));
    Value::Array(operations)
}

/// What one write came to.
enum Written {
    Changed(RoomChange),
    Unchanged,
    Skipped(String),
    Failed(String),
    /// A guard of ours refuses the write: the plan does not cover it, the Lease is lost.
    Refused(Diagnostic),
    NotSent,
}

/// Writes a field of rooms, each guarded, `limit` at once. Everything that became known stands in the ledger, also
/// when an interrupt ends the call.
pub fn write(host: &Arc<Host>, rooms: Vec<GameServerValue>, field: &Field, limit: usize) -> ScriptResult<Outcome> {
    let rooms = distinct(rooms);
    if rooms.is_empty() {
        return Ok(Outcome::default());
    }
    let sets: BTreeSet<&str> = rooms.iter().filter_map(|gs| names::set_of(gs.room.name())).collect();
    for set in sets {
        host.hold(set)?;
    }
    let cluster = host.cluster()?;
    let (shared, token, field) = (host.clone(), host.interrupt.token(), field.clone());
    let halted = Arc::new(AtomicBool::new(false));
    let outcome = host.call_write(async move {
        let writes = rooms.into_iter().map(|gs| {
            let (cluster, field, token, halted) = (cluster.clone(), field.clone(), token.clone(), halted.clone());
            async move {
                let stop = token.is_cancelled() || halted.load(Ordering::Relaxed);
                let written = if stop { Written::NotSent } else { write_one(&cluster, &gs.room, &field).await };
                halted.fetch_or(matches!(written, Written::Refused(_)), Ordering::Relaxed);
                (gs.room.name().to_owned(), written)
            }
        });
        let mut writes = futures::stream::iter(writes).buffered(limit);
        let mut outcome = Outcome::default();
        let mut stopped = None;
        while let Some((name, written)) = writes.next().await {
            match written {
                Written::Changed(change) => {
                    shared.note(Note::Room(change));
                    outcome.changed.push(name);
                }
                Written::Unchanged => outcome.unchanged.push(name),
                Written::Skipped(reason) => skip(&shared, &mut outcome, &name, &reason),
                Written::Failed(reason) => {
                    shared.note(Note::failed(&name, &reason));
                    outcome.failed.push(Remark { name, reason });
                }
                Written::Refused(refusal) => {
                    stopped.get_or_insert_with(|| throw(refusal));
                }
                Written::NotSent => {
                    stopped.get_or_insert_with(interrupted);
                }
            }
        }
        (outcome, stopped)
    })?;
    match outcome {
        (_, Some(stopped)) => Err(stopped),
        (outcome, None) => Ok(outcome),
    }
}

/// Notes a room that is left alone.
pub fn skip(host: &Host, outcome: &mut Outcome, name: &str, reason: &str) {
    host.note(Note::skipped(name, reason));
    outcome.skipped.push(Remark { name: name.to_owned(), reason: reason.to_owned() });
}

async fn write_one(cluster: &Cluster, room: &Room, field: &Field) -> Written {
    let before = field.of(&room.server);
    if before == field.text() {
        return Written::Unchanged;
    }
    let body = Patch::Json(patch(room, field));
    let change = |after: &GameServer| RoomChange {
        name: room.name().to_owned(),
        uid: room.server.metadata.uid.clone(),
        field: field.name().to_owned(),
        before: before.clone(),
        after: field.text(),
        version: after.metadata.resource_version.clone(),
    };
    let mut pause = Duration::from_millis(200);
    for attempt in 0..=REPEATS {
        let namespace = cluster.namespace();
        let error = match cluster.patch::<GameServer>(&kind::GAME_SERVER, namespace, room.name(), None, &body).await {
            Ok(after) => return Written::Changed(change(&after)),
            Err(error) => error,
        };
        match error.kind {
            Kind::NotFound => return Written::Skipped("the room is gone".to_owned()),
            Kind::Refused => return Written::Refused(error),
            // A failed guard, a conflict, or an answer that was lost: only a fresh look tells what is there now.
            Kind::Conflict | Kind::Unknown | Kind::Unavailable => {
                let now = cluster.find::<GameServer>(&kind::GAME_SERVER, namespace, room.name()).await;
                match now {
                    Ok(None) => return Written::Skipped("the room is gone".to_owned()),
                    Ok(Some(now)) => match compare(room, &now, field) {
                        Now::Other(reason) => return Written::Skipped(reason),
                        Now::AsWanted if error.kind != Kind::Conflict => return Written::Changed(change(&now)),
                        Now::AsWanted => return Written::Skipped(format!("somebody else set it to {}", field.text())),
                        // No `test` fails on what was judged: the patch itself is refused.
                        Now::AsJudged if error.data.contains_key("guard") && attempt > 0 => {
                            return Written::Failed(format!("the server refuses the patch: {}", said(&error)));
                        }
                        Now::AsJudged => {}
                    },
                    Err(reading) if attempt == REPEATS => {
                        return Written::Failed(format!("{}; then {}", said(&error), said(&reading)));
                    }
                    Err(_) => {}
                }
            }
            Kind::TooManyRequests => {
                let asked = error.data.get("retry_after_seconds").and_then(Value::as_u64).unwrap_or(1);
                pause = pause.max(Duration::from_secs(asked));
            }
            _ => return Written::Failed(said(&error)),
        }
        if attempt == REPEATS {
            return Written::Failed(said(&error));
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Written::Failed("no answer".to_owned())
}

/// What a room is now, compared with what was judged and what is wanted.
enum Now {
    AsJudged,
    AsWanted,
    Other(String),
}

fn compare(room: &Room, now: &GameServer, field: &Field) -> Now {
    let judged = &room.server;
    if now.metadata.uid != judged.metadata.uid {
        return Now::Other("another room has taken the name".to_owned());
    }
    if now.metadata.owner_references != judged.metadata.owner_references {
        return Now::Other("its pod was recreated".to_owned());
    }
    let apart = !matches!(field, Field::OpsState(_) | Field::Hold(_)) && field.depends_on_ops_state();
    if apart && now.ops_state() != judged.ops_state() {
        return Now::Other(format!("opsState became {}", now.ops_state()));
    }
    let value = field.of(now);
    if value == field.text() {
        return Now::AsWanted;
    }
    if value != field.of(judged) {
        return Now::Other(format!("{} became {value}", field.name()));
    }
    if now.pod_start_time() != judged.pod_start_time() {
        return Now::Other("its pod was recreated".to_owned());
    }
    Now::AsJudged
}

fn said(error: &Diagnostic) -> String {
    match error.why.first() {
        Some(why) => format!("{} ({why})", error.what),
        None => error.what.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::okg::game_server::Version;

    #[test]
    fn the_patch_holds_the_room_to_what_was_judged() {
        let server = serde_json::from_value(json!({
            "metadata": {"name": "m-1", "uid": "u", "ownerReferences": [{"kind": "Pod", "name": "m-1", "uid": "p"}]},
            "spec": {"opsState": "None"},
        }))
        .unwrap();
        let room = Room { server: Arc::new(server), pod: None, version: Version::Old };
        let expected = json!([
            {"op": "test", "path": "/metadata/uid", "value": "u"},
            {"op": "test", "path": "/metadata/ownerReferences/0/uid", "value": "p"},
            {"op": "test", "path": "/spec/opsState", "value": "None"},
            {"op": "add", "path": "/spec/opsState", "value": "WaitToBeDeleted"},
        ]);
        assert_eq!(patch(&room, &Field::OpsState("WaitToBeDeleted".into())), expected);
    }
}
