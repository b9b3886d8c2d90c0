//! The way of a write: what is read, prepared, judged and stored, in the order of the real server.

use serde_json::{Map, Value};

use super::api::{FieldValidation, State, WriteOptions, Written};
use super::crd;
use super::decode::{Decoded, decode};
use super::fields::apply;
use super::fields::managed::{Managed, Manager, is_reset};
use super::kinds::Kind;
use super::object::{self, Actor, Object, Patch};
use super::rules;
use super::status::{Cause, Status};
use super::{convert, patch, strategic};

const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

fn version_of<'a>(kind: &'a Kind, options: &'a WriteOptions) -> &'a str {
    options.version.as_deref().unwrap_or(&kind.storage)
}

/// Sorts what the decoder found into a refusal or warnings.
fn findings(found: Vec<String>, options: &WriteOptions) -> Result<Vec<String>, String> {
    let all: Vec<String> = options.findings.iter().cloned().chain(found).collect();
    match options.validation {
        _ if all.is_empty() => Ok(Vec::new()),
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(all),
        FieldValidation::Strict => Err(format!("strict decoding error: {}", all.join(", "))),
    }
}

/// Reads the body of a create or a replace.
fn read_body(kind: &Kind, body: Value, options: &WriteOptions) -> Result<(Value, Vec<String>), Status> {
    let version = version_of(kind, options);
    let refused = |why: String| {
        let name = &kind.kind;
        Status::bad_request(format!("{name} in version {version:?} cannot be handled as a {name}: {why}"))
    };
    let Decoded { value, findings: found } = decode(kind, version, body).map_err(refused)?;
    let warnings = findings(found, options).map_err(refused)?;
    Ok((value, warnings))
}

fn manager(kind: &Kind, actor: &Actor, options: &WriteOptions, operation: &str, subresource: &str) -> Manager {
    Manager {
        operation: operation.into(),
        name: actor.manager.clone(),
        api_version: kind.api_version(version_of(kind, options)),
        subresource: subresource.into(),
    }
}

/// Creates an object.
pub fn create(
    state: &mut State,
    kind: &Kind,
    actor: &Actor,
    namespace: &str,
    body: Value,
    options: &WriteOptions,
) -> Result<Written, Status> {
    let (value, warnings) = read_body(kind, body, options)?;
    let space = object::namespace(&value);
    if !space.is_empty() && space != namespace {
        const WHY: &str = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(WHY));
    }
    warned(&warnings.clone(), create_value(state, kind, actor, namespace, value, warnings, options, None))
}

/// A refusal after the body was read carries what the reader found.
fn warned(warnings: &[String], outcome: Result<Written, Status>) -> Result<Written, Status> {
    outcome.map_err(|status| status.warned(warnings))
}

