//! Any other Kubernetes object: a map in the API's own shape.

use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde_json::Value;

use super::binding::{Binding, Bindings, Key, key, param, rule, rule_of_argument};
use super::host::{Host, ScriptResult, host};
use super::ledger::Note;
use super::merge;
use super::options::Options;
use super::stage::Event;
use crate::cluster::{Cluster, DeleteOptions, Kind as Resource, LogOptions, Patch, Selector, kind};
use crate::diagnostic::{Diagnostic, Kind};
use crate::script::{throw, value};

/// The family of this file.
pub fn bindings() -> Bindings {
    Bindings::new("kube", "Any other Kubernetes object, as a map in the API's own shape.")
        .bind(&KUBE_GET, |ctx: NativeCallContext, kind: &str, name: &str| kube_get(&ctx, kind, name))
        .bind(&KUBE_LIST, |ctx: NativeCallContext, kind: &str| kube_list(&ctx, kind, &Map::new()))
        .bind(&KUBE_LIST, |ctx: NativeCallContext, kind: &str, opts: Map| kube_list(&ctx, kind, &opts))
        .bind(&KUBE_CREATE, kube_create)
        .bind(&KUBE_APPLY, |ctx: NativeCallContext, object: Map| kube_apply(&ctx, object, &Map::new()))
        .bind(&KUBE_APPLY, |ctx: NativeCallContext, object: Map, opts: Map| kube_apply(&ctx, object, &opts))
        .bind(&KUBE_PATCH, |ctx: NativeCallContext, kind: &str, name: &str, patch: Dynamic| {
            kube_patch(&ctx, kind, name, &patch)
        })
        .bind(&KUBE_DELETE, |ctx: NativeCallContext, kind: &str, name: &str| kube_delete(&ctx, kind, name, &Map::new()))
        .bind(&KUBE_DELETE, |ctx: NativeCallContext, kind: &str, name: &str, opts: Map| {
            kube_delete(&ctx, kind, name, &opts)
        })
        .bind(&KUBE_EVENTS, |ctx: NativeCallContext| kube_events(&ctx, None))
        .bind(&KUBE_EVENTS, |ctx: NativeCallContext, name: &str| kube_events(&ctx, Some(name)))
        .bind(&POD_LOGS, |ctx: NativeCallContext, pod: &str| pod_logs(&ctx, pod, &Map::new()))
        .bind(&POD_LOGS, |ctx: NativeCallContext, pod: &str, opts: Map| pod_logs(&ctx, pod, &opts))
}

const KIND_DOC: &str = "kind: a plural, singular, short name, or `plural.group`";

const KUBE_GET: Binding = Binding {
    name: "kube_get",
    doc: "Returns an object as a map, without managed fields.",
    params: &[param("kind", "string", KIND_DOC), param("name", "string", "its name")],
    returns: "map",
    errors: &["not-found", "not-installed", "forbidden"],
    access: &[rule_of_argument(0, &["get"])],
    example: r#"kube_get("pod", "minecraft-0").metadata.name == "minecraft-0""#,
};

const LIST_KEYS: &[Key] =
    &[key("labels", "string", "label selector, as kubectl's `-l`"), key("fields", "string", "field selector")];

const KUBE_LIST: Binding = Binding {
    name: "kube_list",
    doc: "Returns the objects of a kind in the namespace, as maps.",
    params: &[param("kind", "string", KIND_DOC), param("opts", "map", "which ones").keys(LIST_KEYS).optional()],
    returns: "array",
    errors: &["not-installed", "forbidden"],
    access: &[rule_of_argument(0, &["list"])],
    example: r#"kube_list("pods", #{ labels: "game.kruise.io/owner-gss=minecraft" }).len() == 3"#,
};

const KUBE_CREATE: Binding = Binding {
    name: "kube_create",
    doc: "Creates an object and returns it as the server stored it.",
    params: &[param("object", "map", "the object, with `apiVersion`, `kind` and `metadata`")],
    returns: "map",
    errors: &["conflict", "invalid", "not-installed", "forbidden"],
    access: &[rule_of_argument(0, &["create"])],
    example: r#"kube_create(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "season" }, data: #{ number: "7" } }).data.number == "7""#,
};

