//! Deletions: preconditions, grace, finalizers.

use jiff::ToSpan;
use serde_json::{Map, Value, json};

use super::api::{Deleted, State};
use super::crd;
use super::kinds::Kind;
use super::object::{self, DeleteOptions, Object};
use super::status::{Cause, Status};

/// Deletes an object, or begins to.
pub fn delete(
    state: &mut State,
    kind: &Kind,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, Status> {
    const LASTING: [&str; 3] = ["default", "kube-system", "kube-public"];
    if &*kind.key == "namespaces" && LASTING.contains(&name) {
        return Err(Status::forbidden(&kind.key, name, "this namespace may not be deleted"));
    }
    let current = state.store.get(&kind.shelf, namespace, name).ok_or_else(|| Status::not_found(&kind.key, name))?;
    valid(options)?;
    if &*kind.key == "namespaces" {
        namespace_preconditions(kind, &current, options)?;
    } else {
        preconditions(kind, &current, options)?;
    }
    match &*kind.key {
        "namespaces" => return Ok(delete_namespace(state, kind, &current, options)),
        crd::KEY => return Ok(delete_definition(state, kind, &current, options)),
        _ => {}
    }
    let asked = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let mut next = (*current).clone();
    let graceful = if &*kind.key == "pods" { grace(&mut next, asked, state.clock.now()) } else { Grace::None };
    if graceful == Grace::Pending {
        return Ok(Deleted { object: current, gone: false });
    }
    set_collector_finalizers(&mut next, kind, options);
    let pending = object::has_finalizer(&next, "");
    if graceful == Grace::None && pending {
        mark_deleting(&mut next, state.clock.now());
    }
    let begun = graceful != Grace::None || pending;
    let mut object = current.clone();
    if begun && next != *current {
        object = if options.dry_run { Object::new(next) } else { state.store.put(kind, next) };
    }
    let waits = matches!(graceful, Grace::Seconds(seconds) if seconds > 0);
    if pending || waits {
        return Ok(Deleted { object, gone: false });
    }
    if !options.dry_run {
        // The answer shows the last state that was stored, not the version of the deletion.
        state.store.remove(kind, namespace, name);
    }
    Ok(Deleted { object, gone: true })
}

/// Judges the options of a deletion.
fn valid(options: &DeleteOptions) -> Result<(), Status> {
    let mut causes = Vec::new();
    if let Some(policy) = &options.propagation_policy {
        let value = Value::from(policy.as_str());
        if options.orphan_dependents.is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            causes.push(Cause::invalid("propagationPolicy", &value, why));
        } else if !["Foreground", "Background", "Orphan"].contains(&policy.as_str()) {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            causes.push(Cause::not_supported("propagationPolicy", &value, &supported));
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid("DeleteOptions.meta.k8s.io", "", &causes)) }
}

fn preconditions(kind: &Kind, current: &Value, options: &DeleteOptions) -> Result<(), Status> {
    let checks = [
        ("UID", "uid", &options.uid, "deleted and then recreated"),
        ("ResourceVersion", "resourceVersion", &options.resource_version, "modified"),
    ];
    for (word, field, wanted, happened) in checks {
        let found = object::meta(current, field);
        if let Some(wanted) = wanted
            && wanted != found
        {
            let why = format!(
                "the {word} in the precondition ({wanted}) does not match the {word} in record ({found}). \
                 The object might have been {happened}"
            );
            return Err(Status::conflict(&kind.qualified_kind(), object::name(current), &why));
        }
    }
    Ok(())
}

/// Namespaces have a way of their own to be deleted, with other words.
fn namespace_preconditions(kind: &Kind, current: &Value, options: &DeleteOptions) -> Result<(), Status> {
    let checks = [("UID", "uid", &options.uid), ("ResourceVersion", "resourceVersion", &options.resource_version)];
    for (word, field, wanted) in checks {
        let found = object::meta(current, field);
        if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != found) {
            let why = format!("Precondition failed: {word} in precondition: {wanted}, {word} in object meta: {found}");
            return Err(Status::conflict(&kind.key, object::name(current), &why));
        }
    }
    Ok(())
}

