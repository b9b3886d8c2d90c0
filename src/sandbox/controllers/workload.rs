//! What OKG makes of a GameServerSet for Kruise: the Advanced StatefulSet and the PodProbeMarker
//! (`GetNewAstsFromGss`, `constructProbes`).

use serde_json::{Map, Value, json};

use crate::okg::names;
use crate::okg::network;
use crate::okg::updates;
use crate::sandbox::object;

/// Returns the workload of a new set.
pub fn create(set: &Value) -> Value {
    let name = object::name(set);
    let mut asts = json!({
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "StatefulSet",
        "metadata": {
            "name": name,
            "namespace": object::namespace(set),
            "annotations": {},
            "ownerReferences": [owner_reference(set)],
        },
        "spec": {"selector": {"matchLabels": {names::OWNER_GSS: name}}},
    });
    let spec = &mut asts["spec"];
    if let Some(replicas) = set["spec"].get("replicas") {
        spec["replicas"] = replicas.clone();
    }
    if let Some(ids) = set["spec"].get("reserveGameServerIds") {
        spec["reserveOrdinals"] = ids.clone();
    }
    spec["serviceName"] = match set["spec"]["serviceName"].as_str() {
        None | Some("") => name.into(),
        Some(service) => service.into(),
    };
    update(set, &asts, &hash(set))
}

/// Returns the workload of a set whose hashed fields changed.
pub fn update(set: &Value, asts: &Value, hash: &str) -> Value {
    let mut next = asts.clone();
    object::member_mut(&mut next["metadata"], "annotations").insert(names::ASTS_HASH.into(), hash.into());
    let template = &set["spec"]["gameServerTemplate"];
    let spec = object::member_mut(&mut next, "spec");
    spec.insert("podManagementPolicy".into(), "Parallel".into());
    spec.insert("template".into(), pod_template(set));
    spec.insert("updateStrategy".into(), update_strategy(&set["spec"]["updateStrategy"]));
    insert_or_remove(spec, "lifecycle", lifecycle(set));
    insert_or_remove(spec, "scaleStrategy", scale_strategy(set));
    insert_or_remove(spec, "volumeClaimTemplates", template["volumeClaimTemplates"].clone());
    let retention = set["spec"]["persistentVolumeClaimRetentionPolicy"].clone();
    insert_or_remove(spec, "persistentVolumeClaimRetentionPolicy", retention);
    next
}

/// Returns the hash of the fields whose change makes OKG update the workload.
pub fn hash(set: &Value) -> String {
    let spec = &set["spec"];
    fnv(&json!([spec["updateStrategy"], spec["gameServerTemplate"], spec["network"]["networkConf"]]))
}

/// Returns `scaleStrategy` of the workload: OKG hands on maxUnavailable only.
pub fn scale_strategy(set: &Value) -> Value {
    match &set["spec"]["scaleStrategy"]["maxUnavailable"] {
        Value::Null => Value::Null,
        max => json!({"maxUnavailable": max}),
    }
}

fn pod_template(set: &Value) -> Value {
    let source = &set["spec"]["gameServerTemplate"];
    let mut meta = source["metadata"].as_object().cloned().unwrap_or_default();
    let mut labels = source["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.insert(names::OWNER_GSS.into(), object::name(set).into());
    meta.insert("labels".into(), labels.into());
    let network = &set["spec"]["network"];
    if !network.is_null() {
        let mut annotations = source["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        annotations.insert(names::NETWORK_TYPE.into(), network["networkType"].as_str().unwrap_or_default().into());
        let conf = network.get("networkConf").cloned().unwrap_or(Value::Null);
        annotations.insert(names::NETWORK_CONF.into(), conf.to_string().into());
        meta.insert("annotations".into(), annotations.into());
    }
    let mut spec = source["spec"].as_object().cloned().unwrap_or_default();
    let mut gates = spec.get("readinessGates").and_then(Value::as_array).cloned().unwrap_or_default();
    gates.push(json!({"conditionType": "InPlaceUpdateReady"}));
    spec.insert("readinessGates".into(), gates.into());
    json!({"metadata": meta, "spec": spec})
}

fn update_strategy(source: &Value) -> Value {
    let mut strategy = json!({"type": updates::workload_type(source)});
    if let Some(rolling) = source["rollingUpdate"].as_object() {
        let mut rolling = rolling.clone();
        if rolling.get("paused") == Some(&Value::Bool(false)) {
            rolling.remove("paused");
        }
        rolling.insert(
            "unorderedUpdate".into(),
            json!({"priorityStrategy": {"orderPriority": [{"orderedKey": names::GS_UPDATE_PRIORITY}]}}),
        );
        strategy["rollingUpdate"] = rolling.into();
    }
    strategy
}

fn lifecycle(set: &Value) -> Value {
    let mut lifecycle = set["spec"]["lifecycle"].clone();
    if network::conf(&set["spec"]["network"]["networkConf"], "AllowNotReadyContainers").is_some() {
        if lifecycle.is_null() {
            lifecycle = json!({});
        }
        lifecycle["inPlaceUpdate"]["labelsHandler"][names::NOT_READY_BLOCKER] = "true".into();
    }
    lifecycle
}

/// Returns the PodProbeMarker of a set with service qualities.
pub fn marker(set: &Value) -> Value {
    json!({
        "apiVersion": "apps.kruise.io/v1alpha1",
        "kind": "PodProbeMarker",
        "metadata": {
            "name": object::name(set),
            "namespace": object::namespace(set),
            "annotations": {names::PPM_HASH: marker_hash(set)},
            "ownerReferences": [owner_reference(set)],
        },
        "spec": {
            "selector": {"matchLabels": {names::OWNER_GSS: object::name(set)}},
            "probes": probes(set),
        },
    })
}

/// Returns the hash of the service qualities.
pub fn marker_hash(set: &Value) -> String {
    fnv(&set["spec"]["serviceQualities"])
}

/// Returns the probes of the marker, with OKG's defaults for what is zero.
pub fn probes(set: &Value) -> Value {
    const DEFAULTS: [(&str, i64); 5] = [
        ("timeoutSeconds", 5),
        ("initialDelaySeconds", 10),
        ("periodSeconds", 3),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ];
    let qualities = set["spec"]["serviceQualities"].as_array().into_iter().flatten();
    let probe = |quality: &Value| {
        let name = quality["name"].as_str().unwrap_or_default();
        let mut probe = Map::new();
        for (key, value) in quality.as_object().into_iter().flatten() {
            if ["exec", "httpGet", "tcpSocket"].contains(&key.as_str()) {
                probe.insert(key.clone(), value.clone());
            }
        }
        for (field, default) in DEFAULTS {
            let given = quality[field].as_i64().filter(|given| *given != 0);
            probe.insert(field.into(), given.unwrap_or(default).into());
        }
        json!({
            "name": name,
            "containerName": quality["containerName"].as_str().unwrap_or_default(),
            "probe": probe,
            "podConditionType": format!("{}{name}", names::PREFIX),
        })
    };
    qualities.map(probe).collect::<Vec<_>>().into()
}

/// Returns the reference by which an object of OKG owns another.
pub fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": object::name(owner),
        "uid": object::meta(owner, "uid"),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

fn insert_or_remove(map: &mut Map<String, Value>, key: &str, value: Value) {
    if value.is_null() {
        map.remove(key);
    } else {
        map.insert(key.to_owned(), value);
    }
}

/// Returns a short hash of a value; opaque, like the real one.
pub fn fnv(value: &Value) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in value.to_string().bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash.to_string()
}
