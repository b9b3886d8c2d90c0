//! GameServers: selecting rooms, reading them, setting what they are for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rhai::{Dynamic, FnPtr, Map, NativeCallContext};

use super::binding::{Binding, Bindings, Key, key, param};
use super::filter::{FILTER_KEYS, Filter, check_ops_state, containers_of};
use super::guard;
use super::host::{Host, ScriptResult, host};
use super::ledger::Note;
use super::options::Options;
use super::outcome::Outcome;
use super::reads::{SetView, read_judged, read_view};
use super::values::{GameServerValue, GameServers};
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::okg::game_server::Room;
use crate::okg::{names, ops_state};
use crate::script::throw;

/// What a mark without hold and grace rests on.
const PLAIN_MARK: &[&str] = &[
    "whoever plays or is sent to a room has a GameServer that is not None",
    "every matchmaker tests opsState in the write that allocates: a blind one may send players to a marked room",
    "whoever lowers replicas never does so while the set is unsettled",
];

/// Rights of functions that read a set with its rooms.
pub mod reading {
    use super::super::binding::{Rule, rule};
    use super::super::host::LOCK;

    /// Reading once.
    pub const LIST: &[Rule] = &[
        rule("game.kruise.io", "gameserversets", &["get"]),
        rule("game.kruise.io", "gameservers", &["list"]),
        rule("apps.kruise.io", "statefulsets", &["get"]),
        rule("", "pods", &["list"]),
    ];

    /// Reading and watching.
    pub const WATCH: &[Rule] = &[
        rule("game.kruise.io", "gameserversets", &["get", "list", "watch"]),
        rule("game.kruise.io", "gameservers", &["list", "watch"]),
        rule("apps.kruise.io", "statefulsets", &["get", "list", "watch"]),
        rule("", "pods", &["list", "watch"]),
    ];

    /// Reading and writing rooms.
    pub const WRITE: &[Rule] = &[
        rule("game.kruise.io", "gameserversets", &["get"]),
        LOCK,
        rule("game.kruise.io", "gameservers", &["get", "list", "patch"]),
        rule("apps.kruise.io", "statefulsets", &["get"]),
        rule("", "pods", &["list"]),
    ];

    /// Reading and watching a set with its rooms, and writing the rooms.
    pub const WRITE_WATCHED: &[Rule] = &[
        LOCK,
        rule("game.kruise.io", "gameserversets", &["get", "list", "watch"]),
        rule("game.kruise.io", "gameservers", &["get", "list", "watch", "patch"]),
        rule("apps.kruise.io", "statefulsets", &["get", "list", "watch"]),
        rule("", "pods", &["list", "watch"]),
    ];

    /// Reading a set with its rooms and writing the set.
    pub const WRITE_SET: &[Rule] = &[
        rule("game.kruise.io", "gameserversets", &["get", "patch"]),
        LOCK,
        rule("game.kruise.io", "gameservers", &["list"]),
        rule("apps.kruise.io", "statefulsets", &["get"]),
        rule("", "pods", &["list"]),
    ];
}

