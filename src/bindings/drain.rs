//! What the drain protocol is made of: settled, hold, verify, mark or retire, release. `stdlib/okg/drain.rhai` puts the
//! steps together; why each is there stands in the documentation of the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rhai::{Dynamic, Map, NativeCallContext};
use serde_json::{Value, json};

use super::binding::{Binding, Bindings, Key, key, param, rule};
use super::gs::{game_servers, reading, rooms_of};
use super::gss::send;
use super::guard::{self, Field};
use super::host::{Host, LOCK, ScriptResult, host};
use super::ledger::{Note, RETIRED, RoomChange};
use super::options::Options;
use super::outcome::Outcome;
use super::reads::{PATIENCE_SECONDS, SetView, read_taken_over, read_view, set_afresh, view_afresh};
use super::stage::Event;
use super::values::GameServers;
use super::wait::{Ended, Seen, Wait};
use crate::cluster::Patch;
use crate::diagnostic::{Diagnostic, Kind};
use crate::okg::game_server::Room;
use crate::okg::game_server_set::GameServerSet;
use crate::okg::{names, ops_state, reserve};
use crate::script::throw;

/// Annotation that says who holds a room, which pod was judged, from which state, since when; on a set, which ids a
/// run has reserved.
pub const DRAIN: &str = "okgscript.io/drain";

/// What every drain rests on.
const ALWAYS: &[&str] = &[
    "whoever plays or is sent to a room has a GameServer that is not None",
    "no matchmaker writes later after it has read than the grace",
    "nobody else writes over a hold or a mark",
];

/// What a mark rests on beside that.
const MARK: &[&str] = &[
    "whoever lowers replicas never does so while the set is unsettled",
    "no pod of the set crashes or is evicted between its mark and its end",
];

/// What a retirement rests on beside that.
const RETIRE: &[&str] = &["no retired room is recreated in the instant between the last look and the patch"];

/// How often is looked whether the last retired rooms are gone.
const LOOKS: usize = 10;

/// How often a retirement is judged anew after somebody else's write to the set.
const REPEATS: u32 = 5;

/// The family of this file.
pub fn bindings() -> Bindings {
    Bindings::new("drain", "Steps of the drain protocol; `okg/drain` puts them together.")
        .bind(&GSS_UNSETTLED, gss_unsettled)
        .bind(&GS_HOLD, |ctx: NativeCallContext, rooms: Dynamic| gs_hold(&ctx, &rooms, &Map::new()))
        .bind(&GS_HOLD, |ctx: NativeCallContext, rooms: Dynamic, opts: Map| gs_hold(&ctx, &rooms, &opts))
        .bind(&GS_HELD, |ctx: NativeCallContext, gss: &str| gs_held(&ctx, gss, &Map::new()))
        .bind(&GS_HELD, |ctx: NativeCallContext, gss: &str, opts: Map| gs_held(&ctx, gss, &opts))
        .bind(&GS_MARK_HELD, gs_mark_held)
        .bind(&GS_RELEASE, gs_release)
        .bind(&GS_ADOPT, gs_adopt)
        .bind(&GSS_RETIRE, gss_retire)
        .bind(&GSS_FREE_IDS, gss_free_ids)
        .bind(&GS_LINGERING, gs_lingering)
        .bind(&OUTCOME, Outcome::default)
}

const GSS_UNSETTLED: Binding = Binding {
    name: "gss_unsettled",
    doc: "Returns why a GameServerSet is not settled, or \"\" if it is: its replicas, the workload's and the pods agree, \
          no pod is terminating or waits in PreDelete, and OKG and Kruise have seen the present specification. A \
          scale-in of an unsettled set may take another room than the one meant.",
    params: &[param("gss", "string", "GameServerSet")],
    returns: "string",
    errors: &["not-found", "forbidden"],
    access: reading::LIST,
    example: r#"gss_unsettled("minecraft") == """#,
};

const HOLD_KEYS: &[Key] =
    &[key("pre_delete", "bool", "hold rooms that a hook keeps in PreDelete, not Ready ones; default false")];

