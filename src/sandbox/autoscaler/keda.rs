//! KEDA's side: the kind ScaledObject, what one says, the HPA it keeps and the status it reports.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Behavior, Diagnostic, HPA, Kind, Look, SCALED};
use crate::sandbox::api::Api;
use crate::sandbox::object::{self, Actor, Patch};
use crate::sandbox::patch;
use crate::sandbox::scaler::Metadata;
use crate::sandbox::status::Status;

/// What a ScaledObject wants of a GameServerSet.
pub struct Target {
    /// The set.
    pub name: String,
    /// The least number of replicas; 0 lets KEDA empty the set.
    pub least: i32,
    /// The greatest number of replicas.
    pub most: i32,
    /// What the trigger says to the scaler.
    pub metadata: Metadata,
    /// How fast replicas may change.
    pub behavior: Behavior,
    /// How long a set is idle before KEDA empties it.
    pub cooldown: Duration,
    /// Whether KEDA is paused, and at how many replicas.
    pub paused: Option<Option<i32>>,
}

impl Target {
    /// Reads a ScaledObject.
    pub fn read(scaled: &Value) -> Result<Target, String> {
        let spec = &scaled["spec"];
        let target = &spec["scaleTargetRef"];
        if target["kind"] != "GameServerSet" {
            return Err(format!("scaleTargetRef.kind {} is not imitated, only GameServerSet", target["kind"]));
        }
        let number = |field: &str, default: i32| {
            spec[field].as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or(default)
        };
        let external = |trigger: &&Value| trigger["type"] == "external" || trigger["type"] == "external-push";
        let trigger = spec["triggers"].as_array().and_then(|triggers| triggers.iter().find(external));
        let Some(trigger) = trigger else { return Err("no trigger of type external".to_owned()) };
        let annotation = |key: &str| scaled["metadata"]["annotations"][format!("autoscaling.keda.sh/{key}")].as_str();
        let mut behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"].clone();
        for (key, part) in [("paused-scale-in", "scaleDown"), ("paused-scale-out", "scaleUp")] {
            if annotation(key) == Some("true") {
                behavior[part]["selectPolicy"] = "Disabled".into();
            }
        }
        let at = annotation("paused-replicas").and_then(|text| text.parse().ok());
        let paused = (annotation("paused") == Some("true") || at.is_some()).then_some(at);
        Ok(Target {
            name: target["name"].as_str().unwrap_or_default().to_owned(),
            least: number("minReplicaCount", 0),
            most: number("maxReplicaCount", 100),
            metadata: Metadata::read(&trigger["metadata"]),
            behavior: Behavior::read(&behavior),
            cooldown: Duration::from_secs(spec["cooldownPeriod"].as_u64().unwrap_or(300)),
            paused,
        })
    }
}

fn actor() -> Actor {
    Actor::controller("keda-operator")
}

fn hpa_name(scaled: &Value) -> String {
    let named = &scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"];
    named.as_str().map_or_else(|| format!("keda-hpa-{}", object::name(scaled)), str::to_owned)
}

