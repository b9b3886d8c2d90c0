//! The scale step of a set as it was read: GameServerSet, workload and pods.

use serde_json::Value;

use super::game_server_set::{GameServerSet, Workload};
use super::pod::Pod;
use super::scaling::{self, ScalePod, Scaling, Strategy};
use super::{names, reserve};

/// Returns what the scale step knows of a pod: its labels, which lag behind the GameServer.
pub fn scale_pod(pod: &Pod) -> Option<ScalePod> {
    let label = |key: &str| pod.metadata.labels.get(key).cloned().unwrap_or_default();
    Some(ScalePod {
        ordinal: names::ordinal(&pod.metadata.name)?,
        ops_state: label(names::GS_OPS_STATE),
        deletion_priority: label(names::GS_DELETE_PRIORITY),
        terminating: pod.terminating(),
        preparing_delete: pod.preparing_delete(),
    })
}

/// Returns what a scale step of this set to so many replicas starts from.
pub fn scaling<'a>(
    set: &GameServerSet,
    workload: Option<&Workload>,
    pods: &'a [ScalePod],
    replicas: i64,
) -> Scaling<'a> {
    let applied = set.metadata.annotations.get(names::RESERVE_IDS);
    let reserved = workload.map(|workload| Value::Array(workload.reserve_ordinals().to_vec()));
    Scaling {
        explicit: reserve::parse_or_empty(Some(&Value::Array(set.reserve_ids()))),
        applied: applied.map(|text| reserve::parse_annotation(text)).unwrap_or_default(),
        workload: reserve::parse_or_empty(reserved.as_ref()),
        target: i32::try_from(replicas).unwrap_or(i32::MAX),
        pods,
    }
}

/// Returns the ordinals of the rooms that would go if the set were scaled to so many replicas.
pub fn victims<'a>(
    set: &GameServerSet,
    workload: Option<&Workload>,
    pods: impl IntoIterator<Item = &'a Pod>,
    replicas: i64,
) -> Vec<i32> {
    let pods: Vec<ScalePod> = pods.into_iter().filter_map(scale_pod).collect();
    scaling::victims(&scaling(set, workload, &pods, replicas), strategy(set))
}

/// Returns the strategy by which ids of rooms that went are reserved.
pub fn strategy(set: &GameServerSet) -> Strategy {
    if set.reserves_ids() { Strategy::ReserveIds } else { Strategy::General }
}
