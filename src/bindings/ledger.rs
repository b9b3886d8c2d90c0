//! What a run has done so far: the source of the receipt and of the command that goes back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use crate::cluster::diff::FieldChange;
use crate::okg::{names, ops_state};

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
    pub rested_on: Vec<String>,
    /// What a person said yes to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// What a plan takes for granted: waits that succeed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumptions: Vec<String>,
    /// Rooms as this run first saw them, by set and name.
    pub first_seen: BTreeMap<String, BTreeMap<String, FirstSeen>>,
    /// Identities of the sets, by name: one that was deleted and made anew is another.
    pub uids: BTreeMap<String, String>,
    /// Every pod that this run saw, by set and identity: its name.
    pub pods: BTreeMap<String, BTreeMap<String, String>>,
}

/// A room as the run first saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstSeen {
    /// Identity of the pod; empty without one.
    pub pod: String,
    /// opsState.
    #[serde(rename = "opsState")]
    pub ops_state: String,
}

/// A yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// What was approved.
    pub what: String,
    /// Who said so, as far as that is known.
    pub by: String,
    /// How it was said: on a terminal, beforehand, by an annotation.
    pub how: String,
    /// When.
    pub at: String,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageChange {
    /// Container.
    pub container: String,
    /// Image before.
    pub from: String,
    /// Image after.
    pub to: String,
}

/// A changed room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomChange {
    /// Name.
    pub name: String,
    /// Identity of the GameServer.
    pub uid: String,
    /// What was changed: `opsState`, `deletionPriority`, …
    pub field: String,
    /// Value before.
    pub before: String,
    /// Value after.
    pub after: String,
    /// resourceVersion that the write got; empty where its answer was lost.
    pub version: String,
}

impl RoomChange {
    /// A change whose resourceVersion is not known: from what, to what.
    pub fn new(name: &str, uid: &str, field: &str, (before, after): (String, String)) -> RoomChange {
        let (name, uid, field) = (name.to_owned(), uid.to_owned(), field.to_owned());
        RoomChange { name, uid, field, before, after, version: String::new() }
    }
}

/// A room and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// Room.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// One thing that a run notes: what the journal keeps, and what a ledger is put together from again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum Note {
    /// A room was written, or taken away by a patch of its set.
    Room(RoomChange),
    /// A guard left a room alone.
    Skipped(Remark),
    /// A write failed.
    Failed(Remark),
    /// Replicas of a set were written.
    Replicas {
        /// GameServerSet.
        set: String,
        /// Before.
        from: i64,
        /// After.
        to: i64,
    },
    /// An image of a set was written.
    Image {
        /// GameServerSet.
        set: String,
        /// What became of it.
        image: ImageChange,
    },
    /// Another field of a set was written.
    Field {
        /// GameServerSet.
        set: String,
        /// What became of it.
        field: FieldChange,
    },
    /// Ids that were reserved are free again.
    Freed {
        /// GameServerSet.
        set: String,
        /// The ids.
        ids: Vec<i32>,
    },
    /// Assumptions under which no player is thrown out.
    RestsOn {
        /// The assumptions.
        assumptions: Vec<String>,
    },
    /// A person said yes.
    Approved(Approval),
    /// Another object was written.
    Other {
        /// In words.
        text: String,
    },
    /// The rooms of a set as the run first saw them.
    Seen {
        /// GameServerSet.
        set: String,
        /// Identity of the set.
        #[serde(default)]
        uid: String,
        /// The rooms, by name.
        rooms: BTreeMap<String, FirstSeen>,
    },
    /// Pods of a set that the run had not seen before.
    Pods {
        /// GameServerSet.
        set: String,
        /// Their names, by identity.
        pods: BTreeMap<String, String>,
    },
}

impl Note {
    /// Notes the image of a container.
    pub fn image(set: &str, container: &str, from: &str, to: &str) -> Note {
        let image = ImageChange { container: container.to_owned(), from: from.to_owned(), to: to.to_owned() };
        Note::Image { set: set.to_owned(), image }
    }

    /// Notes that a room was taken away by a retirement.
    pub fn retired(name: &str, uid: &str, version: &str) -> Note {
        Note::Room(RoomChange {
            name: name.to_owned(),
            uid: uid.to_owned(),
            field: RETIRED.to_owned(),
            before: "held".to_owned(),
            after: "retired".to_owned(),
            version: version.to_owned(),
        })
    }