const APPLY_KEYS: &[Key] = &[key("force", "bool", "take over fields of other managers; default false: a conflict")];

const KUBE_APPLY: Binding = Binding {
    name: "kube_apply",
    doc: "Applies an object server-side, as field manager `okgscript`, and returns it.",
    params: &[
        param("object", "map", "the fields that are meant, with `apiVersion`, `kind` and `metadata.name`"),
        param("opts", "map", "how").keys(APPLY_KEYS).optional(),
    ],
    returns: "map",
    errors: &["conflict", "invalid", "not-installed", "forbidden"],
    access: &[rule_of_argument(0, &["create", "patch"])],
    example: r#"kube_apply(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "season" }, data: #{ number: "8" } }).data.number == "8""#,
};

const KUBE_PATCH: Binding = Binding {
    name: "kube_patch",
    doc: "Patches an object: a map is a merge patch, a list of operations a JSON Patch. For GameServerSets use \
          `gss_patch`, which refuses to erase list entries.",
    params: &[
        param("kind", "string", KIND_DOC),
        param("name", "string", "its name"),
        param("patch", "map | array", "a merge patch, or the operations of a JSON Patch"),
    ],
    returns: "map",
    errors: &["not-found", "conflict", "invalid", "not-installed", "forbidden"],
    access: &[rule_of_argument(0, &["get", "patch"])],
    example: r#"kube_patch("gs", "minecraft-1", #{ metadata: #{ labels: #{ zone: "a" } } }).metadata.labels.zone == "a""#,
};

const DELETE_KEYS: &[Key] = &[
    key("uid", "string", "delete only the object with this uid"),
    key("propagation", "string", "Background (default), Foreground or Orphan"),
    key("allow_allocated", "bool", "also delete the pod of an Allocated room; default false: refused"),
];

const KUBE_DELETE: Binding = Binding {
    name: "kube_delete",
    doc: "Deletes an object. The pod of an Allocated room is refused: no guard of OKG's protects it.",
    params: &[
        param("kind", "string", KIND_DOC),
        param("name", "string", "its name"),
        param("opts", "map", "how").keys(DELETE_KEYS).optional(),
    ],
    returns: "()",
    errors: &["not-found", "conflict", "refused", "not-installed", "forbidden"],
    access: &[rule_of_argument(0, &["delete"]), rule("game.kruise.io", "gameservers", &["get"])],
    example: r#"kube_delete("pod", "minecraft-1"); true"#,
};

const KUBE_EVENTS: Binding = Binding {
    name: "kube_events",
    doc: "Returns the events of the namespace, or of one object, oldest first: maps with `type`, `reason`, `message`, \
          `object`, `count`, `time`.",
    params: &[param("name", "string", "name of the object that they are about").optional()],
    returns: "array",
    errors: &["forbidden"],
    access: &[rule("", "events", &["list"])],
    example: r#"kube_events("minecraft").len() >= 0"#,
};

const LOG_KEYS: &[Key] = &[
    key("container", "string", "container; may be left out if the pod has only one"),
    key("tail", "int", "only so many of the last lines"),
    key("since", "duration", "only lines of the last so long"),
    key("previous", "bool", "the log of the container's previous run; default false"),
];

const POD_LOGS: Binding = Binding {
    name: "pod_logs",
    doc: "Returns the log of a pod's container.",
    params: &[param("pod", "string", "name of the pod"), param("opts", "map", "which part").keys(LOG_KEYS).optional()],
    returns: "string",
    errors: &["not-found", "invalid", "forbidden"],
    access: &[rule("", "pods/log", &["get"])],
    example: r#"pod_logs("minecraft-0", #{ tail: 10 }) != ()"#,
};

/// Finds out what a word means, and in which namespace its objects are.
async fn resolved(cluster: &Cluster, word: &str) -> Result<(Resource, String), Diagnostic> {
    let kind = cluster.resolve(word).await?;
    let namespace = if kind.namespaced { cluster.namespace().to_owned() } else { String::new() };
    Ok((kind, namespace))
}

/// Makes a script value of an object; managed fields say nothing to a script and are long.
fn shown(mut object: Value) -> Dynamic {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    value::from_json(&object)
}