const GS_HOLD: Binding = Binding {
    name: "gs_hold",
    doc: "Takes idle rooms out of matchmaking: a guarded change from None to a value private to this run, with an \
          annotation by which any later run can adopt or undo it. A room that changed meanwhile is skipped.",
    params: &[
        param("rooms", "GameServers | GameServer | array | string", "rooms that `gs_select` judged"),
        param("opts", "map", "which rooms").keys(HOLD_KEYS).optional(),
    ],
    returns: "Outcome",
    errors: &["forbidden"],
    access: reading::WRITE,
    example: r#"gs_hold(gs_select("minecraft", #{ matchable: true })).changed.len == 2"#,
};

const HELD_KEYS: &[Key] = &[
    key("timeout", "duration", "longest wait for the pods' labels to show the hold; default \"2m\""),
    key("agree", "bool", "wait until the pods' labels show the hold; default true"),
];

const GS_HELD: Binding = Binding {
    name: "gs_held",
    doc: "Returns the rooms that this run holds and whose pods show it: the pod that was judged, its label the hold, not \
          terminating. A room that somebody took meanwhile is spared and reported; one whose pod was replaced is set \
          free.",
    params: &[param("gss", "string", "GameServerSet"), param("opts", "map", "how to wait").keys(HELD_KEYS).optional()],
    returns: "GameServers",
    errors: &["timeout", "not-found", "forbidden"],
    access: reading::WRITE_WATCHED,
    example: r#"gs_hold("minecraft-1"); gs_held("minecraft").names == ["minecraft-1"]"#,
};

const GS_MARK_HELD: Binding = Binding {
    name: "gs_mark_held",
    doc: "Marks held rooms WaitToBeDeleted, guarded: whoever lowers replicas takes them first.",
    params: &[param("rooms", "GameServers", "what `gs_held` returned")],
    returns: "Outcome",
    errors: &["forbidden"],
    access: reading::WRITE,
    example: r#"gs_hold("minecraft-1"); gs_mark_held(gs_held("minecraft")).changed == ["minecraft-1"]"#,
};

const GS_RELEASE: Binding = Binding {
    name: "gs_release",
    doc: "Sets the rooms that this run holds back to their former state, guarded.",
    params: &[param("gss", "string", "GameServerSet")],
    returns: "Outcome",
    errors: &["not-found", "forbidden"],
    access: reading::WRITE,
    example: r#"gs_hold("minecraft-1"); gs_release("minecraft").changed == ["minecraft-1"]"#,
};

const GS_ADOPT: Binding = Binding {
    name: "gs_adopt",
    doc: "Sets rooms free that an earlier run held and did not end, and ids that it reserved and did not free; in a run \
          that was resumed also its own. Returns what was written.",
    params: &[param("gss", "string", "GameServerSet")],
    returns: "Outcome",
    errors: &["not-found", "forbidden", "conflict"],
    access: &[
        LOCK,
        rule("game.kruise.io", "gameserversets", &["get", "patch"]),
        rule("game.kruise.io", "gameservers", &["get", "list", "patch"]),
        rule("apps.kruise.io", "statefulsets", &["get"]),
        rule("", "pods", &["list"]),
    ],
    example: r#"gs_adopt("minecraft").changed.is_empty()"#,
};

const GSS_RETIRE: Binding = Binding {
    name: "gss_retire",
    doc: "Takes exactly these held rooms away: one patch of the GameServerSet, guarded by its generation, puts their ids \
          into `reserveGameServerIds` and lowers replicas by as many, with or without an autoscaler. Judged again \
          before the patch: the set must be settled and every room still held.",
    params: &[param("gss", "string", "GameServerSet"), param("rooms", "GameServers", "what `gs_held` returned")],
    returns: "Outcome",
    errors: &["conflict", "refused", "not-found", "forbidden"],
    access: reading::WRITE_SET,
    example: r#"gs_hold("minecraft-1"); gss_retire("minecraft", gs_held("minecraft")).changed == ["minecraft-1"]"#,
};

const GSS_FREE_IDS: Binding = Binding {
    name: "gss_free_ids",
    doc: "Frees the ids that this run has reserved, once their rooms are gone: a write of its own, which moves nothing. \
          Under scale strategy ReserveIds they stay reserved. Returns how many were freed.",
    params: &[param("gss", "string", "GameServerSet")],
    returns: "int",
    errors: &["conflict", "not-found", "forbidden"],
    access: reading::WRITE_SET,
    example: r#"gss_free_ids("minecraft") == 0"#,
};

