//! OKG's GameServer controller: one GameServer a pod, its wishes copied to pod labels, its state copied back.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::queue::{Key, Queue};
use super::workload::{fnv, owner_reference};
use super::{Controller, Hub, game_server_conditions, service_qualities};
use crate::okg::names;
use crate::okg::network;
use crate::okg::ops_state;
use crate::okg::{int_or_string, state};
use crate::sandbox::object::{self, Change, ChangeKind, DeleteOptions, Object};
use crate::sandbox::patch;
use crate::sandbox::status::Status;

const GS: &str = "gameservers.game.kruise.io";
const GSS: &str = "gameserversets.game.kruise.io";
const COMPONENT: &str = "gameserver-controller";
/// Pause between looks at a network that is not as wished, and between stamps that provoke its plugin.
const NETWORK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a network is waited for.
const NETWORK_PATIENCE: Duration = Duration::from_secs(60);

/// Between a change and the controller's noticing; the end of a pod is noticed at once.
const NOTICE: Duration = Duration::from_millis(12);

pub(super) struct GameServers(pub Arc<Hub>);

impl Controller for GameServers {
    const NAME: &'static str = COMPONENT;
    const WORKERS: usize = 10;

    fn latency(&self) -> Range<u64> {
        1..4
    }

    fn wake(&self, change: &Change, queue: &Queue<Key>) {
        let object = &change.object;
        match &*change.resource {
            GS => {
                let key = Key::new(object::namespace(object), object::name(object));
                let lag = self.0.world.label_lag + self.0.world.faults.label_lag(&key.namespace, &key.name);
                queue.add_after(key, NOTICE + lag);
            }
            "pods" if object::label(object, names::OWNER_GSS).is_some() => {
                let key = Key::new(object::namespace(object), object::name(object));
                if change.kind == ChangeKind::Deleted {
                    queue.add(key);
                } else {
                    self.announce_end(change);
                    queue.add_after(key, NOTICE);
                }
            }
            "nodes" => {
                let conditions = |node: &Value| node["status"]["conditions"].clone();
                let Some(previous) = &change.previous else { return };
                if conditions(previous) != conditions(object) {
                    for pod in self.0.api.list("pods", None) {
                        let on_it = object::text_at(&pod, &["spec", "nodeName"]) == object::name(object);
                        if on_it && object::label(&pod, names::OWNER_GSS).is_some() {
                            queue.add(Key::new(object::namespace(&pod), object::name(&pod)));
                        }
                    }
                }
            }
            _ => {}
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Status> {
        let hub = &self.0;
        let pod = hub.api.get("pods", &key.namespace, &key.name);
        let pod = pod.filter(|pod| object::label(pod, names::OWNER_GSS).is_some());
        let game_server = hub.api.get(GS, &key.namespace, &key.name);
        let (pod, game_server) = match (pod, game_server) {
            (Some(pod), None) => return self.create(&pod).await,
            (None, Some(game_server)) => return self.leave(&game_server).await,
            (None, None) => return Ok(None),
            (Some(pod), Some(game_server)) => (pod, game_server),
        };
        let set = object::label(&pod, names::OWNER_GSS).unwrap_or_default();
        let Some(set) = hub.api.get(GSS, &key.namespace, set) else { return Ok(None) };
        let now = object::stamp(hub.clock.now());
        let mut pass = Pass { hub, set, pod, game_server, now };
        pass.sync_pod().await?;
        pass.sync_game_server().await?;
        Ok(pass.wait_for_network())
    }
}

impl GameServers {
    /// Tells of a pod that has just failed or finished. The real controller decides by what it saw, and finds the
    /// pod gone when it writes the label.
    fn announce_end(&self, change: &Change) {
        let (pod, Some(previous)) = (&change.object, &change.previous) else { return };
        let (before, now) = (state::current_state(previous), state::current_state(pod));
        if before == now || !["Failed", "Succeeded"].contains(&object::text_at(pod, &["status", "phase"])) {
            return;
        }
        let Some(game_server) = self.0.api.get(GS, object::namespace(pod), object::name(pod)) else { return };
        let label = object::label(pod, names::GS_STATE).unwrap_or_default();
        if !label.is_empty() && label != now {
            let kind = if now == "Crash" { "Warning" } else { "Normal" };
            let message = format!("State turn from {label} to {now} ");
            self.0.okg.event(COMPONENT, &game_server, kind, "GsStateChanged", &message);
        }
    }

    /// Makes the GameServer of a pod that has none.
    async fn create(&self, pod: &Value) -> Result<Option<Duration>, Status> {
        let hub = &self.0;
        let set = object::label(pod, names::OWNER_GSS).unwrap_or_default();
        let Some(set) = hub.api.get(GSS, object::namespace(pod), set) else { return Ok(None) };
        let (mut labels, annotations) = template_metadata(&set);
        labels.insert(names::OWNER_GSS.into(), object::name(&set).into());
        let policy = set["spec"]["gameServerTemplate"]["reclaimPolicy"].as_str().unwrap_or_default();
        let owner = if ["", "Cascade"].contains(&policy) { pod } else { &set };
        let body = json!({
            "apiVersion": "game.kruise.io/v1alpha1",
            "kind": "GameServer",
            "metadata": {
                "name": object::name(pod),
                "namespace": object::namespace(pod),
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": [owner_reference(owner)],
            },
            "spec": {"opsState": ops_state::NONE, "updatePriority": 0, "deletionPriority": 0, "networkDisabled": false},
        });
        match hub.okg.create(GS, body).await {
            Err(status) if status.reason != "AlreadyExists" && status.code != 404 => Err(status),
            _ => Ok(None),
        }
    }

    /// Deletes a GameServer without a pod only if the set's controller said so.
    async fn leave(&self, game_server: &Value) -> Result<Option<Duration>, Status> {
        if object::label(game_server, names::GS_DELETING) == Some("true") {
            let at = (object::namespace(game_server), object::name(game_server));
            match self.0.okg.delete(GS, at, &DeleteOptions::default()).await {
                Err(status) if status.code != 404 => return Err(status),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// Returns labels and annotations that the template gives to GameServers.
fn template_metadata(set: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let metadata = &set["spec"]["gameServerTemplate"]["metadata"];
    let part = |field: &str| metadata[field].as_object().cloned().unwrap_or_default();
    let mut annotations = part("annotations");
    annotations.insert(names::TEMPLATE_METADATA_HASH.into(), template_hash(set).into());
    (part("labels"), annotations)
}

fn template_hash(set: &Value) -> String {
    let metadata = &set["spec"]["gameServerTemplate"]["metadata"];
    fnv(&json!([metadata["labels"], metadata["annotations"]]))
}

struct Pass<'a> {
    hub: &'a Hub,
    set: Object,
    pod: Object,
    game_server: Object,
    now: String,
}

impl Pass<'_> {
    fn at(&self) -> (&str, &str) {
        (object::namespace(&self.pod), object::name(&self.pod))
    }

    fn event(&self, kind: &str, reason: &str, message: &str) {
        self.hub.okg.event(COMPONENT, &self.game_server, kind, reason, message);
    }

    /// Copies the GameServer's wishes and the room's state to the pod's labels, in one patch if anything differs.
    async fn sync_pod(&mut self) -> Result<(), Status> {
        let (mut labels, mut annotations) = (Map::new(), Map::new());
        let spec = &self.game_server["spec"];
        let wanted = [
            ("DeletionPriority", names::GS_DELETE_PRIORITY, int_or_string::text(spec.get("deletionPriority"))),
            ("UpdatePriority", names::GS_UPDATE_PRIORITY, int_or_string::text(spec.get("updatePriority"))),
            ("OpsState", names::GS_OPS_STATE, spec["opsState"].as_str().unwrap_or_default().to_owned()),
            ("NetworkDisabled", names::NETWORK_DISABLED, (spec["networkDisabled"] == true).to_string()),
            ("State", names::GS_STATE, state::current_state(&self.pod).to_owned()),
        ];
        for (word, key, value) in wanted {
            let before = object::label(&self.pod, key).unwrap_or_default();
            if before == value {
                continue;
            }
            if !before.is_empty() {
                let bad = [ops_state::MAINTAINING, "Crash"].contains(&value.as_str());
                let kind = if bad && ["OpsState", "State"].contains(&word) { "Warning" } else { "Normal" };
                self.event(kind, "GsStateChanged", &format!("{word} turn from {before} to {value} "));
            }
            if key == names::GS_OPS_STATE {
                annotations.insert(names::OPS_STATE_CHANGED.into(), self.now.clone().into());
            }
            if key == names::GS_STATE && !before.is_empty() {
                annotations.insert(names::STATE_CHANGED.into(), self.now.clone().into());
            }
            labels.insert(key.into(), value.into());
        }
        self.provoke_network(&mut annotations);
        for (source, target) in [("labels", &mut labels), ("annotations", &mut annotations)] {
            for (key, value) in self.game_server["metadata"][source].as_object().into_iter().flatten() {
                if key.starts_with(names::GS_SYNC) && self.pod["metadata"][source].get(key) != Some(value) {
                    target.insert(key.clone(), value.clone());
                }
            }
        }
        self.note_updating(&mut annotations);
        let containers = self.overridden_images();
        if labels.is_empty() && annotations.is_empty() && containers.is_empty() {
            return Ok(());
        }
        let change = |pod: &mut Value| {
            merge_metadata(pod, &labels, &annotations);
            set_images(pod, &containers);
            true
        };
        match self.hub.okg.modify("pods", "", self.at(), change).await {
            Ok(pod) => self.pod = pod,
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
        Ok(())
    }

    /// Stamps the pod so that its network plugin looks again, while the network is young.
    fn provoke_network(&self, annotations: &mut Map<String, Value>) {
        let pod = &self.pod["metadata"]["annotations"];
        if pod[names::NETWORK_TYPE].as_str().is_none_or(str::is_empty) {
            return;
        }
        let due = match time(&pod[names::NETWORK_TRIGGER_TIME]) {
            None => true,
            Some(stamped) => {
                let changed = time(&self.game_server["status"]["networkStatus"]["lastTransitionTime"]);
                self.since(stamped) > NETWORK_INTERVAL
                    && changed.is_some_and(|changed| self.since(changed) < NETWORK_PATIENCE)
            }
        };
        if due {
            annotations.insert(names::NETWORK_TRIGGER_TIME.into(), self.now.clone().into());
        }
    }

    fn since(&self, moment: Timestamp) -> Duration {
        Duration::try_from(self.hub.clock.now().duration_since(moment)).unwrap_or_default()
    }

    /// Names the containers that an in-place update changes, from PreUpdate until it is over.
    fn note_updating(&self, annotations: &mut Map<String, Value>) {
        let before = &self.pod["metadata"]["annotations"][names::UPDATING_CONTAINERS];
        match state::current_state(&self.pod) {
            "PreUpdate" => {
                let template = self.set["spec"]["gameServerTemplate"]["spec"]["containers"].as_array();
                let image = |name: &Value| {
                    template.into_iter().flatten().find(|container| container["name"] == *name).map(|c| &c["image"])
                };
                let containers = self.pod["spec"]["containers"].as_array().into_iter().flatten();
                let changed = containers.filter(|c| image(&c["name"]).is_some_and(|image| *image != c["image"]));
                let names: Vec<&str> = changed.filter_map(|container| container["name"].as_str()).collect();
                let names = Value::from(names.join(","));
                if *before != names && names != "" {
                    annotations.insert(names::UPDATING_CONTAINERS.into(), names);
                }
            }
            "Updating" => {}
            _ if before.is_null() => {}
            _ => {
                annotations.insert(names::UPDATING_CONTAINERS.into(), Value::Null);
            }
        }
    }

    /// Returns the containers whose image the GameServer overrides.
    fn overridden_images(&self) -> Map<String, Value> {
        let mut changed = Map::new();
        for container in self.pod["spec"]["containers"].as_array().into_iter().flatten() {
            for wish in self.game_server["spec"]["containers"].as_array().into_iter().flatten() {
                let image = wish["image"].as_str().unwrap_or_default();
                if wish["name"] == container["name"] && !image.is_empty() && container["image"] != image {
                    changed.insert(container["name"].as_str().unwrap_or_default().to_owned(), image.into());
                }
            }
        }
        changed
    }

    /// Runs the actions of service qualities, takes over the template's metadata, and reports the pod's state.
    async fn sync_game_server(&mut self) -> Result<(), Status> {
        let qualities = &self.set["spec"]["serviceQualities"];
        let outcome = service_qualities::judge(qualities, &self.pod, &self.game_server, &self.now);
        for (reason, message) in &outcome.warnings {
            self.event("Warning", reason, message);
        }
        let meta = &self.game_server["metadata"];
        let (mut labels, mut annotations) = (outcome.labels, outcome.annotations);
        if meta["annotations"][names::TEMPLATE_METADATA_HASH] != template_hash(&self.set).as_str() {
            let template = template_metadata(&self.set);
            labels.extend(template.0);
            annotations.extend(template.1);
        }
        let node = object::text_at(&self.pod, &["spec", "nodeName"]);
        if !node.is_empty() {
            labels.insert(names::NODE_NAME.into(), node.into());
        }
        let differs = |field: &str, new: &Map<String, Value>| new.iter().any(|(k, v)| meta[field].get(k) != Some(v));
        let mut patch = json!({});
        let spec: Map<String, Value> =
            outcome.spec.into_iter().filter(|(key, value)| self.game_server["spec"].get(key) != Some(value)).collect();
        if !spec.is_empty() {
            patch["spec"] = spec.into();
        }
        if differs("labels", &labels) || differs("annotations", &annotations) {
            // All of them are written, as they were when the pass began.
            let all = |field: &str, new: Map<String, Value>| {
                let mut all = meta[field].as_object().cloned().unwrap_or_default();
                all.extend(new);
                all
            };
            patch["metadata"] =
                json!({"labels": all("labels", labels), "annotations": all("annotations", annotations)});
        }
        if patch != json!({}) {
            match self.hub.okg.merge(GS, self.at(), patch).await {
                Ok(game_server) => self.game_server = game_server,
                Err(status) if status.code == 404 => {}
                Err(status) => return Err(status),
            }
        }
        let mut warnings = Vec::new();
        let conditions =
            game_server_conditions::judge(self.hub, &self.game_server, &self.pod, &self.now, &mut warnings);
        for (reason, message) in warnings {
            self.event("Warning", &reason, &message);
        }
        self.report(outcome.conditions, conditions?).await
    }

    async fn report(&mut self, qualities: Option<Vec<Value>>, conditions: Vec<Value>) -> Result<(), Status> {
        let label = |key: &str| object::label(&self.pod, key).unwrap_or_default();
        let mut status = json!({
            "currentState": label(names::GS_STATE),
            "desiredState": "Ready",
            "updatePriority": label(names::GS_UPDATE_PRIORITY),
            "deletionPriority": label(names::GS_DELETE_PRIORITY),
            "networkStatus": self.network_status(),
            "conditions": conditions,
        });
        if let Some(qualities) = qualities {
            status["serviceQualitiesConditions"] = qualities.into();
        }
        let before = &self.game_server["status"];
        if patch::holds(before, &status) && patch::holds(&before["podStatus"], &self.pod["status"]) {
            return Ok(());
        }
        status["podStatus"] = self.pod["status"].clone();
        status["lastTransitionTime"] = self.now.clone().into();
        match self.hub.okg.merge_status(GS, self.at(), json!({"status": status})).await {
            Ok(game_server) => self.game_server = game_server,
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
        Ok(())
    }

    /// Returns the network's state as the plugin wrote it on the pod.
    fn network_status(&self) -> Value {
        let pod = &self.pod["metadata"]["annotations"];
        let Some(kind) = pod[names::NETWORK_TYPE].as_str().filter(|kind| !kind.is_empty()) else { return json!({}) };
        let mut status = self.game_server["status"]["networkStatus"].clone();
        if status.as_object().is_none_or(Map::is_empty) {
            return json!({
                "networkType": kind,
                "desiredNetworkState": "Ready",
                "createTime": self.now,
                "lastTransitionTime": self.now,
            });
        }
        let written = pod[names::NETWORK_STATUS].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let Some(written) = written else {
            status["currentNetworkState"] = "NotReady".into();
            status["lastTransitionTime"] = self.now.clone().into();
            return status;
        };
        for field in ["internalAddresses", "externalAddresses", "currentNetworkState"] {
            if let Some(value) = written.get(field) {
                status[field] = value.clone();
            }
        }
        let desired = network::desired_state(&self.pod);
        if status["desiredNetworkState"] != desired {
            status["desiredNetworkState"] = desired.into();
            status["lastTransitionTime"] = self.now.clone().into();
        }
        status
    }

    /// Asks for another look while the network is not as wished, and warns when the patience is over.
    fn wait_for_network(&self) -> Option<Duration> {
        let status = &self.game_server["status"]["networkStatus"];
        if status["desiredNetworkState"] == status["currentNetworkState"] {
            return None;
        }
        let waited = time(&status["lastTransitionTime"]).map(|changed| self.since(changed)).unwrap_or_default();
        if waited < NETWORK_PATIENCE {
            return Some(NETWORK_INTERVAL);
        }
        let message = format!("Network wait timeout: waited {}s, max 1m0s", waited.as_secs_f64());
        self.event("Warning", "GsNetworkState", &message);
        None
    }
}

/// Merges labels and annotations into an object; null removes a key.
pub(super) fn merge_metadata(object: &mut Value, labels: &Map<String, Value>, annotations: &Map<String, Value>) {
    for (field, new) in [("labels", labels), ("annotations", annotations)] {
        if new.is_empty() {
            continue;
        }
        let target = object::member_mut(&mut object["metadata"], field);
        for (key, value) in new {
            if value.is_null() {
                target.remove(key);
            } else {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Sets the images of a pod's containers by name.
pub(super) fn set_images(pod: &mut Value, images: &Map<String, Value>) {
    for container in pod["spec"]["containers"].as_array_mut().into_iter().flatten() {
        if let Some(image) = container["name"].as_str().and_then(|name| images.get(name)) {
            container["image"] = image.clone();
        }
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