fn delete_namespace(state: &mut State, kind: &Kind, current: &Object, options: &DeleteOptions) -> Deleted {
    let name = object::name(current).to_owned();
    let held = current["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
        || object::has_finalizer(current, "");
    if !held {
        if !options.dry_run {
            state.store.remove(kind, "", &name);
        }
        return Deleted { object: current.clone(), gone: true };
    }
    if object::terminating(current) {
        return Deleted { object: current.clone(), gone: false };
    }
    let mut next = (**current).clone();
    let now = object::stamp(state.clock.now());
    object::meta_mut(&mut next).insert("deletionTimestamp".into(), now.into());
    object::member_mut(&mut next, "status").insert("phase".into(), "Terminating".into());
    set_collector_finalizers(&mut next, kind, options);
    let object = if options.dry_run { Object::new(next) } else { state.store.put(kind, next) };
    Deleted { object, gone: false }
}

fn delete_definition(state: &mut State, kind: &Kind, current: &Object, options: &DeleteOptions) -> Deleted {
    const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
    let name = object::name(current).to_owned();
    let now = state.clock.now();
    let mut next = (**current).clone();
    object::meta_mut(&mut next).insert("finalizers".into(), json!([CLEANUP]));
    mark_deleting(&mut next, now);
    crd::terminating_status(&mut next, &object::stamp(now));
    if options.dry_run {
        return Deleted { object: Object::new(next), gone: false };
    }
    let object = state.store.put(kind, next);
    crd::demolish(state, &name);
    state.store.remove(kind, "", &name);
    Deleted { object, gone: false }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grace {
    None,
    Pending,
    Seconds(i64),
}

/// Begins or shortens the graceful end of a pod.
fn grace(pod: &mut Value, asked: Option<i64>, now: jiff::Timestamp) -> Grace {
    let own = object::at(pod, &["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    let unscheduled = object::text_at(pod, &["spec", "nodeName"]).is_empty();
    let finished = ["Failed", "Succeeded"].contains(&object::text_at(pod, &["status", "phase"]));
    let running = object::at(pod, &["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
    let deleted: Option<jiff::Timestamp> = object::meta(pod, "deletionTimestamp").parse().ok();
    if let Some(deleted) = deleted {
        let Some(running) = running else { return Grace::None };
        let Some(asked) = asked.filter(|asked| *asked < running) else { return Grace::Pending };
        let at = deleted - running.seconds() + asked.seconds();
        let meta = object::meta_mut(pod);
        meta.insert("deletionTimestamp".into(), object::stamp(at).into());
        meta.insert("deletionGracePeriodSeconds".into(), asked.into());
        return Grace::Seconds(asked);
    }
    let seconds = if unscheduled || finished { 0 } else { asked.or(own).unwrap_or(0) };
    let seconds = if seconds < 0 { 1 } else { seconds };
    let meta = object::meta_mut(pod);
    meta.insert("deletionTimestamp".into(), object::stamp(now + seconds.seconds()).into());
    meta.insert("deletionGracePeriodSeconds".into(), seconds.into());
    raise_generation(meta);
    Grace::Seconds(seconds)
}

fn raise_generation(meta: &mut Map<String, Value>) {
    if let Some(generation) = meta.get("generation").and_then(Value::as_i64).filter(|generation| *generation > 0) {
        meta.insert("generation".into(), (generation + 1).into());
    }
}

fn mark_deleting(value: &mut Value, now: jiff::Timestamp) {
    let meta = object::meta_mut(value);
    if !meta.contains_key("deletionTimestamp") {
        meta.insert("deletionTimestamp".into(), object::stamp(now).into());
        raise_generation(meta);
    }
    meta.insert("deletionGracePeriodSeconds".into(), 0.into());
}

/// Adds or takes away the finalizers by which the garbage collector is told what to do with dependents.
fn set_collector_finalizers(value: &mut Value, kind: &Kind, options: &DeleteOptions) {
    if kind.plural == "events" {
        // Nothing depends on events.
        return;
    }
    const ORPHAN: &str = "orphan";
    const FOREGROUND: &str = "foregroundDeletion";
    let (had_orphan, had_foreground) = (object::has_finalizer(value, ORPHAN), object::has_finalizer(value, FOREGROUND));
    let policy = options.propagation_policy.as_deref();
    let orphan = match (options.orphan_dependents, policy) {
        (Some(orphan), _) => orphan,
        (None, Some(policy)) => policy == "Orphan",
        (None, None) => had_orphan || (!had_foreground && &*kind.key == "jobs.batch"),
    };
    let foreground = match (options.orphan_dependents, policy) {
        (Some(_), _) => false,
        (None, Some(policy)) => policy == "Foreground",
        (None, None) => had_foreground && !had_orphan,
    };
    if (orphan, foreground) == (had_orphan, had_foreground) {
        return;
    }
    let meta = object::meta_mut(value);
    let mut finalizers: Vec<Value> = meta.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    finalizers.retain(|f| f != ORPHAN && f != FOREGROUND);
    if orphan {
        finalizers.push(json!(ORPHAN));
    }
    if foreground {
        finalizers.push(json!(FOREGROUND));
    }
    if finalizers.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".into(), finalizers.into());
    }
}
