//! Steps: the unit of progress, and of what a resumed run remembers.
//!
//! A step is known by its place (the steps that it lies in, how many steps began there before it) and its name. Steps
//! of a branch of `parallel` have a place of their own, so that the order of threads does not matter.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rhai::{Array, Dynamic, Engine, FnPtr, ImmutableString, Map, NativeCallContext};
use serde_json::{Value, json};

use super::display;
use super::host::{Host, ScriptResult};
use super::outcome::Outcome;
use super::reads::read_view;
use super::replay::PastStep;
use super::stage::Event;
use super::values::{GameServerSetValue, GameServerValue, GameServers};
use crate::diagnostic::{Diagnostic, Kind};
use crate::okg::game_server::Room;
use crate::okg::game_server_set::GameServerSet;
use crate::script::{diagnose, throw, value};

/// Marks a value of a host type among remembered values.
const TYPE: &str = "$type";

thread_local! {
    static SCOPE: RefCell<Arc<Scope>> = RefCell::new(Arc::new(Scope::new("")));
}

/// Where steps are counted.
#[derive(Debug, Default)]
pub struct Scope {
    path: String,
    steps: AtomicUsize,
    branchings: AtomicUsize,
}

impl Scope {
    fn new(path: impl Into<String>) -> Scope {
        Scope { path: path.into(), ..Scope::default() }
    }

    /// Returns the scope of this thread.
    pub fn current() -> Arc<Scope> {
        SCOPE.with_borrow(Clone::clone)
    }

    /// Counts steps from the start again: a script begins.
    pub fn reset() {
        SCOPE.set(Arc::new(Scope::new("")));
    }

