//! GameServerSets: reading, patching, images, replicas.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde_json::{Value, json};

use super::binding::{Binding, Bindings, Key, Rule, key, param, rule};
use super::block;
use super::count::Count;
use super::gs::reading;
use super::host::{Host, LOCK, ScriptResult, host};
use super::ledger::Note;
use super::merge;
use super::options::Options;
use super::reads::{SetView, read_judged, read_set, read_view, set_afresh};
use super::stage::Event;
use super::values::{GameServerSetValue, GameServers};
use super::wait::{Ended, Seen, Wait};
use crate::cluster::{Cluster, Patch, Selector, kind};
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::okg::game_server::Version;
use crate::okg::game_server_set::GameServerSet;
use crate::okg::{names, ops_state, scale_in};
use crate::script::{duration, throw, value};

/// How often a guarded write to a set is repeated after somebody else's write.
const REPEATS: u32 = 5;

const GET: Rule = rule("game.kruise.io", "gameserversets", &["get"]);
const PATCH: Rule = rule("game.kruise.io", "gameserversets", &["get", "patch"]);

/// The family of this file.
pub fn bindings() -> Bindings {
    Bindings::new("gss", "GameServerSets: a title's rooms as a whole.")
        .bind(&GSS_GET, gss_get)
        .bind(&GSS_LIST, gss_list)
        .bind(&GSS_PATCH, |ctx: NativeCallContext, name: &str, patch: Dynamic| {
            gss_patch(&ctx, name, &patch, &Map::new())
        })
        .bind(&GSS_PATCH, |ctx: NativeCallContext, name: &str, patch: Dynamic, opts: Map| {
            gss_patch(&ctx, name, &patch, &opts)
        })
        .bind(&GSS_SET_IMAGE, |ctx: NativeCallContext, name: &str, container: &str, image: &str| {
            gss_set_image(&ctx, name, container, image, &Map::new())
        })
        .bind(&GSS_SET_IMAGE, |ctx: NativeCallContext, name: &str, container: &str, image: &str, opts: Map| {
            gss_set_image(&ctx, name, container, image, &opts)
        })
        .bind(&GSS_SCALE, |ctx: NativeCallContext, name: &str, replicas: i64| {
            gss_scale(&ctx, name, replicas, &Map::new())
        })
        .bind(&GSS_SCALE, |ctx: NativeCallContext, name: &str, replicas: i64, opts: Map| {
            gss_scale(&ctx, name, replicas, &opts)
        })
        .bind(&GSS_SCALE_UP, gss_scale_up)
        .bind(&GSS_VICTIMS, gss_victims)
}

const GSS_GET: Binding = Binding {
    name: "gss_get",
    doc: "Returns a GameServerSet.",
    params: &[param("name", "string", "GameServerSet")],
    returns: "GameServerSet",
    errors: &["not-found", "forbidden"],
    access: &[GET],
    example: r#"gss_get("minecraft").replicas == 3"#,
};

const GSS_LIST: Binding = Binding {
    name: "gss_list",
    doc: "Returns the GameServerSets of the namespace.",
    params: &[],
    returns: "array",
    errors: &["forbidden"],
    access: &[rule("game.kruise.io", "gameserversets", &["list"])],
    example: r#"gss_list().map(|gss| gss.name) == ["minecraft"]"#,
};

const PATCH_KEYS: &[Key] = &[
    key("type", "string", "\"merge\" (default) or \"json\" for a JSON Patch: a list of operations"),
    key("replace_lists", "bool", "a merge patch may drop list entries and fields of entries; default false"),
];

const GSS_PATCH: Binding = Binding {
    name: "gss_patch",
    doc: "Patches a GameServerSet and shows what changes, field by field. A merge patch that would drop list entries \
          or fields of an entry is refused, with what would be lost and the call to use instead.",
    params: &[
        param("name", "string", "GameServerSet"),
        param("patch", "map | array", "a merge patch, or the operations of a JSON Patch"),
        param("opts", "map", "how").keys(PATCH_KEYS).optional(),
    ],
    returns: "GameServerSet",
    errors: &["refused", "not-found", "invalid", "conflict", "forbidden"],
    access: &[PATCH, LOCK],
    example: r#"gss_patch("minecraft", #{ metadata: #{ labels: #{ season: "7" } } }).labels["season"] == "7""#,
};