/// Makes or corrects the HPA of a ScaledObject and shows in its status what was decided.
pub fn keep_hpa(
    api: &Api,
    now: Timestamp,
    scaled: &Value,
    target: &Target,
    current: i32,
    wanted: i32,
    metric: i32,
) -> Result<(), Status> {
    let (namespace, name) = (object::namespace(scaled), hpa_name(scaled));
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "game.kruise.io/v1alpha1", "kind": "GameServerSet", "name": target.name},
        "minReplicas": target.least.max(1),
        "maxReplicas": target.most,
        "metrics": [{"type": "External", "external": {
            "metric": {"name": "s0-gssReplicas", "selector": {"matchLabels": {
                "scaledobject.keda.sh/name": object::name(scaled)}}},
            "target": {"type": "AverageValue", "averageValue": "1"},
        }}],
    });
    let behavior = &scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
    if !behavior.is_null() {
        spec["behavior"] = behavior.clone();
    }
    let Some(found) = api.get(HPA, namespace, &name) else {
        let body = json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name, "namespace": namespace,
                "labels": {"scaledobject.keda.sh/name": object::name(scaled),
                    "app.kubernetes.io/managed-by": "keda-operator"},
                "ownerReferences": [{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
                    "name": object::name(scaled), "uid": object::meta(scaled, "uid"),
                    "controller": true, "blockOwnerDeletion": true}]},
            "spec": spec,
        });
        return api.create(&actor(), HPA, body).map(|_| ());
    };
    let differs = ["minReplicas", "maxReplicas"].iter().any(|field| found["spec"][*field] != spec[*field]);
    if differs {
        let limits = json!({"spec": {"minReplicas": spec["minReplicas"], "maxReplicas": spec["maxReplicas"]}});
        api.patch(&actor(), HPA, "", namespace, &name, &Patch::Merge(limits))?;
    }
    let average = f64::from(metric * 1000) / f64::from(current.max(1));
    let mut status = json!({
        "currentReplicas": current,
        "desiredReplicas": wanted,
        "currentMetrics": [{"type": "External", "external": {
            "metric": {"name": "s0-gssReplicas"}, "current": {"averageValue": format!("{average:.0}m")}}}],
    });
    if wanted != current {
        status["lastScaleTime"] = object::stamp(now).into();
    }
    if patch::holds(&found["status"], &status) {
        return Ok(());
    }
    let status = Patch::Merge(json!({"status": status}));
    api.patch(&actor(), HPA, "status", namespace, &name, &status).map(|_| ())
}

/// Writes what a look came to into the ScaledObject's status.
pub fn report(api: &Api, scaled: &Value, look: &Look) {
    let (namespace, name) = (object::namespace(scaled), object::name(scaled));
    if look.paused {
        // Paused, KEDA takes its HPA away.
        let _ = api.delete(&actor(), HPA, namespace, &hpa_name(scaled), &object::DeleteOptions::default());
    }
    let word = |yes: bool| if yes { "True" } else { "False" };
    let (ready, reason, message) = match &look.fault {
        None => (true, "ScaledObjectReady", "ScaledObject is defined correctly and is ready for scaling"),
        Some(fault) => (false, "ScaledObjectCheckFailed", fault.as_str()),
    };
    let active = look.active.map_or("Unknown", word);
    let status = json!({
        "scaleTargetKind": "game.kruise.io/v1alpha1.GameServerSet",
        "externalMetricNames": ["s0-gssReplicas"],
        "hpaName": hpa_name(scaled),
        "conditions": [
            {"type": "Ready", "status": word(ready), "reason": reason, "message": message},
            {"type": "Active", "status": active, "reason": if active == "True" { "ScalerActive" } else { "ScalerNotActive" }},
            {"type": "Fallback", "status": "False", "reason": "NoFallbackFound"},
            {"type": "Paused", "status": word(look.paused)},
        ],
    });
    if patch::holds(&scaled["status"], &status) {
        return;
    }
    let status = json!({"status": status});
    if let Err(status) = api.patch(&actor(), SCALED, "status", namespace, name, &Patch::Merge(status)) {
        tracing::debug!("status of ScaledObject {namespace}/{name}: {}", status.message);
    }
}

/// Serves the kind ScaledObject, if the cluster does not yet.
pub fn define(api: &Api) -> Result<(), Diagnostic> {
    if api.kind(SCALED).is_some() {
        return Ok(());
    }
    let broken = |why: String| Diagnostic::new(Kind::Internal, "the kind ScaledObject could not be served").why(why);
    let definition: Value =
        serde_saphyr::from_str(include_str!("scaledobjects.yaml")).map_err(|error| broken(error.to_string()))?;
    let created = api.create(&actor(), "customresourcedefinitions.apiextensions.k8s.io", definition);
    created.map(|_| ()).map_err(|status| broken(status.message))
}
