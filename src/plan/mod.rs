//! What a run would do: objects field by field, rooms, who goes next, who else has a say. Saved, held against the
//! cluster later, and kept to while it is carried out.
//!
//! A plan is made of what an [`crate::cluster::Overlay`] remembers and of a look at the sets that it touches. This room
//! prints nothing, runs no script and writes nothing to a cluster.
//!
//! ```text
//! let plan = Plan { objects, sets, .. };       // objects::objects, forecast::sets
//! document::write(&plan)?                      // later: document::read(text)?
//! stale::refuse(&plan, &cluster).await?;       // template, replicas, identity
//! let cluster = Bounds::confine(&plan, &cluster);      // refuses what the plan does not cover
//! ```

mod autoscaler;
pub mod bounds;
pub mod document;
pub mod forecast;
pub mod objects;
pub mod stale;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::FieldChange;

/// A plan: what a script would do to a cluster as it stands, and what it was made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Form of the file.
    pub format: String,
    /// Version of okgscript that made it.
    pub okgscript: String,
    /// When it was made.
    pub made: String,
    /// The script.
    pub script: ScriptText,
    /// Values of the script's parameters, all of them.
    pub params: BTreeMap<String, Value>,
    /// The cluster.
    pub place: Place,
    /// What would change, in the order of the first writes.
    pub objects: Vec<Object>,
    /// The GameServerSets that it touches.
    pub sets: Vec<Set>,
    /// What it takes for granted: waits that succeed, time that passes, approvals.
    pub assumptions: Vec<String>,
    /// What should be known before it is carried out.
    pub remarks: Vec<String>,
}

/// A script by its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScriptText {
    /// Name as it was given.
    pub name: String,
    /// SHA-256 of its text.
    pub hash: String,
    /// SHA-256 of the texts of the modules that it imports.
    pub modules: BTreeMap<String, String>,
}

/// A namespace of a cluster, and the way there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    /// Context of the kubeconfig.
    pub context: String,
    /// Address of the API server.
    pub server: String,
    /// Namespace.
    pub namespace: String,
    /// Kubeconfig file, if one was named.
    pub kubeconfig: Option<String>,
    /// User that was acted as.
    #[serde(rename = "as")]
    pub as_user: Option<String>,
    /// Groups that were acted as.
    pub as_groups: Vec<String>,
}

/// What would become of an object.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Object {
    /// In words: `GameServer prod/minecraft-1`.
    pub object: String,
    /// Path at the API server.
    pub path: String,
    /// Identity; empty for one that would be created.
    pub uid: String,
    /// Whether it would be changed, created or deleted.
    pub action: Action,
    /// Fields that would change; what servers and we ourselves keep is left out.
    pub changes: Vec<FieldChange>,
}

/// What sort of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is there and would be changed.
    Change,
    /// It would be made.
    Create,
    /// It would be deleted.
    Delete,
}

/// What would become of a GameServerSet and its rooms.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Set {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Identity.
    pub uid: String,
    /// `spec` as it was: the template, replicas and all that decides what a write does.
    pub spec: Value,
    /// Rooms that would be touched as they are now.
    pub rooms: Vec<Room>,
    /// Rooms with players that would be touched too, should their matches end before the run comes to them.
    pub rooms_if_idle: Vec<Room>,
    /// Rooms that would be opened.
    pub opens: Vec<String>,
    /// Rooms in the order in which OKG would delete them, if replicas were lowered now.
    pub next_now: Vec<Next>,
    /// The same once the plan is carried out.
    pub next_then: Vec<Next>,
    /// What an autoscaler would do once the plan is carried out.
    pub autoscaler: Vec<String>,
}

/// A room that a plan covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Room {
    /// Name.
    pub name: String,
    /// Identity of the GameServer; empty where there is none.
    pub uid: String,
    /// Identity of the pod; empty where there is none.
    pub pod: String,
    /// opsState as it was.
    pub ops_state: String,
    /// What would become of it, in words.
    pub becomes: Vec<String>,
}

/// A room in the order of deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Next {
    /// Name.
    pub name: String,
    /// opsState.
    pub ops_state: String,
}

impl Set {
    /// Returns the room of that name, if the plan covers it.
    pub fn covered(&self, name: &str) -> Option<&Room> {
        self.rooms.iter().chain(&self.rooms_if_idle).find(|room| room.name == name)
    }
}

impl Plan {
    /// Returns a set of the plan.
    pub fn set(&self, namespace: &str, name: &str) -> Option<&Set> {
        self.sets.iter().find(|set| set.namespace == namespace && set.name == name)
    }
}
