//! A pod as far as rooms are concerned.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::object::{Condition, Metadata, present_or_default};

/// A pod, compact.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Pod {
    /// Metadata.
    pub metadata: Metadata,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: String,
    containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    image: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: String,
    reason: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    start_time: Option<String>,
    #[serde(deserialize_with = "present_or_default")]
    conditions: Vec<Condition>,
    #[serde(deserialize_with = "present_or_default")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "present_or_default")]
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    restart_count: i64,
    state: ContainerState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<StateReason>,
    terminated: Option<StateReason>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct StateReason {
    reason: String,
    message: String,
}

/// Why a container does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Container, or empty for the pod itself.
    pub container: String,
    /// `ImagePullBackOff`, `CrashLoopBackOff`, `Unschedulable`, …
    pub reason: String,
    /// The kubelet's or scheduler's text.
    pub message: String,
}

impl Pod {
    /// Returns the pod's phase.
    pub fn phase(&self) -> &str {
        &self.status.phase
    }

    /// Returns the node it runs on; empty before it is scheduled.
    pub fn node(&self) -> &str {
        &self.spec.node_name
    }

    /// Returns its address; empty before it has one.
    pub fn ip(&self) -> &str {
        &self.status.pod_ip
    }

    /// Returns when the kubelet took it over, as it is written.
    pub fn start_time_text(&self) -> Option<&str> {
        self.status.start_time.as_deref()
    }

    /// Returns whether its deletion was asked for.
    pub fn terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Returns whether it is Running and Ready and stays.
    pub fn ready(&self) -> bool {
        self.status.phase == "Running"
            && !self.terminating()
            && self.condition("Ready").is_some_and(|c| c.status == "True")
    }

    /// Returns the condition of that type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.r#type == kind)
    }

    /// Returns the full name of its ControllerRevision; empty where the workload has not labelled it.
    pub fn revision(&self) -> &str {
        self.metadata.labels.get("controller-revision-hash").map(String::as_str).unwrap_or_default()
    }

    /// Returns the image of each container as the pod's specification has it.
    pub fn images(&self) -> BTreeMap<&str, &str> {
        self.spec.containers.iter().map(|container| (container.name.as_str(), container.image.as_str())).collect()
    }

    /// Returns the image of one container.
    pub fn image(&self, container: &str) -> Option<&str> {
        self.spec.containers.iter().find(|c| c.name == container).map(|c| c.image.as_str())
    }

    /// Returns how often its containers were restarted, summed up.
    pub fn restarts(&self) -> i64 {
        self.status.container_statuses.iter().map(|status| status.restart_count).sum()
    }

    /// Returns the lifecycle state that Kruise gave it, such as `PreparingDelete`.
    pub fn lifecycle(&self) -> &str {
        self.metadata.labels.get("lifecycle.apps.kruise.io/state").map(String::as_str).unwrap_or_default()
    }

    /// Returns whether a preDelete hook keeps it although its deletion was asked for.
    pub fn preparing_delete(&self) -> bool {
        self.lifecycle() == "PreparingDelete"
    }

    /// Returns why it is not running, as far as its status tells.
    pub fn trouble(&self) -> Option<Trouble> {
        let containers = self.status.init_container_statuses.iter().chain(&self.status.container_statuses);
        for status in containers {
            for state in [&status.state.waiting, &status.state.terminated].into_iter().flatten() {
                if !matches!(state.reason.as_str(), "" | "ContainerCreating" | "PodInitializing" | "Completed") {
                    return Some(Trouble {
                        container: status.name.clone(),
                        reason: state.reason.clone(),
                        message: state.message.clone(),
                    });
                }
            }
        }
        let unscheduled = self.condition("PodScheduled").filter(|condition| condition.status == "False");
        if let Some(condition) = unscheduled {
            return Some(Trouble {
                container: String::new(),
                reason: condition.reason.clone(),
                message: condition.message.clone(),
            });
        }
        (!self.status.reason.is_empty()).then(|| Trouble {
            container: String::new(),
            reason: self.status.reason.clone(),
            message: String::new(),
        })
    }
}

impl Trouble {
    /// Returns whether waiting alone will hardly heal it.
    pub fn hopeless(&self) -> bool {
        matches!(
            self.reason.as_str(),
            "ImagePullBackOff"
                | "ErrImagePull"
                | "InvalidImageName"
                | "CrashLoopBackOff"
                | "CreateContainerConfigError"
                | "CreateContainerError"
        )
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.container.is_empty() {
            write!(f, "container {} ", self.container)?;
        }
        f.write_str(&self.reason)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}
