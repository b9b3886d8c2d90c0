//! The receipt: what a run did, what it left alone, and the command that goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::stage::span;
use crate::bindings::host::Host;
use crate::bindings::ledger::{Ledger, Note, RETIRED, RoomChange};
use crate::bindings::reads::{SetView, view_afresh};
use crate::bindings::replay::{Open, Past};
use crate::diagnostic::Diagnostic;
use crate::okg::game_server::Room;
use crate::okg::{names, ops_state};
use crate::script::{Script, duration};

/// What a run came to.
pub struct Receipt {
    pub(super) run: String,
    pub(super) ledger: Ledger,
    pub(super) looks: BTreeMap<String, Look>,
    begun: Timestamp,
    ended: Timestamp,
    pub(super) requests: u64,
    unanswered: u64,
    bytes: u64,
    pub(super) way_back: Option<String>,
    pub(super) stopped: bool,
    pub(super) unknown: Vec<String>,
}

/// A set as the run last saw it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Look {
    rooms: Vec<Seen>,
    /// Identities of its pods, those without a GameServer included.
    pods: BTreeSet<String>,
}

/// A pod that was there during the run and is no more.
pub(super) struct Vanished {
    pub(super) name: String,
    /// Its identity; empty where only the room was known.
    pub(super) pod: String,
    /// What became of it.
    pub(super) what: String,
}

/// A room as the run last saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    name: String,
    uid: String,
    pod: String,
    state: String,
    ops_state: String,
    version: String,
    created: Option<Timestamp>,
}

impl Look {
    fn of(view: &SetView) -> Look {
        let seen = |room: &Room| Seen {
            name: room.name().to_owned(),
            uid: room.server.metadata.uid.clone(),
            pod: room.pod.as_ref().map(|pod| pod.metadata.uid.clone()).unwrap_or_default(),
            state: room.server.state().to_owned(),
            ops_state: room.server.ops_state().to_owned(),
            version: room.version.word().to_owned(),
            created: room.server.metadata.creation_timestamp,
        };
        let pods = view.pods.values().map(|pod| pod.metadata.uid.clone()).collect();
        Look { rooms: view.rooms.iter().map(seen).collect(), pods }
    }
}

impl Receipt {
    /// Reads the sets that the run wrote to once more, and sums up.
    pub fn take(
        host: &Arc<Host>,
        script: &Script,
        params: &BTreeMap<String, Value>,
        begun: Timestamp,
        failure: Option<&Diagnostic>,
    ) -> Receipt {
        let mut looks = BTreeMap::new();
        let sets = host.ledger().written_sets();
        // After a second interrupt the receipt says what is known already.
        if !sets.is_empty() && !host.interrupt.is_urgent() {
            // The script has ended, an interrupt has done its work: the receipt may still read.
            host.interrupt.calm();
            for set in sets {
                if let Ok(seen) = view_afresh(host, &set) {
                    looks.insert(set, Look::of(&seen));
                }
            }
        }
        let ledger = host.ledger().clone();
        let totals = host.known_cluster().map(|cluster| cluster.journal().totals()).unwrap_or_default();
        let past = host.record.as_ref().map(|record| record.past());
        let (requests, bytes) = past.map(|past| (past.requests, past.bytes)).unwrap_or_default();
        let declared: Vec<&str> = script.params.iter().map(|param| param.name.as_str()).collect();
        Receipt {
            run: host.run.clone(),
            way_back: way_back(&ledger, &script.name, &declared, |name| params.get(name).and_then(Value::as_str)),
            ledger,
            looks,
            begun,
            ended: host.now(),
            requests: requests + totals.requests,
            unanswered: past.map_or(0, |past| past.unanswered),
            bytes: bytes + totals.sent + totals.received,
            stopped: failure.is_some(),
            unknown: host.record.as_ref().map(|record| told(&record.open_writes())).unwrap_or_default(),
        }
    }

    /// Puts the receipt together again from a run's journal alone.
    pub fn of_past(past: &Past) -> Receipt {
        let begin = &past.begin;
        let params = begin["params"].as_object();
        let declared: Vec<&str> = params.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let script = begin["script"]["name"].as_str().unwrap_or_default();
        let looks = past.end.as_ref().and_then(|end| serde_json::from_value(end["looks"].clone()).ok());
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let begun = begin["at"].as_str().and_then(time).unwrap_or_default();
        Receipt {
            run: past.run().to_owned(),
            way_back: way_back(&past.ledger, script, &declared, |name| begin["params"][name].as_str()),
            ledger: past.ledger.clone(),
            looks: looks.unwrap_or_default(),
            begun,
            ended: time(&past.last).unwrap_or(begun),
            requests: past.requests,
            unanswered: past.unanswered,
            bytes: past.bytes,
            stopped: past.end.as_ref().is_none_or(|end| !end["error"].is_null()),
            unknown: told(&past.open),
        }
    }

