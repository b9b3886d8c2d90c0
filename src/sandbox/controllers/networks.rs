//! Network plugins: Kubernetes-NodePort and Kubernetes-HostPort as OKG has them, and one that stands for all clouds.
//!
//! OKG runs its plugins inside the pod webhook, whenever something writes the pod; here they follow pods and services.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::game_server::merge_metadata;
use super::queue::{Key, Queue};
use super::stateful_set::ignore_missing;
use super::{Controller, Hub, lifecycle};
use crate::okg::{names, network};
use crate::sandbox::object::{self, Change, ChangeKind};
use crate::sandbox::status::Status;

/// First and number of node ports.
const NODE_PORTS: (u64, u64) = (30_000, 2768);
/// Selector that fits no pod: how a NodePort network is disabled.
const DISABLED: &str = "game.kruise.io/svc-selector-disabled";

pub(super) struct Networks(pub Arc<Hub>);

impl Controller for Networks {
    const NAME: &'static str = "okg-network";
    const WORKERS: usize = 4;

    fn latency(&self) -> Range<u64> {
        2..6
    }

    fn wake(&self, change: &Change, queue: &Queue<Key>) {
        let object = &change.object;
        let key = || Key::new(object::namespace(object), object::name(object));
        match &*change.resource {
            "pods" if change.kind != ChangeKind::Deleted && kind_of(object).is_some() => queue.add(key()),
            "services" => queue.add(key()),
            _ => {}
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Status> {
        let hub = &self.0;
        let at = (&*key.namespace, &*key.name);
        let Some(pod) = hub.api.get("pods", at.0, at.1) else { return Ok(None) };
        let Some(kind) = kind_of(&pod) else { return Ok(None) };
        if object::terminating(&pod) {
            return Ok(None);
        }
        let conf = conf_of(&pod);
        let mut labels = Map::new();
        if network::conf(&conf, "AllowNotReadyContainers").is_some() {
            let blocked = lifecycle::state(&pod) != "PreparingUpdate";
            labels.insert(names::NOT_READY_BLOCKER.into(), blocked.to_string().into());
        }
        let addresses = match kind {
            "Kubernetes-NodePort" => self.node_port(&pod, &conf).await?,
            "Kubernetes-HostPort" => host_port(&pod, &conf),
            _ => cloud(&pod),
        };
        let age = hub.clock.now().duration_since(started(&pod).unwrap_or_else(|| hub.clock.now()));
        let left = hub.world.network.saturating_sub(Duration::try_from(age).unwrap_or_default());
        let status = match addresses {
            Some(_) if !left.is_zero() && pod["metadata"]["annotations"][names::NETWORK_STATUS].is_null() => {
                return Ok(Some(left));
            }
            Some((internal, external)) => json!({
                "internalAddresses": internal,
                "externalAddresses": external,
                "currentNetworkState": "Ready",
            }),
            None => return self.write(at, labels, Map::new()).await,
        };
        let mut annotations = Map::new();
        annotations.insert(names::NETWORK_STATUS.into(), status.to_string().into());
        self.write(at, labels, annotations).await
    }
}

impl Networks {
    async fn write(
        &self,
        at: (&str, &str),
        labels: Map<String, Value>,
        annotations: Map<String, Value>,
    ) -> Result<Option<Duration>, Status> {
        let Some(pod) = self.0.api.get("pods", at.0, at.1) else { return Ok(None) };
        let kept = |field: &str, new: &Map<String, Value>| {
            new.iter().all(|(key, value)| pod["metadata"][field].get(key) == Some(value))
        };
        if !kept("labels", &labels) || !kept("annotations", &annotations) {
            let change = |pod: &mut Value| {
                merge_metadata(pod, &labels, &annotations);
                true
            };
            ignore_missing(self.0.kubernetes.modify("pods", "", at, change).await)?;
        }
        Ok(None)
    }

    /// Keeps the room's Service, and returns the addresses it gives.
    async fn node_port(&self, pod: &Value, conf: &Value) -> Result<Option<(Value, Value)>, Status> {
        let hub = &self.0;
        let at = (object::namespace(pod), object::name(pod));
        let ports = port_protocols(network::conf(conf, "PortProtocols").unwrap_or_default());
        let disabled = object::label(pod, names::NETWORK_DISABLED) == Some("true");
        let selector = if disabled { json!({DISABLED: at.1}) } else { json!({names::POD_NAME: at.1}) };
        let wanted: Vec<Value> = ports
            .iter()
            .map(|(port, protocol)| {
                json!({"name": port.to_string(), "port": port, "targetPort": port, "protocol": protocol})
            })
            .collect();
        let Some(service) = hub.api.get("services", at.0, at.1) else {
            let given: Vec<Value> = wanted
                .iter()
                .map(|port| {
                    let mut port = port.clone();
                    port["nodePort"] = node_port(&format!("{}/{}", at.0, at.1), port["port"].as_u64()).into();
                    port
                })
                .collect();
            let body = json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {
                    "name": at.1,
                    "namespace": at.0,
                    "ownerReferences": [super::workload::owner_reference(pod)],
                },
                "spec": {"type": "NodePort", "selector": selector, "ports": given},
            });
            match hub.kubernetes.create("services", body).await {
                Err(status) if status.reason != "AlreadyExists" => return Err(status),
                _ => return Ok(None),
            }
        };
        if service["metadata"]["ownerReferences"][0]["uid"] != pod["metadata"]["uid"] {
            // The Service of the pod that had the name before; the collector takes it.
            return Ok(None);
        }
        let bare = |port: &Value| {
            let keys = ["name", "port", "targetPort", "protocol"];
            keys.map(|key| port[key].clone())
        };
        let found = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let same = found.len() == wanted.len() && found.iter().zip(&wanted).all(|(a, b)| bare(a) == bare(b));
        if service["spec"]["selector"] != selector || !same {
            let change = |service: &mut Value| {
                service["spec"]["selector"] = selector.clone();
                if !same {
                    service["spec"]["ports"] = wanted
                        .iter()
                        .map(|port| {
                            let mut port = port.clone();
                            port["nodePort"] = node_port(&format!("{}/{}", at.0, at.1), port["port"].as_u64()).into();
                            port
                        })
                        .collect::<Vec<_>>()
                        .into();
                }
                true
            };
            ignore_missing(hub.kubernetes.modify("services", "", at, change).await)?;
            return Ok(None);
        }
        let Some(ip) = pod["status"]["podIP"].as_str() else { return Ok(None) };
        let side = |host: bool| {
            let address = |port: &Value| {
                let (ip, number) = if host { (HOST, &port["nodePort"]) } else { (ip, &port["targetPort"]) };
                json!({"ip": ip, "ports": [{"name": port["name"], "port": number, "protocol": port["protocol"]}]})
            };
            Value::from(found.iter().map(address).collect::<Vec<_>>())
        };
        Ok(Some((side(false), side(true))))
    }
}

