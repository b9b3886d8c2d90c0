//! What a plan covers, kept to while it is carried out: a write beyond it is refused before it is sent.
//!
//! Covered are the objects of the plan, the rooms that it touches, and the rooms that it would touch should their
//! matches end first. A patch of a set that takes rooms away is held against the rooms that would go by OKG's choice.
//! Leases and Events are means of a run, not ends; they pass.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;
use serde_json::Value;

use super::forecast::taken_apart;
use super::stale::follows_rooms;
use super::{Action, Object, Plan, Set};
use crate::cluster::{Cluster, Outgoing, Selector, diff, kind};
use crate::diagnostic::{Diagnostic, Kind};
use crate::okg::game_server_set::{GameServerSet, Workload};
use crate::okg::pod::Pod;
use crate::okg::{names, reserve, scale_in};

/// A plan that is being carried out.
#[derive(Clone)]
pub struct Bounds {
    plan: Arc<Plan>,
    cluster: Cluster,
}

impl Bounds {
    /// Returns a cluster that lets only those writes pass that the plan covers.
    pub fn confine(plan: &Plan, cluster: &Cluster) -> Cluster {
        let bounds = Bounds { plan: Arc::new(plan.clone()), cluster: cluster.clone() };
        cluster.confined(move |write| {
            let bounds = bounds.clone();
            async move { bounds.judge(&write).await }
        })
    }

    async fn judge(&self, write: &Outgoing) -> Result<(), Diagnostic> {
        let Some(target) = &write.target else { return Err(self.beyond(&write.path, "the plan knows no such object")) };
        let plural = target.collection.rsplit('/').next().unwrap_or_default();
        if matches!(plural, "leases" | "events") {
            return Ok(());
        }
        let Some(path) = target.object() else { return self.creation(write, &target.collection) };
        if target.subresource.as_deref() == Some("exec") {
            return self.command(&path);
        }
        let planned = self.plan.objects.iter().find(|object| object.path == path);
        let set = taken_apart(&path).and_then(|(namespace, plural, name)| match plural {
            "gameservers" => self.plan.set(namespace, names::set_of(name)?).map(|set| (set, name)),
            _ => None,
        });
        if let Some((set, name)) = set {
            return self.room(write, &path, set, name).await;
        }
        if plural == "gameserversets" && write.method != Method::DELETE {
            return self.set(write, &path).await;
        }
        let Some(planned) = planned else { return Err(self.beyond(&path, "it is not in the plan")) };
        if planned.action == Action::Delete && write.method != Method::DELETE {
            return Err(self.beyond(&path, "the plan deletes it"));
        }
        if planned.action != Action::Delete && write.method == Method::DELETE {
            return Err(self.beyond(&path, "the plan does not delete it"));
        }
        self.other(write, planned, &path).await
    }

    /// Lets commands run where the plan has assumed that one succeeds.
    fn command(&self, path: &str) -> Result<(), Diagnostic> {
        let (namespace, _, name) = taken_apart(path).unwrap_or_default();
        let place = format!("in pod {namespace}/{name} ends");
        let foreseen = self.plan.assumptions.iter().any(|assumed| assumed.contains(&place));
        if foreseen { Ok(()) } else { Err(self.beyond(path, "the plan runs no command in it")) }
    }

    fn creation(&self, write: &Outgoing, collection: &str) -> Result<(), Diagnostic> {
        let text = |key: &str| write.body["metadata"][key].as_str().unwrap_or_default();
        let path =
            format!("{collection}/{}", if text("name").is_empty() { text("generateName") } else { text("name") });
        let named = self.plan.objects.iter().any(|it| it.action == Action::Create && it.path == path);
        if named || (text("name").is_empty() && self.plan.creates_like(&path)) {
            return Ok(());
        }
        Err(self.beyond(&path, "the plan does not make it"))
    }

    /// Holds a write to a room against the rooms that the plan covers, by name and identity.
    async fn room(&self, write: &Outgoing, path: &str, set: &Set, name: &str) -> Result<(), Diagnostic> {
        let Some(room) = set.covered(name) else { return Err(self.beyond(path, "the plan does not cover this room")) };
        self.identity(write, path, &room.uid).await
    }

    async fn other(&self, write: &Outgoing, planned: &Object, path: &str) -> Result<(), Diagnostic> {
        // An object that the plan makes is there by now, or not yet.
        if planned.uid.is_empty() { Ok(()) } else { self.identity(write, path, &planned.uid).await }
    }

