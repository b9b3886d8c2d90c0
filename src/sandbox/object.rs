//! Objects as they are stored, who writes them, and small readers for their metadata.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// One stored object. It never changes; a write stores another.
pub type Object = Arc<Value>;

/// Who asks: the user that the authorizer sees, and the name that managedFields show.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The user's name.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// The field manager of writes.
    pub manager: String,
}

impl Actor {
    /// A controller of the cluster itself: may do everything, and leaves no managedFields.
    pub fn controller(manager: &str) -> Actor {
        Actor { user: format!("system:{manager}"), groups: vec!["system:masters".into()], manager: manager.into() }
    }
}

/// A patch of any of the four types.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902, a list of operations.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' strategic merge patch.
    Strategic(Value),
    /// Server-side apply.
    Apply {
        /// The fields that the manager wants.
        body: Value,
        /// Takes fields over from other managers.
        force: bool,
    },
}

/// How an object is to be deleted.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Seconds that a pod has to end; the pod's own value if none.
    pub grace_period_seconds: Option<i64>,
    /// `Background`, `Foreground` or `Orphan`.
    pub propagation_policy: Option<String>,
    /// The old form of the policy.
    pub orphan_dependents: Option<bool>,
    /// Delete only the object with this uid.
    pub uid: Option<String>,
    /// Delete only the object of this version.
    pub resource_version: Option<String>,
    /// Judge the request, change nothing.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// The default options with a grace period, as a kubelet ends a pod with 0.
    pub fn grace(seconds: i64) -> DeleteOptions {
        DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() }
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Added,
    /// It was written.
    Modified,
    /// It is gone.
    Deleted,
}

/// One write, in the order of resourceVersions.
#[derive(Clone, Debug)]
pub struct Change {
    /// The resourceVersion that the write got.
    pub version: u64,
    /// `pods`, `gameservers.game.kruise.io`, ….
    pub resource: Arc<str>,
    /// What happened.
    pub kind: ChangeKind,
    /// The object after the write; of a deletion, its last state with the version of the deletion.
    pub object: Object,
    /// The object before the write.
    pub previous: Option<Object>,
}

/// Returns `metadata.<field>` as text, empty if absent.
pub fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or("")
}

/// Returns `metadata.name`.
pub fn name(object: &Value) -> &str {
    meta(object, "name")
}

/// Returns `metadata.namespace`, empty for cluster-scoped kinds.
pub fn namespace(object: &Value) -> &str {
    meta(object, "namespace")
}

/// Returns `metadata.resourceVersion` as a number, 0 if absent.
pub fn version(object: &Value) -> u64 {
    meta(object, "resourceVersion").parse().unwrap_or(0)
}

/// Returns a label's value.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

/// Returns whether the object is being deleted.
pub fn terminating(object: &Value) -> bool {
    object.get("metadata").is_some_and(|meta| meta.get("deletionTimestamp").is_some())
}

/// Returns whether the object has a finalizer, or any if `which` is empty.
pub fn has_finalizer(object: &Value, which: &str) -> bool {
    let finalizers = object.get("metadata").and_then(|meta| meta.get("finalizers")).and_then(Value::as_array);
    finalizers.is_some_and(|list| list.iter().any(|f| which.is_empty() || f.as_str() == Some(which)))
}

/// Returns the value at a path of member names.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, key| value.get(key))
}

/// Returns the text at a path, empty if absent.
pub fn text_at<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or("")
}

/// Returns `metadata` for writing, made if absent.
pub fn meta_mut(object: &mut Value) -> &mut Map<String, Value> {
    member_mut(object, "metadata")
}

/// Returns a member that is an object for writing, made if absent or of another type.
pub fn member_mut<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Value::Object(map) = object else { unreachable!("made an object above") };
    let member = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !member.is_object() {
        *member = Value::Object(Map::new());
    }
    let Value::Object(member) = member else { unreachable!("made an object above") };
    member
}

/// Gives a member the value that it has elsewhere, or none.
pub fn keep(map: &mut Map<String, Value>, member: &str, value: Option<&Value>) {
    if map.get(member) == value {
        return;
    }
    match value {
        Some(value) => map.insert(member.to_owned(), value.clone()),
        None => map.remove(member),
    };
}

/// Returns a time as objects carry it: whole seconds, UTC.
pub fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns a time with six digits, as Leases and Events carry it.
pub fn micro_stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