const SET_IMAGE_KEYS: &[Key] = &[
    key("timeout", "duration", "longest wait for OKG to take the image over; default \"60s\""),
    key(
        "block",
        "bool",
        "in the same patch, let a preDelete hook keep rooms that have the label `gs-sync/okgscript-block`, and give new \
         rooms that label; default false",
    ),
];

const GSS_SET_IMAGE: Binding = Binding {
    name: "gss_set_image",
    doc: "Changes one container's image in the template and nothing else, and returns when OKG and Kruise have taken \
          it over: replicas raised earlier would still give rooms of the old version. The former image is remembered \
          for the command that goes back.",
    params: &[
        param("name", "string", "GameServerSet"),
        param("container", "string", "container of the template; \"\" for the only one"),
        param("image", "string", "new image"),
        param("opts", "map", "how").keys(SET_IMAGE_KEYS).optional(),
    ],
    returns: "GameServerSet",
    errors: &["not-found", "timeout", "conflict", "forbidden"],
    access: &[
        LOCK,
        rule("game.kruise.io", "gameserversets", &["get", "list", "watch", "patch"]),
        rule("game.kruise.io", "gameservers", &["list", "watch"]),
        rule("apps.kruise.io", "statefulsets", &["get", "list", "watch"]),
        rule("", "pods", &["list", "watch"]),
    ],
    example: r#"gss_set_image("minecraft", "", "acs/minecraft-demo:1.12.3").images["minecraft"] == "acs/minecraft-demo:1.12.3""#,
};

const SCALE_KEYS: &[Key] = &[key("allow_scale_in", "bool", "fewer replicas are meant; default false: refused")];

const GSS_SCALE: Binding = Binding {
    name: "gss_scale",
    doc: "Sets the replicas of a GameServerSet, never over somebody else's write. A scale-in by accident is refused; \
          with `allow_scale_in` it says which rooms go.",
    params: &[
        param("name", "string", "GameServerSet"),
        param("replicas", "int", "how many rooms there shall be"),
        param("opts", "map", "how").keys(SCALE_KEYS).optional(),
    ],
    returns: "GameServerSet",
    errors: &["refused", "not-found", "conflict", "forbidden"],
    access: reading::WRITE_SET,
    example: r#"gss_scale("minecraft", 4).replicas == 4"#,
};

const GSS_SCALE_UP: Binding = Binding {
    name: "gss_scale_up",
    doc: "Opens what is missing to `count` rooms of the current version, never scales in and never writes over an \
          autoscaler; repeated, it changes nothing. Rooms that are being created, matchable or Allocated count. \
          Returns `count` as a number: a percentage is of the old rooms, rounded up.",
    params: &[param("name", "string", "GameServerSet"), param("count", "count", "3 or \"25%\"")],
    returns: "int",
    errors: &["not-found", "conflict", "forbidden", "unavailable"],
    access: reading::WRITE_SET,
    example: r#"gss_scale_up("minecraft", 5) == 5 && gss_get("minecraft").replicas == 5"#,
};

const GSS_VICTIMS: Binding = Binding {
    name: "gss_victims",
    doc: "Returns the rooms that would go if replicas were lowered to `replicas` now: OKG's choice of ordinals and \
          Kruise's deletion, by the pods' labels as they are.",
    params: &[param("name", "string", "GameServerSet"), param("replicas", "int", "how many rooms there would be")],
    returns: "GameServers",
    errors: &["not-found", "forbidden"],
    access: reading::LIST,
    example: r#"gss_victims("minecraft", 1).names == ["minecraft-1", "minecraft-2"]"#,
};

fn value_of(host: &Host, set: Arc<GameServerSet>) -> GameServerSetValue {
    GameServerSetValue { set, read_at: host.now() }
}

fn gss_get(ctx: NativeCallContext, name: &str) -> ScriptResult<GameServerSetValue> {
    let host = host(&ctx)?;
    let set = read_set(&host, name)?;
    Ok(value_of(&host, set))
}

