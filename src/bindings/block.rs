//! Blocking: a preDelete hook keeps every room that has our label until the run lifts it, so that no scale-in, whoever
//! asks for it, takes a room with players.

use std::time::Duration;

use rhai::{Dynamic, Map, NativeCallContext};
use serde_json::{Value, json};

use super::binding::{Binding, Bindings, Key, key, param, rule};
use super::drain::{showing, waits};
use super::gs::{game_servers, reading, rooms_of};
use super::guard::{self, Field};
use super::host::{ScriptResult, host};
use super::ledger::{FieldChange, Note};
use super::options::Options;
use super::outcome::Outcome;
use super::reads::{read_set, read_view};
use crate::diagnostic::{Diagnostic, Kind};
use crate::okg::game_server_set::GameServerSet;
use crate::okg::{names, ops_state};
use crate::script::throw;

/// What a block rests on; with it nothing else about scale-ins must hold.
const BLOCK: &[&str] =
    &["nobody deletes or evicts a pod by hand: that passes every hook, and so does the loss of a node"];

/// The family of this file.
pub fn bindings() -> Bindings {
    Bindings::new("block", "Rooms that no scale-in takes until the run lets them go.")
        .bind(&GSS_BLOCKS, |ctx: NativeCallContext, gss: &str| -> ScriptResult<bool> {
            Ok(read_set(&*host(&ctx)?, gss)?.blocks())
        })
        .bind(&GS_BLOCK, |ctx: NativeCallContext, gss: &str| gs_block(&ctx, gss, &Map::new()))
        .bind(&GS_BLOCK, |ctx: NativeCallContext, gss: &str, opts: Map| gs_block(&ctx, gss, &opts))
        .bind(&GS_LIFT, gs_lift)
}

const GSS_BLOCKS: Binding = Binding {
    name: "gss_blocks",
    doc: "Returns whether a GameServerSet blocks: its preDelete hook keeps rooms with the label \
          `gs-sync/okgscript-block`, and its template gives new rooms that label. `gss_set_image` with `block: true` \
          puts both in.",
    params: &[param("gss", "string", "GameServerSet")],
    returns: "bool",
    errors: &["not-found", "forbidden"],
    access: &[rule("game.kruise.io", "gameserversets", &["get"])],
    example: r#"!gss_blocks("minecraft")"#,
};

const BLOCK_KEYS: &[Key] =
    &[key("timeout", "duration", "longest wait for the pods to show the label; default \"10m\"")];

const GS_BLOCK: Binding = Binding {
    name: "gs_block",
    doc: "Sets the label `gs-sync/okgscript-block` on every room of a set that blocks, Allocated ones too, and returns \
          when their pods show it: from then on every scale-in waits until the label is lifted.",
    params: &[param("gss", "string", "GameServerSet"), param("opts", "map", "how to wait").keys(BLOCK_KEYS).optional()],
    returns: "Outcome",
    errors: &["refused", "timeout", "not-found", "forbidden"],
    access: reading::WRITE_WATCHED,
    example: r#"gss_set_image("minecraft", "", "acs/minecraft-demo:1.12.3", #{ block: true }); gs_block("minecraft"); gs_list("minecraft").filter(|gs| gs.labels["gs-sync/okgscript-block"] == "true").len == 3"#,
};

const GS_LIFT: Binding = Binding {
    name: "gs_lift",
    doc: "Lets rooms go that a block keeps: of those in PreDelete whose opsState is a hold or a mark, the label \
          `gs-sync/okgscript-block` becomes \"false\", guarded. A room that somebody took meanwhile stays.",
    params: &[param("rooms", "GameServers | GameServer | array | string", "rooms in PreDelete, held for a grace")],
    returns: "Outcome",
    errors: &["forbidden"],
    access: reading::WRITE,
    example: r#"gs_lift("minecraft-1").skipped[0].reason == "it is not in PreDelete""#,
};