    /// Returns what the end of a run's journal says, so that the receipt can be put together again from it.
    pub fn for_journal(&self) -> Value {
        json!({"requests": self.requests, "bytesInAll": self.bytes, "looks": self.looks, "at": self.ended})
    }

    /// Returns whether some writes failed.
    pub fn failed(&self) -> bool {
        !self.ledger.failed.is_empty()
    }

    /// Returns whether the run wrote nothing.
    pub fn untouched(&self) -> bool {
        self.ledger.untouched()
    }

    /// Returns the command that restores the former image, if the image was changed.
    pub fn way_back(&self) -> Option<&str> {
        self.way_back.as_deref()
    }

    /// Returns what was done, in a few words each, for the end of an error.
    pub fn in_short(&self) -> Vec<String> {
        if self.ledger.untouched() {
            return vec!["nothing was changed".to_owned()];
        }
        let mut said = self.of_sets();
        let rooms: BTreeSet<&str> = self.ledger.rooms.iter().map(|room| room.name.as_str()).collect();
        said.push(match rooms.len() {
            0 => "no room was written".to_owned(),
            count => format!("{count} rooms were written; Allocated rooms touched: {}", self.allocated_touched()),
        });
        said.extend(self.ledger.others.iter().cloned());
        vec![said.join("; ")]
    }

    /// Returns what was changed on the sets themselves.
    pub(super) fn of_sets(&self) -> Vec<String> {
        let mut said = Vec::new();
        for (set, change) in &self.ledger.sets {
            for image in &change.images {
                said.push(format!("{set}: image of {} {} -> {}", image.container, image.from, image.to));
            }
            if let Some((from, to)) = change.replicas {
                said.push(format!("{set}: replicas {from} -> {to}"));
            }
            for field in &change.fields {
                said.push(format!("{set}: {} {} -> {}", field.path, field.from, field.to));
            }
            if !change.freed.is_empty() {
                let ids = change.freed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                said.push(format!("{set}: ids {ids} freed"));
            }
        }
        said
    }

    pub(super) fn allocated_touched(&self) -> usize {
        let touched =
            self.ledger.rooms.iter().filter(|room| room.field == "opsState" && room.before == ops_state::ALLOCATED);
        touched.count()
    }

    pub(super) fn rows(&self, set: &str, look: &Look) -> Vec<Vec<String>> {
        let mut rows: Vec<Vec<String>> = look
            .rooms
            .iter()
            .map(|room| {
                let age = room.created.map(|made| self.ended.duration_since(made));
                let age = age.and_then(|age| std::time::Duration::try_from(age).ok()).map(duration::format);
                vec![
                    room.name.clone(),
                    room.state.clone(),
                    room.ops_state.clone(),
                    room.version.clone(),
                    age.unwrap_or_default(),
                    self.this_run(room),
                ]
            })
            .collect();
        for gone in self.gone(set, look) {
            let blank = || "-".to_owned();
            rows.push(vec![gone.name, blank(), blank(), blank(), blank(), gone.what]);
        }
        rows.sort_by_key(|row| names::ordinal(row.first().map(String::as_str).unwrap_or_default()));
        rows
    }

    /// Says what became of a pod that is gone.
    fn of_gone(&self, set: &str, look: &Look, name: &str, pod: &str) -> String {
        let first = self.ledger.first_seen.get(set).and_then(|rooms| rooms.get(name));
        let first = first.filter(|first| pod.is_empty() || first.pod == pod);
        // A name may have been reused: what was written then was written to the first of them.
        let written = if first.is_some() { self.written(name) } else { String::new() };
        // A room that lives on with another pod was not taken away, whatever was written to it.
        let replaced = look.rooms.iter().any(|room| room.name == name && room.pod != pod);
        let gone = if replaced { "its pod gone, another in its place" } else { "gone" };
        if written.is_empty() || replaced && !self.taken(name) {
            let was = first.map_or("opened during the run".to_owned(), |was| format!("was {}", was.ops_state));
            let written = if written.is_empty() { String::new() } else { format!("{written}, ") };
            return format!("{written}{gone}, not by this run ({was})");
        }
        format!("{written}, {gone}")
    }

    /// Returns whether this run took a room away by a patch of its set.
    fn taken(&self, name: &str) -> bool {
        self.ledger.rooms.iter().any(|room| room.name == name && room.field == RETIRED)
    }