    /// Refuses an object that only has the name of the planned one. A write that tests the identity itself needs no
    /// look.
    async fn identity(&self, write: &Outgoing, path: &str, uid: &str) -> Result<(), Diagnostic> {
        let now = match write.held_to_uid() {
            Some(uid) => Some(uid.to_owned()),
            None => match self.cluster.raw(path).await {
                Ok(object) => object.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned),
                // It is gone: the server says so to the write as well.
                Err(error) if error.kind == Kind::NotFound => None,
                Err(error) => return Err(error),
            },
        };
        match now {
            Some(now) if now != uid => Err(self.beyond(path, "another object has the name by now")),
            _ => Ok(()),
        }
    }

    /// Holds a write to a set against the rooms that would go by it.
    async fn set(&self, write: &Outgoing, path: &str) -> Result<(), Diagnostic> {
        let object = self.plan.objects.iter().find(|object| object.path == path);
        let made = object.is_some_and(|object| object.action == Action::Create);
        let Some((namespace, _, name)) = taken_apart(path) else {
            return Err(self.beyond(path, "it has no namespace"));
        };
        let planned = match self.plan.set(namespace, name) {
            Some(planned) => planned,
            None if made => return Ok(()),
            None => return Err(self.beyond(path, "it is not in the plan")),
        };
        // What is not there, and a patch that does not fit, the server refuses by itself.
        let Some(now) = self.cluster.find::<GameServerSet>(&kind::GAME_SERVER_SET, namespace, name).await? else {
            return Ok(());
        };
        if now.metadata.uid != planned.uid {
            return Err(self.beyond(path, "another set has the name by now"));
        }
        let Some(after) = write.applied_to(now.object.clone()) else { return Ok(()) };
        if object.is_none() {
            let fields = diff::changes(&now.object, &after);
            let more = fields.iter().find(|it| !follows_rooms(&it.path) && !it.path.contains("okgscript.io/"));
            if let Some(more) = more {
                return Err(self.beyond(path, &format!("the plan does not change its {}", more.path)));
            }
        }
        let Ok(after) = serde_json::from_value::<GameServerSet>(after) else { return Ok(()) };
        let ids = |set: &GameServerSet| reserve::parse_or_empty(Some(&Value::Array(set.reserve_ids())));
        if after.replicas() >= now.replicas() && ids(&after).is_subset(&ids(&now)) {
            return Ok(());
        }
        let selector = Selector::all().labels(format!("{}={name}", names::OWNER_GSS));
        let pods = self.cluster.list::<Pod>(&kind::POD, namespace, &selector).await?;
        let workload = self.cluster.find::<Workload>(&kind::STATEFUL_SET, namespace, name).await?;
        let gone: BTreeSet<i32> =
            scale_in::victims(&after, workload.as_ref(), &pods.items, after.replicas()).into_iter().collect();
        let beyond: Vec<String> =
            gone.iter().map(|id| names::room(name, *id)).filter(|room| planned.covered(room).is_none()).collect();
        if beyond.is_empty() {
            return Ok(());
        }
        let why = format!("it would take {}, which the plan does not cover", beyond.join(", "));
        Err(self.beyond(path, &why).with("rooms", beyond))
    }

    fn beyond(&self, path: &str, why: &str) -> Diagnostic {
        let what = match taken_apart(path) {
            Some((namespace, plural, name)) => format!("{} `{namespace}/{name}`", word(plural)),
            None => format!("`{path}`"),
        };
        let mut covered: Vec<&str> = Vec::new();
        for room in self.plan.sets.iter().flat_map(|set| set.rooms.iter().chain(&set.rooms_if_idle)) {
            if !covered.contains(&room.name.as_str()) {
                covered.push(&room.name);
            }
        }
        let shown = covered.iter().take(12).copied().collect::<Vec<_>>().join(", ");
        let more = if covered.len() > 12 { ", …" } else { "" };
        let covered = if covered.is_empty() { "no room".to_owned() } else { format!("{shown}{more}") };
        Diagnostic::new(Kind::Refused, format!("a write to {what} lies beyond the plan"))
            .why(why)
            .why(format!("of rooms it covers {covered}"))
            .help("make a new plan. This write was not sent.")
            .with("beyond_plan", true)
    }
}

fn word(plural: &str) -> &str {
    match plural {
        "gameservers" => "GameServer",
        "gameserversets" => "GameServerSet",
        "pods" => "Pod",
        other => other,
    }
}
