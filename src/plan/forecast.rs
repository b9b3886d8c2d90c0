//! What becomes of a set's rooms: which are touched, which go, which open, and who would go next.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::autoscaler::{Autoscalers, Then};
use super::objects::objects;
use super::{Action, Next, Object, Room, Set};
use crate::cluster::{Change, Cluster, Selector, kind};
use crate::diagnostic::{Diagnostic, Kind};
use crate::okg::game_server::GameServer;
use crate::okg::game_server_set::{GameServerSet, Workload};
use crate::okg::pod::Pod;
use crate::okg::scaling::{self, ScalePod, Scaling, Strategy};
use crate::okg::{names, ops_state, scale_in};

/// How many rooms the order of deletion names.
const NEXT: usize = 50;

/// Returns what becomes of each GameServerSet that a plan touches, itself or a room of it. `cluster` shows the plan's
/// writes.
pub async fn sets(cluster: &Cluster, changes: &[Change]) -> Result<Vec<Set>, Diagnostic> {
    let mut sets = Vec::new();
    for (namespace, name) in touched(changes) {
        sets.extend(set(cluster, &namespace, &name, changes).await?);
    }
    Ok(sets)
}

/// Supposes of an object that every match has ended: Allocated rooms are free.
pub fn without_players(object: &mut Value) {
    let kind = object["kind"].as_str().unwrap_or_default();
    let is_room = kind == "GameServer" || (kind.is_empty() && object["spec"]["opsState"].is_string());
    if is_room && object["spec"]["opsState"] == ops_state::ALLOCATED {
        object["spec"]["opsState"] = ops_state::NONE.into();
    }
    let label = &mut object["metadata"]["labels"];
    if label.get(names::GS_OPS_STATE).is_some_and(|state| state == ops_state::ALLOCATED) {
        label[names::GS_OPS_STATE] = ops_state::NONE.into();
    }
}

/// Adds the rooms that the plan would touch if they had no players: `supposed` is the same plan made without players.
pub fn add_if_idle(sets: &mut Vec<Set>, supposed: &[Set]) {
    for other in supposed {
        match sets.iter_mut().find(|it| it.uid == other.uid) {
            Some(set) => {
                let same = |room: &Room| set.rooms.iter().any(|it| it.name == room.name && it.becomes == room.becomes);
                let more = other.rooms.iter().filter(|room| !same(room));
                set.rooms_if_idle = more.cloned().map(with_players).collect();
            }
            // With players it is left alone.
            None => sets.push(Set {
                rooms: Vec::new(),
                rooms_if_idle: other.rooms.iter().cloned().map(with_players).collect(),
                opens: Vec::new(),
                next_then: other.next_now.clone(),
                autoscaler: Vec::new(),
                ..other.clone()
            }),
        }
    }
}

/// A room as it is: that it is free was only supposed.
fn with_players(mut room: Room) -> Room {
    if room.ops_state == ops_state::NONE {
        ops_state::ALLOCATED.clone_into(&mut room.ops_state);
    }
    room
}

/// Namespaces and names of the sets that are written, themselves or in their rooms.
fn touched(changes: &[Change]) -> BTreeSet<(String, String)> {
    let mut sets = BTreeSet::new();
    for change in changes {
        let Some((namespace, plural, name)) = taken_apart(&change.path) else { continue };
        let set = match plural {
            "gameserversets" => Some(name.to_owned()),
            "gameservers" | "pods" => owner(change).or_else(|| names::set_of(name).map(str::to_owned)),
            _ => None,
        };
        sets.extend(set.map(|set| (namespace.to_owned(), set)));
    }
    sets
}

fn owner(change: &Change) -> Option<String> {
    let object = change.before.as_ref().or(change.after.as_ref())?;
    Some(object["metadata"]["labels"].get(names::OWNER_GSS)?.as_str()?.to_owned())
}