const GS_LINGERING: Binding = Binding {
    name: "gs_lingering",
    doc: "Returns the rooms that this run marked or retired and that are still there.",
    params: &[param("gss", "string", "GameServerSet")],
    returns: "GameServers",
    errors: &["not-found", "forbidden"],
    access: reading::LIST,
    example: r#"gs_lingering("minecraft").is_empty"#,
};

const OUTCOME: Binding = Binding {
    name: "outcome",
    doc: "Returns an empty Outcome, to add others to.",
    params: &[],
    returns: "Outcome",
    errors: &[],
    access: &[],
    example: r#"outcome().changed.is_empty()"#,
};

/// Says why a set is not settled.
fn unsettled(view: &SetView) -> Option<String> {
    if !view.set.observed() {
        let (seen, now) = (view.set.observed_generation(), view.set.metadata.generation);
        return Some(format!("OKG has seen generation {seen} of {now}"));
    }
    let Some(workload) = &view.workload else { return Some("the set has no workload".to_owned()) };
    if workload.update_revision().is_none() {
        return Some("Kruise has not seen the workload's present generation".to_owned());
    }
    let going = view.pods.values().find(|pod| pod.terminating() || pod.preparing_delete());
    if let Some(pod) = going {
        let how = if pod.terminating() { "is terminating" } else { "waits in PreDelete" };
        return Some(format!("{} {how}", pod.metadata.name));
    }
    let pods = i64::try_from(view.pods.len()).unwrap_or(i64::MAX);
    let (wanted, there) = (view.set.replicas(), workload.replicas());
    if wanted != there || wanted != pods {
        return Some(format!("replicas {wanted}, workload {there}, pods {pods}"));
    }
    None
}

fn gss_unsettled(ctx: NativeCallContext, gss: &str) -> ScriptResult<String> {
    let host = host(&ctx)?;
    Ok(unsettled(&read_view(&host, gss)?).unwrap_or_default())
}

/// Returns the opsState by which this run holds rooms.
fn hold_value(host: &Host) -> String {
    format!("{}{}", ops_state::HOLD, host.run)
}

fn gs_hold(ctx: &NativeCallContext, rooms: &Dynamic, opts: &Map) -> ScriptResult<Outcome> {
    let host = host(ctx)?;
    let opts = Options::read("gs_hold", opts, HOLD_KEYS)?;
    let state = if opts.flag("pre_delete")?.unwrap_or(false) { "PreDelete" } else { "Ready" };
    let rooms = rooms_of(&host, "gs_hold", rooms)?;
    let mut outcome = Outcome::default();
    let mut idle = Vec::new();
    for gs in rooms {
        let room = &gs.room;
        let pod_agrees = room.pod.as_ref().is_some_and(|pod| !pod.terminating()) && !room.orphaned();
        if room.server.ops_state() == ops_state::NONE && room.server.state() == state && pod_agrees {
            idle.push(gs);
        } else {
            let state = format!("not idle: opsState {}, state {}", room.server.ops_state(), room.server.state());
            guard::skip(&host, &mut outcome, gs.room.name(), &state);
        }
    }
    host.note(Note::rests_on(ALWAYS));
    let hold = guard::Hold { value: hold_value(&host), state, run: host.run.clone(), at: host.now().to_string() };
    outcome.extend(guard::write(&host, idle, &Field::Hold(hold), guard::AT_ONCE)?);
    Ok(outcome)
}

/// What the annotation of a held room says.
struct Held {
    run: String,
    pod: String,
    from: String,
}

fn annotation(room: &Room) -> Option<Held> {
    let text = room.server.metadata.annotations.get(DRAIN)?;
    let value: Value = serde_json::from_str(text).ok()?;
    let part = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Some(Held { run: part("run"), pod: part("pod"), from: part("from") })
}

/// Rooms of one look, sorted by what became of the hold.
#[derive(Default)]
struct Sorted {
    /// The judged pod shows the hold.
    shown: Vec<Room>,
    /// The label is not there yet.
    lagging: Vec<String>,
    /// Not ours any more, and why.
    spared: Vec<(String, String)>,
    /// Held, but on another pod than the one judged.
    replaced: Vec<Room>,
}

