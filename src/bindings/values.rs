//! Script values: rooms, GameServerSets, pods. Compact, read-only, strict about misspelt properties.

use std::sync::Arc;

use jiff::Timestamp;
use rhai::{Array, Dynamic, Engine, FnPtr, ImmutableString, Map, NativeCallContext};

use super::filter::age;
use super::host::ScriptResult;
use super::property::{Property, TypeRecord, register};
use super::table;
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::okg::game_server::{Room, Version};
use crate::okg::game_server_set::GameServerSet;
use crate::okg::pod::Pod;
use crate::script::{duration, throw, value};

/// A room as a script sees it.
#[derive(Clone, Debug)]
pub struct GameServerValue {
    /// The room.
    pub room: Arc<Room>,
    /// When it was read.
    pub read_at: Timestamp,
}

/// Rooms of one GameServerSet, by ordinal.
#[derive(Clone, Debug)]
pub struct GameServers {
    /// Name of the GameServerSet.
    pub set: Arc<str>,
    /// The rooms.
    pub rooms: Arc<Vec<GameServerValue>>,
}

/// A GameServerSet as a script sees it.
#[derive(Clone, Debug)]
pub struct GameServerSetValue {
    /// The set.
    pub set: Arc<GameServerSet>,
    /// When it was read.
    pub read_at: Timestamp,
}

/// A pod as a script sees it.
#[derive(Clone, Debug)]
pub struct PodValue {
    /// The pod.
    pub pod: Arc<Pod>,
    /// When it was read.
    pub read_at: Timestamp,
}

fn text(value: &str) -> Dynamic {
    Dynamic::from(ImmutableString::from(value))
}

fn texts<'a>(values: impl Iterator<Item = (&'a str, &'a str)>) -> Dynamic {
    Dynamic::from_map(values.map(|(key, value)| (key.into(), text(value))).collect::<Map>())
}

fn number(value: &str) -> Dynamic {
    value.parse::<i64>().map(Dynamic::from).unwrap_or_else(|_| text(value))
}

fn since(made: Option<Timestamp>, now: Timestamp) -> String {
    let passed = made.and_then(|made| std::time::Duration::try_from(now.duration_since(made)).ok());
    passed.map_or("<unknown>".to_owned(), duration::format)
}

const fn property<T>(name: &'static str, ty: &'static str, doc: &'static str, get: fn(&T) -> Dynamic) -> Property<T> {
    Property { name, ty, doc, get }
}