/// The family of this file.
pub fn bindings() -> Bindings {
    Bindings::new("gs", "GameServers: rooms, one pod each.")
        .bind(&GS_GET, gs_get)
        .bind(&GS_LIST, |ctx: NativeCallContext, gss: &str| gs_select(&ctx, "gs_list", gss, &Map::new()))
        .bind(&GS_SELECT, |ctx: NativeCallContext, gss: &str, filter: Map| gs_select(&ctx, "gs_select", gss, &filter))
        .bind(&GS_SELECT, |ctx: NativeCallContext, gss: &str, keep: FnPtr| gs_select_by(&ctx, gss, &keep))
        .bind(&GS_COUNT, |ctx: NativeCallContext, gss: &str| gs_count(&ctx, gss, &Map::new()))
        .bind(&GS_COUNT, |ctx: NativeCallContext, gss: &str, filter: Map| gs_count(&ctx, gss, &filter))
        .bind(&GS_SET_OPS_STATE, |ctx: NativeCallContext, rooms: Dynamic, state: &str| {
            gs_set_ops_state(&ctx, &rooms, state, &Map::new())
        })
        .bind(&GS_SET_OPS_STATE, |ctx: NativeCallContext, rooms: Dynamic, state: &str, opts: Map| {
            gs_set_ops_state(&ctx, &rooms, state, &opts)
        })
        .bind(&GS_SET_DELETION_PRIORITY, |ctx: NativeCallContext, rooms: Dynamic, priority: i64| {
            set_field(&ctx, "gs_set_deletion_priority", &rooms, guard::Field::DeletionPriority(priority))
        })
        .bind(&GS_SET_UPDATE_PRIORITY, |ctx: NativeCallContext, rooms: Dynamic, priority: i64| {
            set_field(&ctx, "gs_set_update_priority", &rooms, guard::Field::UpdatePriority(priority))
        })
        .bind(&GS_SET_NETWORK_DISABLED, |ctx: NativeCallContext, rooms: Dynamic, disabled: bool| {
            set_field(&ctx, "gs_set_network_disabled", &rooms, guard::Field::NetworkDisabled(disabled))
        })
        .bind(&CUSTOM_OPS_STATES, custom_ops_states)
}

const GS_GET: Binding = Binding {
    name: "gs_get",
    doc: "Returns a room by its name.",
    params: &[param("name", "string", "name of the GameServer: `minecraft-0`")],
    returns: "GameServer",
    errors: &["not-found", "forbidden"],
    access: reading::LIST,
    example: r#"gs_get("minecraft-0").ops_state == "Allocated""#,
};

const GS_LIST: Binding = Binding {
    name: "gs_list",
    doc: "Returns all rooms of a GameServerSet, by ordinal.",
    params: &[param("gss", "string", "GameServerSet")],
    returns: "GameServers",
    errors: &["not-found", "forbidden"],
    access: reading::LIST,
    example: r#"gs_list("minecraft").len == 3"#,
};

const GS_SELECT: Binding = Binding {
    name: "gs_select",
    doc: "Returns the rooms of a GameServerSet that match a filter, by ordinal: GameServers and pods joined from two \
          lists. An unknown key, container or opsState is an error: a filter never selects everything or nothing in \
          silence.",
    params: &[
        param("gss", "string", "GameServerSet"),
        param("filter", "map | closure", "clauses that all must hold, or `|gs| …`").clauses(FILTER_KEYS),
    ],
    returns: "GameServers",
    errors: &["not-found", "unknown-key", "invalid", "forbidden"],
    access: reading::LIST,
    example: r#"gs_select("minecraft", #{ ops_state: "None", ids: "1-2" }).names == ["minecraft-1", "minecraft-2"]"#,
};

const GS_COUNT: Binding = Binding {
    name: "gs_count",
    doc: "Returns how many rooms of a GameServerSet match a filter.",
    params: &[
        param("gss", "string", "GameServerSet"),
        param("filter", "map", "as in `gs_select`; none counts all").clauses(FILTER_KEYS).optional(),
    ],
    returns: "int",
    errors: &["not-found", "unknown-key", "invalid", "forbidden"],
    access: reading::LIST,
    example: r#"gs_count("minecraft", #{ matchable: true }) == 2"#,
};

const SET_OPS_STATE_KEYS: &[Key] = &[
    key(
        "allow_allocated",
        "bool",
        "also mark Allocated rooms WaitToBeDeleted or Kill; default false: they are skipped",
    ),
    key("limit", "int", "how many writes are under way at once; default 16"),
];