fn sort(view: &SetView, hold: &str, run: &str) -> Sorted {
    let mut sorted = Sorted::default();
    for room in &view.rooms {
        let Some(held) = annotation(room).filter(|held| held.run == run) else { continue };
        let name = room.name().to_owned();
        let state = room.server.ops_state();
        if state != hold {
            // A mark is how this run ended the hold; anything else is somebody else's word.
            if state != ops_state::WAIT_TO_BE_DELETED && state != held.from {
                sorted.spared.push((name, format!("became {state} during the grace")));
            }
            continue;
        }
        let Some(pod) = &room.pod else {
            sorted.replaced.push(room.clone());
            continue;
        };
        if pod.metadata.uid != held.pod || room.orphaned() {
            sorted.replaced.push(room.clone());
        } else if pod.preparing_delete() {
            // On its way out, by this run or by somebody else's scale-in: held, it takes nobody with it.
            continue;
        } else if pod.terminating() {
            sorted.spared.push((name, "its pod is terminating".to_owned()));
        } else if pod.metadata.labels.get(names::GS_OPS_STATE).map(String::as_str) == Some(hold) {
            sorted.shown.push(room.clone());
        } else {
            sorted.lagging.push(name);
        }
    }
    sorted
}

fn gs_held(ctx: &NativeCallContext, gss: &str, opts: &Map) -> ScriptResult<GameServers> {
    let host = host(ctx)?;
    let opts = Options::read("gs_held", opts, HELD_KEYS)?;
    let hold = hold_value(&host);
    let agree = opts.flag("agree")?.unwrap_or(true);
    let wait = Wait {
        host: &host,
        what: "pods to show the hold".to_owned(),
        timeout: opts.duration("timeout")?.unwrap_or(Duration::from_secs(120)),
        stable_for: Duration::ZERO,
        every: None,
    };
    let lagging = std::cell::RefCell::new(Vec::new());
    let total = std::cell::Cell::new(0usize);
    let sorted = wait.run(
        || {
            let sorted = sort(&read_view(&host, gss)?, &hold, &host.run);
            total.set(sorted.shown.len() + sorted.lagging.len());
            lagging.borrow_mut().clone_from(&sorted.lagging);
            Ok(if sorted.lagging.is_empty() || !agree { Seen::Holds(sorted) } else { Seen::NotYet })
        },
        |seconds| {
            let lagging = lagging.borrow();
            host.show(Event::Waiting {
                text: wait.what.clone(),
                have: Some((total.get() - lagging.len()) as u64),
                want: Some(total.get() as u64),
                slowest: lagging.first().cloned(),
                seconds,
            });
        },
    )?;
    let sorted = match sorted {
        Ended::Held(sorted) => Some(sorted),
        // In a plan no label follows: the rooms that would be held count.
        Ended::Assumed => {
            let seen = read_view(&host, gss)?;
            Some(Sorted { shown: held_in_plan(&host, seen.rooms, &hold), ..Sorted::default() })
        }
        Ended::TimedOut(_) => None,
    };
    let Some(sorted) = sorted else {
        let lagging = lagging.into_inner();
        let what = format!("the pods of {} rooms of `{gss}` do not show that they are held", lagging.len());
        return Err(throw(
            Diagnostic::new(Kind::Timeout, what)
                .why(format!("label {} is behind on {}", names::GS_OPS_STATE, lagging.join(", ")))
                .why("OKG copies opsState to the pod; it may be down, or busy (5 rooms a second as shipped)")
                .help("nothing was marked or retired; the rooms go back to what they were"),
        ));
    };
    let mut spared = Outcome::default();
    for (name, reason) in &sorted.spared {
        guard::skip(&host, &mut spared, name, reason);
    }
    release(&host, gss, sorted.replaced, "its pod was replaced")?;
    Ok(game_servers(&host, gss, sorted.shown))
}

