//! What would change on each object, in the words of a plan.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Action, Object};
use crate::cluster::{Change, FieldChange, diff};
use crate::okg::{gitops, ops_state};

/// Fields that say nothing new of an object that would be created, or that other clients keep for themselves.
const NOISE: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata.name",
    "metadata.namespace",
    "metadata.creationTimestamp",
    "metadata.annotations.kubectl.kubernetes.io/last-applied-configuration",
];

/// Returns what would become of each object.
pub fn objects(changes: &[Change]) -> Vec<Object> {
    let objects = changes.iter().filter(|change| change.before.is_some() || change.after.is_some()).map(|change| {
        let action = match (&change.before, &change.after) {
            (None, _) => Action::Create,
            (_, None) => Action::Delete,
            _ => Action::Change,
        };
        let uid = change.before.as_ref().and_then(|it| it.pointer("/metadata/uid")).and_then(Value::as_str);
        Object {
            object: words(change),
            path: change.path.clone(),
            uid: uid.unwrap_or_default().to_owned(),
            action,
            changes: fields(change, action),
        }
    });
    objects.filter(|object| object.action != Action::Change || !object.changes.is_empty()).collect()
}

fn fields(change: &Change, action: Action) -> Vec<FieldChange> {
    let none = Value::Null;
    let (Some(after), before) = (&change.after, change.before.as_ref().unwrap_or(&none)) else { return Vec::new() };
    let fields = diff::changes(before, after).into_iter();
    // Our own notes on an object are means, not ends.
    let fields = fields.filter(|field| !field.path.contains("okgscript.io/"));
    let fields = fields.filter(|field| action == Action::Change || !NOISE.contains(&field.path.as_str()));
    fields
        .filter(|field| !field.path.ends_with("last-applied-configuration"))
        .map(|mut field| {
            // The run that carries the plan out holds rooms under a name of its own.
            if ops_state::is_hold(&field.to) {
                field.to = format!("{}…", ops_state::HOLD);
            }
            field
        })
        .collect()
}

/// Returns what an object is called: `GameServer prod/minecraft-1`.
fn words(change: &Change) -> String {
    let object = change.after.as_ref().or(change.before.as_ref());
    let text = |pointer: &str| object.and_then(|object| object.pointer(pointer)).and_then(Value::as_str);
    let kind = text("/kind").unwrap_or("object");
    let name = text("/metadata/name").unwrap_or_default();
    match text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// Says which planned fields a GitOps tool owns: it would put them back.
pub fn put_back(changes: &[Change]) -> Vec<String> {
    let mut said = BTreeSet::new();
    for change in changes {
        let (Some(before), Some(_)) = (&change.before, &change.after) else { continue };
        for field in fields(change, Action::Change) {
            for tool in gitops::owners(before, &field.path) {
                let FieldChange { path, from, .. } = &field;
                said.insert(format!(
                    "{tool} owns {path} of {} (metadata.managedFields): it puts {from} back at its next sync",
                    words(change)
                ));
            }
        }
    }
    said.into_iter().collect()
}
