//! What an autoscaler makes of a set once a plan is carried out: KEDA by OKG's scaler, or a HorizontalPodAutoscaler.

use serde_json::Value;

use super::Next;
use super::forecast::unreadable;
use crate::cluster::{Cluster, Selector, kind};
use crate::okg::scaler::{self, Counts};
use crate::okg::scaling::{self, Scaling, Strategy};
use crate::okg::{names, ops_state};

/// Part of the replicas within which an HPA changes nothing.
const TOLERANCE: f64 = 0.1;

/// What follows once a plan is carried out.
#[derive(Debug, Default)]
pub struct Then {
    /// Rooms that are opened.
    pub opens: Vec<String>,
    /// Who would go next.
    pub next: Vec<Next>,
    /// What an autoscaler does.
    pub autoscaler: Vec<String>,
}

/// The autoscalers of a set.
pub struct Autoscalers {
    keda: Option<Value>,
    hpa: Option<Value>,
    unknown: Vec<String>,
}

/// What there will be, and what an autoscaler may do about it.
struct Case<'a> {
    who: String,
    scaling: &'a Scaling<'a>,
    strategy: Strategy,
    set: &'a str,
    window: i64,
}

impl Autoscalers {
    /// Looks for the autoscalers that have this set for a target.
    pub async fn read(cluster: &Cluster, namespace: &str, set: &str) -> Autoscalers {
        let mut found = Autoscalers { keda: None, hpa: None, unknown: Vec::new() };
        let kinds = [(&kind::SCALED_OBJECT, true), (&kind::HORIZONTAL_POD_AUTOSCALER, false)];
        for (kind, keda) in kinds {
            match cluster.list::<Value>(kind, namespace, &Selector::all()).await {
                Ok(list) => {
                    let ours = list.items.into_iter().find(|it| targets(it, set));
                    if keda { found.keda = ours } else { found.hpa = ours }
                }
                Err(error) => found.unknown.extend(unreadable(&error)),
            }
        }
        found
    }

    /// Says what happens to a set that stands as `scaling` says.
    pub fn then(&self, scaling: &Scaling<'_>, strategy: Strategy, set: &str) -> Vec<String> {
        let case = |who: String, window: &Value| Case {
            who,
            scaling,
            strategy,
            set,
            window: window["stabilizationWindowSeconds"].as_i64().unwrap_or(300),
        };
        if let Some(keda) = &self.keda {
            let advanced = &keda["spec"]["advanced"]["horizontalPodAutoscalerConfig"];
            return case(format!("KEDA {}", name(keda)), &advanced["behavior"]["scaleDown"]).keda(keda);
        }
        if let Some(hpa) = &self.hpa {
            return case(format!("HPA {}", name(hpa)), &hpa["spec"]["behavior"]["scaleDown"]).hpa(hpa);
        }
        let marked = scaling.pods.iter().any(|pod| pod.ops_state == ops_state::WAIT_TO_BE_DELETED);
        match (self.unknown.as_slice(), marked) {
            ([], true) => vec!["nobody lowers replicas: marked rooms stay until you do".to_owned()],
            ([], false) => Vec::new(),
            (unknown, _) => vec![format!("who changes replicas is not known: {}", unknown.join("; "))],
        }
    }
}

