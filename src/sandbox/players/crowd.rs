//! One matchmaker with its players.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::{End, GS, Span, Stage, finish, pause};
use crate::okg::{names, network, ops_state};
use crate::sandbox::object::{self, Object, Patch};

/// How a matchmaker takes a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matchmaker {
    /// It patches `Allocated` without a guard, some time after it read that the room is free; as OKG's director does.
    Blind,
    /// The same patch tests that the room is free.
    Guarded,
    /// As blind, but very late.
    Slow,
}

/// A matchmaker and who comes to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Crowd {
    /// Namespace of the GameServerSet.
    pub namespace: String,
    /// The GameServerSet.
    pub gss: String,
    /// How it takes rooms.
    pub matchmaker: Matchmaker,
    /// Time between reading and writing.
    pub lag: Duration,
    /// Matches that begin a minute, on average.
    pub per_minute: f64,
    /// How long a match lasts.
    pub length: Span,
    /// Players of one match.
    pub players: u32,
    /// Share of matches that all players leave early.
    pub disconnects: f64,
    /// What a room becomes when its match is over.
    pub after: String,
    /// How long players look for a room before they give up.
    pub patience: Duration,
}

impl Crowd {
    /// A crowd with the usual habits, to which nobody comes yet.
    pub fn new(gss: &str, matchmaker: Matchmaker) -> Crowd {
        Crowd {
            namespace: "default".into(),
            gss: gss.to_owned(),
            matchmaker,
            lag: match matchmaker {
                Matchmaker::Blind => Duration::from_secs(2),
                Matchmaker::Guarded => Duration::from_millis(20),
                Matchmaker::Slow => Duration::from_secs(30),
            },
            per_minute: 0.0,
            length: Span::Between(Duration::from_secs(600), Duration::from_secs(1800)),
            players: 1,
            disconnects: 0.0,
            after: ops_state::NONE.into(),
            patience: Duration::from_secs(120),
        }
    }
}

/// How long players wait before they look again.
const AGAIN: Duration = Duration::from_secs(2);

/// What one matchmaker knows.
#[derive(Debug, Default)]
struct Mind {
    /// The rooms that it has chosen and not yet written, by GameServer uid.
    chosen: BTreeSet<String>,
    /// The rooms as it saw them last, and whether each was to be had: it looks again only at those that changed.
    seen: Vec<(Object, bool)>,
}

impl Mind {
    /// Returns the rooms that are to be had of those that a list shows.
    fn free(&mut self, rooms: Vec<Object>, gss: &str) -> Vec<Object> {
        self.seen.truncate(rooms.len());
        for (index, room) in rooms.into_iter().enumerate() {
            let known = self.seen.get(index).is_some_and(|(known, _)| Arc::ptr_eq(known, &room));
            if known {
                continue;
            }
            let free = object::label(&room, names::OWNER_GSS) == Some(gss) && matchable(&room);
            if index < self.seen.len() {
                self.seen[index] = (room, free);
            } else {
                self.seen.push((room, free));
            }
        }
        let free = self.seen.iter().filter(|(_, free)| *free).map(|(room, _)| room);
        free.filter(|room| !self.chosen.contains(object::meta(room, "uid"))).cloned().collect()
    }
}

/// What chance gave one match.
struct Arrival {
    choice: u64,
    length: Duration,
    end: End,
}

/// Lets players come for ever.
pub async fn play(stage: Stage, crowd: Crowd, mut rng: fastrand::Rng) {
    if crowd.per_minute <= 0.0 {
        return;
    }
    let (crowd, mind) = (Arc::new(crowd), Arc::<Mutex<Mind>>::default());
    loop {
        stage.sleep(pause(&mut rng, Duration::from_secs(60), crowd.per_minute)).await;
        let full = crowd.length.draw(&mut rng);
        let leaves = rng.f64() < crowd.disconnects;
        let length = if leaves { full.mul_f64(rng.f64()) } else { full };
        let arrival = Arrival { choice: rng.u64(..), length, end: if leaves { End::Left } else { End::Over } };
        // Dropping the runtime or the cluster ends it; it holds nothing that others wait for.
        tokio::spawn(arrive(stage.clone(), crowd.clone(), mind.clone(), arrival));
    }
}

async fn arrive(stage: Stage, crowd: Arc<Crowd>, mind: Arc<Mutex<Mind>>, arrival: Arrival) {
    stage.ledger.arrived(crowd.players);
    let begun = stage.clock.now();
    let mut choice = arrival.choice;
    loop {
        if let Some(id) = find_room(&stage, &crowd, &mind, choice).await {
            stage.sleep(arrival.length).await;
            finish(&stage, id, arrival.end, &crowd.after).await;
            return;
        }
        let waited = stage.clock.now().duration_since(begun).unsigned_abs().mul_f64(stage.speed);
        if waited >= crowd.patience {
            stage.ledger.gave_up(crowd.players);
            return;
        }
        choice = choice.rotate_left(13) ^ 0x9e37_79b9_7f4a_7c15;
        stage.sleep(AGAIN).await;
    }
}

/// Sends a match to a room; returns its number in the ledger, or nothing if there was no room to have.
async fn find_room(stage: &Stage, crowd: &Crowd, mind: &Arc<Mutex<Mind>>, choice: u64) -> Option<u64> {
    let rooms = match stage.rooms("matchmaker", &crowd.namespace).await {
        Ok(rooms) => rooms,
        Err(status) => {
            tracing::debug!("matchmaker of {}: {}", crowd.gss, status.message);
            return None;
        }
    };
    let room = {
        let mut mind = mind.lock().unwrap_or_else(PoisonError::into_inner);
        let free = mind.free(rooms, &crowd.gss);
        let count = u64::try_from(free.len()).ok().filter(|count| *count > 0)?;
        let room = free.get(usize::try_from(choice % count).ok()?)?.clone();
        mind.chosen.insert(object::meta(&room, "uid").to_owned());
        room
    };
    stage.sleep(crowd.lag).await;
    mind.lock().unwrap_or_else(PoisonError::into_inner).chosen.remove(object::meta(&room, "uid"));
    let patch = match crowd.matchmaker {
        Matchmaker::Blind | Matchmaker::Slow => Patch::Merge(json!({"spec": {"opsState": ops_state::ALLOCATED}})),
        Matchmaker::Guarded => Patch::Json(json!([
            {"op": "test", "path": "/spec/opsState", "value": ops_state::NONE},
            {"op": "replace", "path": "/spec/opsState", "value": ops_state::ALLOCATED},
        ])),
    };
    let name = object::name(&room);
    if let Err(status) = stage.patch("matchmaker", (GS, ""), (&crowd.namespace, name), &patch).await {
        tracing::debug!("matchmaker of {}: {name}: {}", crowd.gss, status.message);
        return None;
    }
    // The players connect to the address that the room has now.
    let now = stage.clock.now();
    match stage.api.get("pods", &crowd.namespace, name) {
        Some(pod) if !object::terminating(&pod) => {
            Some(stage.ledger.begin(now, &crowd.namespace, name, object::meta(&pod, "uid"), crowd.players))
        }
        pod => {
            let uid = pod.as_ref().map_or("", |pod| object::meta(pod, "uid"));
            stage.ledger.sent_to_nowhere(now, &crowd.namespace, name, uid, crowd.players);
            None
        }
    }
}

fn matchable(room: &Value) -> bool {
    room["status"]["currentState"] == "Ready"
        && room["spec"]["opsState"] == ops_state::NONE
        && !object::terminating(room)
        && network::ready(room)
}