/// Waits until every room shows on its pod what was written; an error names those that do not.
pub fn showing(
    host: &Host,
    gss: &str,
    timeout: Duration,
    label: &str,
    shows: &dyn Fn(&Room) -> bool,
) -> ScriptResult<()> {
    let what = format!("pods to show {label}");
    let wait = Wait { host, what, timeout, stable_for: Duration::ZERO, every: None };
    let behind = std::cell::RefCell::new((Vec::<String>::new(), 0));
    let ended = wait.run(
        || {
            let view = read_view(host, gss)?;
            let late = view.rooms.iter().filter(|room| !shows(room)).map(|room| room.name().to_owned()).collect();
            *behind.borrow_mut() = (late, view.rooms.len());
            Ok(if behind.borrow().0.is_empty() { Seen::Holds(()) } else { Seen::NotYet })
        },
        |seconds| {
            let (late, all) = &*behind.borrow();
            let (text, slowest) = (wait.what.clone(), late.first().cloned());
            let (have, want) = (Some((all - late.len()) as u64), Some(*all as u64));
            host.show(Event::Waiting { text, have, want, slowest, seconds });
        },
    )?;
    if !matches!(ended, Ended::TimedOut(_)) {
        return Ok(());
    }
    let (late, all) = behind.into_inner();
    let what = format!("{} of {all} pods of `{gss}` do not show {label}", late.len());
    Err(throw(
        Diagnostic::new(Kind::Timeout, what)
            .why(format!("behind: {}", late.join(", ")))
            .why("OKG copies it from the GameServer to the pod; it may be down, or busy (5 rooms a second as shipped)")
            .help("look at the OKG manager, or raise `timeout`"),
    ))
}

/// Returns the rooms that a plan holds: those that it has retired would be gone by then.
fn held_in_plan(host: &Host, rooms: Vec<Room>, hold: &str) -> Vec<Room> {
    let retired = ended(host, |room| room.field == RETIRED);
    let holds = |room: &Room| room.server.ops_state() == hold && !retired.contains(&room.server.metadata.uid);
    rooms.into_iter().filter(holds).collect()
}

/// Sets rooms back to what they were before a hold.
fn release(host: &Arc<Host>, gss: &str, rooms: Vec<Room>, why: &str) -> ScriptResult<Outcome> {
    let mut outcome = Outcome::default();
    let mut by_state: BTreeMap<String, Vec<Room>> = BTreeMap::new();
    for room in rooms {
        let from = annotation(&room).map_or_else(|| ops_state::NONE.to_owned(), |held| held.from);
        by_state.entry(from).or_default().push(room);
    }
    for (state, rooms) in by_state {
        let values = game_servers(host, gss, rooms);
        let names: Vec<String> = values.rooms.iter().map(|gs| gs.room.name().to_owned()).collect();
        let written = guard::write(host, values.rooms.to_vec(), &Field::OpsState(state), guard::AT_ONCE)?;
        if !why.is_empty() {
            for name in names.iter().filter(|name| written.changed.contains(name)) {
                host.note(Note::skipped(name, why));
            }
        }
        outcome.extend(written);
    }
    Ok(outcome)
}

/// Returns whether a hook keeps the room although its deletion was asked for.
pub fn waits(room: &Room) -> bool {
    room.pod.as_ref().is_some_and(|pod| pod.preparing_delete())
}

fn gs_mark_held(ctx: NativeCallContext, rooms: Dynamic) -> ScriptResult<Outcome> {
    let host = host(&ctx)?;
    let rooms = rooms_of(&host, "gs_mark_held", &rooms)?;
    let hold = hold_value(&host);
    host.note(Note::rests_on(MARK));
    let (held, other): (Vec<_>, Vec<_>) = rooms.into_iter().partition(|gs| gs.room.server.ops_state() == hold);
    let mut outcome =
        guard::write(&host, held, &Field::OpsState(ops_state::WAIT_TO_BE_DELETED.into()), guard::AT_ONCE)?;
    for gs in other {
        guard::skip(&host, &mut outcome, gs.room.name(), "this run does not hold it");
    }
    Ok(outcome)
}

