//! OKG's GameServerSet controller: makes and scales the workload, kills rooms, reports the set's status.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::queue::{Key, Queue};
use super::room::Room;
use super::{Controller, Hub, workload};
use crate::okg::kill::replicas_after_killing;
use crate::okg::names;
use crate::okg::ops_state;
use crate::okg::reserve;
use crate::okg::scaling::{ScalePod, Scaling, Strategy};
use crate::sandbox::object::{self, Change, ChangeKind, DeleteOptions, Object};
use crate::sandbox::status::Status;

const GSS: &str = "gameserversets.game.kruise.io";
const ASTS: &str = "statefulsets.apps.kruise.io";
const PPM: &str = "podprobemarkers.apps.kruise.io";
const GS: &str = "gameservers.game.kruise.io";
const COMPONENT: &str = "gameserverset-controller";

/// A pass takes so much longer for each pod of the set.
const PER_POD: Duration = Duration::from_micros(100);

pub(super) struct GameServerSets(pub Arc<Hub>);

impl Controller for GameServerSets {
    const NAME: &'static str = COMPONENT;
    const WORKERS: usize = 10;

    fn latency(&self) -> Range<u64> {
        0..2
    }

    fn wake(&self, change: &Change, queue: &Queue<Key>) {
        let namespace = object::namespace(&change.object);
        match &*change.resource {
            GSS => queue.add(Key::new(namespace, object::name(&change.object))),
            ASTS => {
                let owner =
                    super::cache::controller_of(&change.object).filter(|owner| owner["kind"] == "GameServerSet");
                if let Some(name) = owner.and_then(|owner| owner["name"].as_str()) {
                    queue.add(Key::new(namespace, name));
                }
            }
            PPM => {
                let observed = |object: &Value| object["status"]["observedGeneration"].clone();
                let moved =
                    change.previous.as_ref().is_none_or(|previous| observed(previous) != observed(&change.object));
                if moved || change.kind == ChangeKind::Deleted {
                    queue.add(Key::new(namespace, object::name(&change.object)));
                }
            }
            "pods" => {
                if let Some(set) = object::label(&change.object, names::OWNER_GSS) {
                    queue.add(Key::new(namespace, set));
                }
            }
            _ => {}
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Status> {
        let hub = &self.0;
        let Some(set) = hub.api.get(GSS, &key.namespace, &key.name) else { return Ok(None) };
        let pass = Pass { hub, set };
        if !pass.sync_marker().await? {
            return Ok(None);
        }
        let Some(asts) = hub.api.get(ASTS, &key.namespace, &key.name) else {
            hub.okg.create(ASTS, workload::create(&pass.set)).await?;
            pass.event("CreateWorkload", "created Advanced StatefulSet");
            return Ok(None);
        };
        if pass.set["spec"]["replicas"].is_null() {
            // The real controller panics here, and tries again for ever.
            return Err(Status::internal("invalid memory address or nil pointer dereference"));
        }
        let pods = hub.cache.rooms(&key.namespace, &key.name);
        super::take(PER_POD, pods.len()).await;
        if pass.kill(&asts, &pods).await? || pass.scale(&asts, &pods).await? || pass.update(&asts).await? {
            return Ok(None);
        }
        pass.report(&asts, &pods).await?;
        Ok(None)
    }
}

struct Pass<'a> {
    hub: &'a Hub,
    set: Object,
}

impl Pass<'_> {
    fn at(&self) -> (&str, &str) {
        (object::namespace(&self.set), object::name(&self.set))
    }

    fn event(&self, reason: &str, message: &str) {
        self.hub.okg.event(COMPONENT, &self.set, "Normal", reason, message);
    }

    fn replicas(&self) -> i32 {
        number(&self.set["spec"]["replicas"])
    }

    /// Keeps the PodProbeMarker like the service qualities; false while Kruise has not observed it.
    async fn sync_marker(&self) -> Result<bool, Status> {
        let okg = &self.hub.okg;
        let qualities = &self.set["spec"]["serviceQualities"];
        let marker = self.hub.api.get(PPM, self.at().0, self.at().1);
        match (marker, qualities.is_null()) {
            (None, true) => Ok(true),
            (None, false) => {
                self.event("CreatePpm", "create PodProbeMarker");
                okg.create(PPM, workload::marker(&self.set)).await?;
                Ok(false)
            }
            (Some(_), true) => {
                okg.delete(PPM, self.at(), &DeleteOptions::default()).await?;
                Ok(true)
            }
            (Some(marker), false) => {
                let hash = workload::marker_hash(&self.set);
                if marker["metadata"]["annotations"][names::PPM_HASH] != hash.as_str() {
                    self.event("UpdatePpm", "update PodProbeMarker");
                    let mut next = (*marker).clone();
                    next["spec"]["probes"] = workload::probes(&self.set);
                    next["metadata"]["annotations"][names::PPM_HASH] = hash.into();
                    okg.replace(PPM, "", next).await?;
                    return Ok(false);
                }
                Ok(marker["metadata"]["generation"] == marker["status"]["observedGeneration"])
            }
        }
    }

    /// Lowers the replicas by the rooms labelled Kill.
    async fn kill(&self, asts: &Value, pods: &[Arc<Room>]) -> Result<bool, Status> {
        if !pods.iter().any(|pod| pod.facts().ops_state() == ops_state::KILL) {
            return Ok(false);
        }
        let rooms = for_scaling(pods);
        let replicas = replicas_after_killing(self.replicas(), number(&asts["spec"]["replicas"]), &rooms);
        if replicas == self.replicas() {
            return Ok(false);
        }
        let mut next = (*self.set).clone();
        next["spec"]["replicas"] = replicas.into();
        self.hub.okg.replace(GSS, "", next).await?;
        Ok(true)
    }

