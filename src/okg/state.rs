//! currentState of a GameServer, read from its pod (`gameserver_manager.go`).

use serde_json::Value;

use super::names;

/// Returns the state of the room whose pod this is; empty if the pod has no condition Ready yet.
pub fn current_state(pod: &Value) -> &'static str {
    match pod["status"]["phase"].as_str().unwrap_or_default() {
        "Running" => running(pod),
        "Failed" => "Crash",
        "Pending" => "Creating",
        _ => "Unknown",
    }
}

fn running(pod: &Value) -> &'static str {
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return "Deleting";
    }
    match pod["metadata"]["labels"][names::LIFECYCLE_STATE].as_str().unwrap_or_default() {
        "Updating" => "Updating",
        "PreparingUpdate" => "PreUpdate",
        "PreparingDelete" => "PreDelete",
        _ => match condition(pod, "Ready").and_then(|ready| ready["status"].as_str()) {
            Some("True") => "Ready",
            Some(_) => "NotReady",
            None => "",
        },
    }
}

/// Returns a condition of an object's status by its type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(phase: &str, deleting: bool, lifecycle: &str, ready: Option<&str>) -> &'static str {
        let conditions: Vec<Value> =
            ready.map(|status| json!({"type": "Ready", "status": status})).into_iter().collect();
        current_state(&json!({
            "metadata": {
                "labels": {names::LIFECYCLE_STATE: lifecycle},
                "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z"),
            },
            "status": {"phase": phase, "conditions": conditions},
        }))
    }

    #[test]
    fn first_rule_that_matches() {
        assert_eq!(state("Running", true, "PreparingDelete", Some("True")), "Deleting");
        assert_eq!(state("Running", false, "PreparingDelete", Some("True")), "PreDelete");
        assert_eq!(state("Running", false, "PreparingUpdate", Some("True")), "PreUpdate");
        assert_eq!(state("Running", false, "Updating", Some("False")), "Updating");
        assert_eq!(state("Running", false, "Normal", Some("True")), "Ready");
        assert_eq!(state("Running", false, "Normal", Some("Unknown")), "NotReady");
        assert_eq!(state("Running", false, "Normal", None), "");
        assert_eq!(state("Failed", true, "", None), "Crash");
        assert_eq!(state("Pending", true, "", None), "Creating");
        assert_eq!(state("Succeeded", false, "", None), "Unknown");
        assert_eq!(state("", false, "", None), "Unknown");
    }
}
