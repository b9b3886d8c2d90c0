//! The state of a cluster as the recordings show it: what is ordinary left out, what differs by chance replaced.

use std::collections::BTreeMap;

use okgscript::sandbox::api::Api;
use serde_json::{Map, Value, json};

pub const GSS: &str = "gameserversets.game.kruise.io";
pub const GS: &str = "gameservers.game.kruise.io";
pub const ASTS: &str = "statefulsets.apps.kruise.io";
pub const PPM: &str = "podprobemarkers.apps.kruise.io";
pub const REVISIONS: &str = "controllerrevisions.apps";

/// Names for uids and revisions: `p2` is the second pod of its name that was there when a step had settled.
#[derive(Default)]
pub struct Tokens {
    uids: BTreeMap<(char, String), Vec<String>>,
    revisions: BTreeMap<String, Vec<String>>,
}

impl Tokens {
    /// Gives tokens to what is there now.
    pub fn observe(&mut self, api: &Api, namespace: &str) {
        let kinds =
            [('p', "pods"), ('g', GS), ('s', ASTS), ('n', "services"), ('v', "persistentvolumeclaims"), ('m', PPM)];
        for (letter, resource) in kinds {
            for object in api.list(resource, Some(namespace)) {
                let known = self.uids.entry((letter, text(&object["metadata"]["name"]))).or_default();
                let uid = text(&object["metadata"]["uid"]);
                if !known.contains(&uid) {
                    known.push(uid);
                }
            }
        }
        let mut revisions = api.list(REVISIONS, Some(namespace));
        revisions.sort_by_key(|revision| revision["revision"].as_i64());
        for revision in revisions {
            let name = text(&revision["metadata"]["name"]);
            let known = self.revisions.entry(set_of(&name)).or_default();
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }

    pub fn uid(&self, letter: char, object: &Value) -> Value {
        let uid = text(&object["metadata"]["uid"]);
        let known = self.uids.get(&(letter, text(&object["metadata"]["name"])));
        match known.and_then(|known| known.iter().position(|found| *found == uid)) {
            Some(index) => format!("{letter}{}", index + 1).into(),
            None => "?".into(),
        }
    }

    pub fn revision(&self, name: &Value) -> Value {
        let Some(name) = name.as_str() else { return Value::Null };
        let known = self.revisions.get(&set_of(name));
        match known.and_then(|known| known.iter().position(|found| found == name)) {
            Some(index) => format!("r{}", index + 1).into(),
            None => "?".into(),
        }
    }

    /// Replaces the names of revisions in a text.
    pub fn in_text(&self, message: &str) -> String {
        let mut message = message.to_owned();
        for known in self.revisions.values() {
            for (index, name) in known.iter().enumerate() {
                message = message.replace(name, &format!("r{}", index + 1));
            }
        }
        message
    }
}

fn set_of(revision: &str) -> String {
    revision.rsplit_once('-').map(|(set, _)| set.to_owned()).unwrap_or_default()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns the whole state, as `settled` shows it.
pub fn settled(api: &Api, namespace: &str, tokens: &Tokens) -> Value {
    let list = |resource: &str| api.list(resource, Some(namespace));
    let named = |resource: &str, view: &dyn Fn(&Value) -> Value| -> Value {
        list(resource)
            .iter()
            .map(|object| (text(&object["metadata"]["name"]), view(object)))
            .collect::<Map<_, _>>()
            .into()
    };
    let mut revisions: Vec<Value> =
        list(REVISIONS).iter().map(|revision| tokens.revision(&revision["metadata"]["name"])).collect();
    revisions.sort_by_key(Value::to_string);
    let mut view = json!({
        "gss": named(GSS, &game_server_set),
        "asts": named(ASTS, &|set| stateful_set(set, tokens)),
        "revisions": revisions,
        "rooms": rooms(api, namespace, tokens),
    });
    let claims = named(
        "persistentvolumeclaims",
        &|claim| json!({"claim": tokens.uid('v', claim), "phase": claim["status"]["phase"]}),
    );
    let services = named("services", &|service| {
        let owner = &service["metadata"]["ownerReferences"][0];
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let ports: Vec<Value> = ports.map(|port| pick(port, &["name", "port", "targetPort", "protocol"])).collect();
        json!({
            "service": tokens.uid('n', service),
            "type": service["spec"]["type"],
            "selector": service["spec"]["selector"],
            "owner": format!("{}/{}", text(&owner["kind"]), text(&owner["name"])),
            "ports": ports,
        })
    });
    let markers = named(PPM, &|marker| {
        json!({
            "marker": tokens.uid('m', marker),
            "observed": marker["metadata"]["generation"] == marker["status"]["observedGeneration"],
            "matchedPods": marker["status"]["matchedPods"],
            "selector": marker["spec"]["selector"]["matchLabels"],
            "probes": marker["spec"]["probes"],
        })
    });
    for (key, value) in [("pvcs", claims), ("services", services), ("markers", markers)] {
        if value.as_object().is_some_and(|map| !map.is_empty()) {
            view[key] = value;
        }
    }
    let replaced = view.to_string().replace(namespace, "NS");
    serde_json::from_str(&replaced).unwrap()
}

fn pick(value: &Value, keys: &[&str]) -> Value {
    let found = keys.iter().filter_map(|key| Some(((*key).to_owned(), value.get(key)?.clone())));
    found.collect::<Map<_, _>>().into()
}

fn game_server_set(set: &Value) -> Value {
    let mut view = json!({
        "generation": set["metadata"]["generation"],
        "replicas": set["spec"]["replicas"],
        "status": set["status"],
    });
    if let Some(ids) = set["spec"].get("reserveGameServerIds") {
        view["reserveGameServerIds"] = ids.clone();
    }
    if let Some(annotation) = set["metadata"]["annotations"].get("game.kruise.io/reserve-ids") {
        view["reserveIdsAnnotation"] = annotation.clone();
    }
    deletion(set, &mut view);
    view
}

fn deletion(object: &Value, view: &mut Value) {
    if !object["metadata"]["deletionTimestamp"].is_null() {
        view["terminating"] = true.into();
    }
    if let Some(finalizers) = object["metadata"].get("finalizers") {
        view["finalizers"] = finalizers.clone();
    }
}

fn stateful_set(set: &Value, tokens: &Tokens) -> Value {
    let (spec, meta) = (&set["spec"], &set["metadata"]);
    let template = &spec["template"];
    let containers = template["spec"]["containers"].as_array().into_iter().flatten();
    let images: Map<String, Value> = containers.map(|c| (text(&c["name"]), c["image"].clone())).collect();
    let gates = template["spec"]["readinessGates"].as_array().into_iter().flatten();
    let mut shown = json!({
        "labels": template["metadata"]["labels"],
        "images": images,
        "readinessGates": gates.map(|gate| gate["conditionType"].clone()).collect::<Vec<_>>(),
    });
    if let Some(annotations) = template["metadata"].get("annotations") {
        shown["annotations"] = annotations.clone();
    }
    let mut status = set["status"].clone();
    if let Some(map) = status.as_object_mut() {
        for key in ["collisionCount", "labelSelector", "observedGeneration"] {
            map.remove(key);
        }
        for key in ["currentRevision", "updateRevision"] {
            if let Some(value) = map.get_mut(key) {
                *value = tokens.revision(value);
            }
        }
        if let Some(conditions) = map.get("conditions").and_then(Value::as_array) {
            let conditions: Map<String, Value> =
                conditions.iter().map(|found| (text(&found["type"]), condition(found))).collect();
            map.insert("conditions".into(), conditions.into());
        }
    }
    let mut view = json!({
        "replicas": spec["replicas"],
        "updateStrategy": spec["updateStrategy"],
        "template": shown,
        "status": status,
        "observed": meta["generation"] == set["status"]["observedGeneration"],
    });
    for key in ["reserveOrdinals", "scaleStrategy", "lifecycle"] {
        if let Some(value) = spec.get(key) {
            view[key] = value.clone();
        }
    }
    if spec["serviceName"] != meta["name"] {
        view["serviceName"] = spec["serviceName"].clone();
    }
    let retention = &spec["persistentVolumeClaimRetentionPolicy"];
    if *retention != json!({"whenDeleted": "Retain", "whenScaled": "Retain"}) {
        view["pvcRetention"] = retention.clone();
    }
    if !meta["deletionTimestamp"].is_null() {
        view["terminating"] = true.into();
    }
    view
}

/// `"True"`, or status, reason and message.
fn condition(found: &Value) -> Value {
    let (reason, message) = (text(&found["reason"]), text(&found["message"]));
    if reason.is_empty() && message.is_empty() {
        found["status"].clone()
    } else {
        json!([found["status"], reason, message])
    }
}

fn rooms(api: &Api, namespace: &str, tokens: &Tokens) -> Value {
    let mut rooms: BTreeMap<String, (Value, Value)> = BTreeMap::new();
    for pod in api.list("pods", Some(namespace)) {
        rooms.entry(text(&pod["metadata"]["name"])).or_default().0 = (*pod).clone();
    }
    for game_server in api.list(GS, Some(namespace)) {
        rooms.entry(text(&game_server["metadata"]["name"])).or_default().1 = (*game_server).clone();
    }
    rooms.iter().map(|(name, (pod, gs))| (name.clone(), room(name, pod, gs, tokens))).collect::<Map<_, _>>().into()
}

fn room(name: &str, pod: &Value, gs: &Value, tokens: &Tokens) -> Value {
    let mut view = json!({"pod": null, "gs": null});
    if !pod.is_null() {
        room_pod(name, pod, tokens, &mut view);
    }
    if !gs.is_null() {
        room_game_server(name, pod, gs, tokens, &mut view);
    }
    view
}

fn owner_set(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(set, _)| set)
}

/// Keeps what differs from the ordinary; what is absent though ordinary becomes null.
fn unusual(found: &Value, ordinary: &[(&str, Value)]) -> Map<String, Value> {
    let mut map = found.as_object().cloned().unwrap_or_default();
    for (key, value) in ordinary {
        match map.get(*key) {
            Some(found) if found == value => {
                map.remove(*key);
            }
            Some(_) => {}
            None => {
                map.insert((*key).to_owned(), Value::Null);
            }
        }
    }
    map
}

fn put(view: &mut Value, key: &str, map: Map<String, Value>) {
    if !map.is_empty() {
        view[key] = map.into();
    }
}

fn room_pod(name: &str, pod: &Value, tokens: &Tokens, view: &mut Value) {
    let (meta, status) = (&pod["metadata"], &pod["status"]);
    view["pod"] = tokens.uid('p', pod);
    let labels = meta["labels"].as_object().cloned().unwrap_or_default();
    view["revision"] = tokens.revision(&labels.get("controller-revision-hash").cloned().unwrap_or_default());
    if status["phase"] != "Running" {
        view["phase"] = status["phase"].clone();
    }
    let find = |kind: &str| {
        status["conditions"].as_array().and_then(|all| all.iter().find(|found| found["type"] == kind)).cloned()
    };
    let ready = find("Ready").map(|found| found["status"].clone()).unwrap_or_default();
    if ready != "True" {
        view["ready"] = ready;
    }
    deletion(pod, view);
    let lifecycle = labels.get("lifecycle.apps.kruise.io/state").cloned().unwrap_or_default();
    if lifecycle != "Normal" {
        view["lifecycle"] = lifecycle;
    }
    let gates = pod["spec"]["readinessGates"].as_array().into_iter().flatten();
    let gates: Map<String, Value> = gates
        .map(|gate| text(&gate["conditionType"]))
        .filter(|kind| kind != "KruisePodReady")
        .filter_map(|kind| Some((kind.clone(), find(&kind)?["status"].clone())))
        .collect();
    if Value::from(gates.clone()) != json!({"InPlaceUpdateReady": "True"}) {
        view["gates"] = gates.into();
    }
    let prefix = "game.kruise.io/";
    let own: Map<String, Value> =
        labels.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone()))).collect();
    let ordinary = [
        ("gs-state", "Ready".into()),
        ("gs-opsState", "None".into()),
        ("gs-delete-priority", "0".into()),
        ("gs-update-priority", "0".into()),
        ("network-disabled", "false".into()),
        ("owner-gss", owner_set(name).into()),
    ];
    put(view, "labels", unusual(&own.into(), &ordinary));
    let bookkeeping =
        ["controller-revision-hash", "statefulset.kubernetes.io/", "apps.kubernetes.io/", "lifecycle.apps"];
    let others = labels
        .iter()
        .filter(|(key, _)| !key.starts_with(prefix) && !bookkeeping.iter().any(|start| key.starts_with(start)));
    put(view, "otherLabels", others.map(|(key, value)| (key.clone(), value.clone())).collect());
    let hidden = ["apps.kruise.io/", "lifecycle.apps.kruise.io/", "kruise.io/"];
    let times = ["opsState-last-changed-time", "state-last-changed-time", "network-trigger-time"];
    let annotations = meta["annotations"].as_object().cloned().unwrap_or_default().into_iter().filter(|(key, _)| {
        let time = key.strip_prefix(prefix).is_some_and(|key| times.contains(&key));
        !time && !hidden.iter().any(|start| key.starts_with(start))
    });
    let annotations = annotations.map(|(key, value)| {
        if key.ends_with("/network-status") {
            let status: Value = serde_json::from_str(value.as_str().unwrap_or_default()).unwrap_or_default();
            return (key, python_json(&network(&status)).into());
        }
        (key, value)
    });
    put(view, "annotations", annotations.collect());
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    view["containers"] = containers
        .map(|container| {
            let statuses = status["containerStatuses"].as_array();
            let found = statuses.and_then(|all| all.iter().find(|found| found["name"] == container["name"]));
            (text(&container["name"]), container_view(container, found.unwrap_or(&Value::Null)))
        })
        .collect::<Map<_, _>>()
        .into();
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let claims: Vec<Value> =
        volumes.filter_map(|volume| volume["persistentVolumeClaim"].get("claimName").cloned()).collect();
    if !claims.is_empty() {
        view["claims"] = claims.into();
    }
    if pod["spec"]["nodeName"] != "node-0" {
        view["node"] = pod["spec"]["nodeName"].clone();
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let probes = conditions.filter_map(|found| {
        let name = found["type"].as_str()?.strip_prefix(prefix)?.to_owned();
        Some((name, json!([found["status"], text(&found["message"])])))
    });
    put(view, "probes", probes.collect());
}