    /// Carries replicas and reserved ids over to the workload.
    async fn scale(&self, asts: &Value, pods: &[Arc<Room>]) -> Result<bool, Status> {
        let (set, okg) = (&self.set, &self.hub.okg);
        let explicit = reserve::parse_or_empty(set["spec"].get("reserveGameServerIds"));
        let annotation = set["metadata"]["annotations"][names::RESERVE_IDS].as_str().unwrap_or_default();
        let applied = reserve::parse_annotation(annotation);
        let (from, to) = (number(&asts["spec"]["replicas"]), self.replicas());
        if from == to && explicit == applied {
            return Ok(false);
        }
        let workload = reserve::parse_or_empty(asts["spec"].get("reserveOrdinals"));
        let rooms = for_scaling(pods);
        let scaling = Scaling { explicit, applied, workload, target: to, pods: &rooms };
        let plan = scaling.plan();
        let strategy = &set["spec"]["scaleStrategy"];
        let written =
            plan.strategy(Strategy::from_text(strategy["scaleDownStrategyType"].as_str().unwrap_or_default()));
        self.event("Scale", &format!("scale from {from} to {to}"));
        let mut next = (*asts).clone();
        next["spec"]["replicas"] = to.into();
        set_or_remove(&mut next["spec"], "reserveOrdinals", written.encoded().into());
        set_or_remove(&mut next["spec"], "scaleStrategy", workload::scale_strategy(set));
        okg.replace(ASTS, "", next).await?;
        let annotation = reserve::encode_annotation(&written.annotation);
        let mut patch = json!({"metadata": {"annotations": {names::RESERVE_IDS: annotation}}});
        if let Some(spec) = &written.spec {
            let ids = reserve::encode(spec);
            patch["spec"]["reserveGameServerIds"] = if ids.is_empty() { Value::Null } else { ids.into() };
        }
        okg.merge(GSS, self.at(), patch).await?;
        if set["spec"]["gameServerTemplate"]["reclaimPolicy"] == "Delete" {
            self.mark_deleting(&plan.unmanaged, "true").await?;
            self.mark_deleting(&plan.added, "false").await?;
        }
        Ok(true)
    }

    /// Under the policy Delete: says of GameServers that they go with their pods, or no longer.
    async fn mark_deleting(&self, ordinals: &[i32], value: &str) -> Result<(), Status> {
        for ordinal in ordinals {
            let room = names::room(self.at().1, *ordinal);
            let Some(game_server) = self.hub.api.get(GS, self.at().0, &room) else { continue };
            let found = object::label(&game_server, names::GS_DELETING);
            if found == Some(value) || (value == "false" && found != Some("true")) {
                continue;
            }
            let patch = json!({"metadata": {"labels": {names::GS_DELETING: value}}});
            match self.hub.okg.merge(GS, (self.at().0, &room), patch).await {
                Err(status) if status.code != 404 => return Err(status),
                _ => {}
            }
        }
        Ok(())
    }

    /// Brings the workload up to date when a hashed field changed.
    async fn update(&self, asts: &Value) -> Result<bool, Status> {
        let hash = workload::hash(&self.set);
        if asts["metadata"]["annotations"][names::ASTS_HASH] == hash.as_str() {
            return Ok(false);
        }
        self.hub.okg.replace(ASTS, "", workload::update(&self.set, asts, &hash)).await?;
        self.event("UpdateWorkload", "updated Advanced StatefulSet");
        Ok(true)
    }

    /// Writes the status, if it changed.
    async fn report(&self, asts: &Value, pods: &[Arc<Room>]) -> Result<(), Status> {
        let labelled = |value: &str| pods.iter().filter(|pod| pod.facts().ops_state() == value).count();
        let mut status = Map::new();
        status.insert("replicas".into(), self.replicas().into());
        status.insert("currentReplicas".into(), pods.len().into());
        for field in ["readyReplicas", "availableReplicas", "updatedReplicas"] {
            status.insert(field.into(), number(&asts["status"][field]).into());
        }
        // The real patch leaves a zero out, so that the last other value stays.
        let updated_ready = number(&asts["status"]["updatedReadyReplicas"]);
        if updated_ready != 0 {
            status.insert("updatedReadyReplicas".into(), updated_ready.into());
        }
        status.insert("maintainingReplicas".into(), labelled(ops_state::MAINTAINING).into());
        status.insert("waitToBeDeletedReplicas".into(), labelled(ops_state::WAIT_TO_BE_DELETED).into());
        let preparing = pods.iter().filter(|pod| pod.facts().state == "PreDelete").count();
        status.insert("preDeleteReplicas".into(), preparing.into());
        status.insert("observedGeneration".into(), self.set["metadata"]["generation"].clone());
        let selector = &asts["status"]["labelSelector"];
        if selector.as_str().is_some_and(|selector| !selector.is_empty()) {
            status.insert("labelSelector".into(), selector.clone());
        }
        if status.iter().all(|(key, value)| self.set["status"].get(key) == Some(value)) {
            return Ok(());
        }
        self.hub.okg.merge_status(GSS, self.at(), json!({"status": status})).await?;
        Ok(())
    }
}

/// Returns what scaling knows of pods.
fn for_scaling(pods: &[Arc<Room>]) -> Vec<ScalePod> {
    pods.iter().filter_map(|pod| pod.facts().scale.clone()).collect()
}

fn number(value: &Value) -> i32 {
    value.as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or(0)
}

fn set_or_remove(map: &mut Value, key: &str, value: Value) {
    let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    if let Some(map) = map.as_object_mut() {
        if empty {
            map.remove(key);
        } else {
            map.insert(key.to_owned(), value);
        }
    }
}