/// Properties of a GameServer.
pub static GAME_SERVER: &[Property<GameServerValue>] = &[
    property("name", "string", "name: `<set>-<ordinal>`", |gs| text(gs.room.name())),
    property("namespace", "string", "namespace", |gs| text(&gs.room.server.metadata.namespace)),
    property("ordinal", "int", "number after the last dash of the name", |gs| {
        gs.room.server.ordinal().map_or(Dynamic::UNIT, |n| Dynamic::from(i64::try_from(n).unwrap_or(i64::MAX)))
    }),
    property(
        "ops_state",
        "string",
        "`spec.opsState`: None, Allocated, WaitToBeDeleted, Maintaining, Kill or a text of your own",
        |gs| text(gs.room.server.ops_state()),
    ),
    property("state", "string", "`status.currentState`: Creating, Ready, NotReady, Deleting, …", |gs| {
        text(gs.room.server.state())
    }),
    property("version", "string", "\"old\", \"current\" or \"unknown\", by the pod's revision", |gs| {
        text(gs.room.version.word())
    }),
    property("revision", "string", "full name of the pod's ControllerRevision; empty without a pod", |gs| {
        text(gs.room.pod.as_ref().map(|pod| pod.revision()).unwrap_or_default())
    }),
    property("images", "map", "image of each container of the pod", |gs| {
        texts(gs.room.pod.iter().flat_map(|pod| pod.images()))
    }),
    property("matchable", "bool", "GameServer Ready, opsState None, network ready if it has one", |gs| {
        Dynamic::from(gs.room.matchable())
    }),
    property("open", "bool", "matchable or Allocated", |gs| Dynamic::from(gs.room.open())),
    property("network_ready", "bool", "the network lets players in, or there is none", |gs| {
        Dynamic::from(gs.room.server.network_ready())
    }),
    property("network_state", "string", "Ready, NotReady, Waiting, or \"none\"", |gs| {
        text(gs.room.server.network_state())
    }),
    property("network_disabled", "bool", "`spec.networkDisabled`", |gs| {
        Dynamic::from(gs.room.server.network_disabled())
    }),
    property("addresses", "array", "where players connect: `host:port`", |gs| {
        Dynamic::from_array(gs.room.server.addresses().iter().map(|address| text(address)).collect())
    }),
    property("deletion_priority", "int", "`spec.deletionPriority`", |gs| number(gs.room.server.deletion_priority())),
    property("update_priority", "int", "`spec.updatePriority`", |gs| number(gs.room.server.update_priority())),
    property("labels", "map", "labels of the GameServer", |gs| {
        texts(gs.room.server.metadata.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }),
    property("annotations", "map", "annotations of the GameServer", |gs| {
        texts(gs.room.server.metadata.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }),
    property("age", "string", "time since the GameServer was made: \"2m18s\"", |gs| {
        text(&since(gs.room.server.metadata.creation_timestamp, gs.read_at))
    }),
    property("age_seconds", "int", "the same in seconds", |gs| {
        let seconds = age(&gs.room, gs.read_at).map(|age| age.as_secs()).unwrap_or_default();
        Dynamic::from(i64::try_from(seconds).unwrap_or(i64::MAX))
    }),
    property("uid", "string", "identity of the GameServer", |gs| text(&gs.room.server.metadata.uid)),
    property("pod_uid", "string", "identity of the pod; empty without one", |gs| {
        text(gs.room.pod.as_ref().map(|pod| pod.metadata.uid.as_str()).unwrap_or_default())
    }),
    property("pod_ready", "bool", "the pod is Running and Ready and stays", |gs| {
        Dynamic::from(gs.room.pod.as_ref().is_some_and(|pod| pod.ready()))
    }),
    property("terminating", "bool", "the pod's deletion was asked for", |gs| {
        Dynamic::from(gs.room.pod.as_ref().is_some_and(|pod| pod.terminating()))
    }),
    property("node", "string", "node of the pod; empty before it has one", |gs| {
        text(gs.room.pod.as_ref().map(|pod| pod.node()).unwrap_or_default())
    }),
    property("ip", "string", "address of the pod", |gs| {
        text(gs.room.pod.as_ref().map(|pod| pod.ip()).unwrap_or_default())
    }),
    property("restarts", "int", "restarts of its containers, summed up", |gs| {
        Dynamic::from(gs.room.pod.as_ref().map(|pod| pod.restarts()).unwrap_or_default())
    }),
    property(
        "reason",
        "string",
        "why it is not Ready, as far as the pod and OKG's conditions tell; empty if it is",
        |gs| text(&gs.room.reason().unwrap_or_default()),
    ),
    property("why_unknown", "string", "why its version cannot be told; empty if it can", |gs| match gs.room.version {
        Version::Unknown(why) => text(why),
        Version::Old | Version::Current => text(""),
    }),
];

/// Properties of a list of rooms.
pub static GAME_SERVERS: &[Property<GameServers>] = &[
    property("len", "int", "how many rooms", |rooms| {
        Dynamic::from(i64::try_from(rooms.rooms.len()).unwrap_or(i64::MAX))
    }),
    property("is_empty", "bool", "whether there is none", |rooms| Dynamic::from(rooms.rooms.is_empty())),
    property("names", "array", "names of the rooms", |rooms| {
        Dynamic::from_array(rooms.rooms.iter().map(|gs| text(gs.room.name())).collect())
    }),
    property("set", "string", "name of the GameServerSet", |rooms| text(&rooms.set)),
    property("first", "GameServer", "the room with the lowest ordinal; an error if there is none", |rooms| {
        rooms.rooms.first().map_or(Dynamic::UNIT, |gs| Dynamic::from(gs.clone()))
    }),
    property("last", "GameServer", "the room with the highest ordinal", |rooms| {
        rooms.rooms.last().map_or(Dynamic::UNIT, |gs| Dynamic::from(gs.clone()))
    }),
];

/// Properties of a GameServerSet.
pub static GAME_SERVER_SET: &[Property<GameServerSetValue>] = &[
    property("name", "string", "name", |gss| text(&gss.set.metadata.name)),
    property("namespace", "string", "namespace", |gss| text(&gss.set.metadata.namespace)),
    property("uid", "string", "identity", |gss| text(&gss.set.metadata.uid)),
    property("resource_version", "string", "version of the object", |gss| text(&gss.set.metadata.resource_version)),
    property("generation", "int", "counts changes of the specification", |gss| {
        Dynamic::from(gss.set.metadata.generation)
    }),
    property("observed_generation", "int", "generation that OKG has pushed to the workload", |gss| {
        Dynamic::from(gss.set.observed_generation())
    }),
    property("observed", "bool", "OKG has pushed the present specification to the workload", |gss| {
        Dynamic::from(gss.set.observed())
    }),
    property("replicas", "int", "`spec.replicas`", |gss| Dynamic::from(gss.set.replicas())),
    property("current_replicas", "int", "rooms there are, terminating ones included", |gss| {
        Dynamic::from(gss.set.status_number("currentReplicas"))
    }),
    property("updated_replicas", "int", "rooms of the present revision", |gss| {
        Dynamic::from(gss.set.status_number("updatedReplicas"))
    }),
    property("ready_replicas", "int", "Ready rooms", |gss| Dynamic::from(gss.set.status_number("readyReplicas"))),
    property("available_replicas", "int", "available rooms", |gss| {
        Dynamic::from(gss.set.status_number("availableReplicas"))
    }),
    property("maintaining_replicas", "int", "rooms in Maintaining", |gss| {
        Dynamic::from(gss.set.status_number("maintainingReplicas"))
    }),
    property("wait_to_be_deleted_replicas", "int", "rooms in WaitToBeDeleted", |gss| {
        Dynamic::from(gss.set.status_number("waitToBeDeletedReplicas"))
    }),
    property("images", "map", "image of each container of the template", |gss| {
        let containers = gss.set.containers();
        texts(containers.iter().map(|container| (container.name.as_str(), container.image.as_str())))
    }),
    property("containers", "array", "names of the template's containers", |gss| {
        Dynamic::from_array(gss.set.containers().iter().map(|container| text(&container.name)).collect())
    }),
    property("update_strategy", "string", "`spec.updateStrategy.type` as written; empty means RollingUpdate", |gss| {
        text(gss.set.update_type())
    }),
    property("rolling_update", "bool", "`rollingUpdate` is present, even empty: OKG then recreates rooms", |gss| {
        Dynamic::from(gss.set.rolling_update())
    }),
    property("network_type", "string", "`spec.network.networkType`; empty without a network", |gss| {
        text(gss.set.network_type())
    }),
    property("reserve_ids", "array", "`spec.reserveGameServerIds` as written", |gss| {
        Dynamic::from_array(gss.set.reserve_ids().iter().map(value::from_json).collect())
    }),
    property("labels", "map", "labels", |gss| {
        texts(gss.set.metadata.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }),
    property("annotations", "map", "annotations", |gss| {
        texts(gss.set.metadata.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }),
    property("age", "string", "time since it was made", |gss| {
        text(&since(gss.set.metadata.creation_timestamp, gss.read_at))
    }),
];

/// Properties of a pod.
pub static POD: &[Property<PodValue>] = &[
    property("name", "string", "name", |pod| text(&pod.pod.metadata.name)),
    property("namespace", "string", "namespace", |pod| text(&pod.pod.metadata.namespace)),
    property("uid", "string", "identity", |pod| text(&pod.pod.metadata.uid)),
    property("phase", "string", "Pending, Running, Failed, …", |pod| text(pod.pod.phase())),
    property("ready", "bool", "Running and Ready, and stays", |pod| Dynamic::from(pod.pod.ready())),
    property("terminating", "bool", "its deletion was asked for", |pod| Dynamic::from(pod.pod.terminating())),
    property("revision", "string", "full name of its ControllerRevision", |pod| text(pod.pod.revision())),
    property("images", "map", "image of each container", |pod| texts(pod.pod.images().into_iter())),
    property("node", "string", "node; empty before it has one", |pod| text(pod.pod.node())),
    property("ip", "string", "address", |pod| text(pod.pod.ip())),
    property("restarts", "int", "restarts of its containers, summed up", |pod| Dynamic::from(pod.pod.restarts())),
    property("labels", "map", "labels", |pod| {
        texts(pod.pod.metadata.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }),
    property("reason", "string", "why it does not run, as far as its status tells; empty if it does", |pod| {
        text(&pod.pod.trouble().map(|trouble| trouble.to_string()).unwrap_or_default())
    }),
    property("age", "string", "time since it was made", |pod| {
        text(&since(pod.pod.metadata.creation_timestamp, pod.read_at))
    }),
];

/// Returns the records of all types with properties.
pub fn types() -> Vec<TypeRecord> {
    let mut types = vec![
        TypeRecord {
            name: "GameServer",
            doc: "A room: the GameServer and its pod as they were read.",
            properties: GAME_SERVER.iter().map(Property::record).collect(),
        },
        TypeRecord {
            name: "GameServers",
            doc: "Rooms of one set, by ordinal; `for gs in rooms`, `rooms[0]`, `rooms.filter(|gs| …)`, `rooms.map(|gs| …)`.",
            properties: GAME_SERVERS.iter().map(Property::record).collect(),
        },
        TypeRecord {
            name: "GameServerSet",
            doc: "A GameServerSet as it was read; `gss.to_map()` is the whole object.",
            properties: GAME_SERVER_SET.iter().map(Property::record).collect(),
        },
        TypeRecord {
            name: "Pod",
            doc: "A pod as it was read.",
            properties: POD.iter().map(Property::record).collect(),
        },
    ];
    types.push(super::outcome::record());
    types.push(super::wait::deadline_record());
    types
}

/// Makes the types known to an engine.
pub fn register_types(engine: &mut Engine) {
    register(engine, "GameServer", GAME_SERVER);
    register(engine, "GameServers", GAME_SERVERS);
    register(engine, "GameServerSet", GAME_SERVER_SET);
    register(engine, "Pod", POD);
    engine.register_fn("image", |gs: &mut GameServerValue, container: &str| {
        image(gs.room.name(), gs.room.pod.as_deref(), Some(container))
    });
    engine.register_fn("image", |gs: &mut GameServerValue| image(gs.room.name(), gs.room.pod.as_deref(), None));
    engine.register_fn("image", |pod: &mut PodValue, container: &str| {
        image(&pod.pod.metadata.name, Some(&pod.pod), Some(container))
    });
    engine.register_fn("to_map", |gss: &mut GameServerSetValue| value::from_json(&gss.set.object));
    engine.register_fn("==", |a: GameServerValue, b: GameServerValue| {
        a.room.server.metadata.uid == b.room.server.metadata.uid
            && a.room.server.metadata.resource_version == b.room.server.metadata.resource_version
    });
    engine.register_fn("==", |a: GameServerSetValue, b: GameServerSetValue| {
        a.set.metadata.uid == b.set.metadata.uid && a.set.metadata.resource_version == b.set.metadata.resource_version
    });
    register_display::<GameServerValue>(
        engine,
        |gs| gs.room.name().to_owned(),
        |gs| rooms_table(std::slice::from_ref(gs)),
    );
    register_display::<GameServers>(
        engine,
        |rooms| format!("{} rooms", rooms.rooms.len()),
        |rooms| rooms_table(&rooms.rooms),
    );
    register_display::<GameServerSetValue>(
        engine,
        |gss| gss.set.metadata.name.clone(),
        |gss| sets_table(std::slice::from_ref(gss)),
    );
    register_display::<PodValue>(
        engine,
        |pod| pod.pod.metadata.name.clone(),
        |pod| pods_table(std::slice::from_ref(pod)),
    );
    register_list(engine);
}

fn register_display<T: rhai::Variant + Clone>(engine: &mut Engine, short: fn(&T) -> String, long: fn(&T) -> String) {
    engine.register_fn("to_string", move |value: &mut T| short(value));
    engine.register_fn("to_debug", move |value: &mut T| long(value));
}

/// Makes [`GameServers`] usable like an array.
fn register_list(engine: &mut Engine) {
    engine.register_iterator::<GameServers>();
    engine.register_fn("len", |rooms: &mut GameServers| i64::try_from(rooms.rooms.len()).unwrap_or(i64::MAX));
    engine.register_fn("is_empty", |rooms: &mut GameServers| rooms.rooms.is_empty());
    engine.register_fn("to_array", |rooms: &mut GameServers| rooms.clone().into_iter().collect::<Array>());
    engine.register_fn("contains", |rooms: &mut GameServers, name: &str| {
        rooms.rooms.iter().any(|gs| gs.room.name() == name)
    });
    engine.register_indexer_get(|rooms: &mut GameServers, index: i64| -> ScriptResult<GameServerValue> {
        let len = i64::try_from(rooms.rooms.len()).unwrap_or(i64::MAX);
        let at = if index < 0 { index + len } else { index };
        let found = usize::try_from(at).ok().and_then(|at| rooms.rooms.get(at).cloned());
        found.ok_or_else(|| throw(Diagnostic::new(Kind::NotFound, format!("there is no room {index} among {len}"))))
    });
    engine.register_fn(
        "filter",
        |ctx: NativeCallContext, rooms: &mut GameServers, keep: FnPtr| -> ScriptResult<GameServers> {
            let mut kept = Vec::new();
            for gs in rooms.rooms.iter() {
                let value: Dynamic = keep.call_within_context(&ctx, (gs.clone(),))?;
                if value.as_bool().unwrap_or(false) {
                    kept.push(gs.clone());
                }
            }
            Ok(GameServers { set: rooms.set.clone(), rooms: Arc::new(kept) })
        },
    );
    engine.register_fn("map", |ctx: NativeCallContext, rooms: &mut GameServers, make: FnPtr| -> ScriptResult<Array> {
        rooms.rooms.iter().map(|gs| make.call_within_context(&ctx, (gs.clone(),))).collect()
    });
    engine.register_fn("take", |rooms: &mut GameServers, count: i64| {
        let count = usize::try_from(count).unwrap_or(0);
        GameServers { set: rooms.set.clone(), rooms: Arc::new(rooms.rooms.iter().take(count).cloned().collect()) }
    });
    engine.register_fn("skip", |rooms: &mut GameServers, count: i64| {
        let count = usize::try_from(count).unwrap_or(0);
        GameServers { set: rooms.set.clone(), rooms: Arc::new(rooms.rooms.iter().skip(count).cloned().collect()) }
    });
}

impl IntoIterator for GameServers {
    type Item = Dynamic;
    type IntoIter = std::vec::IntoIter<Dynamic>;
    fn into_iter(self) -> Self::IntoIter {
        self.rooms.iter().map(|gs| Dynamic::from(gs.clone())).collect::<Vec<_>>().into_iter()
    }
}

fn image(name: &str, pod: Option<&Pod>, container: Option<&str>) -> ScriptResult<String> {
    let images = pod.map(|pod| pod.images()).unwrap_or_default();
    let known: Vec<&str> = images.keys().copied().collect();
    let missing = |what: String| {
        let mut diagnostic = Diagnostic::new(Kind::NotFound, what).why(format!("containers: {}", known.join(", ")));
        if let Some(near) = container.and_then(|container| closest(container, known.iter().copied())) {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        }
        throw(diagnostic)
    };
    match container {
        Some(container) => {
            let found = images.get(container).map(|image| (*image).to_owned());
            found.ok_or_else(|| missing(format!("room `{name}` has no container `{container}`")))
        }
        None if images.len() == 1 => Ok(images.values().next().map(|image| (*image).to_owned()).unwrap_or_default()),
        None => Err(missing(format!("room `{name}` has {} containers: say which one", images.len()))),
    }
}

/// Draws rooms as kubectl does.
pub fn rooms_table(rooms: &[GameServerValue]) -> String {
    let rows: Vec<Vec<String>> = rooms.iter().map(room_row).collect();
    table::draw(&["NAME", "STATE", "OPSSTATE", "DP", "UP", "AGE"], &rows)
}

fn room_row(gs: &GameServerValue) -> Vec<String> {
    let server = &gs.room.server;
    vec![
        gs.room.name().to_owned(),
        server.state().to_owned(),
        server.ops_state().to_owned(),
        server.shown_deletion_priority().to_owned(),
        server.shown_update_priority().to_owned(),
        since(server.metadata.creation_timestamp, gs.read_at),
    ]
}

/// Draws GameServerSets as kubectl does.
pub fn sets_table(sets: &[GameServerSetValue]) -> String {
    let number = |gss: &GameServerSetValue, field: &str| gss.set.status_number(field).to_string();
    let rows: Vec<Vec<String>> = sets
        .iter()
        .map(|gss| {
            vec![
                gss.set.metadata.name.clone(),
                gss.set.replicas().to_string(),
                number(gss, "currentReplicas"),
                number(gss, "updatedReplicas"),
                number(gss, "readyReplicas"),
                number(gss, "maintainingReplicas"),
                number(gss, "waitToBeDeletedReplicas"),
                number(gss, "preDeleteReplicas"),
                since(gss.set.metadata.creation_timestamp, gss.read_at),
            ]
        })
        .collect();
    let headers =
        ["NAME", "DESIRED", "CURRENT", "UPDATED", "READY", "MAINTAINING", "WAITTOBEDELETED", "PREDELETE", "AGE"];
    table::draw(&headers, &rows)
}

/// Draws pods as kubectl does, as far as a compact pod tells.
pub fn pods_table(pods: &[PodValue]) -> String {
    let rows: Vec<Vec<String>> = pods
        .iter()
        .map(|pod| {
            let trouble = pod.pod.trouble().map(|trouble| trouble.reason);
            let status = if pod.pod.terminating() {
                "Terminating".to_owned()
            } else {
                trouble.unwrap_or_else(|| pod.pod.phase().to_owned())
            };
            vec![
                pod.pod.metadata.name.clone(),
                pod.pod.ready().to_string(),
                status,
                pod.pod.restarts().to_string(),
                since(pod.pod.metadata.creation_timestamp, pod.read_at),
            ]
        })
        .collect();
    table::draw(&["NAME", "READY", "STATUS", "RESTARTS", "AGE"], &rows)
}