    /// Returns whether a room was not there when the run first looked.
    fn opened(&self, room: &Seen) -> bool {
        let set = names::set_of(&room.name).unwrap_or_default();
        let first = self.ledger.first_seen.get(set);
        first.is_some_and(|rooms| rooms.get(&room.name).is_none_or(|seen| seen.pod != room.pod))
    }

    /// Returns every pod of a set that the run saw and that is no more, and rooms that it wrote and that are no more.
    pub(super) fn gone(&self, set: &str, look: &Look) -> Vec<Vanished> {
        let first = self.ledger.first_seen.get(set).into_iter().flatten();
        let first = first.filter(|(_, seen)| !seen.pod.is_empty()).map(|(name, seen)| (&seen.pod, name));
        let pods: BTreeMap<&String, &String> = self
            .ledger
            .pods
            .get(set)
            .into_iter()
            .flatten()
            .chain(first)
            .filter(|(pod, _)| !look.pods.contains(*pod))
            .collect();
        let mut gone: BTreeSet<(&str, &str)> =
            pods.into_iter().map(|(pod, name)| (name.as_str(), pod.as_str())).collect();
        for room in self.ledger.rooms.iter().filter(|room| names::set_of(&room.name) == Some(set)) {
            let there = look.rooms.iter().any(|seen| seen.name == room.name);
            if !there && !gone.iter().any(|(name, _)| *name == room.name) {
                gone.insert((&room.name, ""));
            }
        }
        let vanished = |(name, pod): (&str, &str)| Vanished {
            name: name.to_owned(),
            pod: pod.to_owned(),
            what: self.of_gone(set, look, name, pod),
        };
        gone.into_iter().map(vanished).collect()
    }

    /// Returns the rooms that this run still holds, as far as it knows, with their identities.
    pub(super) fn held(&self) -> BTreeMap<&str, &str> {
        let mut held = self.ledger.held();
        held.retain(|name, uid| {
            let look = names::set_of(name).and_then(|set| self.looks.get(set));
            let same = |room: &Seen| room.uid == **uid && ops_state::is_hold(&room.ops_state);
            look.is_none_or(|look| look.rooms.iter().any(same))
        });
        held
    }

    /// Returns what was written to a room: where it began and where it ended.
    fn written(&self, name: &str) -> String {
        let mut said: Vec<String> = Vec::new();
        let of_room = |room: &&RoomChange| room.name == name;
        let states: Vec<&RoomChange> = self.ledger.rooms.iter().filter(of_room).filter(|room| is_state(room)).collect();
        if let (Some(first), Some(last)) = (states.first(), states.last()) {
            said.push(match (first.before == last.after, states.len()) {
                (true, _) => format!("held, then {} again", last.after),
                _ => format!("{} -> {}", first.before, last.after),
            });
        }
        let others = self.ledger.rooms.iter().filter(of_room).filter(|room| !is_state(room));
        said.extend(others.map(|room| format!("{} {} -> {}", room.field, room.before, room.after)));
        said.join(", ")
    }

    fn this_run(&self, room: &Seen) -> String {
        let written = self.ledger.rooms.iter().any(|change| change.uid == room.uid);
        if written {
            return self.written(&room.name);
        }
        if let Some(remark) = self.ledger.skipped.iter().find(|remark| remark.name == room.name) {
            return format!("skipped: {}", remark.reason);
        }
        if self.opened(room) {
            return "opened".to_owned();
        }
        match room.ops_state.as_str() {
            ops_state::NONE => "left alone".to_owned(),
            state => format!("left alone: {state}"),
        }
    }

    pub(super) fn sums(&self) -> String {
        let rooms = || self.looks.values().flat_map(|look| &look.rooms);
        let ended = |how: &dyn Fn(&RoomChange) -> bool| {
            let rooms = self.ledger.rooms.iter().filter(|room| how(room));
            rooms.map(|room| room.uid.as_str()).collect::<BTreeSet<_>>().len()
        };
        let marked = ended(&|room| room.field == "opsState" && room.after == ops_state::WAIT_TO_BE_DELETED);
        let retired = ended(&|room| room.field == RETIRED);
        let gone: usize = self.looks.iter().map(|(set, look)| self.gone(set, look).len()).sum();
        let opened = rooms().filter(|room| self.opened(room));
        let allocated = rooms().filter(|room| room.ops_state == ops_state::ALLOCATED).count();
        let (skipped, failed) = (self.ledger.skipped.len(), self.ledger.failed.len());
        format!(
            "{} ({gone} gone), {allocated} Allocated, {} opened, {skipped} skipped, {failed} failed. {}",
            match (marked, retired) {
                (marked, 0) => format!("{marked} rooms marked"),
                (0, retired) => format!("{retired} rooms retired"),
                (marked, retired) => format!("{marked} rooms marked, {retired} retired"),
            },
            opened.count(),
            self.effort()
        )
    }

