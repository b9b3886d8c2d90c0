//! Admission: what OKG's and Kruise's webhooks change and refuse before an object is stored, and the pod quota.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::object;
use super::status::Status;
use super::store::Store;
use crate::okg::{names, network, reserve};

/// Host ports that OKG gives out.
const HOST_PORTS: std::ops::Range<u64> = 8000..9000;

/// The webhooks of one cluster.
#[derive(Debug)]
pub struct Webhooks {
    next_port: Mutex<u64>,
}

impl Webhooks {
    /// Webhooks that have given nothing out yet.
    pub fn new() -> Webhooks {
        Webhooks { next_port: Mutex::new(HOST_PORTS.start) }
    }

    /// Changes an object that is to be stored, or refuses it. `old` is the stored one at an update.
    pub(super) fn admit(
        &self,
        store: &Store,
        resource: &str,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<(), Status> {
        match resource {
            "gameserversets.game.kruise.io" => game_server_set(old, new),
            "statefulsets.apps.kruise.io" => {
                default_stateful_set(new);
                stateful_set(old, new)
            }
            "podprobemarkers.apps.kruise.io" => pod_probe_marker(new),
            "pods" if old.is_none() => {
                override_containers(store, new);
                default_requests(new);
                self.host_ports(new);
                quota(store, new)
            }
            _ => Ok(()),
        }
    }

    /// Gives host ports to a pod whose network is Kubernetes-HostPort.
    fn host_ports(&self, pod: &mut Value) {
        let annotations = &pod["metadata"]["annotations"];
        if annotations[names::NETWORK_TYPE] != "Kubernetes-HostPort" {
            return;
        }
        let conf = annotations[names::NETWORK_CONF].as_str().and_then(|conf| serde_json::from_str::<Value>(conf).ok());
        let conf = conf.unwrap_or_default();
        let Some(ports) = network::conf(&conf, "ContainerPorts") else { return };
        let Some((container, ports)) = ports.split_once(':') else { return };
        let mut given = Vec::new();
        for port in ports.split(',') {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "TCP"));
            let Ok(number) = number.trim().parse::<u64>() else { continue };
            let mut next = self.next_port.lock().unwrap_or_else(PoisonError::into_inner);
            given.push((number, protocol.to_owned(), *next));
            *next = if *next + 1 >= HOST_PORTS.end { HOST_PORTS.start } else { *next + 1 };
        }
        let containers = pod["spec"]["containers"].as_array_mut().into_iter().flatten();
        for found in containers.filter(|found| found["name"] == container) {
            let mut list = found["ports"].as_array().cloned().unwrap_or_default();
            for (number, protocol, host) in &given {
                let at = list.iter_mut().find(|port| {
                    port["containerPort"] == *number && port["protocol"].as_str().unwrap_or("TCP") == protocol
                });
                match at {
                    Some(port) => port["hostPort"] = (*host).into(),
                    None => list.push(json!({"containerPort": number, "hostPort": host, "protocol": protocol})),
                }
            }
            found["ports"] = list.into();
        }
    }
}

impl Default for Webhooks {
    fn default() -> Webhooks {
        Webhooks::new()
    }
}

fn denied(webhook: &str, why: &str) -> Status {
    let message = format!("admission webhook \"{webhook}\" denied the request: {why}");
    Status::new(403, "Forbidden", message, json!({}))
}

/// OKG judges the network only; what else it computes it does not use.
fn game_server_set(old: Option<&Value>, new: &Value) -> Result<(), Status> {
    const WEBHOOK: &str = "vgameserverset.kb.io";
    let network = &new["spec"]["network"];
    if network.is_null() {
        return Ok(());
    }
    let kind = network["networkType"].as_str().unwrap_or_default();
    match old {
        None if kind.is_empty() => Err(denied(WEBHOOK, "network type is required")),
        None if !network::TYPES.contains(&kind) => {
            Err(denied(WEBHOOK, &format!("network type must be one of [{}]", network::TYPES.join(" "))))
        }
        Some(old) => {
            let before = old["spec"]["network"]["networkType"].as_str().unwrap_or_default();
            if !old["spec"]["network"].is_null() && !before.is_empty() && before != kind {
                return Err(denied(WEBHOOK, "change network type is not allowed"));
            }
            Ok(())
        }
        None => Ok(()),
    }
}

