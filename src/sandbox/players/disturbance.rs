//! What goes wrong now and then: service qualities that write over others, rooms that crash.

use std::time::Duration;

use serde_json::{Value, json};

use super::{GS, Stage, pause};
use crate::okg::{names, ops_state};
use crate::sandbox::object::{self, Object, Patch};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A service quality writes None over an opsState that is neither None nor Allocated.
    ServiceQuality,
    /// A running room fails; Kruise makes its pod anew.
    Crash,
}

/// Something that goes wrong with a GameServerSet, again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Disturbance {
    /// Namespace of the GameServerSet.
    pub namespace: String,
    /// The GameServerSet.
    pub gss: String,
    /// What goes wrong.
    pub trouble: Trouble,
    /// How often in an hour, on average.
    pub per_hour: f64,
}

/// Disturbs for ever.
pub async fn disturb(stage: Stage, disturbance: Disturbance, mut rng: fastrand::Rng) {
    if disturbance.per_hour <= 0.0 {
        return;
    }
    loop {
        stage.sleep(pause(&mut rng, Duration::from_secs(3600), disturbance.per_hour)).await;
        let choice = rng.u64(..);
        let outcome = match disturbance.trouble {
            Trouble::ServiceQuality => {
                let marked = |room: &Value| {
                    ![ops_state::NONE, ops_state::ALLOCATED]
                        .contains(&room["spec"]["opsState"].as_str().unwrap_or_default())
                };
                let Some(room) = pick(&stage, &disturbance, GS, choice, marked) else { continue };
                let patch = Patch::Merge(json!({"spec": {"opsState": ops_state::NONE}}));
                let at = (object::namespace(&room), object::name(&room));
                stage.patch("service-quality", (GS, ""), at, &patch).await
            }
            Trouble::Crash => {
                let runs = |pod: &Value| pod["status"]["phase"] == "Running" && !object::terminating(pod);
                let Some(pod) = pick(&stage, &disturbance, "pods", choice, runs) else { continue };
                let patch = Patch::Merge(json!({"status": {"phase": "Failed", "reason": "Error"}}));
                let at = (object::namespace(&pod), object::name(&pod));
                stage.patch("kubelet", ("pods", "status"), at, &patch).await
            }
        };
        if let Err(status) = outcome {
            tracing::debug!("disturbance of {}: {}", disturbance.gss, status.message);
        }
    }
}

fn pick(
    stage: &Stage,
    disturbance: &Disturbance,
    resource: &str,
    choice: u64,
    fits: impl Fn(&Value) -> bool,
) -> Option<Object> {
    let all = stage.api.list(resource, Some(&disturbance.namespace));
    let mine = all.into_iter().filter(|o| object::label(o, names::OWNER_GSS) == Some(&disturbance.gss) && fits(o));
    let mine: Vec<Object> = mine.collect();
    let count = u64::try_from(mine.len()).ok().filter(|count| *count > 0)?;
    mine.get(usize::try_from(choice % count).ok()?).cloned()
}