fn gss_list(ctx: NativeCallContext) -> ScriptResult<Array> {
    let host = host(&ctx)?;
    let cluster = host.cluster()?;
    let sets = host.call(async move {
        cluster.list::<GameServerSet>(&kind::GAME_SERVER_SET, cluster.namespace(), &Selector::all()).await
    })?;
    Ok(sets.items.into_iter().map(|set| Dynamic::from(value_of(&host, Arc::new(set)))).collect())
}

fn gss_patch(ctx: &NativeCallContext, name: &str, patch: &Dynamic, opts: &Map) -> ScriptResult<GameServerSetValue> {
    let host = host(ctx)?;
    let opts = Options::read("gss_patch", opts, PATCH_KEYS)?;
    let replace_lists = opts.flag("replace_lists")?.unwrap_or(false);
    let body = value::to_json(patch).map_err(throw)?;
    let json = match opts.text("type")?.as_deref() {
        None | Some("merge") => false,
        Some("json") => true,
        Some(other) => {
            let what = format!("gss_patch knows no patch type `{other}`");
            return Err(throw(
                Diagnostic::new(Kind::Invalid, what)
                    .why("GameServerSets take \"merge\" and \"json\"; a custom resource has no strategic merge"),
            ));
        }
    };
    if json != body.is_array() {
        let what = if json { "a JSON Patch is a list of operations" } else { "a merge patch is a map" };
        let help = "lists of operations need the third argument #{ type: \"json\" }";
        return Err(throw(Diagnostic::new(Kind::WrongArguments, what).help(help)));
    }
    let cluster = host.cluster()?;
    for _ in 0..REPEATS {
        let before = set_afresh(&host, name)?;
        let planned = if json { None } else { Some(merge::apply(&before.object, &body)) };
        if let Some(planned) = planned.as_ref().filter(|_| !replace_lists) {
            let lost = merge::losses(&before.object, planned, &body);
            if !lost.is_empty() {
                return Err(throw(refusal(&cluster, name, &body, &lost)));
            }
        }
        let request = if json {
            Patch::Json(body.clone())
        } else {
            // What was compared is what gets replaced: lists are only safe on the version that was looked at.
            Patch::Merge(merge::pinned(&body, &before.metadata.resource_version))
        };
        match send(&host, name, request)? {
            Ok(after) => {
                note_changes(&host, name, &before, &after);
                return Ok(value_of(&host, after));
            }
            Err(error) if error.kind == Kind::Conflict && !json => {}
            Err(error) => return Err(throw(error)),
        }
    }
    Err(throw(too_busy(name)))
}

fn refusal(cluster: &Cluster, name: &str, body: &Value, lost: &[merge::Loss]) -> Diagnostic {
    let namespace = cluster.namespace();
    let whose = merge::containers_of(body).into_iter().next();
    let what = match (&whose, lost.first()) {
        (Some((container, _)), _) => {
            format!("this patch would erase parts of container `{container}` of GameServerSet `{namespace}/{name}`")
        }
        _ => format!("this patch would erase list entries of GameServerSet `{namespace}/{name}`"),
    };
    let mut diagnostic = Diagnostic::new(Kind::Refused, what);
    for loss in lost {
        diagnostic = diagnostic.why(format!(
            "a merge patch replaces the whole list `{}`; it would lose {}",
            loss.list,
            loss.what.join(", ")
        ));
    }
    if let Some((container, Some(image))) = whose {
        diagnostic =
            diagnostic.help(format!("gss_set_image(\"{name}\", \"{container}\", \"{image}\") changes the image alone"));
    }
    diagnostic
        .help("#{ type: \"json\" } with a list of operations changes single fields")
        .help("#{ replace_lists: true } as the third argument means it. Nothing was sent.")
}

fn too_busy(name: &str) -> Diagnostic {
    Diagnostic::new(Kind::Conflict, format!("GameServerSet `{name}` changed under every one of {REPEATS} attempts"))
        .why("somebody else writes it all the time")
        .help("find who writes (metadata.managedFields), stop them or try again")
}

