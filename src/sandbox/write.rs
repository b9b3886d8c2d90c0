//! The way of a write: what is read, prepared, judged and stored, in the order of the real server.

use jiff::ToSpan;
use serde_json::{Value, json};

use super::api::{Deleted, State, WriteOptions, Written};
use super::kinds::Kind;
use super::object::{self, Actor, DeleteOptions, Object, Patch};
use super::patch;
use super::rules;
use super::status::Status;

const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Creates an object.
pub fn create(
    state: &mut State,
    kind: &Kind,
    actor: &Actor,
    namespace: &str,
    mut body: Value,
    options: &WriteOptions,
) -> Result<Written, Status> {
    let now = state.clock.now();
    let meta = object::meta_mut(&mut body);
    if meta.get("resourceVersion").and_then(Value::as_str).is_some_and(|version| !version.is_empty()) {
        return Err(Status::internal("resourceVersion should not be set on objects to be created"));
    }
    if kind.namespaced {
        meta.insert("namespace".into(), namespace.into());
        rules::check_namespace(state, kind, namespace, &body)?;
    }
    let uid = uuid::Builder::from_random_bytes(state.rng.u128(..).to_le_bytes()).into_uuid().to_string();
    let meta = object::meta_mut(&mut body);
    for field in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"] {
        meta.remove(field);
    }
    meta.insert("creationTimestamp".into(), object::stamp(now).into());
    meta.insert("uid".into(), uid.into());
    let text = |meta: &serde_json::Map<String, Value>, key: &str| {
        meta.get(key).and_then(Value::as_str).unwrap_or("").to_owned()
    };
    if text(meta, "name").is_empty() && !text(meta, "generateName").is_empty() {
        let base: String = text(meta, "generateName").chars().take(58).collect();
        let suffix: String = (0..5).map(|_| char::from(LETTERS[state.rng.usize(..LETTERS.len())])).collect();
        meta.insert("name".into(), format!("{base}{suffix}").into());
    }
    rules::prepare_create(kind, &mut body);
    admit(state, kind, None, &mut body)?;
    let name = object::name(&body).to_owned();
    let causes = rules::validate(kind, &body, None);
    if !causes.is_empty() {
        return Err(Status::invalid(&kind.qualified_kind(), &name, &causes));
    }
    if let Some(existing) = state.store.get(&kind.key, namespace, &name) {
        let mut refusal = Status::already_exists(&kind.key, &name);
        if object::terminating(&existing) {
            refusal.message = format!("object is being deleted: {}", refusal.message);
        }
        return Err(refusal);
    }
    let _ = actor;
    let object = if options.dry_run { Object::new(body) } else { state.store.put(kind, body) };
    Ok(Written { object, created: true, warnings: Vec::new() })
}

/// Replaces an object or a subresource.
#[allow(clippy::too_many_arguments)]
pub fn replace(
    state: &mut State,
    kind: &Kind,
    actor: &Actor,
    subresource: &str,
    namespace: &str,
    name: &str,
    body: Value,
    options: &WriteOptions,
) -> Result<Written, Status> {
    update(state, kind, actor, subresource, namespace, name, options, |_| Ok(body))
}

/// Patches an object or a subresource.
#[allow(clippy::too_many_arguments)]
pub fn patch(
    state: &mut State,
    kind: &Kind,
    actor: &Actor,
    subresource: &str,
    namespace: &str,
    name: &str,
    patch: &Patch,
    options: &WriteOptions,
) -> Result<Written, Status> {
    if let Patch::Apply { body, .. } = patch
        && state.store.get(&kind.key, namespace, name).is_none()
    {
        return create(state, kind, actor, namespace, body.clone(), options);
    }
    update(state, kind, actor, subresource, namespace, name, options, |current| {
        let mut next = current.clone();
        match patch {
            Patch::Json(operations) => patch::json(&mut next, operations)?,
            Patch::Merge(body) | Patch::Strategic(body) | Patch::Apply { body, .. } => patch::merge(&mut next, body),
        }
        Ok(next)
    })
}

#[allow(clippy::too_many_arguments)]
fn update(
    state: &mut State,
    kind: &Kind,
    _actor: &Actor,
    subresource: &str,
    namespace: &str,
    name: &str,
    options: &WriteOptions,
    change: impl FnOnce(&Value) -> Result<Value, Status>,
) -> Result<Written, Status> {
    let current = state.store.get(&kind.key, namespace, name).ok_or_else(|| Status::not_found(&kind.key, name))?;
    let mut next = change(&current)?;
    let wanted = object::meta(&next, "resourceVersion").to_owned();
    if !wanted.is_empty() && wanted != object::meta(&current, "resourceVersion") {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(Status::conflict(&kind.key, name, why));
    }
    if subresource != "status" {
        admit(state, kind, Some(&current), &mut next)?;
    }
    rules::prepare_update(kind, subresource, &current, &mut next);
    let causes = rules::validate(kind, &next, Some(&current));
    if !causes.is_empty() {
        return Err(Status::invalid(&kind.qualified_kind(), name, &causes));
    }
    if next == *current {
        return Ok(Written { object: current, created: false, warnings: Vec::new() });
    }
    let grace = object::at(&next, &["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or(0);
    if object::terminating(&next) && !object::has_finalizer(&next, "") && grace == 0 {
        if !options.dry_run {
            state.store.remove(kind, namespace, name);
        }
        return Ok(Written { object: Object::new(next), created: false, warnings: Vec::new() });
    }
    let object = if options.dry_run { Object::new(next) } else { state.store.put(kind, next) };
    Ok(Written { object, created: false, warnings: Vec::new() })
}

/// Deletes an object, or begins to.
pub fn delete(
    state: &mut State,
    kind: &Kind,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, Status> {
    let current = state.store.get(&kind.key, namespace, name).ok_or_else(|| Status::not_found(&kind.key, name))?;
    preconditions(kind, &current, options)?;
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
    if !options.dry_run
        && let Some(last) = state.store.remove(kind, namespace, name)
    {
        object = last;
    }
    Ok(Deleted { object, gone: true })
}

fn preconditions(kind: &Kind, current: &Value, options: &DeleteOptions) -> Result<(), Status> {
    let checks = [("UID", "uid", &options.uid), ("ResourceVersion", "resourceVersion", &options.resource_version)];
    for (word, field, wanted) in checks {
        let found = object::meta(current, field);
        if let Some(wanted) = wanted
            && wanted != found
        {
            let why = format!("Precondition failed: {word} in precondition: {wanted}, {word} in object meta: {found}");
            return Err(Status::conflict(&kind.qualified_kind(), object::name(current), &why));
        }
    }
    Ok(())
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

fn raise_generation(meta: &mut serde_json::Map<String, Value>) {
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

/// Lets the admission webhooks see an object before it is stored.
fn admit(state: &State, kind: &Kind, old: Option<&Value>, new: &mut Value) -> Result<(), Status> {
    match &state.webhooks {
        Some(webhooks) => webhooks.admit(&state.store, &kind.key, old, new),
        None => Ok(()),
    }
}