/// Fills in what Kruise's webhook does.
fn default_stateful_set(set: &mut Value) {
    let spec = object::member_mut(set, "spec");
    let mut default = |key: &str, value: Value| {
        if spec.get(key).is_none_or(Value::is_null) {
            spec.insert(key.to_owned(), value);
        }
    };
    default("replicas", 1.into());
    default("revisionHistoryLimit", 10.into());
    default("podManagementPolicy", "OrderedReady".into());
    default("updateStrategy", json!({}));
    default("persistentVolumeClaimRetentionPolicy", json!({}));
    for field in ["whenDeleted", "whenScaled"] {
        let policy = &mut spec["persistentVolumeClaimRetentionPolicy"];
        if policy[field].is_null() {
            policy[field] = "Retain".into();
        }
    }
    let strategy = &mut spec["updateStrategy"];
    if strategy["type"].as_str().is_none_or(str::is_empty) {
        strategy["type"] = "RollingUpdate".into();
    }
    if strategy["type"] == "RollingUpdate" {
        let rolling = object::member_mut(strategy, "rollingUpdate");
        for (key, value) in [
            ("partition", json!(0)),
            ("maxUnavailable", json!(1)),
            ("podUpdatePolicy", json!("ReCreate")),
            ("minReadySeconds", json!(0)),
        ] {
            if rolling.get(key).is_none_or(Value::is_null) {
                rolling.insert(key.to_owned(), value);
            }
        }
    }
}

