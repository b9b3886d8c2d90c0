//! A room: the GameServer and its pod, judged against the workload.
//!
//! Two words have one meaning everywhere. *Matchable*: GameServer Ready, opsState None, network ready if it has one.
//! *Old*: the pod's revision differs from the workload's updateRevision; *current*: it does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use super::game_server_set::Workload;
use super::names;
use super::object::{Condition, Metadata, int_or_string, present_or_default};
use super::pod::Pod;

/// A GameServer, compact: no raw JSON is kept.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct GameServer {
    /// Metadata.
    pub metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    ops_state: String,
    #[serde(deserialize_with = "int_or_string")]
    update_priority: String,
    #[serde(deserialize_with = "int_or_string")]
    deletion_priority: String,
    #[serde(deserialize_with = "present_or_default")]
    network_disabled: bool,
    #[serde(deserialize_with = "present_or_default")]
    containers: Vec<Override>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Override {
    name: String,
    image: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    current_state: String,
    #[serde(deserialize_with = "int_or_string")]
    update_priority: String,
    #[serde(deserialize_with = "int_or_string")]
    deletion_priority: String,
    #[serde(deserialize_with = "present_or_default")]
    network_status: Network,
    #[serde(deserialize_with = "present_or_default")]
    pod_status: PodStart,
    #[serde(deserialize_with = "present_or_default")]
    conditions: Vec<Condition>,
    last_transition_time: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStart {
    start_time: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Network {
    network_type: String,
    current_network_state: String,
    desired_network_state: String,
    #[serde(deserialize_with = "present_or_default")]
    external_addresses: Vec<Address>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Address {
    ip: String,
    end_point: String,
    #[serde(deserialize_with = "present_or_default")]
    ports: Vec<Port>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Port {
    #[serde(deserialize_with = "int_or_string")]
    port: String,
}

/// Why no version can be told right after a change of the template.
pub const TAKING_OVER: &str = "OKG is taking a change over";

/// Which version of the template a room runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// The pod's revision differs from the workload's updateRevision.
    Old,
    /// The pod's revision is the workload's updateRevision.
    Current,
    /// Neither can be said; the text says why. Such a room is never marked.
    Unknown(&'static str),
}

impl Version {
    /// Returns the word that filters and tables use.
    pub fn word(&self) -> &'static str {
        match self {
            Version::Old => "old",
            Version::Current => "current",
            Version::Unknown(_) => "unknown",
        }
    }
}

/// A room as it was read: GameServer, pod and what the workload says of them.
#[derive(Clone, Debug)]
pub struct Room {
    /// The GameServer.
    pub server: Arc<GameServer>,
    /// The pod of that name, if there is one.
    pub pod: Option<Arc<Pod>>,
    /// Which version of the template it runs.
    pub version: Version,
}

impl GameServer {
    /// Returns `spec.opsState`.
    pub fn ops_state(&self) -> &str {
        &self.spec.ops_state
    }

    /// Returns `status.currentState`: `Creating`, `Ready`, `NotReady`, `Deleting`, …
    pub fn state(&self) -> &str {
        &self.status.current_state
    }

    /// Returns `spec.deletionPriority` as text.
    pub fn deletion_priority(&self) -> &str {
        &self.spec.deletion_priority
    }

    /// Returns `spec.updatePriority` as text.
    pub fn update_priority(&self) -> &str {
        &self.spec.update_priority
    }

    /// Returns `status.deletionPriority`, which kubectl's column DP shows.
    pub fn shown_deletion_priority(&self) -> &str {
        &self.status.deletion_priority
    }

    /// Returns `status.updatePriority`, which kubectl's column UP shows.
    pub fn shown_update_priority(&self) -> &str {
        &self.status.update_priority
    }

    /// Returns `spec.networkDisabled`, absent as false.
    pub fn network_disabled(&self) -> bool {
        self.spec.network_disabled
    }

    /// Returns the network type; empty where the room has no network.
    pub fn network_type(&self) -> &str {
        &self.status.network_status.network_type
    }

    /// Returns whether the network lets players in: it has none, or it is ready and meant to be.
    pub fn network_ready(&self) -> bool {
        let network = &self.status.network_status;
        network.network_type.is_empty()
            || (network.current_network_state == "Ready" && network.desired_network_state != "NotReady")
    }

    /// Returns the network's state, `none` where there is none.
    pub fn network_state(&self) -> &str {
        let network = &self.status.network_status;
        match (network.network_type.is_empty(), network.current_network_state.is_empty()) {
            (true, _) => "none",
            (false, true) => "NotReady",
            (false, false) => &network.current_network_state,
        }
    }

    /// Returns where players connect: `endpoint-or-ip:port`, one for each external port.
    pub fn addresses(&self) -> Vec<String> {
        let mut all = Vec::new();
        for address in &self.status.network_status.external_addresses {
            let host = if address.ip.is_empty() { &address.end_point } else { &address.ip };
            all.extend(address.ports.iter().map(|port| format!("{host}:{}", port.port)));
        }
        all
    }

    /// Returns `status.podStatus.startTime` as it is written: with reclaim policy Delete it tells pods apart.
    pub fn pod_start_time(&self) -> Option<&str> {
        self.status.pod_status.start_time.as_deref()
    }

    /// Returns the image that `spec.containers` sets for a container.
    pub fn image_override(&self, container: &str) -> Option<&str> {
        let found = self.spec.containers.iter().find(|c| c.name == container && !c.image.is_empty());
        found.map(|c| c.image.as_str())
    }

    /// Returns the conditions that are not True.
    pub fn failing_conditions(&self) -> impl Iterator<Item = &Condition> {
        self.status.conditions.iter().filter(|condition| condition.status != "True")
    }

    /// Returns when the status last changed.
    pub fn last_transition(&self) -> Option<Timestamp> {
        self.status.last_transition_time
    }

    /// Returns the number after the last dash of the name.
    pub fn ordinal(&self) -> Option<u64> {
        names::ordinal(&self.metadata.name).and_then(|ordinal| u64::try_from(ordinal).ok())
    }
}

impl Room {
    /// Joins a GameServer with the pod of its name and judges the version. `settled` says that OKG has pushed the
    /// GameServerSet's present template to the workload.
    pub fn judge(server: Arc<GameServer>, pod: Option<Arc<Pod>>, workload: Option<&Workload>, settled: bool) -> Room {
        let version = version(&server, pod.as_deref(), workload, settled);
        let mut room = Room { server, pod, version };
        if room.orphaned() {
            room.version = Version::Unknown("its GameServer belongs to a former pod");
        }
        room
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.server.metadata.name
    }

    /// Returns whether the GameServer belongs to a former pod of its name: what it says is not about this pod.
    pub fn orphaned(&self) -> bool {
        let Some(pod) = &self.pod else { return false };
        match self.server.metadata.owner_references.first() {
            Some(owner) if owner.kind == "Pod" => owner.uid != pod.metadata.uid,
            // With reclaim policy Delete it outlives pods; its status tells of which one it speaks.
            _ => match (self.server.pod_start_time(), pod.start_time_text()) {
                (Some(told), Some(started)) => told != started,
                _ => false,
            },
        }
    }

    /// Returns whether new players can be sent there: Ready, None, network ready if it has one, and its pod stays.
    pub fn matchable(&self) -> bool {
        self.server.ops_state() == "None"
            && self.server.state() == "Ready"
            && self.server.network_ready()
            && self.pod.as_ref().is_some_and(|pod| !pod.terminating())
    }

    /// Returns whether it is matchable or has players already.
    pub fn open(&self) -> bool {
        let stays = self.pod.as_ref().is_some_and(|pod| !pod.terminating());
        self.matchable() || (self.server.ops_state() == "Allocated" && self.server.state() == "Ready" && stays)
    }

    /// Returns why it is not Ready, as far as the pod and OKG's conditions tell.
    pub fn reason(&self) -> Option<String> {
        let Some(pod) = &self.pod else { return Some("no pod".to_owned()) };
        if let Some(trouble) = pod.trouble() {
            return Some(trouble.to_string());
        }
        if pod.terminating() {
            return Some("terminating".to_owned());
        }
        if self.server.state() == "Ready" {
            return (!self.server.network_ready()).then(|| format!("network {}", self.server.network_state()));
        }
        let mut failing = self.server.failing_conditions().filter(|condition| !condition.message.is_empty());
        failing.next().map(|condition| format!("{}: {}", condition.r#type, condition.message))
    }
}

fn version(server: &GameServer, pod: Option<&Pod>, workload: Option<&Workload>, settled: bool) -> Version {
    let Some(pod) = pod else { return Version::Unknown("it has no pod") };
    if pod.terminating() {
        return Version::Unknown("its pod is terminating");
    }
    let Some(workload) = workload else { return Version::Unknown("the set has no workload") };
    let Some(update_revision) = workload.update_revision().filter(|_| settled) else {
        return Version::Unknown(TAKING_OVER);
    };
    if pod.revision().is_empty() {
        return Version::Unknown("its pod carries no revision");
    }
    let current = pod.revision() == update_revision;
    let template = workload.images();
    for (container, wanted) in &template {
        // Only an override of the GameServer's own can set image and revision apart for good; webhooks that rewrite
        // registries change every pod alike and say nothing about the version.
        let overridden = server.image_override(container);
        let runs = pod.image(container);
        let runs_wanted = runs == Some(wanted.as_str());
        if overridden.is_some() && runs.is_some() && runs_wanted != current {
            return Version::Unknown("its image and its revision disagree");
        }
        // An override of a former GameServer of this name stays in the pod; its image is then another one's.
        if current && runs.is_some_and(|image| tail(image) != tail(wanted)) {
            return Version::Unknown("its image and its revision disagree");
        }
    }
    if current { Version::Current } else { Version::Old }
}

/// Returns the part of an image that a registry mirror keeps: the last path segment, without a digest.
fn tail(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split('@').next().unwrap_or(last)
}

/// Joins GameServers and pods by name, ordered by ordinal.
pub fn join(
    servers: impl IntoIterator<Item = Arc<GameServer>>,
    pods: &BTreeMap<String, Arc<Pod>>,
    workload: Option<&Workload>,
    settled: bool,
) -> Vec<Room> {
    let mut rooms: Vec<Room> = servers
        .into_iter()
        .map(|server| {
            let pod = pods.get(&server.metadata.name).cloned();
            Room::judge(server, pod, workload, settled)
        })
        .collect();
    rooms.sort_by_cached_key(|room| (room.server.ordinal().unwrap_or(u64::MAX), room.name().to_owned()));
    rooms
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(image: &str, revision: &str, generation: i64, observed: i64) -> Workload {
        serde_json::from_value(json!({
            "metadata": {"name": "m", "generation": generation},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "game", "image": image}]}}},
            "status": {"observedGeneration": observed, "updateRevision": revision},
        }))
        .unwrap()
    }

    fn pod(image: &str, revision: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "m-0", "labels": {"controller-revision-hash": revision}},
            "spec": {"containers": [{"name": "game", "image": image}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap()
    }

    fn server(spec: serde_json::Value) -> GameServer {
        serde_json::from_value(json!({
            "metadata": {"name": "m-0"}, "spec": spec, "status": {"currentState": "Ready"},
        }))
        .unwrap()
    }

    fn judged(spec: serde_json::Value, pod: Pod, workload: &Workload) -> Room {
        Room::judge(Arc::new(server(spec)), Some(Arc::new(pod)), Some(workload), true)
    }

    #[test]
    fn version_is_the_revision_and_a_mirror_does_not_confuse_it() {
        let workload = workload("acs/game:2", "m-b", 2, 2);
        let none = || json!({"opsState": "None"});
        assert_eq!(judged(none(), pod("acs/game:1", "m-a"), &workload).version, Version::Old);
        assert_eq!(judged(none(), pod("acs/game:2", "m-b"), &workload).version, Version::Current);
        assert_eq!(judged(none(), pod("mirror.local/acs/game:2", "m-b"), &workload).version, Version::Current);
        // The same image under another revision (an env change) is old all the same.
        assert_eq!(judged(none(), pod("acs/game:2", "m-a"), &workload).version, Version::Old);
    }

    #[test]
    fn an_override_that_contradicts_the_revision_is_neither() {
        let workload = workload("acs/game:2", "m-b", 2, 2);
        let overridden = |image: &str| json!({"opsState": "None", "containers": [{"name": "game", "image": image}]});
        assert_eq!(judged(overridden("acs/game:2"), pod("acs/game:2", "m-a"), &workload).version.word(), "unknown");
        assert_eq!(judged(overridden("acs/game:1"), pod("acs/game:1", "m-b"), &workload).version.word(), "unknown");
        assert_eq!(judged(json!({}), pod("acs/game:1", "m-b"), &workload).version.word(), "unknown");
    }

    #[test]
    fn nothing_is_old_or_current_before_kruise_has_seen_the_template() {
        let workload = workload("acs/game:2", "m-a", 2, 1);
        assert_eq!(judged(json!({}), pod("acs/game:1", "m-a"), &workload).version.word(), "unknown");
    }

    #[test]
    fn matchable_needs_state_ops_state_and_network() {
        let room = |status: serde_json::Value, ops: &str| {
            let server = serde_json::from_value(json!({
                "metadata": {"name": "m-0"}, "spec": {"opsState": ops}, "status": status,
            }))
            .unwrap();
            Room { server: Arc::new(server), pod: Some(Arc::new(pod("a", "b"))), version: Version::Current }
        };
        let ready = json!({"currentState": "Ready"});
        assert!(room(ready.clone(), "None").matchable());
        assert!(!room(ready.clone(), "Allocated").matchable() && room(ready.clone(), "Allocated").open());
        assert!(!room(json!({"currentState": "Creating"}), "None").open());
        let waiting = json!({"currentState": "Ready", "networkStatus": {"networkType": "Kubernetes-HostPort",
            "currentNetworkState": "NotReady", "desiredNetworkState": "Ready"}});
        assert!(!room(waiting, "None").matchable());
        assert!(!room(ready, "Maintaining").open());
    }
}