/// Sends a patch of a set, whose Lease is taken first; the inner result is the server's answer.
pub fn send(host: &Host, name: &str, patch: Patch) -> ScriptResult<Result<Arc<GameServerSet>, Diagnostic>> {
    host.hold(name)?;
    let (cluster, name) = (host.cluster()?, name.to_owned());
    host.call_write(async move {
        let namespace = cluster.namespace();
        let sent = cluster.patch::<GameServerSet>(&kind::GAME_SERVER_SET, namespace, &name, None, &patch).await;
        sent.map(Arc::new)
    })
}

/// Notes in the ledger and shows what a patch changed, field by field.
fn note_changes(host: &Host, name: &str, before: &GameServerSet, after: &GameServerSet) {
    for change in merge::changes(&before.object, &after.object) {
        host.show(Event::Note { text: format!("{}: {} -> {}", change.path, change.from, change.to) });
        let set = name.to_owned();
        host.note(if change.path == "spec.replicas" {
            Note::Replicas { set, from: before.replicas(), to: after.replicas() }
        } else {
            Note::Field { set, field: change }
        });
    }
}

/// Finds the container that is meant; `""` is the template's only one.
pub fn find_container(set: &GameServerSet, container: &str) -> Result<(usize, String, String), Diagnostic> {
    let containers = set.containers();
    let name = &set.metadata.name;
    let known: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    let listed = known.join(", ");
    if container.is_empty() {
        return match containers.as_slice() {
            [only] => Ok((0, only.name.clone(), only.image.clone())),
            [] => Err(Diagnostic::new(Kind::NotFound, format!("the template of `{name}` has no container"))),
            _ => Err(Diagnostic::new(
                Kind::Invalid,
                format!("the template of `{name}` has {} containers: say which one", containers.len()),
            )
            .why(format!("containers: {listed}"))
            .help("name the container: `--container` of lossless_release, the second argument of gss_set_image")),
        };
    }
    let found = containers.iter().enumerate().find(|(_, candidate)| candidate.name == container);
    if let Some((index, found)) = found {
        return Ok((index, found.name.clone(), found.image.clone()));
    }
    let what = format!("the template of GameServerSet `{name}` has no container `{container}`");
    let mut diagnostic = Diagnostic::new(Kind::NotFound, what).why(format!("containers: {listed}"));
    if let Some(near) = closest(container, known.iter().copied()) {
        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
    }
    Err(diagnostic)
}

fn gss_set_image(
    ctx: &NativeCallContext,
    name: &str,
    container: &str,
    image: &str,
    opts: &Map,
) -> ScriptResult<GameServerSetValue> {
    let host = host(ctx)?;
    let opts = Options::read("gss_set_image", opts, SET_IMAGE_KEYS)?;
    let timeout = opts.duration("timeout")?.unwrap_or(Duration::from_secs(60));
    let block = opts.flag("block")?.unwrap_or(false);
    if image.trim().is_empty() || image.contains(char::is_whitespace) {
        let what = format!("`{image}` is no image");
        return Err(throw(Diagnostic::new(Kind::Invalid, what).help("an image is written like `registry/name:tag`")));
    }
    let cluster = host.cluster()?;
    for _ in 0..REPEATS {
        let before = set_afresh(&host, name)?;
        let (index, container, former) = find_container(&before, container).map_err(throw)?;
        let (hook, fields) = if block { block::hook(&before) } else { Default::default() };
        if former == image {
            if !hook.is_empty() {
                return Err(throw(block::too_late(name, &container, image)));
            }
            host.show(Event::Note { text: format!("{container}: {image} already") });
            return taken_over(&host, &cluster, name, &container, image, timeout);
        }
        let at = format!("/spec/gameServerTemplate/spec/containers/{index}");
        let mut patch = vec![
            json!({"op": "test", "path": format!("{at}/name"), "value": container}),
            json!({"op": "test", "path": format!("{at}/image"), "value": former}),
            json!({"op": "replace", "path": format!("{at}/image"), "value": image}),
        ];
        patch.extend(hook);
        let written = || {
            host.note(Note::image(name, &container, &former, image));
            fields.iter().for_each(|field| host.note(Note::Field { set: name.to_owned(), field: field.clone() }));
        };
        match send(&host, name, Patch::Json(Value::Array(patch)))? {
            Ok(_) => {
                written();
                host.show(Event::Note { text: format!("{container}: {former} -> {image}") });
                return taken_over(&host, &cluster, name, &container, image, timeout);
            }
            // Somebody else changed the containers meanwhile, or the answer was lost: look again.
            Err(error) if matches!(error.kind, Kind::Conflict | Kind::Unknown) => {
                let now = set_afresh(&host, name)?;
                let arrived = find_container(&now, &container).is_ok_and(|(_, _, is)| is == image);
                if error.kind == Kind::Unknown && arrived {
                    written();
                }
            }
            Err(error) => return Err(throw(error)),
        }
    }
    Err(throw(too_busy(name)))
}