const GS_SET_OPS_STATE: Binding = Binding {
    name: "gs_set_ops_state",
    doc: "Sets `spec.opsState` of rooms that have not changed since they were judged. Each write is a JSON Patch that \
          tests the same opsState, uid and owner; a room that changed meanwhile is skipped and reported, never \
          overwritten.",
    params: &[
        param(
            "rooms",
            "GameServers | GameServer | array | string",
            "what `gs_select` or `gs_get` returned, or names, which are read first",
        ),
        param(
            "state",
            "string",
            "None, Allocated, Maintaining, WaitToBeDeleted, Kill, or one declared with `custom_ops_states`",
        )
        .one_of(&ops_state::KNOWN),
        param("opts", "map", "how").keys(SET_OPS_STATE_KEYS).optional(),
    ],
    returns: "Outcome",
    errors: &["not-found", "invalid", "forbidden"],
    access: reading::WRITE,
    example: r#"gs_set_ops_state(gs_select("minecraft", #{ ops_state: "None" }), "Maintaining").changed.len == 2"#,
};

const GS_SET_DELETION_PRIORITY: Binding = Binding {
    name: "gs_set_deletion_priority",
    doc: "Sets `spec.deletionPriority` of rooms that are still the same: the higher, the sooner a scale-in takes them.",
    params: &[
        param("rooms", "GameServers | GameServer | array | string", "rooms, or names, which are read first"),
        param("priority", "int", "0 or more: OKG cannot copy a negative number to the pod"),
    ],
    returns: "Outcome",
    errors: &["not-found", "invalid", "forbidden"],
    access: reading::WRITE,
    example: r#"gs_set_deletion_priority("minecraft-1", 10).changed == ["minecraft-1"]"#,
};

const GS_SET_UPDATE_PRIORITY: Binding = Binding {
    name: "gs_set_update_priority",
    doc: "Sets `spec.updatePriority` of rooms that are still the same: the higher, the sooner a rolling update takes them.",
    params: &[
        param("rooms", "GameServers | GameServer | array | string", "rooms, or names, which are read first"),
        param("priority", "int", "0 or more: OKG cannot copy a negative number to the pod"),
    ],
    returns: "Outcome",
    errors: &["not-found", "invalid", "forbidden"],
    access: reading::WRITE,
    example: r#"gs_set_update_priority("minecraft-1", 5).changed == ["minecraft-1"]"#,
};

const GS_SET_NETWORK_DISABLED: Binding = Binding {
    name: "gs_set_network_disabled",
    doc: "Sets `spec.networkDisabled` of rooms that are still the same. What that does is up to the network plugin; \
          players who are connected may be cut off.",
    params: &[
        param("rooms", "GameServers | GameServer | array | string", "rooms, or names, which are read first"),
        param("disabled", "bool", "whether the network is switched off"),
    ],
    returns: "Outcome",
    errors: &["not-found", "forbidden"],
    access: reading::WRITE,
    example: r#"gs_set_network_disabled("minecraft-1", true).changed == ["minecraft-1"]"#,
};

const CUSTOM_OPS_STATES: Binding = Binding {
    name: "custom_ops_states",
    doc: "Declares opsStates of your own, so that filters and writes accept them. OKG ranks any other text as None.",
    params: &[param("states", "array", "texts")],
    returns: "()",
    errors: &["invalid"],
    access: &[],
    example: r#"custom_ops_states(["Draining"]); gs_count("minecraft", #{ ops_state: "Draining" }) == 0"#,
};

/// Makes script values of rooms.
pub fn game_servers(host: &Host, set: &str, rooms: Vec<Room>) -> GameServers {
    let read_at = host.now();
    let rooms = rooms.into_iter().map(|room| GameServerValue { room: Arc::new(room), read_at }).collect();
    GameServers { set: set.into(), rooms: Arc::new(rooms) }
}

fn gs_get(ctx: NativeCallContext, name: &str) -> ScriptResult<GameServerValue> {
    let host = host(&ctx)?;
    let rooms = named(&host, "gs_get", &[name.to_owned()])?;
    rooms.into_iter().next().ok_or_else(|| throw(Diagnostic::new(Kind::Internal, "a room that was read is gone")))
}

