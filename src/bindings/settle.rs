//! Writes that an earlier part of the run sent and whose answer it did not note: the cluster tells what became of them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::drain::DRAIN;
use super::guard::path_of;
use super::host::{Host, ScriptResult};
use super::ledger::{Note, RETIRED, Remark, RoomChange};
use super::meanwhile;
use super::replay::Open;
use super::stage::Event;
use crate::cluster::{Cluster, kind};
use crate::diagnostic::Diagnostic;
use crate::okg::names;

/// What became of a write.
enum Fate {
    Arrived,
    NotThere,
    NobodyKnows,
}

/// Makes a resumed run ready: its Leases are its own again, and every write whose end is not known is looked up once.
pub fn open_writes(host: &Arc<Host>) -> ScriptResult<()> {
    let Some(record) = &host.record else { return Ok(()) };
    meanwhile::look(host)?;
    // An earlier part may still hold them, and this one must give them back even if it writes nothing.
    for set in &record.past().locked {
        host.hold(set)?;
    }
    for open in record.past().open.clone() {
        let cluster = host.cluster()?;
        let (looked, run) = (open.clone(), host.run.clone());
        let fates = host.call(async move {
            let mut fates = Vec::new();
            for note in &looked.meant {
                fates.push(fate(&cluster, note, &run).await?);
            }
            Ok(fates)
        })?;
        let mut said = Vec::new();
        for (note, fate) in open.meant.iter().zip(fates) {
            let name = name_of(note);
            match fate {
                Fate::Arrived => {
                    said.push(format!("{name}: it had arrived"));
                    // The resourceVersion that it got is not known: by now it may be another.
                    host.note(note.clone());
                }
                Fate::NotThere => said.push(format!("{name}: it had not arrived")),
                Fate::NobodyKnows => {
                    let reason = "whether the last write arrived is not known: it has changed since".to_owned();
                    said.push(format!("{name}: {reason}"));
                    host.note(Note::Failed(Remark { name, reason }));
                }
            }
        }
        let _ = record.append(&found(record.part(), &open), false);
        host.show(Event::Log { text: format!("a write without answer, looked up: {}", said.join("; ")) });
    }
    Ok(())
}

fn found(part: u64, open: &Open) -> Value {
    json!({"type": "found", "part": part, "of": open.part, "id": open.id})
}

fn name_of(note: &Note) -> String {
    match note {
        Note::Room(change) => change.name.clone(),
        Note::Replicas { set, .. } | Note::Image { set, .. } | Note::Field { set, .. } | Note::Freed { set, .. } => {
            set.clone()
        }
        Note::Other { text } => text.clone(),
        Note::Skipped(remark) | Note::Failed(remark) => remark.name.clone(),
        Note::Seen { set, .. } | Note::Pods { set, .. } => set.clone(),
        Note::RestsOn { .. } | Note::Approved(_) => String::new(),
    }
}

async fn fate(cluster: &Cluster, note: &Note, run: &str) -> Result<Fate, Diagnostic> {
    let namespace = cluster.namespace();
    match note {
        Note::Room(change) if change.field == RETIRED => {
            let set = names::set_of(&change.name).unwrap_or_default();
            let set = cluster.find::<Value>(&kind::GAME_SERVER_SET, namespace, set).await?;
            Ok(set.map_or(Fate::NobodyKnows, |set| retired(&set, &change.name, run)))
        }
        Note::Room(change) => {
            let room = cluster.find::<Value>(&kind::GAME_SERVER, namespace, &change.name).await?;
            Ok(room.map_or(Fate::NobodyKnows, |room| written(&room, change)))
        }
        Note::Replicas { set, .. } | Note::Image { set, .. } | Note::Field { set, .. } | Note::Freed { set, .. } => {
            let set = cluster.find::<Value>(&kind::GAME_SERVER_SET, namespace, set).await?;
            Ok(set.map_or(Fate::NobodyKnows, |set| of_set(&set, note)))
        }
        Note::Other { .. } => Ok(Fate::NobodyKnows),
        Note::Skipped(_)
        | Note::Failed(_)
        | Note::Seen { .. }
        | Note::Pods { .. }
        | Note::RestsOn { .. }
        | Note::Approved(_) => Ok(Fate::NotThere),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn compare(now: Option<&Value>, before: &str, after: &str) -> Fate {
    match now.map(text) {
        Some(now) if now == after => Fate::Arrived,
        Some(now) if now == before => Fate::NotThere,
        None if before == "-" => Fate::NotThere,
        _ => Fate::NobodyKnows,
    }
}

fn written(room: &Value, change: &RoomChange) -> Fate {
    if room.pointer("/metadata/uid").and_then(Value::as_str) != Some(&change.uid) {
        return Fate::NobodyKnows;
    }
    compare(room.pointer(&path_of(&change.field)), &change.before, &change.after)
}

/// Our annotation on the set tells which ids this run has reserved, in the same patch that took their rooms away.
fn retired(set: &Value, room: &str, run: &str) -> Fate {
    let note = set.pointer("/metadata/annotations").and_then(|all| all[DRAIN].as_str());
    let note: Value = note.and_then(|note| serde_json::from_str(note).ok()).unwrap_or_default();
    let id = names::ordinal(room).map(i64::from);
    let listed = note["reserved"].as_array().into_iter().flatten().any(|it| it.as_i64() == id);
    if listed && note["run"] == run { Fate::Arrived } else { Fate::NotThere }
}

fn of_set(set: &Value, note: &Note) -> Fate {
    match note {
        Note::Replicas { from, to, .. } => compare(set.pointer("/spec/replicas"), &from.to_string(), &to.to_string()),
        Note::Image { image, .. } => {
            let containers = set.pointer("/spec/gameServerTemplate/spec/containers").and_then(Value::as_array);
            let found = containers.into_iter().flatten().find(|it| it["name"] == image.container.as_str());
            compare(found.map(|it| &it["image"]), &image.from, &image.to)
        }
        Note::Field { field, .. } => {
            let now = set.pointer(&format!("/{}", field.path.replace('.', "/")));
            // A merge patch does not say what was there: what is not as wanted was not written, or is not any more.
            match now.map(text) {
                Some(now) if now == field.to => Fate::Arrived,
                _ if field.from == "unknown" => Fate::NobodyKnows,
                now => compare(now.map(Value::from).as_ref(), &field.from, &field.to),
            }
        }
        Note::Freed { ids, .. } => {
            let listed = set.pointer("/spec/reserveGameServerIds").and_then(Value::as_array);
            let still = ids.iter().any(|id| listed.into_iter().flatten().any(|it| text(it) == id.to_string()));
            if still { Fate::NotThere } else { Fate::Arrived }
        }
        _ => Fate::NotThere,
    }
}
