//! The rules for metadata, the same for every kind.

use std::iter::repeat_n;

use serde_json::Value;

use crate::sandbox::kinds::Kind;
use crate::sandbox::names;
use crate::sandbox::object;
use crate::sandbox::status::Cause;

const ANNOTATIONS: usize = 256 << 10;

fn name_faults(kind: &Kind, name: &str) -> Vec<String> {
    match &*kind.key {
        "namespaces" => names::label(name),
        "services" => names::dns_1035(name),
        "events" | "events.events.k8s.io" => Vec::new(),
        "poddisruptionbudgets.policy" => names::path_segment(name),
        key if key.ends_with("rbac.authorization.k8s.io") => names::path_segment(name),
        _ => names::subdomain(name),
    }
}

/// Judges the metadata of a new object.
pub fn create(kind: &Kind, value: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = object::name(value);
    let prefix = object::meta(value, "generateName");
    if !prefix.is_empty() {
        let bare = prefix.trim_end_matches('-');
        for why in name_faults(kind, if bare.is_empty() { prefix } else { bare }) {
            causes.push(Cause::invalid("metadata.generateName", &prefix.into(), why));
        }
    }
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else {
        let faults = name_faults(kind, name);
        causes.extend(faults.iter().map(|why| Cause::invalid("metadata.name", &name.into(), why)));
    }
    common(value, &mut causes);
    finalizer_causes(kind, value, &mut causes);
    causes
}

/// Judges metadata that replaces other metadata.
pub fn update(kind: &Kind, next: &Value, current: &Value) -> Vec<Cause> {
    let (mut found, mut of_finalizers) = (Vec::new(), Vec::new());
    common(next, &mut found);
    finalizer_causes(kind, next, &mut of_finalizers);
    let mut causes: Vec<Cause> = repeat_n(found, looks(kind)).flatten().collect();
    causes.extend(repeat_n(of_finalizers, if kind.custom { 1 } else { 2 }).flatten());
    // The server looks twice, once for all kinds and once for each, but for some that have no rule of their own.
    const ONCE: [&str; 4] = ["events", "events.events.k8s.io", "persistentvolumes", "poddisruptionbudgets.policy"];
    for _ in 0..if ONCE.contains(&&*kind.key) { 1 } else { 2 } {
        let uid = object::meta(next, "uid");
        if uid != object::meta(current, "uid") {
            causes.push(Cause::invalid("metadata.uid", &uid.into(), "field is immutable"));
        }
        added_finalizers(next, current, &mut causes);
    }
    causes
}

/// How often the server looks at the metadata of an update: its code for all kinds does, that of the kind does, and mostly
/// the one for new objects as well.
fn looks(kind: &Kind) -> usize {
    match &*kind.key {
        "poddisruptionbudgets.policy" | "events" | "events.events.k8s.io" => 2,
        "services" | "resourcequotas" | "horizontalpodautoscalers.autoscaling" | "leases.coordination.k8s.io" => 3,
        _ if kind.custom => 3,
        _ => 4,
    }
}

/// Returns the warnings about finalizers of a custom resource that were not there before.
pub fn finalizer_warnings(kind: &Kind, next: &Value, current: Option<&Value>) -> Vec<String> {
    let new = finalizers(next).filter(|finalizer| {
        kind.custom
            && !is_standard(finalizer)
            && !current.is_some_and(|current| object::has_finalizer(current, finalizer))
    });
    let told = |finalizer: &str| {
        format!(
            "metadata.finalizers: {finalizer:?}: prefer a domain-qualified finalizer name to avoid accidental conflicts \
             with other finalizer writers"
        )
    };
    new.map(told).collect()
}

fn added_finalizers(next: &Value, current: &Value, causes: &mut Vec<Cause>) {
    if object::terminating(current) {
        let added: Vec<String> = finalizers(next)
            .filter(|finalizer| !object::has_finalizer(current, finalizer))
            .map(|finalizer| format!("{finalizer:?}"))
            .collect();
        if !added.is_empty() {
            let list = format!("[]string{{{}}}", added.join(", "));
            let why =
                format!("no new finalizers can be added if the object is being deleted, found new finalizers {list}");
            causes.push(Cause::forbidden("metadata.finalizers", &why));
        }
    }
}

fn finalizers(value: &Value) -> impl Iterator<Item = &str> {
    let list = object::at(value, &["metadata", "finalizers"]).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

fn common(value: &Value, causes: &mut Vec<Cause>) {
    let meta = &value["metadata"];
    for (key, label) in meta["labels"].as_object().into_iter().flatten() {
        for why in names::label_key_faults(key) {
            causes.push(Cause::invalid("metadata.labels", &key.as_str().into(), why));
        }
        for why in names::label_value_faults(label.as_str().unwrap_or("")) {
            causes.push(Cause::invalid("metadata.labels", label, why));
        }
    }
    let mut size = 0;
    for (key, text) in meta["annotations"].as_object().into_iter().flatten() {
        for why in names::label_key_faults(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", &key.as_str().into(), why));
        }
        size += key.len() + text.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS {
        causes.push(Cause::too_long("metadata.annotations", ANNOTATIONS));
    }
    for owner in meta["ownerReferences"].as_array().into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            let text = owner[field].as_str().unwrap_or("");
            if text.is_empty() {
                let why = if field == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                let place = format!("metadata.ownerReferences.{field}");
                causes.push(Cause::invalid(place, &text.into(), why));
            }
        }
    }
    let owners = meta["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
    let controllers: Vec<&Value> = owners.iter().filter(|owner| owner["controller"] == true).collect();
    if let [first, second, ..] = controllers[..] {
        let said =
            |owner: &Value| format!("{}/{}", object::text_at(owner, &["kind"]), object::text_at(owner, &["name"]));
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            said(first),
            said(second)
        );
        let mut cause = Cause::invalid("metadata.ownerReferences", &Value::Null, &why);
        let list: Vec<String> = owners.iter().map(owner_text).collect();
        cause.message = format!("Invalid value: [{}]: {why}", list.join(","));
        causes.push(cause);
    }
}

/// Returns an owner with its members in the order of the server's type.
fn owner_text(owner: &Value) -> String {
    let members = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let members = members.iter().filter_map(|key| owner.get(key).map(|value| format!("{key:?}:{value}")));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Returns whether a finalizer has a name of its domain, or one that needs none.
fn is_standard(finalizer: &str) -> bool {
    ["orphan", "foregroundDeletion", "kubernetes"].contains(&finalizer) || finalizer.contains('/')
}

fn finalizer_causes(kind: &Kind, value: &Value, causes: &mut Vec<Cause>) {
    for (index, finalizer) in finalizers(value).enumerate() {
        for why in names::label_key_faults(finalizer) {
            causes.push(Cause::invalid("metadata.finalizers", &finalizer.into(), why));
        }
        if !kind.custom && !is_standard(finalizer) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(format!("metadata.finalizers[{index}]"), &finalizer.into(), why));
        }
    }
}