fn gs_select(ctx: &NativeCallContext, function: &str, gss: &str, filter: &Map) -> ScriptResult<GameServers> {
    let host = host(ctx)?;
    let filter = Filter::parse(function, filter, &host.custom_ops_states()).map_err(throw)?;
    let view = select_view(&host, function, gss, &filter)?;
    let now = host.now();
    let rooms = view.rooms.into_iter().filter(|room| filter.matches(room, now)).collect();
    Ok(game_servers(&host, gss, rooms))
}

fn select_view(host: &Host, function: &str, gss: &str, filter: &Filter) -> ScriptResult<SetView> {
    let view = if filter.needs_version() { read_judged(host, gss)? } else { read_view(host, gss)? };
    filter.check_containers(function, &containers_of(&view.rooms)).map_err(throw)?;
    Ok(view)
}

fn gs_select_by(ctx: &NativeCallContext, gss: &str, keep: &FnPtr) -> ScriptResult<GameServers> {
    let host = host(ctx)?;
    let all = game_servers(&host, gss, read_judged(&host, gss)?.rooms);
    let mut kept = Vec::new();
    for gs in all.rooms.iter() {
        let value: Dynamic = keep.call_within_context(ctx, (gs.clone(),))?;
        match value.as_bool() {
            Ok(true) => kept.push(gs.clone()),
            Ok(false) => {}
            Err(kind) => {
                let what = format!("the filter of gs_select gave a {kind}, not true or false");
                return Err(throw(Diagnostic::new(Kind::WrongArguments, what)));
            }
        }
    }
    Ok(GameServers { set: all.set, rooms: Arc::new(kept) })
}

fn gs_count(ctx: &NativeCallContext, gss: &str, filter: &Map) -> ScriptResult<i64> {
    let found = gs_select(ctx, "gs_count", gss, filter)?;
    Ok(i64::try_from(found.rooms.len()).unwrap_or(i64::MAX))
}

fn custom_ops_states(ctx: NativeCallContext, states: rhai::Array) -> ScriptResult<()> {
    let host = host(&ctx)?;
    for state in states {
        let Ok(state) = state.into_string() else {
            return Err(throw(Diagnostic::new(Kind::WrongArguments, "custom_ops_states takes a list of texts")));
        };
        if !is_label_value(&state) {
            let what = format!("`{state}` cannot be an opsState that reaches the pod");
            return Err(throw(
                Diagnostic::new(Kind::Invalid, what)
                    .why("OKG copies opsState to a pod label: at most 63 letters, digits, `-`, `_` and `.`"),
            ));
        }
        host.custom_ops_states().insert(state);
    }
    Ok(())
}

fn is_label_value(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && edge(text.chars().next())
        && edge(text.chars().last())
}

/// Returns the rooms that an argument means: rooms as they were judged, or names, which are read now.
pub fn rooms_of(host: &Host, function: &str, rooms: &Dynamic) -> ScriptResult<Vec<GameServerValue>> {
    if let Some(rooms) = rooms.read_lock::<GameServers>() {
        return Ok(rooms.rooms.to_vec());
    }
    if let Some(room) = rooms.read_lock::<GameServerValue>() {
        return Ok(vec![room.clone()]);
    }
    if let Ok(name) = rooms.clone().into_string() {
        return named(host, function, &[name]);
    }
    let Some(items) = rooms.read_lock::<rhai::Array>() else {
        let given = crate::script::value::type_name(rooms);
        let what = format!("{function} takes rooms or names of rooms, not {given}");
        return Err(throw(Diagnostic::new(Kind::WrongArguments, what)));
    };
    let mut judged = Vec::new();
    let mut to_read = Vec::new();
    for item in items.iter() {
        if let Some(room) = item.read_lock::<GameServerValue>() {
            judged.push(room.clone());
        } else if let Ok(name) = item.clone().into_string() {
            to_read.push(name);
        } else {
            let given = crate::script::value::type_name(item);
            let what = format!("{function} takes rooms or names of rooms, not a list with {given}");
            return Err(throw(Diagnostic::new(Kind::WrongArguments, what)));
        }
    }
    drop(items);
    if !to_read.is_empty() {
        judged.extend(named(host, function, &to_read)?);
    }
    Ok(judged)
}

