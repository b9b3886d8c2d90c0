//! What OpenKruiseGame's own end-to-end suite expects of its controllers, on a served cluster, through its HTTP API: scaling,
//! reserved ids, Kill, reclaim policies, a new image, and NodePort networks that are switched off.
//!
//! The cases and their expectations follow upstream's `test/e2e/testcase/testcase.go`.

use std::future::Future;
use std::time::Duration;

use okgscript::clock::Clock;
use okgscript::cluster::{Cluster, Connect, DeleteOptions, Kind, Patch, Selector, kind};
use serde_json::{Value, json};

use crate::support::served::Served;

/// A set of the name `rooms` on a cluster of its own.
struct World {
    cluster: Cluster,
    _served: Served,
    _folder: tempfile::TempDir,
}

const SET: &str = "rooms";

impl World {
    /// Serves a cluster and deploys three rooms; returns when they are ready.
    async fn deploy(change: Value) -> World {
        let folder = tempfile::tempdir().unwrap();
        let served = Served::new(folder.path(), &["--empty", "--scenario", "conformance", "--speed", "200"]);
        let connect = Connect { kubeconfig: Some(folder.path().join("kubeconfig")), ..Connect::default() };
        let cluster = Cluster::connect(&connect, Clock::wall()).await.unwrap();
        let mut spec = json!({
            "replicas": 3,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"podUpdatePolicy": "InPlaceIfPossible"}},
            "gameServerTemplate": {"spec": {"containers": [{"name": "game", "image": "game:1"}]}},
        });
        json_patch::merge(&mut spec, &change);
        let set = json!({
            "apiVersion": "game.kruise.io/v1alpha1", "kind": "GameServerSet", "metadata": {"name": SET}, "spec": spec,
        });
        let world = World { cluster, _served: served, _folder: folder };
        world.cluster.create::<Value>(&kind::GAME_SERVER_SET, "default", &set).await.unwrap();
        world.expect(&[0, 1, 2]).await;
        world
    }

    async fn get(&self, kind: &Kind, name: &str) -> Value {
        self.cluster.find(kind, "default", name).await.unwrap().unwrap_or_default()
    }

    async fn set(&self) -> Value {
        self.get(&kind::GAME_SERVER_SET, SET).await
    }

    async fn room(&self, id: usize) -> Value {
        self.get(&kind::GAME_SERVER, &format!("{SET}-{id}")).await
    }

    async fn patch_set(&self, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        let set: Value = self.cluster.patch(&kind::GAME_SERVER_SET, "default", SET, None, &patch).await.unwrap();
        // Upstream's suite waits for this after each change too.
        let wanted = set["metadata"]["generation"].as_i64();
        self.until("the set is taken over", async || {
            self.set().await["status"]["observedGeneration"].as_i64() >= wanted
        })
        .await;
    }

    async fn patch_room(&self, id: usize, spec: Value) {
        let (patch, name) = (Patch::Merge(json!({"spec": spec})), format!("{SET}-{id}"));
        self.cluster.patch::<Value>(&kind::GAME_SERVER, "default", &name, None, &patch).await.unwrap();
    }

    /// Waits for a label of a room's pod.
    async fn label(&self, id: usize, label: &str, value: &str) {
        let name = format!("{SET}-{id}");
        let key = format!("game.kruise.io/{label}");
        self.until(&format!("{name} has {key}={value}"), async || {
            self.get(&kind::POD, &name).await["metadata"]["labels"][&key] == value
        })
        .await;
    }

    /// Waits until exactly the pods with these ids are there and stay, each with a GameServer that is Ready.
    async fn expect(&self, ids: &[usize]) {
        let names: Vec<String> = ids.iter().map(|id| format!("{SET}-{id}")).collect();
        self.until(&format!("the rooms are {ids:?}"), async || {
            let set = self.set().await;
            let selector = Selector::all().labels(format!("game.kruise.io/owner-gss={SET}"));
            let pods = self.cluster.list::<Value>(&kind::POD, "default", &selector).await.unwrap().items;
            let there: Vec<&str> = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
            let stays = pods.iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_null());
            let mut counts = ["/spec/replicas", "/status/replicas", "/status/readyReplicas"].into_iter();
            if there != names || !stays || !counts.all(|at| set.pointer(at) == Some(&json!(ids.len()))) {
                return false;
            }
            let rooms = self.cluster.list::<Value>(&kind::GAME_SERVER, "default", &selector).await.unwrap().items;
            let ready = rooms.iter().filter(|room| room["status"]["currentState"] == "Ready");
            let known: Vec<&str> = ready.filter_map(|room| room["metadata"]["name"].as_str()).collect();
            names.iter().all(|name| known.contains(&name.as_str()))
        })
        .await;
    }

    async fn until<F: Future<Output = bool>>(&self, what: &str, holds: impl Fn() -> F) {
        for _ in 0..300 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not come true that {what}: {:#}", self.set().await);
    }
}