/// Returns namespace, plural and name of a path.
pub fn taken_apart(path: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = path.split_once("/namespaces/")?;
    let mut parts = rest.split('/');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

async fn set(cluster: &Cluster, namespace: &str, name: &str, changes: &[Change]) -> Result<Option<Set>, Diagnostic> {
    let path = kind::GAME_SERVER_SET.object_path(namespace, name, None)?;
    let change = changes.iter().find(|change| change.path == path);
    let after = cluster.find::<GameServerSet>(&kind::GAME_SERVER_SET, namespace, name).await?;
    let before = match change {
        Some(change) => change.before.clone().and_then(|object| serde_json::from_value::<GameServerSet>(object).ok()),
        None => after.clone(),
    };
    // A set that would be made has no rooms yet; pods whose set is not there are no rooms.
    let Some(before) = before else { return Ok(None) };
    let look = Look::take(cluster, namespace, name).await?;
    let autoscalers = Autoscalers::read(cluster, namespace, name).await;
    let now = look.pods(None);
    let scaling = scale_in::scaling(&before, look.workload.as_ref(), &now, before.replicas());
    let next_now = look.next(&scaling, scale_in::strategy(&before), None);
    let Some(after) = after else {
        let gone = now.iter().map(|pod| pod.ordinal).collect();
        let rooms = rooms(&look, namespace, name, changes, &gone, "goes with its set");
        let rest = Then::default();
        return Ok(Some(rest.told(before, namespace, rooms, next_now)));
    };
    let planned = look.pods(Some(&look.servers));
    let scaling = scale_in::scaling(&after, look.workload.as_ref(), &planned, after.replicas());
    let strategy = scale_in::strategy(&after);
    let target = scaling.target;
    let gone: BTreeSet<i32> = match after.object["spec"] == before.object["spec"] {
        true => BTreeSet::new(),
        false => scaling::victims(&scaling, strategy).into_iter().collect(),
    };
    let written = scaling.plan().strategy(strategy);
    let kept = written.ordinals(target);
    let there: BTreeSet<i32> = planned.iter().map(|pod| pod.ordinal).collect();
    let opens: Vec<i32> = kept.iter().copied().filter(|id| !there.contains(id)).collect();
    let mut pods: Vec<ScalePod> =
        planned.iter().filter(|pod| !gone.contains(&pod.ordinal) && !pod.terminating).cloned().collect();
    pods.extend(opens.iter().map(|id| ScalePod::new(*id)));
    let then = Scaling {
        explicit: scaling.explicit.clone(),
        applied: written.annotation.clone(),
        workload: written.reserve.clone(),
        target,
        pods: &pods,
    };
    let next_then = look.next(&then, strategy, Some(&pods));
    let rooms = rooms(&look, namespace, name, changes, &gone, "goes");
    let then = Then {
        opens: opens.iter().map(|id| names::room(name, *id)).collect(),
        autoscaler: autoscalers.then(&then, strategy, name),
        next: next_then,
    };
    Ok(Some(then.told(before, namespace, rooms, next_now)))
}

impl Then {
    fn told(self, before: GameServerSet, namespace: &str, rooms: Vec<Room>, next_now: Vec<Next>) -> Set {
        Set {
            namespace: namespace.to_owned(),
            uid: before.metadata.uid,
            name: before.metadata.name,
            spec: before.object["spec"].clone(),
            rooms,
            rooms_if_idle: Vec::new(),
            opens: self.opens,
            next_now,
            next_then: self.next,
            autoscaler: self.autoscaler,
        }
    }
}

/// A set's workload, rooms and pods, with the plan's writes.
struct Look {
    name: String,
    workload: Option<Workload>,
    servers: BTreeMap<String, GameServer>,
    pods: BTreeMap<String, Pod>,
}

impl Look {
    async fn take(cluster: &Cluster, namespace: &str, name: &str) -> Result<Look, Diagnostic> {
        let selector = Selector::all().labels(format!("{}={name}", names::OWNER_GSS));
        let (servers, pods) = (kind::GAME_SERVER, kind::POD);
        let workloads = kind::STATEFUL_SET;
        let (workload, servers, pods) = futures::try_join!(
            cluster.find::<Workload>(&workloads, namespace, name),
            cluster.list::<GameServer>(&servers, namespace, &selector),
            cluster.list::<Pod>(&pods, namespace, &selector),
        )?;
        Ok(Look {
            name: name.to_owned(),
            workload,
            servers: servers.items.into_iter().map(|it| (it.metadata.name.clone(), it)).collect(),
            pods: pods.items.into_iter().map(|it| (it.metadata.name.clone(), it)).collect(),
        })
    }

    /// Returns the pods as a scale step sees them: by their labels, or by what these become of the GameServers given.
    fn pods(&self, servers: Option<&BTreeMap<String, GameServer>>) -> Vec<ScalePod> {
        let as_planned = |name: &String, pod: ScalePod| match servers.and_then(|servers| servers.get(name)) {
            Some(server) => ScalePod {
                ops_state: server.ops_state().to_owned(),
                deletion_priority: server.deletion_priority().to_owned(),
                ..pod
            },
            None => pod,
        };
        self.pods.iter().filter_map(|(name, pod)| Some(as_planned(name, scale_in::scale_pod(pod)?))).collect()
    }

    /// Returns the rooms in the order in which ever fewer replicas would take them.
    fn next(&self, scaling: &Scaling<'_>, strategy: Strategy, pods: Option<&[ScalePod]>) -> Vec<Next> {
        let mut order: Vec<i32> = Vec::new();
        for fewer in 1..=scaling.target.max(0) {
            let lower = Scaling { target: scaling.target - fewer, ..scaling.clone() };
            for id in scaling::victims(&lower, strategy) {
                if !order.contains(&id) {
                    order.push(id);
                }
            }
            if order.len() >= NEXT {
                break;
            }
        }
        let pods = pods.unwrap_or(scaling.pods);
        let state = |id: &i32| pods.iter().find(|pod| pod.ordinal == *id).map(|pod| pod.ops_state.clone());
        let next = order
            .iter()
            .map(|id| Next { name: names::room(&self.name, *id), ops_state: state(id).unwrap_or_default() });
        next.take(NEXT).collect()
    }
}

/// Returns the rooms of a set that are written or that go, by ordinal.
fn rooms(look: &Look, namespace: &str, set: &str, changes: &[Change], gone: &BTreeSet<i32>, how: &str) -> Vec<Room> {
    let mut rooms: BTreeMap<(Option<i32>, String), Room> = BTreeMap::new();
    let mut room = |name: &str, before: Option<&Value>, words: Vec<String>| {
        let text = |pointer: &str| before.and_then(|it| it.pointer(pointer)).and_then(Value::as_str).map(str::to_owned);
        let server = look.servers.get(name);
        let entry = rooms.entry((names::ordinal(name), name.to_owned())).or_insert_with(|| Room {
            name: name.to_owned(),
            uid: server.map(|it| it.metadata.uid.clone()).unwrap_or_default(),
            pod: look.pods.get(name).map(|pod| pod.metadata.uid.clone()).unwrap_or_default(),
            ops_state: server.map(|it| it.ops_state().to_owned()).unwrap_or_default(),
            becomes: Vec::new(),
        });
        if let Some(uid) = text("/metadata/uid") {
            entry.uid = uid;
            entry.ops_state = text("/spec/opsState").unwrap_or_default();
        }
        entry.becomes.extend(words);
    };
    for change in changes {
        let Some((there, plural, name)) = taken_apart(&change.path) else { continue };
        let ours = owner(change).or_else(|| names::set_of(name).map(str::to_owned)).as_deref() == Some(set);
        if there != namespace || !ours || !matches!(plural, "gameservers" | "pods") {
            continue;
        }
        let told = objects(std::slice::from_ref(change));
        match plural {
            "gameservers" => room(name, change.before.as_ref(), words(&told)),
            _ => {
                let deleted = change.after.is_none();
                room(name, None, vec![format!("its pod is {}", if deleted { "deleted" } else { "written" })]);
            }
        }
    }
    for id in gone {
        room(&names::room(set, *id), None, vec![how.to_owned()]);
    }
    rooms.into_values().collect()
}

fn words(told: &[Object]) -> Vec<String> {
    let Some(object) = told.first() else { return vec!["written, and in the end as it was".to_owned()] };
    match object.action {
        Action::Delete => vec!["its GameServer is deleted".to_owned()],
        _ => object.changes.iter().map(|it| format!("{}: {} -> {}", it.path, it.from, it.to)).collect(),
    }
}

/// Says that a list may not be read, where that is no error.
pub fn unreadable(error: &Diagnostic) -> Option<String> {
    match error.kind {
        // Without the kind's CRD there is no such object.
        Kind::NotInstalled | Kind::NotFound => None,
        _ => Some(error.what.clone()),
    }
}
