//! Kruise's lifecycle hooks: what holds a pod before it is deleted, updated or taken into service.

use serde_json::{Value, json};

use crate::okg::names;
use crate::sandbox::object;

/// Returns the lifecycle state of a pod, empty if it has none.
pub fn state(pod: &Value) -> &str {
    object::label(pod, names::LIFECYCLE_STATE).unwrap_or_default()
}

/// Returns whether any of the hook's handlers is on the pod: it is held.
pub fn any_hooked(hook: &Value, pod: &Value) -> bool {
    handlers(hook, pod).any(|on| on)
}

/// Returns whether all of the hook's handlers are on the pod. An absent hook counts as fulfilled.
pub fn all_hooked(hook: &Value, pod: &Value) -> bool {
    handlers(hook, pod).all(|on| on)
}

fn handlers<'a>(hook: &'a Value, pod: &'a Value) -> impl Iterator<Item = bool> + 'a {
    let labels = hook["labelsHandler"].as_object().into_iter().flatten();
    let finalizers = hook["finalizersHandler"].as_array().into_iter().flatten();
    labels
        .map(|(key, value)| object::label(pod, key) == value.as_str())
        .chain(finalizers.map(|f| f.as_str().is_some_and(|f| object::has_finalizer(pod, f))))
}

/// Returns the patch that puts a pod into a lifecycle state.
pub fn patch(state: &str, now: &str) -> Value {
    json!({"metadata": {"labels": {names::LIFECYCLE_STATE: state}, "annotations": {names::LIFECYCLE_TIME: now}}})
}