#[tokio::test]
async fn scaling_takes_marked_rooms_then_those_of_high_priority() {
    let world = World::deploy(json!({})).await;
    world.patch_set(json!({"replicas": 5})).await;
    world.expect(&[0, 1, 2, 3, 4]).await;
    world.patch_room(2, json!({"opsState": "WaitToBeDeleted"})).await;
    world.label(2, "gs-opsState", "WaitToBeDeleted").await;
    world.patch_set(json!({"replicas": 4})).await;
    world.expect(&[0, 1, 3, 4]).await;
    world.patch_room(3, json!({"deletionPriority": 100})).await;
    world.label(3, "gs-delete-priority", "100").await;
    world.patch_set(json!({"replicas": 3})).await;
    world.expect(&[0, 1, 4]).await;
}

#[tokio::test]
async fn a_new_image_reaches_every_room() {
    let world = World::deploy(json!({})).await;
    let template = json!({"spec": {"containers": [{"name": "game", "image": "game:2"}]}});
    world.patch_set(json!({"gameServerTemplate": template})).await;
    let selector = Selector::all();
    world
        .until("all pods run the new image", async || {
            let pods = world.cluster.list::<Value>(&kind::POD, "default", &selector).await.unwrap().items;
            let new = |pod: &Value| {
                let status = &pod["status"]["containerStatuses"][0];
                pod["spec"]["containers"][0]["image"] == "game:2" && status["image"] == "game:2"
            };
            pods.len() == 3 && pods.iter().all(new) && world.set().await["status"]["updatedReadyReplicas"] == 3
        })
        .await;
}

/// Gives room 1 a priority, deletes its pod, and returns the priority that its GameServer has afterwards.
async fn priority_after_its_pod_was_deleted(policy: &str) -> Value {
    let world = World::deploy(json!({"gameServerTemplate": {"reclaimPolicy": policy}})).await;
    world.patch_room(1, json!({"deletionPriority": 100})).await;
    world.label(1, "gs-delete-priority", "100").await;
    let name = format!("{SET}-1");
    let before = world.get(&kind::POD, &name).await["metadata"]["uid"].clone();
    let now = DeleteOptions { grace_seconds: Some(0), ..DeleteOptions::default() };
    world.cluster.delete(&kind::POD, "default", &name, &now).await.unwrap();
    world
        .until("room 1 is ready again", async || {
            let (pod, room) = (world.get(&kind::POD, &name).await, world.room(1).await);
            let owner = &room["metadata"]["ownerReferences"][0];
            // Under Cascade the new pod has a GameServer of its own.
            let own = owner["kind"] != "Pod" || owner["uid"] == pod["metadata"]["uid"];
            pod["metadata"]["uid"].is_string()
                && pod["metadata"]["uid"] != before
                && own
                && room["status"]["currentState"] == "Ready"
        })
        .await;
    let room = world.room(1).await;
    assert_eq!((&room["spec"]["opsState"], &room["spec"]["updatePriority"]), (&json!("None"), &json!(0)));
    room["spec"]["deletionPriority"].clone()
}

