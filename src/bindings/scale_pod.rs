//! A pod as OKG's scale step sees it.

use crate::okg::names;
use crate::okg::pod::Pod;
use crate::okg::scaling::ScalePod;

/// Returns what the scale step knows of a pod: its labels, which lag behind the GameServer.
pub fn scale_pod(pod: &Pod) -> Option<ScalePod> {
    let label = |key: &str| pod.metadata.labels.get(key).cloned().unwrap_or_default();
    Some(ScalePod {
        ordinal: names::ordinal(&pod.metadata.name)?,
        ops_state: label(names::GS_OPS_STATE),
        deletion_priority: label(names::GS_DELETE_PRIORITY),
        terminating: pod.terminating(),
        preparing_delete: pod.lifecycle() == "PreparingDelete",
    })
}