fn container_view(container: &Value, status: &Value) -> Value {
    let mut view = json!({"image": container["image"]});
    if status["image"].is_string() && status["image"] != container["image"] {
        view["running"] = status["image"].clone();
    }
    if status["restartCount"].as_i64().unwrap_or(0) != 0 {
        view["restarts"] = status["restartCount"].clone();
    }
    for state in ["waiting", "terminated"] {
        if let Some(reason) = status["state"][state].get("reason") {
            view[state] = reason.clone();
        }
    }
    if container["resources"].as_object().is_some_and(|resources| !resources.is_empty()) {
        view["resources"] = container["resources"].clone();
    }
    let ports = container["ports"].as_array().into_iter().flatten();
    let hosts = ports.filter(|port| port["hostPort"].is_number()).count();
    if hosts > 0 {
        view["hostPorts"] = hosts.into();
    }
    view
}

fn room_game_server(name: &str, pod: &Value, gs: &Value, tokens: &Tokens, view: &mut Value) {
    let meta = &gs["metadata"];
    view["gs"] = tokens.uid('g', gs);
    let ordinary = [
        ("opsState", json!("None")),
        ("deletionPriority", json!(0)),
        ("updatePriority", json!(0)),
        ("networkDisabled", json!(false)),
    ];
    put(view, "spec", unusual(&gs["spec"], &ordinary));
    put(view, "status", status_view(&gs["status"], pod));
    let node = json!("node-0");
    let labels = unusual(
        &meta["labels"],
        &[("game.kruise.io/node-name", node), ("game.kruise.io/owner-gss", owner_set(name).into())],
    );
    put(view, "gsLabels", labels);
    let mut annotations = meta["annotations"].as_object().cloned().unwrap_or_default();
    annotations.remove("game.kruise.io/gsTemplate-metadata-hash");
    put(view, "gsAnnotations", annotations);
    let owner = &meta["ownerReferences"][0];
    if owner["uid"] != pod["metadata"]["uid"] || owner.is_null() {
        view["gsOwner"] = owner["kind"].clone();
    }
}