fn kube_get(ctx: &NativeCallContext, kind: &str, name: &str) -> ScriptResult<Dynamic> {
    let host = host(ctx)?;
    let (cluster, kind, name) = (host.cluster()?, kind.to_owned(), name.to_owned());
    let object = host.call(async move {
        let (kind, namespace) = resolved(&cluster, &kind).await?;
        cluster.get::<Value>(&kind, &namespace, &name).await
    })?;
    Ok(shown(object))
}

fn kube_list(ctx: &NativeCallContext, kind: &str, opts: &Map) -> ScriptResult<Array> {
    let host = host(ctx)?;
    let opts = Options::read("kube_list", opts, LIST_KEYS)?;
    let mut selector = Selector::all();
    if let Some(labels) = opts.text("labels")? {
        selector = selector.labels(labels);
    }
    if let Some(fields) = opts.text("fields")? {
        selector = selector.fields(fields);
    }
    let (cluster, kind) = (host.cluster()?, kind.to_owned());
    let list = host.call(async move {
        let (kind, namespace) = resolved(&cluster, &kind).await?;
        cluster.list::<Value>(&kind, &namespace, &selector).await
    })?;
    Ok(list.items.into_iter().map(shown).collect())
}

/// What an object says of itself: the word for its kind, its name.
fn identified(function: &str, object: &Map) -> ScriptResult<(Value, String, String)> {
    let object = value::to_json(&Dynamic::from_map(object.clone())).map_err(throw)?;
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    if version.is_empty() || kind.is_empty() {
        let what = format!("{function} needs an object with `apiVersion` and `kind`");
        return Err(throw(Diagnostic::new(Kind::WrongArguments, what)));
    }
    Ok((object, format!("{version}/{kind}"), name))
}

fn kube_create(ctx: NativeCallContext, object: Map) -> ScriptResult<Dynamic> {
    let host = host(&ctx)?;
    let (object, word, name) = identified("kube_create", &object)?;
    let cluster = host.cluster()?;
    let created = host.call_write(async move {
        let (kind, namespace) = resolved(&cluster, &word).await?;
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&namespace).to_owned();
        cluster.create::<Value>(&kind, &namespace, &object).await
    })?;
    note(&host, "created", created.map_err(throw)?, &name)
}

fn kube_apply(ctx: &NativeCallContext, object: Map, opts: &Map) -> ScriptResult<Dynamic> {
    let host = host(ctx)?;
    let opts = Options::read("kube_apply", opts, APPLY_KEYS)?;
    let force = opts.flag("force")?.unwrap_or(false);
    let (body, word, name) = identified("kube_apply", &object)?;
    let (cluster, named) = (host.cluster()?, name.clone());
    let applied = host.call_write(async move {
        let (kind, namespace) = resolved(&cluster, &word).await?;
        let namespace = body["metadata"]["namespace"].as_str().unwrap_or(&namespace).to_owned();
        cluster.patch::<Value>(&kind, &namespace, &named, None, &Patch::Apply { body, force }).await
    })?;
    note(&host, "applied", applied.map_err(throw)?, &name)
}

fn kube_patch(ctx: &NativeCallContext, kind: &str, name: &str, patch: &Dynamic) -> ScriptResult<Dynamic> {
    let host = host(ctx)?;
    let body = value::to_json(patch).map_err(throw)?;
    let request = match &body {
        Value::Array(_) => Patch::Json(body),
        Value::Object(_) => Patch::Merge(body),
        _ => {
            let what = "kube_patch takes a map (merge patch) or a list of operations (JSON Patch)";
            return Err(throw(Diagnostic::new(Kind::WrongArguments, what)));
        }
    };
    let (cluster, word, named) = (host.cluster()?, kind.to_owned(), name.to_owned());
    let patched = host.call_write(async move {
        let (kind, namespace) = resolved(&cluster, &word).await?;
        let before = cluster.get::<Value>(&kind, &namespace, &named).await?;
        let after = cluster.patch::<Value>(&kind, &namespace, &named, None, &request).await?;
        Ok::<_, Diagnostic>((before, after))
    })?;
    let (before, after) = patched.map_err(throw)?;
    for change in merge::changes(&before, &after) {
        host.show(Event::Note { text: format!("{}: {} -> {}", change.path, change.from, change.to) });
    }
    note(&host, "patched", after, name)
}