fn stateful_set(old: Option<&Value>, new: &Value) -> Result<(), Status> {
    let refuse = |why: String| Err(denied("vstatefulset.kb.io", &why));
    let spec = &new["spec"];
    let template = &spec["template"];
    if template["spec"]["restartPolicy"].as_str().is_some_and(|policy| policy != "Always") {
        return refuse("spec.template.spec.restartPolicy: Unsupported value: supported values: \"Always\"".into());
    }
    let strategy = &spec["updateStrategy"];
    let kind = strategy["type"].as_str().unwrap_or_default();
    if !["RollingUpdate", "OnDelete"].contains(&kind) {
        return refuse(format!("spec.updateStrategy: Invalid value: {kind:?}: must be 'RollingUpdate' or 'OnDelete'"));
    }
    let reserved = spec["reserveOrdinals"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ids = match reserve::parse(reserved) {
        Ok(ids) => ids,
        Err(invalid) => return refuse(format!("spec.reserveOrdinals: Invalid value: {invalid}")),
    };
    if ids.iter().any(|id| *id < 0) {
        return refuse("spec.reserveOrdinals: Invalid value: ordinals must not be negative".into());
    }
    let rolling = &strategy["rollingUpdate"];
    if !rolling.is_null() {
        let max = &rolling["maxUnavailable"];
        let least = max.as_i64().or_else(|| max.as_str()?.strip_suffix('%')?.parse().ok());
        if least.is_none_or(|least| least < 1) {
            return refuse(
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: must be at least 1".into(),
            );
        }
        if !(0..=300).contains(&rolling["minReadySeconds"].as_i64().unwrap_or(0)) {
            let why = "spec.updateStrategy.rollingUpdate.minReadySeconds: Invalid value: must be no more than 300";
            return refuse(why.into());
        }
    }
    let Some(old) = old else { return Ok(()) };
    if rolling["podUpdatePolicy"] == "InPlaceOnly" && !in_place_only(&old["spec"]["template"], template) {
        return refuse("spec.updateStrategy.rollingUpdate.podUpdatePolicy: Invalid value: \"InPlaceOnly\"".into());
    }
    Ok(())
}

/// Returns whether two templates differ only in images and metadata.
fn in_place_only(old: &Value, new: &Value) -> bool {
    let bare = |template: &Value| {
        let mut bare = template.clone();
        bare["metadata"] = Value::Null;
        for container in bare["spec"]["containers"].as_array_mut().into_iter().flatten() {
            container["image"] = Value::Null;
        }
        bare
    };
    bare(old) == bare(new)
}

fn pod_probe_marker(new: &Value) -> Result<(), Status> {
    let refuse = |why: &str| Err(denied("vpodprobemarker.kb.io", why));
    let probes = new["spec"]["probes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if probes.is_empty() {
        return refuse("spec.probes: Required value: empty probes is not valid");
    }
    let mut seen = BTreeSet::new();
    for probe in probes {
        let text = |key: &str| probe[key].as_str().unwrap_or_default();
        if text("name").is_empty() || text("containerName").is_empty() {
            return refuse("spec.probes: Required value: name and containerName must not be empty");
        }
        if text("name").contains('#') || text("containerName").contains('#') || !seen.insert(text("name")) {
            return refuse("spec.probes: Invalid value: names must be unique and free of '#'");
        }
        if ["exec", "httpGet", "tcpSocket"].iter().all(|handler| probe["probe"][handler].is_null()) {
            return refuse("spec.probes.probe: Required value: must specify a handler type");
        }
    }
    Ok(())
}

/// OKG's pod webhook: what the GameServer of that name wishes for its containers enters a new pod.
fn override_containers(store: &Store, pod: &mut Value) {
    if object::label(pod, names::OWNER_GSS).is_none() {
        return;
    }
    let found = store.get("gameservers.game.kruise.io", object::namespace(pod), object::name(pod));
    let Some(game_server) = found else { return };
    for wish in game_server["spec"]["containers"].as_array().into_iter().flatten() {
        for container in pod["spec"]["containers"].as_array_mut().into_iter().flatten() {
            if container["name"] != wish["name"] {
                continue;
            }
            if let Some(image) = wish["image"].as_str().filter(|image| !image.is_empty()) {
                container["image"] = image.into();
            }
            for field in ["limits", "requests"] {
                for resource in ["cpu", "memory"] {
                    if let Some(value) = wish["resources"][field].get(resource) {
                        let target = object::member_mut(&mut container["resources"], field);
                        target.insert(resource.to_owned(), value.clone());
                    }
                }
            }
        }
    }
}

/// Requests that are not given are the limits.
fn default_requests(pod: &mut Value) {
    for container in pod["spec"]["containers"].as_array_mut().into_iter().flatten() {
        let Some(limits) = container["resources"]["limits"].as_object().cloned() else { continue };
        let requests = object::member_mut(&mut container["resources"], "requests");
        for (resource, value) in limits {
            requests.entry(resource).or_insert(value);
        }
    }
}

/// Refuses a pod beyond the namespace's quota of pods.
fn quota(store: &Store, pod: &Value) -> Result<(), Status> {
    let namespace = object::namespace(pod);
    for quota in store.list("resourcequotas", Some(namespace)) {
        let hard: &Map<String, Value> = match quota["spec"]["hard"].as_object() {
            Some(hard) => hard,
            None => continue,
        };
        let limit = hard.get("pods").map(|limit| limit.to_string().trim_matches('"').to_owned());
        let Some(limit) = limit.and_then(|limit| limit.parse::<usize>().ok()) else { continue };
        let finished = |pod: &Value| ["Failed", "Succeeded"].contains(&object::text_at(pod, &["status", "phase"]));
        let used = store.list("pods", Some(namespace)).iter().filter(|pod| !finished(pod)).count();
        if used >= limit {
            let why = format!(
                "exceeded quota: {}, requested: pods=1, used: pods={used}, limited: pods={limit}",
                object::name(&quota)
            );
            return Err(Status::forbidden("pods", object::name(pod), &why));
        }
    }
    Ok(())
}
