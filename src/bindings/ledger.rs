//! What a run has done so far: the source of the receipt and of the command that goes back.

use std::collections::BTreeMap;

use serde::Serialize;

/// [`RoomChange::field`] of a room that a patch of its set took away.
pub const RETIRED: &str = "retired";

/// Everything that was changed, left alone or failed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ledger {
    /// GameServerSets that were written, by name.
    pub sets: BTreeMap<String, SetChange>,
    /// Rooms that were written, by name, in the order of writing.
    pub rooms: Vec<RoomChange>,
    /// Rooms that a guard left alone.
    pub skipped: Vec<Remark>,
    /// Writes that failed.
    pub failed: Vec<Remark>,
    /// Other objects that were written: `patched ConfigMap prod/x`.
    pub others: Vec<String>,
    /// What the promise that no player is thrown out rested on in this run, and which race stayed open.
    #[serde(rename = "restedOn", skip_serializing_if = "Vec::is_empty")]
    pub rested_on: Vec<&'static str>,
    /// What a plan takes for granted: waits that succeed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumptions: Vec<String>,
    /// Rooms as this run first saw them, by set and name.
    pub first_seen: BTreeMap<String, BTreeMap<String, FirstSeen>>,
}

/// A room as the run first saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirstSeen {
    /// Identity of the pod; empty without one.
    pub pod: String,
    /// opsState.
    #[serde(rename = "opsState")]
    pub ops_state: String,
}

/// What was changed on a GameServerSet.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SetChange {
    /// Container, former image, new image.
    pub images: Vec<ImageChange>,
    /// Former and new replicas: the first and the last write.
    pub replicas: Option<(i64, i64)>,
    /// Ids that a retirement had reserved and that were freed again.
    pub freed: Vec<i32>,
    /// Other fields that were patched: path, before, after.
    pub fields: Vec<FieldChange>,
}

/// A changed image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageChange {
    /// Container.
    pub container: String,
    /// Image before.
    pub from: String,
    /// Image after.
    pub to: String,
}

/// A changed field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Dotted path.
    pub path: String,
    /// Value before, as text; `-` if absent.
    pub from: String,
    /// Value after.
    pub to: String,
}

/// A changed room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoomChange {
    /// Name.
    pub name: String,
    /// Identity of the GameServer.
    pub uid: String,
    /// What was changed: `opsState`, `deletionPriority`, …
    pub field: &'static str,
    /// Value before.
    pub before: String,
    /// Value after.
    pub after: String,
    /// resourceVersion that the write got.
    pub version: String,
}

/// A room and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Room.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Ledger {
    /// Returns whether nothing was written.
    pub fn untouched(&self) -> bool {
        self.sets.is_empty() && self.rooms.is_empty() && self.others.is_empty() && self.failed.is_empty()
    }

    /// Notes a change of replicas; the first value before stays.
    pub fn replicas(&mut self, set: &str, from: i64, to: i64) {
        let change = self.sets.entry(set.to_owned()).or_default();
        let first = change.replicas.map_or(from, |(first, _)| first);
        change.replicas = Some((first, to));
    }

    /// Notes a change of an image; the first image before stays.
    pub fn image(&mut self, set: &str, container: &str, from: &str, to: &str) {
        let change = self.sets.entry(set.to_owned()).or_default();
        match change.images.iter_mut().find(|image| image.container == container) {
            Some(image) => to.clone_into(&mut image.to),
            None => change.images.push(ImageChange {
                container: container.to_owned(),
                from: from.to_owned(),
                to: to.to_owned(),
            }),
        }
    }

    /// Notes assumptions under which no player is thrown out.
    pub fn rest_on(&mut self, assumptions: &[&'static str]) {
        for assumption in assumptions {
            if !self.rested_on.contains(assumption) {
                self.rested_on.push(assumption);
            }
        }
    }

    /// Notes that a room was taken away by a retirement.
    pub fn retire(&mut self, name: &str, uid: &str, version: &str) {
        self.rooms.push(RoomChange {
            name: name.to_owned(),
            uid: uid.to_owned(),
            field: RETIRED,
            before: "held".to_owned(),
            after: "retired".to_owned(),
            version: version.to_owned(),
        });
    }

    /// Notes that a guard left a room alone; the newest reason stays.
    pub fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.retain(|remark| remark.name != name);
        self.skipped.push(Remark { name: name.to_owned(), reason: reason.to_owned() });
    }

    /// Notes that a write failed.
    pub fn fail(&mut self, name: &str, reason: &str) {
        self.failed.push(Remark { name: name.to_owned(), reason: reason.to_owned() });
    }
}