    pub(super) fn effort(&self) -> String {
        let seconds = self.ended.duration_since(self.begun).as_secs_f64();
        let unanswered = match self.unanswered {
            0 => String::new(),
            count => format!(" (of {count} no answer is recorded)"),
        };
        format!("{} requests{unanswered}, {} kB, {}.", self.requests, self.bytes.div_ceil(1000), span(seconds))
    }

    pub(super) fn still_playing(&self) -> String {
        let rooms = self.looks.values().flat_map(|look| &look.rooms);
        let playing = rooms.filter(|room| room.ops_state == ops_state::ALLOCATED && room.version == "old");
        let playing: Vec<&str> = playing.map(|room| room.name.as_str()).collect();
        match playing.as_slice() {
            [] => String::new(),
            [one] => format!(" {one} stays until its match ends; `--follow 2h` retires it then."),
            many => {
                let shown: Vec<&str> = many.iter().take(6).copied().collect();
                let more = if many.len() > shown.len() { ", …" } else { "" };
                format!(" {}{more} stay until their matches end; `--follow 2h` retires them then.", shown.join(", "))
            }
        }
    }

    /// Returns the receipt as data.
    pub fn to_json(&self) -> Value {
        let row = |room: &Seen| {
            json!({
                "name": room.name,
                "uid": room.uid,
                "state": room.state,
                "opsState": room.ops_state,
                "version": room.version,
                "thisRun": self.this_run(room),
            })
        };
        let looks = self.looks.iter();
        let rooms: BTreeMap<&String, Vec<Value>> =
            looks.map(|(set, look)| (set, look.rooms.iter().map(row).collect())).collect();
        let gone: BTreeMap<&String, Vec<Value>> = self
            .looks
            .iter()
            .map(|(set, look)| {
                let row = |it: Vanished| json!({"name": it.name, "pod": it.pod, "thisRun": it.what});
                (set, self.gone(set, look).into_iter().map(row).collect())
            })
            .collect();
        let held = self.held().into_iter().map(|(name, uid)| json!({"name": name, "uid": uid}));
        json!({
            "run": self.run,
            "changes": self.ledger,
            "rooms": rooms,
            "gone": gone,
            "held": held.collect::<Vec<_>>(),
            "allocatedTouched": self.allocated_touched(),
            "requests": self.requests,
            "unanswered": self.unanswered,
            "bytes": self.bytes,
            "begun": self.begun.to_string(),
            "ended": self.ended.to_string(),
            "toGoBack": self.way_back,
            "unknown": self.unknown,
        })
    }
}

fn is_state(change: &RoomChange) -> bool {
    matches!(change.field.as_str(), "opsState" | RETIRED)
}

/// Says which writes nobody knows the end of.
fn told(open: &[Open]) -> Vec<String> {
    open.iter().map(|open| format!("{}: {}", open.path, words(&open.meant))).collect()
}

/// Says what a write would have changed.
fn words(meant: &[Note]) -> String {
    let said: Vec<String> = meant
        .iter()
        .map(|note| match note {
            Note::Room(room) => format!("{} {} {} -> {}", room.name, room.field, room.before, room.after),
            Note::Replicas { set, from, to } => format!("{set}: replicas {from} -> {to}"),
            Note::Image { set, image } => format!("{set}: image of {} {} -> {}", image.container, image.from, image.to),
            Note::Field { set, field } => format!("{set}: {} {} -> {}", field.path, field.from, field.to),
            Note::Freed { set, ids } => format!("{set}: ids {ids:?} freed"),
            Note::Other { text } => text.clone(),
            Note::Skipped(_)
            | Note::Failed(_)
            | Note::Seen { .. }
            | Note::Pods { .. }
            | Note::RestsOn { .. }
            | Note::Approved(_) => String::new(),
        })
        .collect();
    said.join(", ")
}

/// Returns the command line that restores the former image.
fn way_back<'a>(
    ledger: &Ledger,
    script: &str,
    declared: &[&str],
    param: impl Fn(&str) -> Option<&'a str>,
) -> Option<String> {
    let (set, change) = ledger.sets.iter().find(|(_, change)| !change.images.is_empty())?;
    let image = change.images.first()?;
    if declared.contains(&"gss") && declared.contains(&"image") {
        let mut command = format!("okgscript run {} --gss {set} --image {}", quoted(script), quoted(&image.from));
        if let Some(container) = param("container").filter(|name| !name.is_empty()) {
            command.push_str(&format!(" --container {container}"));
        }
        return Some(command);
    }
    Some(format!("okgscript eval 'gss_set_image(\"{set}\", \"{}\", \"{}\")'", image.container, image.from))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | ':' | '@' | '=' | '+');
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
