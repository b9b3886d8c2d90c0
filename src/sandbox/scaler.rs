//! OKG's external scaler: what KEDA asks it, answered from the pods' labels.

use serde_json::Value;

use super::api::Api;
use super::object;
use crate::okg::names;
use crate::okg::scaler::{Counts, desired_replicas, is_active};

/// What a ScaledObject's trigger says to the scaler, each value as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `minAvailable`.
    pub min: Option<String>,
    /// `maxAvailable`.
    pub max: Option<String>,
}

impl Metadata {
    /// Reads the trigger's metadata.
    pub fn read(metadata: &Value) -> Metadata {
        let text = |key: &str| match &metadata[key] {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        Metadata { min: text("minAvailable"), max: text("maxAvailable") }
    }
}

/// Answers `GetMetrics`: the replicas that the scaler wants for a GameServerSet.
pub fn metric(api: &Api, namespace: &str, name: &str, metadata: &Metadata) -> Result<i32, String> {
    let set = set(api, namespace, name)?;
    let counts = api.read(|store| {
        let pods = store.each("pods", namespace);
        Counts::of(pods.map(|pod| &**pod).filter(|pod| object::label(pod, names::OWNER_GSS) == Some(name)))
    });
    let replicas = set["spec"]["replicas"].as_i64().and_then(|replicas| i32::try_from(replicas).ok()).unwrap_or(0);
    desired_replicas(replicas, counts, metadata.min.as_deref(), metadata.max.as_deref()).map_err(|invalid| invalid.0)
}

/// Answers `IsActive`: whether KEDA keeps the set above zero.
pub fn active(api: &Api, namespace: &str, name: &str, metadata: &Metadata) -> Result<bool, String> {
    let set = set(api, namespace, name)?;
    let status = &set["status"];
    let number = |field: &str| status[field].as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or(0);
    if is_active(metadata.min.as_deref(), 0, 0) {
        return Ok(true);
    }
    if status["waitToBeDeletedReplicas"].is_null() {
        return Err(format!("GameServerSet {namespace}/{name} has not inited"));
    }
    Ok(is_active(None, number("currentReplicas"), number("waitToBeDeletedReplicas")))
}

fn set(api: &Api, namespace: &str, name: &str) -> Result<object::Object, String> {
    let missing = || format!("gameserversets.game.kruise.io \"{name}\" not found");
    api.get("gameserversets.game.kruise.io", namespace, name).ok_or_else(missing)
}