fn gs_release(ctx: NativeCallContext, gss: &str) -> ScriptResult<Outcome> {
    let host = host(&ctx)?;
    let hold = hold_value(&host);
    let view = read_view(&host, gss)?;
    // A retired room keeps its hold until it is gone: free, it would be offered to players.
    let retired = ended(&host, |room| room.field == RETIRED);
    // So does one that a hook keeps in PreDelete: it goes, and nobody is to be sent there.
    let ours =
        |room: &Room| room.server.ops_state() == hold && !retired.contains(&room.server.metadata.uid) && !waits(room);
    let held = view.rooms.into_iter().filter(ours).collect();
    release(&host, gss, held, "")
}

fn gs_adopt(ctx: NativeCallContext, gss: &str) -> ScriptResult<Outcome> {
    let host = host(&ctx)?;
    let ours = hold_value(&host);
    // The reserve list comes first: rooms of a retirement that was sent are gone or going, and need no release.
    // A run that was cut off and goes on has holds and reserved ids of its own left over.
    let resumed = host.record.as_ref().is_some_and(|record| record.part() > 1);
    let reserved = reserved_by(&read_view(&host, gss)?.set);
    if let Some(reserved) = reserved.filter(|(run, _)| resumed || *run != host.run) {
        host.show(Event::Note { text: format!("run {} left {} reserved ids", reserved.0, reserved.1.len()) });
        free(&host, gss)?;
    }
    let view = read_view(&host, gss)?;
    let retired = ended(&host, |room| room.field == RETIRED);
    let left = |room: &&Room| {
        let state = room.server.ops_state();
        let mine = state == ours && (!resumed || retired.contains(&room.server.metadata.uid));
        ops_state::is_hold(state) && !mine && annotation(room).is_some() && !waits(room)
    };
    let held: Vec<Room> = view.rooms.iter().filter(left).cloned().collect();
    if !held.is_empty() {
        let text = format!("{} rooms were held before; they go back to what they were", held.len());
        host.show(Event::Note { text });
    }
    release(&host, gss, held, "")
}

/// Returns the run and the ids of a retirement whose ids are not freed.
fn reserved_by(set: &GameServerSet) -> Option<(String, BTreeSet<i32>)> {
    let text = set.metadata.annotations.get(DRAIN)?;
    let value: Value = serde_json::from_str(text).ok()?;
    let ids = value["reserved"].as_array()?.iter().filter_map(|id| id.as_i64().and_then(|id| i32::try_from(id).ok()));
    Some((value["run"].as_str().unwrap_or_default().to_owned(), ids.collect()))
}

fn gss_retire(ctx: NativeCallContext, gss: &str, rooms: Dynamic) -> ScriptResult<Outcome> {
    let host = host(&ctx)?;
    let rooms = rooms_of(&host, "gss_retire", &rooms)?;
    if rooms.is_empty() {
        return Ok(Outcome::default());
    }
    host.note(Note::rests_on(RETIRE));
    let wanted: BTreeSet<String> = rooms.iter().map(|gs| gs.room.name().to_owned()).collect();
    let hold = hold_value(&host);
    for _ in 0..REPEATS {
        let seen = view_afresh(&host, gss)?;
        if let Some(why) = unsettled(&seen).filter(|_| !host.planning()) {
            let what = format!("`{gss}` is not settled: a scale-in might take another room");
            return Err(throw(Diagnostic::new(Kind::Conflict, what).why(why).with("unsettled", true)));
        }
        let sorted = sort(&seen, &hold, &host.run);
        let shown = if host.planning() { held_in_plan(&host, seen.rooms.clone(), &hold) } else { sorted.shown };
        let held: Vec<Room> = shown.into_iter().filter(|room| wanted.contains(room.name())).collect();
        let mut outcome = Outcome::default();
        let there: BTreeSet<&str> = held.iter().map(Room::name).collect();
        for name in wanted.iter().filter(|name| !there.contains(name.as_str())) {
            guard::skip(&host, &mut outcome, name, "not held any more");
        }
        if held.is_empty() {
            return Ok(outcome);
        }
        let (patch, replicas) = retirement(&host, &seen.set, &held)?;
        match send(&host, gss, Patch::Json(patch))? {
            Ok(after) => {
                note_retired(&host, gss, &held, seen.set.replicas(), replicas, &after, &mut outcome);
                return Ok(outcome);
            }
            Err(error) if error.kind == Kind::Conflict => {}
            Err(error) if error.kind == Kind::Unknown => {
                // The answer was lost; our annotation tells whether the patch arrived.
                let now = set_afresh(&host, gss)?;
                let ids = ids_of(&held);
                let arrived = reserved_by(&now).is_some_and(|(run, all)| run == host.run && ids.is_subset(&all));
                if arrived {
                    note_retired(&host, gss, &held, seen.set.replicas(), replicas, &now, &mut outcome);
                    return Ok(outcome);
                }
            }
            Err(error) => return Err(throw(error)),
        }
    }
    let what = format!("GameServerSet `{gss}` changed under every one of {REPEATS} attempts to retire rooms");
    Err(throw(Diagnostic::new(Kind::Conflict, what).help("somebody else writes it all the time: find who")))
}