/// Waits until OKG has pushed the image to the workload and Kruise has seen it.
fn taken_over(
    host: &Host,
    cluster: &Cluster,
    name: &str,
    container: &str,
    image: &str,
    timeout: Duration,
) -> ScriptResult<GameServerSetValue> {
    let last = std::cell::RefCell::new(None::<SetView>);
    let wait =
        Wait { host, what: format!("OKG to take over {image}"), timeout, stable_for: Duration::ZERO, every: None };
    let result = wait.run(
        || {
            let view = read_view(host, name)?;
            let pushed = view
                .workload
                .as_ref()
                .is_some_and(|workload| workload.images().get(container).map(String::as_str) == Some(image));
            let done = pushed && view.versions_known();
            let set = view.set.clone();
            *last.borrow_mut() = Some(view);
            Ok(if done { Seen::Holds(set) } else { Seen::NotYet })
        },
        |seconds| {
            host.show(Event::Waiting { text: wait.what.clone(), have: None, want: None, slowest: None, seconds });
        },
    )?;
    match result {
        Ended::Held(set) => return Ok(value_of(host, set)),
        Ended::Assumed => return Ok(value_of(host, read_set(host, name)?)),
        Ended::TimedOut(_) => {}
    }
    let namespace = cluster.namespace();
    let what = format!("OKG did not take the image of `{namespace}/{name}` over within {}", duration::exact(timeout));
    let mut diagnostic = Diagnostic::new(Kind::Timeout, what);
    if let Some(view) = last.into_inner() {
        diagnostic = diagnostic.why(format!(
            "observedGeneration stands at {} of generation {}",
            view.set.observed_generation(),
            view.set.metadata.generation
        ));
        if view.workload.as_ref().is_some_and(|workload| workload.update_revision().is_none()) {
            diagnostic = diagnostic.why("Kruise has not seen the workload's present generation");
        }
    }
    Err(throw(
        diagnostic
            .why("OKG reports neither an event nor a condition when Kruise refuses a template")
            .help("look at the logs of the OKG and Kruise managers; no replicas were raised after this"),
    ))
}

fn gss_scale(ctx: &NativeCallContext, name: &str, replicas: i64, opts: &Map) -> ScriptResult<GameServerSetValue> {
    let host = host(ctx)?;
    let opts = Options::read("gss_scale", opts, SCALE_KEYS)?;
    if !(0..=i64::from(i32::MAX)).contains(&replicas) {
        return Err(throw(Diagnostic::new(Kind::Invalid, format!("{replicas} is no number of replicas"))));
    }
    let allow = opts.flag("allow_scale_in")?.unwrap_or(false);
    let cluster = host.cluster()?;
    for _ in 0..REPEATS {
        let before = set_afresh(&host, name)?;
        let now = before.replicas();
        if now == replicas {
            return Ok(value_of(&host, before));
        }
        if replicas < now {
            let victims = victims(&host, &read_view(&host, name)?, name, replicas);
            let listed: Vec<String> =
                victims.rooms.iter().map(|gs| format!("{} ({})", gs.room.name(), gs.room.server.ops_state())).collect();
            let listed = listed.join(", ");
            if !allow {
                let namespace = cluster.namespace();
                let what = format!("this would scale `{namespace}/{name}` in from {now} to {replicas}");
                return Err(throw(
                    Diagnostic::new(Kind::Refused, what)
                        .why(format!("these rooms would go: {listed}"))
                        .help("gss_scale_up opens rooms and never takes any")
                        .help("#{ allow_scale_in: true } as the third argument means it. Nothing was sent."),
                ));
            }
            host.show(Event::Warning { text: format!("scaling {name} in from {now} to {replicas}: {listed} go") });
        }
        if let Some(after) = write_replicas(&host, name, now, replicas)? {
            return Ok(value_of(&host, after));
        }
    }
    Err(throw(too_busy(name)))
}

