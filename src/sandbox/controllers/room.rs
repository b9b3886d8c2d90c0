//! A pod as passes over whole sets see it: what they ask of each pod is read from it once, not at every pass.

use std::ops::Deref;
use std::sync::OnceLock;

use serde_json::Value;

use super::stateful_set_status::running_and_ready;
use super::{cache, lifecycle, stateful_set_update};
use crate::okg::names;
use crate::okg::scaling::ScalePod;
use crate::sandbox::object::{self, Object};

/// A pod in the cache.
pub struct Room {
    pod: Object,
    facts: OnceLock<Facts>,
}

/// What passes ask of every pod.
pub struct Facts {
    /// The number after the last dash of its name.
    pub ordinal: Option<i32>,
    /// Whether somebody controls it.
    pub controlled: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether its containers have ended for good.
    pub finished: bool,
    /// Whether it has a phase.
    pub phased: bool,
    /// Whether it runs and is ready.
    pub ready: bool,
    /// Whether it waits for a readiness gate that Kruise opens, or for the end of a grace period.
    pub gated: bool,
    /// The lifecycle state, empty if it has none.
    pub lifecycle: String,
    /// The revision that it was made from, empty if unknown.
    pub revision: String,
    /// Label gs-state, empty if absent.
    pub state: String,
    /// What scaling knows of it; none without an ordinal.
    pub scale: Option<ScalePod>,
}

impl Room {
    /// A pod as a change shows it.
    pub fn new(pod: Object) -> Room {
        Room { pod, facts: OnceLock::new() }
    }

    /// Returns what passes ask of it.
    pub fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| Facts::read(&self.pod))
    }
}

impl Deref for Room {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.pod
    }
}

impl Facts {
    fn read(pod: &Value) -> Facts {
        let phase = object::text_at(pod, &["status", "phase"]);
        let label = |key: &str| object::label(pod, key).unwrap_or_default().to_owned();
        Facts {
            ordinal: names::ordinal(object::name(pod)),
            controlled: cache::controller_of(pod).is_some(),
            terminating: object::terminating(pod),
            finished: ["Failed", "Succeeded"].contains(&phase),
            phased: !pod["status"]["phase"].is_null(),
            ready: running_and_ready(pod),
            gated: stateful_set_update::gated(pod),
            lifecycle: lifecycle::state(pod).to_owned(),
            revision: label(names::REVISION),
            state: label(names::GS_STATE),
            scale: ScalePod::read(pod),
        }
    }

    /// Returns the opsState that the pod's label shows, empty if none.
    pub fn ops_state(&self) -> &str {
        self.scale.as_ref().map_or("", |scale| &scale.ops_state)
    }
}