fn kube_delete(ctx: &NativeCallContext, kind: &str, name: &str, opts: &Map) -> ScriptResult<()> {
    let host = host(ctx)?;
    let opts = Options::read("kube_delete", opts, DELETE_KEYS)?;
    let allow = opts.flag("allow_allocated")?.unwrap_or(false);
    let options =
        DeleteOptions { uid: opts.text("uid")?, propagation: opts.text("propagation")?, ..DeleteOptions::default() };
    let (cluster, word, named) = (host.cluster()?, kind.to_owned(), name.to_owned());
    let deleted = host.call_write(async move {
        let (kind, namespace) = resolved(&cluster, &word).await?;
        if kind.resource() == "pods" && !allow {
            spare_players(&cluster, &namespace, &named).await?;
        }
        cluster.delete(&kind, &namespace, &named, &options).await?;
        Ok::<_, Diagnostic>(format!("deleted {} {namespace}/{named}", kind.kind))
    })?;
    let text = deleted.map_err(throw)?;
    host.show(Event::Note { text: text.clone() });
    host.note(Note::Other { text });
    Ok(())
}

/// Refuses to delete the pod of a room that has players.
async fn spare_players(cluster: &Cluster, namespace: &str, name: &str) -> Result<(), Diagnostic> {
    let room = cluster.find::<Value>(&kind::GAME_SERVER, namespace, name).await;
    // Without OKG there are no rooms; that is no reason to refuse.
    let Ok(Some(room)) = room else { return Ok(()) };
    if room.pointer("/spec/opsState").and_then(Value::as_str) != Some(crate::okg::ops_state::ALLOCATED) {
        return Ok(());
    }
    Err(Diagnostic::new(Kind::Refused, format!("room `{namespace}/{name}` is Allocated: players are in it"))
        .why("deleting a pod passes every hook of OKG and Kruise")
        .help("#{ allow_allocated: true } as the third argument means it. Nothing was sent."))
}

fn note(host: &Host, what: &str, object: Value, name: &str) -> ScriptResult<Dynamic> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = if name.is_empty() { text("/metadata/name") } else { name.to_owned() };
    let said = format!("{what} {} {}/{name}", text("/kind"), text("/metadata/namespace"));
    host.show(Event::Note { text: said.clone() });
    host.note(Note::Other { text: said });
    Ok(shown(object))
}

fn kube_events(ctx: &NativeCallContext, name: Option<&str>) -> ScriptResult<Array> {
    let host = host(ctx)?;
    let selector = match name {
        Some(name) => Selector::all().fields(format!("involvedObject.name={name}")),
        None => Selector::all(),
    };
    let cluster = host.cluster()?;
    let events = host.call(async move { cluster.list::<Value>(&kind::EVENT, cluster.namespace(), &selector).await })?;
    let time = |event: &Value| {
        let times = [&event["lastTimestamp"], &event["eventTime"], &event["metadata"]["creationTimestamp"]];
        times.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut events = events.items;
    events.sort_by_key(time);
    let row = |event: &Value| {
        let object = &event["involvedObject"];
        let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut map = Map::new();
        map.insert("type".into(), part(&event["type"]).into());
        map.insert("reason".into(), part(&event["reason"]).into());
        map.insert("message".into(), part(&event["message"]).into());
        map.insert("object".into(), format!("{}/{}", part(&object["kind"]), part(&object["name"])).into());
        map.insert("count".into(), event["count"].as_i64().unwrap_or(1).into());
        map.insert("time".into(), time(event).into());
        Dynamic::from_map(map)
    };
    Ok(events.iter().map(row).collect())
}

fn pod_logs(ctx: &NativeCallContext, pod: &str, opts: &Map) -> ScriptResult<String> {
    let host = host(ctx)?;
    let opts = Options::read("pod_logs", opts, LOG_KEYS)?;
    let number = |count: Option<u64>| count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let options = LogOptions {
        container: opts.text("container")?,
        tail_lines: number(opts.count("tail")?),
        since_seconds: number(opts.duration("since")?.map(|since| since.as_secs().max(1))),
        previous: opts.flag("previous")?.unwrap_or(false),
    };
    let (cluster, pod) = (host.cluster()?, pod.to_owned());
    host.call(async move { cluster.logs(cluster.namespace(), &pod, &options).await })
}