    /// Notes assumptions under which no player is thrown out.
    pub fn rests_on(assumptions: &[&str]) -> Note {
        Note::RestsOn { assumptions: assumptions.iter().map(|it| (*it).to_owned()).collect() }
    }

    /// Notes that a guard left a room alone.
    pub fn skipped(name: &str, reason: &str) -> Note {
        Note::Skipped(Remark { name: name.to_owned(), reason: reason.to_owned() })
    }

    /// Notes that a write failed.
    pub fn failed(name: &str, reason: &str) -> Note {
        Note::Failed(Remark { name: name.to_owned(), reason: reason.to_owned() })
    }
}

impl Ledger {
    /// Takes a note in.
    pub fn apply(&mut self, note: Note) {
        match note {
            Note::Room(change) => self.rooms.push(change),
            Note::Skipped(remark) => self.skip(&remark.name, &remark.reason),
            Note::Failed(remark) => self.failed.push(remark),
            Note::Replicas { set, from, to } => self.replicas(&set, from, to),
            Note::Image { set, image } => self.image(&set, &image.container, &image.from, &image.to),
            Note::Field { set, field } => self.sets.entry(set).or_default().fields.push(field),
            Note::Freed { set, ids } => self.sets.entry(set).or_default().freed.extend(ids),
            Note::RestsOn { assumptions } => assumptions.into_iter().for_each(|it| self.rest_on(it)),
            Note::Approved(approval) => self.approvals.push(approval),
            Note::Other { text } => self.others.push(text),
            Note::Seen { set, uid, rooms } => {
                self.uids.entry(set.clone()).or_insert(uid);
                self.first_seen.entry(set).or_insert(rooms);
            }
            Note::Pods { set, pods } => self.pods.entry(set).or_default().extend(pods),
        }
    }

    /// Returns whether nothing was written.
    pub fn untouched(&self) -> bool {
        self.sets.is_empty() && self.rooms.is_empty() && self.others.is_empty() && self.failed.is_empty()
    }

    /// Returns in a few words what was written so far.
    pub fn in_short(&self) -> Vec<String> {
        let mut said = Vec::new();
        for (set, change) in &self.sets {
            said.extend(change.images.iter().map(|it| format!("{set}: image of {} is {}", it.container, it.to)));
            said.extend(change.replicas.map(|(from, to)| format!("{set}: replicas {from} -> {to}")));
            said.extend(change.fields.iter().map(|it| format!("{set}: {} is {}", it.path, it.to)));
        }
        let rooms: BTreeSet<&str> = self.rooms.iter().map(|room| room.name.as_str()).collect();
        if !rooms.is_empty() {
            said.push(format!("{} rooms written", rooms.len()));
        }
        said.extend(self.others.iter().cloned());
        said
    }

    /// Returns the sets that were written, or rooms of them.
    pub fn written_sets(&self) -> BTreeSet<String> {
        let of_rooms = self.rooms.iter().filter_map(|room| names::set_of(&room.name)).map(str::to_owned);
        self.sets.keys().cloned().chain(of_rooms).collect()
    }

    /// Returns the rooms that were held and neither ended nor set free, by name, with their identities.
    pub fn held(&self) -> BTreeMap<&str, &str> {
        let mut held = BTreeMap::new();
        for room in &self.rooms {
            match room.field.as_str() {
                "opsState" if ops_state::is_hold(&room.after) => held.insert(room.name.as_str(), room.uid.as_str()),
                "opsState" | RETIRED => held.remove(room.name.as_str()),
                _ => None,
            };
        }
        held
    }

    /// Notes a change of replicas; the first value before stays.
    fn replicas(&mut self, set: &str, from: i64, to: i64) {
        let change = self.sets.entry(set.to_owned()).or_default();
        let first = change.replicas.map_or(from, |(first, _)| first);
        change.replicas = Some((first, to));
    }

    /// Notes a change of an image; the first image before stays.
    fn image(&mut self, set: &str, container: &str, from: &str, to: &str) {
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

    /// Notes an assumption under which no player is thrown out.
    fn rest_on(&mut self, assumption: String) {
        if !self.rested_on.contains(&assumption) {
            self.rested_on.push(assumption);
        }
    }

    /// Notes that a guard left a room alone; the newest reason stays.
    fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.retain(|remark| remark.name != name);
        self.skipped.push(Remark { name: name.to_owned(), reason: reason.to_owned() });
    }
}