#[allow(clippy::too_many_arguments)]
fn create_value(
    state: &mut State,
    kind: &Kind,
    actor: &Actor,
    namespace: &str,
    mut value: Value,
    mut warnings: Vec<String>,
    options: &WriteOptions,
    applied: Option<Managed>,
) -> Result<Written, Status> {
    let now = state.clock.now();
    let meta = object::meta_mut(&mut value);
    let text = |meta: &Map<String, Value>, key: &str| meta.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    if kind.namespaced {
        meta.insert("namespace".into(), namespace.into());
    } else {
        meta.remove("namespace");
    }
    if text(meta, "name").is_empty() && !text(meta, "generateName").is_empty() {
        let base: String = text(meta, "generateName").chars().take(58).collect();
        let suffix: String = (0..5).map(|_| char::from(LETTERS[state.rng.usize(..LETTERS.len())])).collect();
        meta.insert("name".into(), format!("{base}{suffix}").into());
    }
    let tracked = options.tracked || applied.is_some();
    let managed = match applied {
        Some(managed) => Some(managed),
        None if tracked && !is_reset(&value) => {
            let mut managed = Managed::default();
            let schema = kind.form(version_of(kind, options)).schema.clone();
            let empty = if kind.custom { empty_custom(&value) } else { empty_typed(kind, options) };
            let who = manager(kind, actor, options, "Update", "");
            managed.update(&empty, &value, &schema, who, &object::stamp(now));
            Some(managed)
        }
        None => None,
    };
    if kind.namespaced {
        rules::check_namespace(state, kind, namespace, &value)?;
    }
    if !object::meta(&value, "resourceVersion").is_empty() {
        return Err(Status::unknown("resourceVersion should not be set on objects to be created"));
    }
    let uid = uuid::Builder::from_random_bytes(state.rng.u128(..).to_le_bytes()).into_uuid().to_string();
    let meta = object::meta_mut(&mut value);
    for field in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "resourceVersion"] {
        meta.remove(field);
    }
    meta.insert("creationTimestamp".into(), object::stamp(now).into());
    meta.insert("uid".into(), uid.into());
    if let Some(managed) = managed {
        managed.write(&mut value);
    }
    rules::prepare_create(kind, &mut value);
    if state.webhooks.is_none() {
        // Where controllers run, none of them lifts the protection of volumes.
        rules::protect(kind, &mut value);
    }
    admit(state, kind, None, &mut value)?;
    let name = object::name(&value).to_owned();
    let causes = rules::validate_create(kind, &value, version_of(kind, options));
    if !causes.is_empty() {
        return Err(invalid(kind, &name, &value, &causes));
    }
    if let Some(existing) = state.store.get(&kind.shelf, namespace, &name) {
        let mut refusal = Status::already_exists(&kind.key, &name);
        if object::terminating(&existing) {
            refusal.message = format!("object is being deleted: {}", refusal.message);
        }
        return Err(refusal);
    }
    if &*kind.key == "pods" {
        warnings.extend(rules::pod_warnings(&value));
    }
    warnings.extend(rules::finalizer_warnings(kind, &value, None));
    if options.dry_run {
        return Ok(Written { object: Object::new(value), created: true, warnings });
    }
    let object = state.store.put(kind, value);
    if &*kind.key == crd::KEY {
        crd::establish(state, kind, &name);
    }
    Ok(Written { object, created: true, warnings })
}

/// What a new object is compared with to see what its creator owns: nothing, but with metadata.
fn empty_custom(value: &Value) -> Value {
    serde_json::json!({"apiVersion": value["apiVersion"], "kind": value["kind"], "metadata": {}})
}

/// A new object of a built-in type has the members that are always written.
fn empty_typed(kind: &Kind, options: &WriteOptions) -> Value {
    let empty = Value::Object(Map::new());
    let mut value = decode(kind, version_of(kind, options), empty).map(|decoded| decoded.value).unwrap_or_default();
    // Defaults belong to the creator; only what every object of the type has does not.
    for part in ["spec", "status"] {
        if let Some(Value::Object(part)) = value.get_mut(part) {
            part.retain(|_, inner| inner.is_null());
        }
    }
    if let Value::Object(map) = &mut value {
        map.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    }
    value
}

fn invalid(kind: &Kind, name: &str, value: &Value, causes: &[Cause]) -> Status {
    // A body of another kind is named by that kind.
    let found = object::text_at(value, &["kind"]);
    let mut qualified = kind.qualified_kind();
    if kind.custom && !found.is_empty() && found != kind.kind {
        qualified = format!("{found}.{}", kind.group);
    }
    Status::invalid(&qualified, name, causes)
}

/// Where the new state of an object comes from.
enum Source<'a> {
    Body(Value),
    Patch(&'a Patch),
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
    let may_make = subresource.is_empty() && rules::made_by_replace(kind);
    if may_make && state.store.get(&kind.shelf, namespace, name).is_none() {
        if !["", "0"].contains(&object::meta(&body, "resourceVersion")) {
            return Err(Status::conflict(&kind.key, name, MODIFIED));
        }
        return create(state, kind, actor, namespace, body, options);
    }
    update(state, kind, actor, subresource, namespace, name, options, Source::Body(body))
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
        && subresource.is_empty()
        && state.store.get(&kind.shelf, namespace, name).is_none()
    {
        return create_by_apply(state, kind, actor, namespace, name, body, options);
    }
    update(state, kind, actor, subresource, namespace, name, options, Source::Patch(patch))
}

