//! Kinds that two groups or versions show in different words.

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::schema::table;
use super::schema::typed::Reader;

/// Members of an Event: in core v1, in events.k8s.io.
const EVENT: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Returns `apiVersion` of the stored form.
pub fn stored_api_version(kind: &Kind) -> String {
    if kind.group == "events.k8s.io" { "v1".into() } else { kind.api_version(&kind.storage) }
}

/// Returns an object in its stored form.
pub fn to_stored(kind: &Kind, version: &str, mut value: Value) -> Result<Value, String> {
    match (kind.group.as_str(), version) {
        ("events.k8s.io", _) => {
            if let Value::Object(map) = &mut value {
                for (core, new) in EVENT {
                    if let Some(inner) = map.remove(new) {
                        map.insert(core.into(), inner);
                    }
                }
            }
            let schema = table::builtin().get("io.k8s.api.core.v1.Event").cloned().unwrap_or_default();
            Reader { unknown: Vec::new() }.read(value, &schema)
        }
        ("autoscaling", "v1") => {
            let spec = super::object::member_mut(&mut value, "spec");
            if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
                let target = json!({"type": "Utilization", "averageUtilization": percent});
                spec.insert(
                    "metrics".into(),
                    json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]),
                );
            }
            Ok(value)
        }
        _ => Ok(value),
    }
}

/// Returns a stored object in the words of a version.
pub fn from_stored(kind: &Kind, version: &str, value: &Value) -> Value {
    let mut value = value.clone();
    value["apiVersion"] = kind.api_version(version).into();
    let Value::Object(map) = &mut value else { return value };
    match (kind.group.as_str(), version) {
        ("events.k8s.io", _) => {
            for (core, new) in EVENT {
                if let Some(inner) = map.remove(core) {
                    map.insert(new.into(), inner);
                }
            }
            for member in ["reportingController", "reportingInstance"] {
                if map.get(member).and_then(Value::as_str) == Some("") {
                    map.remove(member);
                }
            }
        }
        ("autoscaling", "v1") => {
            if let Some(Value::Object(spec)) = map.get_mut("spec") {
                hpa_v1(spec);
            }
        }
        _ => {}
    }
    value
}

fn hpa_v1(spec: &mut Map<String, Value>) {
    spec.remove("behavior");
    let metrics = spec.remove("metrics");
    let cpu = metrics.as_ref().and_then(Value::as_array).into_iter().flatten().find_map(|metric| {
        let resource = &metric["resource"];
        (resource["name"] == "cpu").then(|| resource["target"]["averageUtilization"].clone())
    });
    if let Some(percent) = cpu.filter(Value::is_i64) {
        spec.insert("targetCPUUtilizationPercentage".into(), percent);
    }
}