/// Address of the nodes.
const HOST: &str = "172.18.0.2";

fn kind_of(pod: &Value) -> Option<&str> {
    pod["metadata"]["annotations"][names::NETWORK_TYPE].as_str().filter(|kind| !kind.is_empty())
}

fn conf_of(pod: &Value) -> Value {
    let text = pod["metadata"]["annotations"][names::NETWORK_CONF].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

fn started(pod: &Value) -> Option<jiff::Timestamp> {
    pod["status"]["startTime"].as_str()?.parse().ok()
}

/// Reads `25565/TCP,8080`.
fn port_protocols(text: &str) -> Vec<(u64, String)> {
    let read = |word: &str| {
        let (port, protocol) = word.split_once('/').unwrap_or((word, "TCP"));
        Some((port.trim().parse().ok()?, protocol.to_owned()))
    };
    text.split(',').filter_map(read).collect()
}

fn node_port(room: &str, port: Option<u64>) -> u64 {
    let hash = format!("{room}:{}", port.unwrap_or(0));
    let hash = hash.bytes().fold(7u64, |hash, byte| hash.wrapping_mul(131).wrapping_add(byte.into()));
    NODE_PORTS.0 + hash % NODE_PORTS.1
}

fn host_port(pod: &Value, conf: &Value) -> Option<(Value, Value)> {
    let ip = pod["status"]["podIP"].as_str()?;
    let (container, ports) = network::conf(conf, "ContainerPorts")?.split_once(':')?;
    let wanted = port_protocols(ports);
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let given = containers.filter(|found| found["name"] == container);
    let given: Vec<&Value> = given.flat_map(|found| found["ports"].as_array().into_iter().flatten()).collect();
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for (number, protocol) in wanted {
        let port = given.iter().find(|port| port["containerPort"] == number)?;
        let name = format!("{container}-{number}");
        inside.push(json!({"name": name, "port": number, "protocol": protocol}));
        outside.push(json!({"name": name, "port": port["hostPort"], "protocol": protocol}));
    }
    Some((json!([{"ip": ip, "ports": inside}]), json!([{"ip": HOST, "ports": outside}])))
}

/// Addresses from a load balancer that nobody sees.
fn cloud(pod: &Value) -> Option<(Value, Value)> {
    let ip = pod["status"]["podIP"].as_str()?;
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let ports: Vec<&Value> = containers.flat_map(|found| found["ports"].as_array().into_iter().flatten()).collect();
    let room = format!("{}/{}", object::namespace(pod), object::name(pod));
    let side = |ip: &str, outside: bool| {
        let shown = ports.iter().map(|port| {
            let number = port["containerPort"].as_u64();
            json!({
                "name": number.unwrap_or(0).to_string(),
                "port": if outside { node_port(&room, number) } else { number.unwrap_or(0) },
                "protocol": port["protocol"].as_str().unwrap_or("TCP"),
            })
        });
        json!([{"ip": ip, "ports": shown.collect::<Vec<_>>()}])
    };
    Some((side(ip, false), side("203.0.113.10", true)))
}
