//! The order in which Kruise updates rooms, and how many at a time.

use std::cmp::Reverse;

use serde_json::Value;

/// `updateStrategy` as the Advanced StatefulSet gets it: its type is forced by a present `rollingUpdate`.
pub fn workload_type(update_strategy: &Value) -> &str {
    if !update_strategy["rollingUpdate"].is_null() {
        return "RollingUpdate";
    }
    match update_strategy["type"].as_str() {
        None | Some("") => "RollingUpdate",
        Some(other) => other,
    }
}

/// Returns whether an image change touches no running room: type OnDelete and no `rollingUpdate`, not even `{}`.
pub fn is_on_delete(update_strategy: &Value) -> bool {
    workload_type(update_strategy) == "OnDelete"
}

/// Returns what an update priority label counts: its trailing digits, none as 0 (`"abc10"` is 10).
pub fn update_priority(label: &str) -> i64 {
    let digits = label.len() - label.bytes().rev().take_while(u8::is_ascii_digit).count();
    label[digits..].parse().unwrap_or(0)
}

/// What the update order knows of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdatePod {
    /// Number after the last dash of the name.
    pub ordinal: i32,
    /// Label gs-update-priority.
    pub update_priority: String,
    /// Whether it is at the new revision, or terminating.
    pub settled: bool,
}

/// Returns the ordinals that may be updated, in order: those settled first, then by updatePriority and ordinal from
/// the highest down; `partition` of all are left out at the end.
///
/// Without `by_priority` (no `unorderedUpdate`) only the ordinal counts, and `partition` is the lowest one updated.
pub fn update_order(pods: &[UpdatePod], partition: i32, by_priority: bool) -> Vec<i32> {
    let mut sorted: Vec<&UpdatePod> = pods.iter().collect();
    if by_priority {
        sorted.sort_by_key(|pod| (!pod.settled, Reverse(update_priority(&pod.update_priority)), Reverse(pod.ordinal)));
        sorted.truncate(sorted.len().saturating_sub(usize::try_from(partition).unwrap_or(0)));
    } else {
        sorted.retain(|pod| pod.ordinal >= partition);
        sorted.sort_by_key(|pod| Reverse(pod.ordinal));
    }
    sorted.iter().map(|pod| pod.ordinal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rolling_update_wins_over_the_type() {
        assert!(is_on_delete(&json!({"type": "OnDelete"})));
        assert!(!is_on_delete(&json!({"type": "OnDelete", "rollingUpdate": {}})));
        assert!(!is_on_delete(&json!({})));
    }

    #[test]
    fn trailing_digits_count() {
        assert_eq!(["abc10", "7", "", "7x"].map(update_priority), [10, 7, 0, 0]);
    }

    #[test]
    fn settled_then_priority_then_ordinal() {
        let pod = |ordinal, priority: &str, settled| UpdatePod { ordinal, update_priority: priority.into(), settled };
        let pods = [pod(0, "0", false), pod(1, "10", false), pod(2, "0", true), pod(3, "0", false)];
        assert_eq!(update_order(&pods, 0, true), [2, 1, 3, 0]);
        assert_eq!(update_order(&pods, 2, true), [2, 1]);
        assert_eq!(update_order(&pods, 2, false), [3, 2]);
    }
}
