//! The truth about players: which match was in which pod, from when to when, and how it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use crate::clock::Clock;
use crate::okg::{names, ordinals, reserve};
use crate::sandbox::api::{Api, Follower};
use crate::sandbox::object::{self, ChangeKind};

/// One match in one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// Its number, from 1, in the order of beginning.
    pub id: u64,
    /// Namespace of the room.
    pub namespace: String,
    /// Name of the room.
    pub room: String,
    /// Uid of the pod; names are used again, uids are not.
    pub pod: String,
    /// Players in it.
    pub players: u32,
    /// When it began.
    pub from: Timestamp,
    /// When it ended; none while it goes on.
    pub until: Option<Timestamp>,
    /// How it ended.
    pub end: Option<End>,
}

/// How a match ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// It was played to its end.
    Over,
    /// Its players left early.
    Left,
    /// The room was taken from under its players.
    Lost(Loss),
}

/// How a match was lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// Why the pod went.
    pub cause: Cause,
    /// The GameServer's opsState when its pod began to go; empty if it had none.
    pub ops_state: String,
}

/// Why a pod went with players in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Replicas were lowered, and it was this room's turn.
    ScaledIn,
    /// It was made anew from another template.
    Recreated,
    /// Its process ended.
    Crashed,
    /// Somebody deleted the pod.
    Deleted,
    /// Players were sent to a room that was going already, or gone.
    SentToNowhere,
}

#[derive(Debug, Default)]
struct Books {
    matches: Vec<Match>,
    /// Matches that go on, by pod uid.
    open: BTreeMap<String, BTreeSet<u64>>,
    arrived: u64,
    gave_up: u64,
}

/// The truth about players. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Books>>);

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all matches, in the order of beginning.
    pub fn matches(&self) -> Vec<Match> {
        self.books().matches.clone()
    }

    /// Returns how many matches go on now.
    pub fn open(&self) -> usize {
        self.books().open.values().map(BTreeSet::len).sum()
    }

    /// Returns the matches that were lost.
    pub fn lost(&self) -> Vec<Match> {
        let books = self.books();
        books.matches.iter().filter(|game| matches!(game.end, Some(End::Lost(_)))).cloned().collect()
    }

    /// Returns how many matches were lost, by cause.
    pub fn losses(&self) -> BTreeMap<Cause, usize> {
        let mut counts = BTreeMap::new();
        for game in &self.books().matches {
            if let Some(End::Lost(loss)) = &game.end {
                *counts.entry(loss.cause).or_default() += 1;
            }
        }
        counts
    }

    /// Returns how many players are in a pod now.
    pub fn playing(&self, pod: &str) -> u32 {
        let books = self.books();
        let open = books.open.get(pod).into_iter().flatten();
        open.filter_map(|id| books.game(*id)).map(|game| game.players).sum()
    }

    /// Returns how many players came, and how many gave up because there was no room.
    pub fn crowds(&self) -> (u64, u64) {
        let books = self.books();
        (books.arrived, books.gave_up)
    }

    /// Notes players that look for a room.
    pub(super) fn arrived(&self, players: u32) {
        self.books().arrived += u64::from(players);
    }

    /// Notes players that went home.
    pub(super) fn gave_up(&self, players: u32) {
        self.books().gave_up += u64::from(players);
    }

    /// Notes the beginning of a match; returns its number.
    pub(super) fn begin(&self, now: Timestamp, namespace: &str, room: &str, pod: &str, players: u32) -> u64 {
        let mut books = self.books();
        let id = books.add(now, namespace, room, pod, players);
        books.open.entry(pod.to_owned()).or_default().insert(id);
        id
    }

    /// Notes players that were sent to a room that was going already.
    pub(super) fn sent_to_nowhere(&self, now: Timestamp, namespace: &str, room: &str, pod: &str, players: u32) {
        let mut books = self.books();
        let id = books.add(now, namespace, room, pod, players);
        let loss = Loss { cause: Cause::SentToNowhere, ops_state: crate::okg::ops_state::ALLOCATED.into() };
        books.close(id, now, End::Lost(loss));
    }

    /// Ends a match, if it still goes on.
    pub(super) fn end(&self, id: u64, now: Timestamp, end: End) -> Option<Match> {
        self.books().close(id, now, end)
    }
}

impl Books {
    fn game(&self, id: u64) -> Option<&Match> {
        self.matches.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    fn add(&mut self, from: Timestamp, namespace: &str, room: &str, pod: &str, players: u32) -> u64 {
        let id = u64::try_from(self.matches.len()).unwrap_or(u64::MAX - 1) + 1;
        self.matches.push(Match {
            id,
            namespace: namespace.to_owned(),
            room: room.to_owned(),
            pod: pod.to_owned(),
            players,
            from,
            until: None,
            end: None,
        });
        id
    }

    fn close(&mut self, id: u64, now: Timestamp, end: End) -> Option<Match> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        let game = self.matches.get_mut(index).filter(|game| game.end.is_none())?;
        game.until = Some(now);
        game.end = Some(end);
        let game = game.clone();
        if let Some(open) = self.open.get_mut(&game.pod) {
            open.remove(&id);
            if open.is_empty() {
                self.open.remove(&game.pod);
            }
        }
        Some(game)
    }
}

/// Follows the pods: one that goes with players in it takes their match with it.
pub async fn watch(api: Api, clock: Clock, ledger: Ledger, mut follower: Follower) {
    loop {
        for change in follower.next().await {
            if &*change.resource != "pods" {
                continue;
            }
            let pod = &change.object;
            let failed = pod["status"]["phase"] == "Failed";
            if change.kind != ChangeKind::Deleted && !failed && !object::terminating(pod) {
                continue;
            }
            let open = ledger.books().open.get(object::meta(pod, "uid")).cloned().unwrap_or_default();
            for id in open {
                let game_server = api.get(super::GS, object::namespace(pod), object::name(pod));
                let ops_state = game_server.and_then(|gs| gs["spec"]["opsState"].as_str().map(str::to_owned));
                let cause = if failed { Cause::Crashed } else { cause(&api, pod) };
                let loss = Loss { cause, ops_state: ops_state.unwrap_or_default() };
                ledger.end(id, clock.now(), End::Lost(loss));
            }
        }
    }
}

/// Returns why a pod goes that did not fail.
fn cause(api: &Api, pod: &Value) -> Cause {
    let set = object::label(pod, names::OWNER_GSS).unwrap_or_default();
    let Some(workload) = api.get("statefulsets.apps.kruise.io", object::namespace(pod), set) else {
        return Cause::Deleted;
    };
    let replicas = workload["spec"]["replicas"].as_i64().and_then(|count| i32::try_from(count).ok()).unwrap_or(0);
    let reserved = reserve::parse_or_empty(workload["spec"].get("reserveOrdinals"));
    let ordinal = object::name(pod).rsplit('-').next().and_then(|text| text.parse::<i32>().ok());
    if ordinal.is_some_and(|ordinal| !ordinals::first_free(replicas, &reserved).contains(&ordinal)) {
        return Cause::ScaledIn;
    }
    let old = object::label(pod, "controller-revision-hash") != workload["status"]["updateRevision"].as_str();
    let recreates = workload["spec"]["updateStrategy"]["type"] != "OnDelete";
    if old && recreates { Cause::Recreated } else { Cause::Deleted }
}