/// Returns the operations that put hook and label into a set, and how a ledger tells them; none where they are.
pub fn hook(set: &GameServerSet) -> (Vec<Value>, Vec<FieldChange>) {
    let hook = ["spec", "lifecycle", "preDelete", "labelsHandler", names::BLOCK];
    let label = ["spec", "gameServerTemplate", "metadata", "labels", names::BLOCK];
    let missing: Vec<(String, Value)> = [hook, label].iter().filter_map(|path| missing(&set.object, path)).collect();
    if missing.is_empty() {
        return Default::default();
    }
    // What is added may be a whole map, and an absent one cannot be tested: the generation guards them all.
    let mut operations = vec![json!({"op": "test", "path": "/metadata/generation", "value": set.metadata.generation})];
    let mut fields = Vec::new();
    for (path, value) in missing {
        let to = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let dotted = path.trim_start_matches('/').replace('/', ".");
        fields.push(FieldChange { path: dotted, from: "-".to_owned(), to });
        operations.push(json!({"op": "add", "path": path, "value": value}));
    }
    (operations, fields)
}

/// Returns where and what must be added so that `"true"` stands at the path.
fn missing(object: &Value, path: &[&str]) -> Option<(String, Value)> {
    let (mut at, mut pointer) = (object, String::new());
    for (depth, part) in path.iter().enumerate() {
        pointer.push('/');
        pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
        match at.get(*part).filter(|found| !found.is_null()) {
            Some(found) => at = found,
            None => {
                let inner = path.iter().skip(depth + 1).rev();
                return Some((pointer, inner.fold(json!("true"), |value, key| json!({ *key: value }))));
            }
        }
    }
    (at != "true").then(|| (pointer, json!("true")))
}

/// The image is there already and the hook is not.
pub fn too_late(name: &str, container: &str, image: &str) -> Diagnostic {
    let what = format!("the hook that blocks scale-ins of `{name}` cannot be added any more");
    Diagnostic::new(Kind::Refused, what)
        .why(format!("{container} has {image} already: a label in the template would make every room of it old"))
        .help("block with the next image, or go on without `block`. Nothing was sent.")
}

fn gs_block(ctx: &NativeCallContext, gss: &str, opts: &Map) -> ScriptResult<Outcome> {
    let host = host(ctx)?;
    let opts = Options::read("gs_block", opts, BLOCK_KEYS)?;
    let timeout = opts.duration("timeout")?.unwrap_or(Duration::from_secs(600));
    let view = read_view(&host, gss)?;
    let hooked = view.set.blocks() && view.workload.as_ref().is_some_and(|workload| workload.blocks());
    if !hooked && !host.planning() {
        let what = format!("`{gss}` has no preDelete hook that would keep its rooms");
        return Err(throw(
            Diagnostic::new(Kind::Refused, what)
                .why("lifecycle.preDelete.labelsHandler and the template need the label `gs-sync/okgscript-block`")
                .help(format!("gss_set_image(\"{gss}\", …, #{{ block: true }}) puts them in, with the image")),
        ));
    }
    host.note(Note::rests_on(BLOCK));
    // What waits to be deleted has the label already, or was let go.
    let rooms = view.rooms.into_iter().filter(|room| room.server.state() != "PreDelete").collect();
    let rooms = game_servers(&host, gss, rooms).rooms.to_vec();
    let outcome = guard::write(&host, rooms, &Field::Block(true), guard::AT_ONCE)?;
    showing(&host, gss, timeout, names::BLOCK, &|room| {
        let pod = room.pod.as_ref().filter(|pod| !pod.terminating() && !pod.preparing_delete());
        pod.is_none_or(|pod| pod.metadata.labels.get(names::BLOCK).is_some_and(|label| label == "true"))
    })?;
    Ok(outcome)
}

fn gs_lift(ctx: NativeCallContext, rooms: Dynamic) -> ScriptResult<Outcome> {
    let host = host(&ctx)?;
    let rooms = rooms_of(&host, "gs_lift", &rooms)?;
    let mut outcome = Outcome::default();
    let mut idle = Vec::new();
    for gs in rooms {
        let server = &gs.room.server;
        let ended = ops_state::is_hold(server.ops_state())
            || [ops_state::WAIT_TO_BE_DELETED, ops_state::KILL].contains(&server.ops_state());
        let there = server.state() == "PreDelete" && waits(&gs.room) && !gs.room.orphaned();
        let reason = if !there {
            "it is not in PreDelete".to_owned()
        } else if !ended {
            format!("in PreDelete, opsState {}", server.ops_state())
        } else {
            idle.push(gs);
            continue;
        };
        guard::skip(&host, &mut outcome, gs.room.name(), &reason);
    }
    outcome.extend(guard::write(&host, idle, &Field::Block(false), guard::AT_ONCE)?);
    Ok(outcome)
}