/// Reads rooms by name: one pair of lists for each set they belong to.
fn named(host: &Host, function: &str, wanted: &[String]) -> ScriptResult<Vec<GameServerValue>> {
    let mut by_set: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for name in wanted {
        let Some(set) = names::set_of(name) else {
            let what = format!("{function}: `{name}` is no name of a room");
            return Err(throw(
                Diagnostic::new(Kind::Invalid, what).why("rooms are called `<GameServerSet>-<ordinal>`"),
            ));
        };
        by_set.entry(set.to_owned()).or_default().push(name);
    }
    let mut found = Vec::new();
    for (set, wanted) in by_set {
        let all = game_servers(host, &set, read_view(host, &set)?.rooms);
        for name in wanted {
            match all.rooms.iter().find(|gs| gs.room.name() == name) {
                Some(gs) => found.push(gs.clone()),
                None => return Err(throw(no_such_room(host, name, &all))),
            }
        }
    }
    Ok(found)
}

fn no_such_room(host: &Host, name: &str, all: &GameServers) -> Diagnostic {
    let namespace = host.known_cluster().map(|cluster| cluster.namespace().to_owned()).unwrap_or_default();
    let known: Vec<&str> = all.rooms.iter().map(|gs| gs.room.name()).collect();
    let shown: Vec<&str> = known.iter().take(12).copied().collect();
    let more = if known.len() > shown.len() { ", …" } else { "" };
    let mut diagnostic = Diagnostic::new(Kind::NotFound, format!("there is no GameServer `{namespace}/{name}`"))
        .why(format!("GameServerSet `{}` has {}{more}", all.set, shown.join(", ")));
    if let Some(near) = closest(name, known.iter().copied()) {
        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
    }
    diagnostic
}

fn gs_set_ops_state(ctx: &NativeCallContext, rooms: &Dynamic, state: &str, opts: &Map) -> ScriptResult<Outcome> {
    let host = host(ctx)?;
    let opts = Options::read("gs_set_ops_state", opts, SET_OPS_STATE_KEYS)?;
    check_ops_state(state, &host.custom_ops_states()).map_err(throw)?;
    let rooms = rooms_of(&host, "gs_set_ops_state", rooms)?;
    let limit = opts.count("limit")?.map_or(guard::AT_ONCE, |limit| usize::try_from(limit).unwrap_or(1).max(1));
    let spares_players = matches!(state, ops_state::WAIT_TO_BE_DELETED | ops_state::KILL);
    let allow = opts.flag("allow_allocated")?.unwrap_or(false);
    let (spared, rooms): (Vec<_>, Vec<_>) = rooms
        .into_iter()
        .partition(|gs| spares_players && !allow && gs.room.server.ops_state() == ops_state::ALLOCATED);
    if spares_players && !rooms.is_empty() {
        host.note(Note::rests_on(PLAIN_MARK));
    }
    let mut outcome = guard::write(&host, rooms, &guard::Field::OpsState(state.to_owned()), limit)?;
    for gs in spared {
        guard::skip(&host, &mut outcome, gs.room.name(), "Allocated: players are in it");
    }
    Ok(outcome)
}

fn set_field(ctx: &NativeCallContext, function: &str, rooms: &Dynamic, field: guard::Field) -> ScriptResult<Outcome> {
    let host = host(ctx)?;
    field.check(function).map_err(throw)?;
    let rooms = rooms_of(&host, function, rooms)?;
    guard::write(&host, rooms, &field, guard::AT_ONCE)
}

/// Returns the names of rooms that appear more than once, which a caller would write twice.
pub fn distinct(rooms: Vec<GameServerValue>) -> Vec<GameServerValue> {
    let mut seen = BTreeSet::new();
    rooms.into_iter().filter(|gs| seen.insert(gs.room.name().to_owned())).collect()
}