fn ids_of(rooms: &[Room]) -> BTreeSet<i32> {
    rooms.iter().filter_map(|room| names::ordinal(room.name())).collect()
}

/// Builds the one patch that takes rooms away, and says what replicas become.
fn retirement(host: &Host, set: &GameServerSet, held: &[Room]) -> ScriptResult<(Value, i64)> {
    let ids = ids_of(held);
    let listed = reserve::parse(&set.reserve_ids()).map_err(|bad| {
        let what =
            format!("`reserveGameServerIds` of `{}` has an entry that OKG cannot read: {}", set.metadata.name, bad.0);
        throw(
            Diagnostic::new(Kind::Refused, what)
                .why("OKG then takes the whole list as empty, and rooms would go that nobody chose")
                .help("correct the list first. Nothing was retired."),
        )
    })?;
    let all: BTreeSet<i32> = listed.union(&ids).copied().collect();
    let before = set.replicas();
    let after = before - i64::try_from(ids.len()).unwrap_or(0);
    let mut ours = reserved_by(set).filter(|(run, _)| *run == host.run).map(|(_, ids)| ids).unwrap_or_default();
    ours.extend(&ids);
    let note = json!({"run": host.run, "reserved": ours, "at": host.now().to_string()}).to_string();
    let mut patch = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": set.metadata.uid}),
        // The generation guards the whole specification; a `test` on an absent list would guard nothing.
        json!({"op": "test", "path": "/metadata/generation", "value": set.metadata.generation}),
        json!({"op": "test", "path": "/spec/replicas", "value": before}),
        json!({"op": "add", "path": "/spec/reserveGameServerIds", "value": reserve::encode(&all)}),
        json!({"op": "replace", "path": "/spec/replicas", "value": after}),
    ];
    patch.push(annotate(set.object.pointer("/metadata/annotations").is_some(), &note));
    Ok((Value::Array(patch), after))
}

/// Returns the operation that writes our annotation.
pub fn annotate(has_annotations: bool, note: &str) -> Value {
    if has_annotations {
        json!({"op": "add", "path": "/metadata/annotations/okgscript.io~1drain", "value": note})
    } else {
        json!({"op": "add", "path": "/metadata/annotations", "value": {DRAIN: note}})
    }
}

fn note_retired(
    host: &Host,
    gss: &str,
    held: &[Room],
    from: i64,
    to: i64,
    after: &GameServerSet,
    outcome: &mut Outcome,
) {
    host.note(Note::Replicas { set: gss.to_owned(), from, to });
    for room in held {
        host.note(Note::retired(room.name(), &room.server.metadata.uid, &after.metadata.resource_version));
        outcome.changed.push(room.name().to_owned());
    }
    host.show(Event::Note { text: format!("replicas {from} -> {to}, {} ids reserved", held.len()) });
}

fn gss_free_ids(ctx: NativeCallContext, gss: &str) -> ScriptResult<i64> {
    let host = host(&ctx)?;
    let mut freed = free(&host, gss)?;
    // A room that was there at the last look goes within moments.
    for _ in 0..LOOKS {
        let set = set_afresh(&host, gss)?;
        let ours = reserved_by(&set).is_some_and(|(run, ids)| run == host.run && !ids.is_empty());
        if !ours || set.reserves_ids() || host.planning() {
            return Ok(freed);
        }
        host.call(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        })?;
        freed += free(&host, gss)?;
    }
    let set = set_afresh(&host, gss)?;
    if let Some((_, left)) = reserved_by(&set) {
        let text = format!(
            "ids {} of {gss} stay reserved while their rooms are there; the next run frees them",
            listed(&left)
        );
        host.show(Event::Warning { text });
    }
    Ok(freed)
}