fn create_by_apply(
    state: &mut State,
    kind: &Kind,
    actor: &Actor,
    namespace: &str,
    name: &str,
    body: &Value,
    options: &WriteOptions,
) -> Result<Written, Status> {
    check_apply(kind, body, options)?;
    let form = kind.form(version_of(kind, options));
    let who = manager(kind, actor, options, "Apply", "");
    let now = object::stamp(state.clock.now());
    let mut empty = serde_json::json!({"metadata": {}});
    empty["apiVersion"] = body["apiVersion"].clone();
    empty["kind"] = body["kind"].clone();
    let applied = apply::apply(&empty, body, &form.schema, Managed::default(), &who, false, &now)?;
    let mut value = applied.object;
    object::meta_mut(&mut value).insert("name".into(), name.into());
    let (value, warnings) = read_body(kind, value, options)?;
    let managed = Some(applied.managed);
    warned(&warnings.clone(), create_value(state, kind, actor, namespace, value, warnings, options, managed))
}

fn check_apply(kind: &Kind, body: &Value, options: &WriteOptions) -> Result<(), Status> {
    let managed = object::at(body, &["metadata", "managedFields"]).is_some_and(|fields| !fields.is_null());
    if managed {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let form = kind.form(version_of(kind, options));
    apply::check(body, &form.schema, "").map_err(|why| {
        let (space, name) = (object::namespace(body), object::name(body));
        let version = kind.api_version(version_of(kind, options));
        let who = format!("{space}/{name}; {version}, Kind={}", kind.kind);
        Status::unknown(format!("failed to create typed patch object ({who}): {why}"))
    })
}

#[allow(clippy::too_many_arguments)]
fn update(
    state: &mut State,
    kind: &Kind,
    actor: &Actor,
    subresource: &str,
    namespace: &str,
    name: &str,
    options: &WriteOptions,
    source: Source,
) -> Result<Written, Status> {
    let is_patch = matches!(source, Source::Patch(_));
    let source = match source {
        Source::Body(body) => Ok(read_body(kind, body, options)?),
        Source::Patch(patch) => Err(patch),
    };
    let current = state.store.get(&kind.shelf, namespace, name).ok_or_else(|| Status::not_found(&kind.key, name))?;
    let now = object::stamp(state.clock.now());
    let mut applied = None;
    let (mut next, mut warnings) = match source {
        Ok(read) => read,
        Err(patch) => {
            let apply = || patched(kind, actor, subresource, &current, patch, options, &now);
            let outcome = apply()?;
            applied = outcome.1;
            same_version(kind, &outcome.0, name, options)?;
            // Only a refusal shows the object; then the patch is applied once more.
            let refused = |why: String| {
                let shown = apply().map(|(value, _)| value.to_string()).unwrap_or_default();
                Status::unreadable_patch(&shown, &why)
            };
            read_patched(kind, outcome.0, options).map_err(refused)?
        }
    };
    if is_patch && object::name(&next) != name {
        let found = object::name(&next);
        let why = format!("the name of the object ({found}) does not match the name on the URL ({name})");
        return Err(Status::bad_request(why));
    }
    if is_patch && kind.namespaced && object::namespace(&next) != namespace {
        const WHY: &str = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(WHY));
    }
    locks(kind, &current, &next, is_patch)?;
    match applied {
        Some(managed) => managed.write(&mut next),
        None if options.tracked => note_update(kind, actor, subresource, &current, &mut next, options, &now),
        None => keep_managed(&current, &mut next),
    }
    if subresource != "status" {
        admit(state, kind, Some(&current), &mut next)?;
    }
    rules::prepare_update(kind, subresource, &current, &mut next);
    let causes = rules::validate_update(kind, subresource, &next, &current, version_of(kind, options));
    if !causes.is_empty() {
        return warned(&warnings, Err(invalid(kind, name, &next, &causes)));
    }
    warnings.extend(rules::finalizer_warnings(kind, &next, Some(&current)));
    if same(&next, &current) {
        return Ok(Written { object: current, created: false, warnings });
    }
    if ends(kind, &next) {
        if !options.dry_run {
            state.store.remove(kind, namespace, name);
        }
        return Ok(Written { object: Object::new(next), created: false, warnings });
    }
    warnings.dedup();
    if options.dry_run {
        return Ok(Written { object: Object::new(next), created: false, warnings });
    }
    let object = state.store.put(kind, next);
    if &*kind.key == crd::KEY {
        crd::establish(state, kind, name);
    }
    Ok(Written { object, created: false, warnings })
}

