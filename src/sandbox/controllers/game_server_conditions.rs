//! The three conditions of a GameServer: what is wrong with its pod, node and volumes (`getConditions`).

use serde_json::{Value, json};

use super::Hub;
use crate::okg::state::condition;
use crate::sandbox::object;
use crate::sandbox::status::Status;

/// A reason and a message, both empty if all is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Trouble {
    reason: String,
    message: String,
}

impl Trouble {
    fn add(&mut self, message: &str, reason: &str) {
        if self.reason.is_empty() && self.message.is_empty() {
            (self.reason, self.message) = (reason.to_owned(), message.to_owned());
            return;
        }
        for (text, new) in [(&mut self.reason, reason), (&mut self.message, message)] {
            if !text.contains(new) {
                text.push_str("; ");
                text.push_str(new);
            }
        }
    }

    fn merge(&mut self, other: &Trouble) {
        if *other != Trouble::default() {
            self.add(&other.message, &other.reason);
        }
    }
}

/// Returns the conditions of a GameServer, and adds to `warnings` reason and message of each trouble that is new.
///
/// A node that does not exist ends the judgement with an error, after the pod was judged.
pub fn judge(
    hub: &Hub,
    game_server: &Value,
    pod: &Value,
    now: &str,
    warnings: &mut Vec<(String, String)>,
) -> Result<Vec<Value>, Status> {
    let mut judge = |kind: &str, trouble: Trouble| {
        let well = trouble == Trouble::default();
        let mut next = json!({"type": kind, "status": if well { "True" } else { "False" }});
        if !well {
            next["reason"] = trouble.reason.clone().into();
            next["message"] = trouble.message.clone().into();
        }
        let before = condition(game_server, kind).cloned().unwrap_or_default();
        let same = ["status", "reason", "message"].iter().all(|field| before[field] == next[field]);
        next["lastTransitionTime"] = if same { before["lastTransitionTime"].clone() } else { now.into() };
        if !same && !well {
            warnings.push((trouble.reason, trouble.message));
        }
        next
    };
    let mut conditions = vec![judge("PodNormal", pod_trouble(pod))];
    let node = object::text_at(pod, &["spec", "nodeName"]);
    if !node.is_empty() {
        let node = hub.api.get("nodes", "", node).ok_or_else(|| Status::not_found("nodes", node))?;
        conditions.push(judge("NodeNormal", node_trouble(&node)));
    }
    conditions.push(judge("PersistentVolumeNormal", volume_trouble(hub, pod)));
    Ok(conditions)
}

fn pod_trouble(pod: &Value) -> Trouble {
    let mut trouble = Trouble::default();
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let status = &pod["status"];
    if status["reason"].as_str().is_some_and(|reason| !reason.is_empty()) {
        trouble.add(&text(status, "message"), &text(status, "reason"));
    }
    let containers_ready = condition(pod, "ContainersReady").is_some_and(|found| found["status"] == "True");
    for found in status["conditions"].as_array().into_iter().flatten() {
        let bad = match found["type"].as_str().unwrap_or_default() {
            "PodScheduled" | "Initialized" | "ContainersReady" => found["status"] != "True",
            "Ready" => containers_ready && found["status"] == "False",
            _ => false,
        };
        if bad {
            trouble.add(&text(found, "message"), &text(found, "reason"));
        }
    }
    for list in ["initContainerStatuses", "containerStatuses"] {
        let part = container_trouble(&status[list]);
        if !part.message.is_empty() && !part.reason.is_empty() {
            trouble.merge(&part);
        }
    }
    trouble
}

fn container_trouble(statuses: &Value) -> Trouble {
    let mut trouble = Trouble::default();
    for status in statuses.as_array().into_iter().flatten() {
        let waiting = &status["state"]["waiting"];
        if let Some(reason) = waiting["reason"].as_str() {
            trouble.add(waiting["message"].as_str().unwrap_or_default(), reason);
        }
        let (now, last) = (&status["state"]["terminated"], &status["lastState"]["terminated"]);
        let ended = if now["reason"].is_string() {
            now
        } else if last["reason"].is_string() && status["state"]["running"].is_null() {
            last
        } else {
            continue;
        };
        let message = ended["message"].as_str().unwrap_or_default();
        let code = ended["exitCode"].as_i64().unwrap_or(0);
        let reason = ended["reason"].as_str().unwrap_or_default();
        trouble.add(&format!("{message} ExitCode: {code}"), &format!("ContainerTerminated:{reason}"));
    }
    trouble
}

fn node_trouble(node: &Value) -> Trouble {
    let mut trouble = Trouble::default();
    for found in node["status"]["conditions"].as_array().into_iter().flatten() {
        let kind = found["type"].as_str().unwrap_or_default();
        let good = if ["Ready", "SufficientIP"].contains(&kind) { "True" } else { "False" };
        if found["status"] != good {
            let reason = found["reason"].as_str().unwrap_or_default();
            trouble.add(found["message"].as_str().unwrap_or_default(), &format!("{kind}:{reason}"));
        }
    }
    trouble
}

fn volume_trouble(hub: &Hub, pod: &Value) -> Trouble {
    let namespace = object::namespace(pod);
    let mut trouble = Trouble::default();
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() else { continue };
        let Some(found) = hub.api.get("persistentvolumeclaims", namespace, claim) else {
            // The real message names no claim: it is taken from the object that was not found.
            let message = format!("There is no pvc named {namespace}/ in cluster");
            trouble.add(&message, "PersistentVolumeClaim Not Found");
            continue;
        };
        let volume = object::text_at(&found, &["spec", "volumeName"]);
        match hub.api.get("persistentvolumes", "", volume).filter(|_| !volume.is_empty()) {
            None => {
                let message = format!("There is no pv which pvc {namespace}/{claim} is bound with");
                trouble.add(&message, "PersistentVolume Not Found");
            }
            Some(volume) => {
                if let Some(reason) = volume["status"]["reason"].as_str().filter(|reason| !reason.is_empty()) {
                    trouble.add(volume["status"]["message"].as_str().unwrap_or_default(), reason);
                }
            }
        }
    }
    trouble
}