/// Frees the ids that a retirement reserved, if their rooms are gone.
fn free(host: &Arc<Host>, gss: &str) -> ScriptResult<i64> {
    for _ in 0..REPEATS {
        let seen = view_afresh(host, gss)?;
        let Some((_, ours)) = reserved_by(&seen.set) else { return Ok(0) };
        if seen.set.reserves_ids() {
            host.show(Event::Note { text: format!("ids {} stay reserved: scale strategy ReserveIds", listed(&ours)) });
            return Ok(0);
        }
        let there: BTreeSet<i32> = seen.pods.keys().filter_map(|pod| names::ordinal(pod)).collect();
        let (gone, kept): (BTreeSet<i32>, BTreeSet<i32>) = ours.iter().partition(|id| !there.contains(id));
        if host.planning() && !kept.is_empty() {
            host.assume(&format!("ids {} to be freed once their rooms are gone", listed(&kept)));
        }
        if gone.is_empty() {
            return Ok(0);
        }
        let all = reserve::parse_or_empty(Some(&Value::Array(seen.set.reserve_ids())));
        let rest: BTreeSet<i32> = all.difference(&gone).copied().collect();
        let mut patch = vec![
            json!({"op": "test", "path": "/metadata/uid", "value": seen.set.metadata.uid}),
            json!({"op": "test", "path": "/metadata/generation", "value": seen.set.metadata.generation}),
            json!({"op": "add", "path": "/spec/reserveGameServerIds", "value": reserve::encode(&rest)}),
        ];
        patch.push(if kept.is_empty() {
            json!({"op": "remove", "path": "/metadata/annotations/okgscript.io~1drain"})
        } else {
            annotate(true, &json!({"run": host.run, "reserved": kept, "at": host.now().to_string()}).to_string())
        });
        match send(host, gss, Patch::Json(Value::Array(patch)))? {
            Ok(_) => {
                host.note(Note::Freed { set: gss.to_owned(), ids: gone.iter().copied().collect() });
                // What follows shall be able to tell versions.
                if !host.planning() && !read_taken_over(host, gss)?.versions_known() {
                    let text = format!("OKG has not seen the present state of {gss} after {PATIENCE_SECONDS}s");
                    host.show(Event::Warning { text });
                }
                return Ok(i64::try_from(gone.len()).unwrap_or(i64::MAX));
            }
            Err(error) if error.kind == Kind::Unknown => {
                // The answer was lost; our annotation tells whether the patch arrived.
                let now = set_afresh(host, gss)?;
                if reserved_by(&now).is_none_or(|(_, left)| left.is_disjoint(&gone)) {
                    host.note(Note::Freed { set: gss.to_owned(), ids: gone.iter().copied().collect() });
                    return Ok(i64::try_from(gone.len()).unwrap_or(i64::MAX));
                }
            }
            Err(error) if error.kind == Kind::Conflict => {}
            Err(error) => return Err(throw(error)),
        }
    }
    let what = format!("the ids that were reserved on `{gss}` could not be freed: it changed under every attempt");
    Err(throw(Diagnostic::new(Kind::Conflict, what).help("the next run frees them")))
}

fn gs_lingering(ctx: NativeCallContext, gss: &str) -> ScriptResult<GameServers> {
    let host = host(&ctx)?;
    let ended = ended(&host, |room| room.field == RETIRED || room.after == ops_state::WAIT_TO_BE_DELETED);
    let view = read_view(&host, gss)?;
    let rooms = view.rooms.into_iter().filter(|room| ended.contains(&room.server.metadata.uid)).collect();
    Ok(game_servers(&host, gss, rooms))
}

/// Returns the uids of rooms that this run wrote in a certain way.
fn ended(host: &Host, how: impl Fn(&RoomChange) -> bool) -> BTreeSet<String> {
    host.ledger().rooms.iter().filter(|room| how(room)).map(|room| room.uid.clone()).collect()
}

fn listed(ids: &BTreeSet<i32>) -> String {
    reserve::encode_annotation(ids)
}