/// Returns whether an object goes with this write: it is being deleted, and nothing holds it any more.
fn ends(kind: &Kind, next: &Value) -> bool {
    let grace = object::at(next, &["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or(0);
    let held = &*kind.key == "namespaces"
        && next["spec"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
    object::terminating(next) && !object::has_finalizer(next, "") && grace == 0 && !held
}

/// Compares objects; the times of managedFields alone make no difference.
fn same(next: &Value, current: &Value) -> bool {
    if next == current {
        return true;
    }
    let (Some(new), Some(old)) = (next.as_object(), current.as_object()) else { return false };
    if new.len() != old.len() || new.iter().any(|(key, value)| key != "metadata" && old.get(key) != Some(value)) {
        return false;
    }
    let bare = |value: &Value| {
        let mut meta = value["metadata"].clone();
        for entry in meta["managedFields"].as_array_mut().into_iter().flatten() {
            if let Value::Object(entry) = entry {
                entry.remove("time");
            }
        }
        if meta["managedFields"].is_null()
            && let Value::Object(meta) = &mut meta
        {
            meta.remove("managedFields");
        }
        meta
    };
    bare(next) == bare(current)
}

/// Applies a patch to the object as its version shows it.
fn patched(
    kind: &Kind,
    actor: &Actor,
    subresource: &str,
    current: &Value,
    patch: &Patch,
    options: &WriteOptions,
    now: &str,
) -> Result<(Value, Option<Managed>), Status> {
    let version = version_of(kind, options);
    let mut next = convert::from_stored(kind, version, current);
    match patch {
        Patch::Json(operations) => patch::json(&mut next, operations)?,
        Patch::Merge(body) => patch::merge(&mut next, body),
        Patch::Strategic(body) => strategic::merge(&mut next, body, &kind.form(version).schema)?,
        Patch::Apply { body, force } => {
            check_apply(kind, body, options)?;
            let schema = kind.form(version).schema.clone();
            let mut managed = Managed::read(current);
            if managed.0.is_empty() {
                let before = Manager {
                    operation: "Update".into(),
                    name: "before-first-apply".into(),
                    api_version: kind.api_version(version),
                    subresource: String::new(),
                };
                managed.update(&empty_custom(current), &next, &schema, before, now);
            }
            let who = manager(kind, actor, options, "Apply", subresource);
            let applied = apply::apply(&next, body, &schema, managed, &who, *force, now)?;
            return Ok((applied.object, Some(applied.managed)));
        }
    }
    Ok((next, None))
}

fn read_patched(kind: &Kind, value: Value, options: &WriteOptions) -> Result<(Value, Vec<String>), String> {
    let Decoded { value, findings: found } = decode(kind, version_of(kind, options), value)?;
    Ok((value, findings(found, options)?))
}

/// A patch may not make an object of another version out of a custom resource.
fn same_version(kind: &Kind, next: &Value, name: &str, options: &WriteOptions) -> Result<(), Status> {
    let (found, expected) = (object::text_at(next, &["apiVersion"]), kind.api_version(version_of(kind, options)));
    if !kind.custom || found == expected {
        return Ok(());
    }
    let group = found.split_once('/').map_or("", |(group, _)| group);
    let cause = Cause::invalid("apiVersion", &found.into(), format!("must be {expected}"));
    Err(Status::invalid(&format!("{}.{group}", object::text_at(next, &["kind"])), name, &[cause]))
}

/// Returns where the real server keeps a kind in its store, which some refusals tell.
fn drawer(kind: &Kind) -> String {
    match &*kind.key {
        "nodes" => "minions".into(),
        "services" => "services/specs".into(),
        "endpoints" => "services/endpoints".into(),
        _ if kind.custom || &*kind.key == crd::KEY => format!("{}/{}", kind.group, kind.plural),
        _ => kind.plural.clone(),
    }
}

/// Holds a write against the version and uid that it names.
fn locks(kind: &Kind, current: &Value, next: &Value, is_patch: bool) -> Result<(), Status> {
    let name = object::name(current);
    let uid = object::meta(next, "uid");
    let found = object::meta(current, "uid");
    if !is_patch && !uid.is_empty() && uid != found {
        let space = object::namespace(current);
        let place = if space.is_empty() { name.to_owned() } else { format!("{space}/{name}") };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{place}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {found}",
            drawer(kind)
        );
        return Err(Status::conflict(&kind.key, name, &why));
    }
    let wanted = object::meta(next, "resourceVersion");
    let number = if wanted.is_empty() { Ok(0) } else { wanted.parse::<u64>() };
    let Ok(number) = number else {
        return Err(Status::unknown(format!("strconv.ParseUint: parsing {wanted:?}: invalid syntax")));
    };
    if number == 0 {
        if rules::needs_version(kind) && object::text_at(current, &["metadata", "resourceVersion"]) != wanted {
            let cause = Cause::invalid("metadata.resourceVersion", &Value::from(0), "must be specified for an update");
            if kind.custom || !is_patch {
                return Err(Status::invalid(&kind.key, name, &[cause]));
            }
        }
        return Ok(());
    }
    if wanted != object::meta(current, "resourceVersion") {
        return Err(Status::conflict(&kind.key, name, MODIFIED));
    }
    Ok(())
}

/// A write without tracking leaves the owners as they are.
fn keep_managed(current: &Value, next: &mut Value) {
    let meta = object::meta_mut(next);
    object::keep(meta, "managedFields", object::at(current, &["metadata", "managedFields"]));
}

fn note_update(
    kind: &Kind,
    actor: &Actor,
    subresource: &str,
    current: &Value,
    next: &mut Value,
    options: &WriteOptions,
    now: &str,
) {
    if is_reset(next) {
        object::meta_mut(next).remove("managedFields");
        return;
    }
    let given = object::at(next, &["metadata", "managedFields"]).is_some();
    let mut managed = Managed::read(if given { next } else { current });
    if managed.0.is_empty() {
        keep_managed(current, next);
        return;
    }
    let version = version_of(kind, options);
    let schema = kind.form(version).schema.clone();
    let who = manager(kind, actor, options, "Update", subresource);
    managed.update(current, next, &schema, who, now);
    managed.write(next);
}

/// Gives a pod its node. This is no change of its desired state: the generation stays.
pub fn bind(state: &mut State, kind: &Kind, namespace: &str, name: &str, node: &str) -> Result<Object, Status> {
    let current = state.store.get(&kind.shelf, namespace, name).ok_or_else(|| Status::not_found(&kind.key, name))?;
    let now = object::stamp(state.clock.now());
    let mut next = (*current).clone();
    object::member_mut(&mut next, "spec").insert("nodeName".into(), node.into());
    let status = object::member_mut(&mut next, "status");
    let conditions = status.entry("conditions").or_insert_with(|| serde_json::json!([]));
    if let Some(list) = conditions.as_array_mut() {
        list.retain(|condition| condition["type"] != "PodScheduled");
        list.push(serde_json::json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
        }));
    }
    Ok(state.store.put(kind, next))
}

/// Lets the admission webhooks see an object before it is stored.
fn admit(state: &State, kind: &Kind, old: Option<&Value>, new: &mut Value) -> Result<(), Status> {
    let Some(webhooks) = &state.webhooks else { return Ok(()) };
    webhooks.admit(&state.store, &kind.key, old, new)?;
    rules::defaults(kind, new);
    Ok(())
}