#[tokio::test]
async fn a_game_server_outlives_its_pod_under_the_policy_delete() {
    assert_eq!(priority_after_its_pod_was_deleted("Delete").await, 100);
}

#[tokio::test]
async fn a_game_server_goes_with_its_pod_under_the_policy_cascade() {
    assert_eq!(priority_after_its_pod_was_deleted("Cascade").await, 0);
}

#[tokio::test]
async fn reserved_ids_go_first_and_others_take_their_place() {
    let world = World::deploy(json!({"gameServerTemplate": {"reclaimPolicy": "Delete"}})).await;
    world.patch_set(json!({"replicas": 5})).await;
    world.expect(&[0, 1, 2, 3, 4]).await;
    world.patch_set(json!({"reserveGameServerIds": ["3-4"]})).await;
    world.expect(&[0, 1, 2, 5, 6]).await;
    world.patch_set(json!({"replicas": 3, "reserveGameServerIds": ["3-6"]})).await;
    world.expect(&[0, 1, 2]).await;
}

#[tokio::test]
async fn ids_that_went_stay_reserved_until_they_are_freed() {
    let world = World::deploy(json!({})).await;
    world.patch_set(json!({"replicas": 5})).await;
    world.expect(&[0, 1, 2, 3, 4]).await;
    world.patch_set(json!({"scaleStrategy": {"scaleDownStrategyType": "ReserveIds"}})).await;
    world.patch_set(json!({"replicas": 3})).await;
    world.expect(&[0, 1, 2]).await;
    world
        .until("3 and 4 are reserved, in the set and in its annotation", async || {
            let set = world.set().await;
            set["spec"]["reserveGameServerIds"] == json!([3, 4])
                && set["metadata"]["annotations"]["game.kruise.io/reserve-ids"] == "3,4"
        })
        .await;
    world.patch_set(json!({"replicas": 4, "reserveGameServerIds": [3]})).await;
    world.expect(&[0, 1, 2, 4]).await;
}

#[tokio::test]
async fn a_killed_room_lowers_the_set_and_its_id_is_used_again() {
    let world = World::deploy(json!({})).await;
    world.patch_room(1, json!({"opsState": "Kill"})).await;
    world.expect(&[0, 2]).await;
    world.patch_set(json!({"replicas": 3})).await;
    world.expect(&[0, 1, 2]).await;
    let reserved = world.set().await["spec"]["reserveGameServerIds"].clone();
    assert!(reserved.as_array().is_none_or(|ids| !ids.contains(&json!(1))), "{reserved}");
}

#[tokio::test]
async fn a_node_port_leads_nowhere_while_the_network_is_disabled() {
    let network = json!({
        "networkType": "Kubernetes-NodePort", "networkConf": [{"name": "PortProtocols", "value": "8080/TCP"}],
    });
    let container = json!([{"name": "game", "image": "game:1", "ports": [{"containerPort": 8080}]}]);
    let world =
        World::deploy(json!({"network": network, "gameServerTemplate": {"spec": {"containers": container}}})).await;
    let service = world.cluster.resolve("services").await.unwrap();
    let name = format!("{SET}-0");
    let leads = async |key: &str, state: &str, disabled: bool| {
        world
            .until(&format!("{name} is {state} with a service by {key}"), async || {
                let (service, room) = (world.get(&service, &name).await, world.room(0).await);
                service["spec"]["selector"] == json!({key: name})
                    && room["status"]["networkStatus"]["desiredNetworkState"] == state
                    && room["spec"]["networkDisabled"] == disabled
            })
            .await;
        world.label(0, "network-disabled", if disabled { "true" } else { "false" }).await;
    };
    let (open, closed) = ("statefulset.kubernetes.io/pod-name", "game.kruise.io/svc-selector-disabled");
    leads(open, "Ready", false).await;
    world.patch_room(0, json!({"networkDisabled": true})).await;
    leads(closed, "NotReady", true).await;
    world.patch_room(0, json!({"networkDisabled": false})).await;
    leads(open, "Ready", false).await;
}