    /// Returns the place of the next branching.
    pub fn branching(&self) -> String {
        format!("{}p{}", self.path, self.branchings.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a branch the scope of this thread.
    pub fn branch(branching: &str, index: usize) {
        SCOPE.set(Arc::new(Scope::new(format!("{branching}[{index}]/"))));
    }

    /// Runs `work` with steps counted apart from the script's: what a script does at its end is no part of what a
    /// resumed run goes on from.
    pub fn apart<T>(path: String, work: impl FnOnce() -> T) -> T {
        let before = SCOPE.replace(Arc::new(Scope::new(path)));
        let result = work();
        SCOPE.set(before);
        result
    }
}

/// Runs a closure as a step, or returns what it gave when an earlier part of the run has finished it.
pub fn step(ctx: &NativeCallContext, host: &Arc<Host>, name: &str, work: &FnPtr) -> ScriptResult<Dynamic> {
    run(host, name, || work.call_within_context::<Dynamic>(ctx, ()))
}

/// Runs a step, or returns what it gave when an earlier part of the run has finished it.
pub fn run(host: &Arc<Host>, name: &str, work: impl FnOnce() -> ScriptResult<Dynamic>) -> ScriptResult<Dynamic> {
    let scope = Scope::current();
    let n = scope.steps.fetch_add(1, Ordering::Relaxed);
    let past = host.record.as_ref().and_then(|record| record.past().step_at(&scope.path, n));
    match past {
        Some((then, _, _)) if then != name => return Err(throw(inconsistent(host, n, name, then))),
        Some((_, PastStep::Done(remembered), _)) => return recall(host, name, remembered),
        Some((_, PastStep::Forgotten(why), _)) => return Ok(forgotten(host, name, why)),
        // The script caught this error and went on.
        Some((_, PastStep::Failed(error), true)) => {
            host.show(Event::StepRemembered {
                name: name.to_owned(),
                summary: "failed, and the script went on".into(),
            });
            let error = rhai::EvalAltResult::ErrorRuntime(value::from_json(error), rhai::Position::NONE);
            return Err(Box::new(error));
        }
        _ => {}
    }
    let begun = host.now();
    host.show(Event::StepBegan { name: name.to_owned() });
    if let Some(record) = &host.record {
        record.step_begins(&scope.path, n, name, &begun.to_string());
    }
    let result = Scope::apart(format!("{}{n}/", scope.path), work);
    let seconds = host.now().duration_since(begun).as_secs_f64();
    let summary = match &result {
        Ok(value) => display::summary(value),
        Err(_) => String::new(),
    };
    if let Some(record) = &host.record {
        let how = match &result {
            Ok(value) => match remember(value) {
                Ok(remembered) => PastStep::Done(remembered),
                Err(why) => PastStep::Forgotten(why.what.clone()),
            },
            Err(error) => PastStep::Failed(diagnose(error.clone_error(), &host.sources, "").to_json()),
        };
        record.step_ends(&scope.path, n, name, &host.now().to_string(), &how);
    }
    host.show(Event::StepEnded { name: name.to_owned(), ok: result.is_ok(), summary, seconds });
    result
}

/// A copy of an error, for the journal.
trait CloneError {
    fn clone_error(&self) -> Box<rhai::EvalAltResult>;
}

impl CloneError for Box<rhai::EvalAltResult> {
    fn clone_error(&self) -> Box<rhai::EvalAltResult> {
        match self.unwrap_inner() {
            rhai::EvalAltResult::ErrorRuntime(thrown, position) => {
                Box::new(rhai::EvalAltResult::ErrorRuntime(thrown.clone(), *position))
            }
            rhai::EvalAltResult::ErrorTerminated(reason, position) => {
                Box::new(rhai::EvalAltResult::ErrorTerminated(reason.clone(), *position))
            }
            other => throw(Diagnostic::new(Kind::Failed, other.to_string())),
        }
    }
}

fn inconsistent(host: &Host, n: usize, name: &str, then: &str) -> Diagnostic {
    let what = format!("step {} is `{name}` now and was `{then}` when run `{}` began", n + 1, host.run);
    Diagnostic::new(Kind::Refused, what)
        .why("the script chooses its steps by something that has changed: the time, the environment, the cluster")
        .help("start a new run: what is done already is not done twice")
}

fn recall(host: &Arc<Host>, name: &str, remembered: &Value) -> ScriptResult<Dynamic> {
    let recalled = revive(host, name, remembered)?;
    let summary = display::summary(&recalled);
    host.show(Event::StepRemembered { name: name.to_owned(), summary });
    Ok(recalled)
}

fn forgotten(host: &Host, name: &str, why: &str) -> Dynamic {
    host.show(Event::StepRemembered { name: name.to_owned(), summary: format!("its value is not: {why}") });
    Dynamic::from(Forgotten { step: name.into(), why: why.into() })
}

/// What a step gave that could not be written down. Whoever uses it is told so.
#[derive(Clone, Debug)]
pub struct Forgotten {
    step: ImmutableString,
    why: ImmutableString,
}

impl Forgotten {
    fn error(&self) -> Diagnostic {
        Diagnostic::new(Kind::Failed, format!("the value of step `{}` was not remembered", self.step))
            .why(self.why.to_string())
            .help("start a new run: what is done already is not done twice")
            .help("a step that gives numbers, texts, lists, maps, rooms or sets can be remembered")
    }
}

/// Makes the type known to an engine.
pub fn register_type(engine: &mut Engine) {
    engine.register_type_with_name::<Forgotten>("Forgotten");
    engine.register_indexer_get(|value: &mut Forgotten, _key: &str| -> ScriptResult<Dynamic> {
        Err(throw(value.error()))
    });
    engine.register_fn("to_string", |value: &mut Forgotten| format!("(value of step {}, not remembered)", value.step));
}

/// Returns a value as it is written down; an error says why it cannot be.
pub fn remember(value: &Dynamic) -> Result<Value, Diagnostic> {
    if let Some(rooms) = value.read_lock::<GameServers>() {
        let rooms_of: Vec<Value> = rooms.rooms.iter().map(|gs| identity(&gs.room)).collect();
        return Ok(json!({TYPE: "GameServers", "set": &*rooms.set, "rooms": rooms_of}));
    }
    if let Some(gs) = value.read_lock::<GameServerValue>() {
        return Ok(json!({TYPE: "GameServer", "room": identity(&gs.room)}));
    }
    if let Some(set) = value.read_lock::<GameServerSetValue>() {
        return Ok(json!({TYPE: "GameServerSet", "object": set.set.object, "readAt": set.read_at}));
    }
    if let Some(outcome) = value.read_lock::<Outcome>() {
        let mut remembered = outcome.to_json();
        remembered[TYPE] = json!("Outcome");
        return Ok(remembered);
    }
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(remember).collect();
    }
    if let Some(map) = value.read_lock::<Map>() {
        if map.contains_key(TYPE) {
            return Err(Diagnostic::new(Kind::Invalid, format!("a map with the key `{TYPE}` cannot be remembered")));
        }
        let entries: Result<serde_json::Map<String, Value>, Diagnostic> =
            map.iter().map(|(key, value)| Ok((key.to_string(), remember(value)?))).collect();
        return entries.map(Value::Object);
    }
    value::to_json(value)
}

/// What a room was judged by: one that is different now is not the room that the script chose.
fn identity(room: &Room) -> Value {
    let pod = room.pod.as_ref().map(|pod| pod.metadata.uid.as_str());
    json!({
        "name": room.name(),
        "uid": room.server.metadata.uid,
        "pod": pod,
        "opsState": room.server.ops_state(),
    })
}

/// Returns a value as it was. Rooms are read again; those that are not as they were judged are left out.
fn revive(host: &Arc<Host>, step: &str, remembered: &Value) -> ScriptResult<Dynamic> {
    match remembered {
        Value::Array(items) => {
            let items: ScriptResult<Array> = items.iter().map(|item| revive(host, step, item)).collect();
            Ok(Dynamic::from_array(items?))
        }
        Value::Object(entries) => match entries.get(TYPE).and_then(Value::as_str) {
            None => {
                let entries: ScriptResult<Map> =
                    entries.iter().map(|(key, value)| Ok((key.as_str().into(), revive(host, step, value)?))).collect();
                Ok(Dynamic::from_map(entries?))
            }
            Some(name) => typed(host, step, name, remembered),
        },
        plain => Ok(value::from_json(plain)),
    }
}

fn typed(host: &Arc<Host>, step: &str, name: &str, remembered: &Value) -> ScriptResult<Dynamic> {
    let unreadable = |what: &str| {
        let diagnostic = Diagnostic::new(Kind::Failed, format!("the value of step `{step}` cannot be read: {what}"));
        throw(diagnostic.help("start a new run: what is done already is not done twice"))
    };
    match name {
        "Outcome" => {
            let outcome = serde_json::from_value::<Outcome>(remembered.clone());
            outcome.map(Dynamic::from).map_err(|error| unreadable(&error.to_string()))
        }
        "GameServerSet" => {
            let set = serde_json::from_value::<GameServerSet>(remembered["object"].clone());
            let set = Arc::new(set.map_err(|error| unreadable(&error.to_string()))?);
            let read_at = serde_json::from_value(remembered["readAt"].clone());
            let read_at = read_at.map_err(|error| unreadable(&error.to_string()))?;
            Ok(Dynamic::from(GameServerSetValue { set, read_at }))
        }
        "GameServers" => {
            let set = remembered["set"].as_str().unwrap_or_default();
            let judged = remembered["rooms"].as_array().cloned().unwrap_or_default();
            rooms(host, step, set, &judged).map(Dynamic::from)
        }
        "GameServer" => {
            let name = remembered["room"]["name"].as_str().unwrap_or_default();
            let set = crate::okg::names::set_of(name).unwrap_or_default();
            let found = rooms(host, step, set, std::slice::from_ref(&remembered["room"]))?;
            match found.rooms.first() {
                Some(room) => Ok(Dynamic::from(room.clone())),
                None => Ok(forgotten(host, step, &format!("{name} is not as it was judged"))),
            }
        }
        other => Err(unreadable(&format!("there is no type `{other}`"))),
    }
}

fn rooms(host: &Arc<Host>, step: &str, set: &str, judged: &[Value]) -> ScriptResult<GameServers> {
    let wanted: BTreeSet<String> = judged.iter().map(Value::to_string).collect();
    let seen = if wanted.is_empty() { Vec::new() } else { read_view(host, set)?.rooms };
    let same: Vec<Room> = seen.into_iter().filter(|room| wanted.contains(&identity(room).to_string())).collect();
    if same.len() < wanted.len() {
        let changed = wanted.len() - same.len();
        let text = format!("{changed} of the {} rooms of step `{step}` have changed since: left out", wanted.len());
        host.show(Event::Warning { text });
    }
    Ok(super::gs::game_servers(host, set, same))
}