/// Writes replicas unless somebody else wrote them meanwhile; `None` says that they did.
fn write_replicas(host: &Host, name: &str, from: i64, to: i64) -> ScriptResult<Option<Arc<GameServerSet>>> {
    let patch = json!([
        {"op": "test", "path": "/spec/replicas", "value": from},
        {"op": "replace", "path": "/spec/replicas", "value": to},
    ]);
    match send(host, name, Patch::Json(patch))? {
        Ok(after) => {
            host.note(Note::Replicas { set: name.to_owned(), from, to });
            host.show(Event::Note { text: format!("replicas {from} -> {to}") });
            Ok(Some(after))
        }
        Err(error) if error.kind == Kind::Conflict => Ok(None),
        Err(error) if error.kind == Kind::Unknown => {
            // The answer was lost: what is there now tells whether the write arrived.
            let now = set_afresh(host, name)?;
            if now.replicas() != to {
                return Ok(None);
            }
            host.note(Note::Replicas { set: name.to_owned(), from, to });
            Ok(Some(now))
        }
        Err(error) => Err(throw(error)),
    }
}

fn gss_scale_up(ctx: NativeCallContext, name: &str, count: Dynamic) -> ScriptResult<i64> {
    let host = host(&ctx)?;
    let count = Count::read("gss_scale_up", &count).map_err(throw)?;
    let mut wanted = None;
    for _ in 0..REPEATS {
        let view = read_judged(&host, name)?;
        let old = view.rooms.iter().filter(|room| room.version == Version::Old).count();
        // Of the old rooms, so that a second run asks for no more than the first.
        let wanted = *wanted.get_or_insert_with(|| count.of(i64::try_from(old).unwrap_or(i64::MAX)));
        let missing = wanted - rooms_on_the_way(&view);
        if missing <= 0 {
            host.show(Event::Note {
                text: format!("{wanted} current rooms there or on the way, replicas {}", view.set.replicas()),
            });
            return Ok(wanted);
        }
        let now = view.set.replicas();
        if write_replicas(&host, name, now, now + missing)?.is_some() {
            return Ok(wanted);
        }
    }
    Err(throw(too_busy(name)))
}

/// Counts rooms of the current version that are open or will be: creating, matchable, Allocated, or not made yet.
fn rooms_on_the_way(view: &SetView) -> i64 {
    let counts = |room: &&crate::okg::game_server::Room| {
        room.version == Version::Current
            && (room.open() || !matches!(room.server.state(), "Ready" | "Deleting" | "PreDelete"))
            && matches!(room.server.ops_state(), ops_state::NONE | ops_state::ALLOCATED | "")
    };
    let there = view.rooms.iter().filter(counts).count();
    let stays: BTreeSet<&String> =
        view.pods.iter().filter(|(_, pod)| !pod.terminating()).map(|(name, _)| name).collect();
    // A pod without a GameServer is a moment old; a replica without a pod is yet to come. Both are of the new version.
    let known: BTreeSet<&str> = view.rooms.iter().map(|room| room.name()).collect();
    let fresh = stays.iter().filter(|name| !known.contains(name.as_str())).count();
    let to_come = view.set.replicas() - i64::try_from(stays.len()).unwrap_or(i64::MAX);
    i64::try_from(there + fresh).unwrap_or(i64::MAX) + to_come.max(0)
}

fn gss_victims(ctx: NativeCallContext, name: &str, replicas: i64) -> ScriptResult<GameServers> {
    let host = host(&ctx)?;
    let view = read_view(&host, name)?;
    Ok(victims(&host, &view, name, replicas))
}

fn victims(host: &Host, view: &SetView, name: &str, replicas: i64) -> GameServers {
    let pods = view.pods.values().map(|pod| &**pod);
    let gone = scale_in::victims(&view.set, view.workload.as_deref(), pods, replicas);
    let rooms = view.rooms.iter().filter(|room| names::ordinal(room.name()).is_some_and(|id| gone.contains(&id)));
    super::gs::game_servers(host, name, rooms.cloned().collect())
}
