//! What a plan shows: per object what would change, field by field, what is taken for granted, and who else has a say.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::terminal::out;
use crate::bindings::host::Host;
use crate::bindings::merge::changes;
use crate::cluster::Change;

/// A plan, made.
pub struct Plan {
    changes: Vec<Change>,
    assumptions: Vec<String>,
}

/// What became of one object, in words.
struct Object {
    name: String,
    fields: Vec<(String, String, String)>,
}

impl Plan {
    /// Takes what a run in planning mode would have written.
    pub fn take(host: &Host) -> Plan {
        Plan { changes: host.planned(), assumptions: host.ledger().assumptions.clone() }
    }

    fn objects(&self) -> Vec<Object> {
        let objects = self.changes.iter().map(|change| {
            let none = Value::Null;
            let fields = changes(change.before.as_ref().unwrap_or(&none), change.after.as_ref().unwrap_or(&none));
            // Our own notes on an object are means, not ends.
            let fields = fields.into_iter().filter(|field| !field.path.contains("okgscript.io/"));
            let fields = fields.map(|field| (field.path, field.from, field.to)).collect();
            Object { name: name_of(change), fields }
        });
        objects.filter(|object| !object.fields.is_empty()).collect()
    }

    /// Prints the plan on stdout.
    pub fn print(&self) {
        let objects = self.objects();
        if objects.is_empty() {
            out("Nothing would be changed.");
        }
        for object in &objects {
            out(&object.name);
            for (path, from, to) in &object.fields {
                out(&format!("  {path}: {from} -> {to}"));
            }
        }
        let kinds = objects.iter().fold(BTreeMap::<&str, usize>::new(), |mut counts, object| {
            *counts.entry(object.name.split(' ').next().unwrap_or_default()).or_default() += 1;
            counts
        });
        let counted: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if !counted.is_empty() {
            out(&format!("\nWould change {}. Nothing was sent.", counted.join(", ")));
        }
        if !self.assumptions.is_empty() {
            out("Taken for granted:");
            for assumption in &self.assumptions {
                out(&format!("  - {assumption}"));
            }
        }
    }

    /// Returns the plan as data.
    pub fn to_json(&self) -> Value {
        let objects: Vec<Value> = self
            .objects()
            .iter()
            .map(|object| {
                let fields = object.fields.iter().map(|(path, from, to)| json!({"path": path, "from": from, "to": to}));
                json!({"object": object.name, "changes": fields.collect::<Vec<_>>()})
            })
            .collect();
        json!({"objects": objects, "assumptions": self.assumptions})
    }
}

fn name_of(change: &Change) -> String {
    let object = change.after.as_ref().or(change.before.as_ref());
    let text = |pointer: &str| object.and_then(|object| object.pointer(pointer)).and_then(Value::as_str);
    let kind = text("/kind").unwrap_or("object");
    let name = text("/metadata/name").unwrap_or_default();
    let what = match (&change.before, &change.after) {
        (None, _) => " (created)",
        (_, None) => " (deleted)",
        _ => "",
    };
    match text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}{what}"),
        None => format!("{kind} {name}{what}"),
    }
}