fn targets(object: &Value, set: &str) -> bool {
    let target = &object["spec"]["scaleTargetRef"];
    target["name"] == set && target["kind"] == "GameServerSet"
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn whole(value: &Value, default: i32) -> i32 {
    value.as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or(default)
}

impl Case<'_> {
    fn keda(mut self, keda: &Value) -> Vec<String> {
        let spec = &keda["spec"];
        let (least, most) = (whole(&spec["minReplicaCount"], 0), whole(&spec["maxReplicaCount"], 100));
        let annotations = keda["metadata"]["annotations"].as_object();
        let paused = annotations.into_iter().flatten().find(|(key, _)| key.starts_with("autoscaling.keda.sh/paused"));
        if let Some((key, value)) = paused {
            let how = key.trim_start_matches("autoscaling.keda.sh/");
            return vec![format!("{} has {how}: {value}: marked rooms may stay until that is taken back", self.who)];
        }
        let triggers: Vec<&Value> = spec["triggers"].as_array().into_iter().flatten().collect();
        let external = |trigger: &&&Value| matches!(trigger["type"].as_str(), Some("external" | "external-push"));
        let mut said = Vec::new();
        for other in triggers.iter().filter(|trigger| !external(trigger)) {
            said.push(format!("{}: what its trigger {} makes of it is not foreseen", self.who, other["type"]));
        }
        let Some(trigger) = triggers.iter().find(external) else { return said };
        let metadata = &trigger["metadata"];
        let (min, max) = (metadata["minAvailable"].as_str(), metadata["maxAvailable"].as_str());
        self.who = format!("{} (min {least}, max {most}", self.who);
        for (key, text) in [("minAvailable", min), ("maxAvailable", max)] {
            if let Some(text) = text {
                self.who.push_str(&format!(", {key} {text}"));
            }
        }
        self.who.push(')');
        let (replicas, counts) = (self.scaling.target, self.counts());
        let metric = match scaler::desired_replicas(replicas, counts, min, max) {
            Ok(metric) => metric,
            Err(error) => {
                said.push(format!("{} does nothing: its trigger cannot be read: {}", self.who, error.0));
                return said;
            }
        };
        let wanted = scaler::autoscaler_wants(replicas, metric, least.max(1), most, TOLERANCE);
        said.push(self.moves(wanted));
        let marked = counts.wait_to_be_deleted;
        let left = marked - (replicas - wanted).max(0);
        if marked > 0 && left > 0 {
            said.push(format!("{left} of {marked} marked rooms stay: {}", self.why(metric, wanted, least, counts)));
        }
        said
    }

    /// Says why fewer rooms go than are marked.
    fn why(&self, metric: i32, wanted: i32, least: i32, counts: Counts) -> String {
        let replicas = self.scaling.target;
        if metric >= replicas {
            return format!("only {} rooms are free, and opening more comes first", counts.none);
        }
        if wanted == replicas && metric >= least {
            return format!("{metric} of {replicas} is within the 10 % in which an HPA changes nothing");
        }
        format!("the minimum is {least}")
    }

    fn counts(&self) -> Counts {
        let of = |state: &str| self.scaling.pods.iter().filter(|pod| pod.ops_state == state).count();
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        Counts {
            total: number(self.scaling.pods.len()),
            none: number(of(ops_state::NONE)),
            wait_to_be_deleted: number(of(ops_state::WAIT_TO_BE_DELETED)),
        }
    }

    fn hpa(mut self, hpa: &Value) -> Vec<String> {
        let (least, most) = (whole(&hpa["spec"]["minReplicas"], 1), whole(&hpa["spec"]["maxReplicas"], i32::MAX));
        self.who = format!("{} (min {least}, max {most})", self.who);
        let replicas = self.scaling.target;
        let mut said = vec![format!("{}: what its metrics make of it is not foreseen", self.who)];
        if replicas != replicas.clamp(least, most.max(least)) {
            said.push(self.moves(replicas.clamp(least, most.max(least))));
        }
        said
    }

    /// Says what becomes of the replicas, and which rooms go with it.
    fn moves(&self, wanted: i32) -> String {
        let replicas = self.scaling.target;
        if wanted == replicas {
            return format!("{} leaves replicas at {replicas}", self.who);
        }
        if wanted > replicas {
            return format!("{} raises replicas {replicas} -> {wanted}", self.who);
        }
        let lower = Scaling { target: wanted, ..self.scaling.clone() };
        let gone = scaling::victims(&lower, self.strategy);
        let state = |id: &i32| self.scaling.pods.iter().find(|pod| pod.ordinal == *id).map(|pod| &*pod.ops_state);
        let shown: Vec<String> = gone
            .iter()
            .take(12)
            .map(|id| format!("{} ({})", names::room(self.set, *id), state(id).unwrap_or_default()))
            .collect();
        let more = if gone.len() > shown.len() { ", …" } else { "" };
        format!(
            "{} lowers replicas {replicas} -> {wanted} after {}s: {}{more} go",
            self.who,
            self.window,
            shown.join(", ")
        )
    }
}