fn status_view(status: &Value, _pod: &Value) -> Map<String, Value> {
    let mut shown = json!({
        "currentState": status["currentState"],
        "desiredState": status["desiredState"],
        "updatePriority": status["updatePriority"],
        "deletionPriority": status["deletionPriority"],
        "podStatusPhase": status["podStatus"]["phase"],
    });
    let ordinary = [
        ("currentState", json!("Ready")),
        ("desiredState", json!("Ready")),
        ("updatePriority", json!("0")),
        ("deletionPriority", json!("0")),
        ("podStatusPhase", json!("Running")),
    ];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let conditions: Map<String, Value> = conditions.map(|found| (text(&found["type"]), condition(found))).collect();
    let well = json!({"PodNormal": "True", "NodeNormal": "True", "PersistentVolumeNormal": "True"});
    if Value::from(conditions.clone()) != well {
        shown["conditions"] = conditions.into();
    }
    if status["networkStatus"].as_object().is_some_and(|network| !network.is_empty()) {
        shown["network"] = network(&status["networkStatus"]);
    }
    if let Some(qualities) = status["serviceQualitiesConditions"].as_array() {
        let shown_quality = |quality: &Value| {
            let mut view = pick(quality, &["name", "status", "result"]);
            view["acted"] = quality["lastActionTransitionTime"].is_string().into();
            view
        };
        shown["serviceQualities"] = qualities.iter().map(shown_quality).collect::<Vec<_>>().into();
    }
    unusual(&shown, &ordinary)
}

/// A network's state with addresses and given ports replaced, times dropped.
fn network(status: &Value) -> Value {
    let mut shown = status.clone();
    if let Some(map) = shown.as_object_mut() {
        map.remove("createTime");
        map.remove("lastTransitionTime");
    }
    for (side, hide) in [("internalAddresses", false), ("externalAddresses", true)] {
        for address in shown[side].as_array_mut().into_iter().flatten() {
            address["ip"] = "<ip>".into();
            for port in address["ports"].as_array_mut().into_iter().flatten() {
                if hide {
                    port["port"] = "<port>".into();
                }
            }
        }
        if shown[side].is_null()
            && let Some(map) = shown.as_object_mut()
        {
            map.remove(side);
        }
    }
    shown
}

/// JSON with the spaces of the recordings.
fn python_json(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let members: Vec<String> =
                map.iter().map(|(key, value)| format!("\"{key}\": {}", python_json(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(python_json).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
