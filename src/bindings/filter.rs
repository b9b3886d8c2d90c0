//! The filter of `gs_select` and its relatives: a map of clauses, every one of which a room must fulfil.
//!
//! An unknown key, a container that no room has or an opsState that OKG does not know is an error: a filter must never
//! select everything or nothing in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use rhai::{Dynamic, Map};

use super::binding::{Key, key};
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::okg::game_server::{Room, Version};
use crate::okg::ops_state;
use crate::okg::pod::Pod;
use crate::script::duration;

/// Keys of a filter; each takes one value or a list, and `not_<key>` negates.
pub const FILTER_KEYS: &[Key] = &[
    key(
        "ops_state",
        "string | array",
        "opsState: None, Allocated, WaitToBeDeleted, Maintaining, Kill, or one declared with `custom_ops_states`",
    )
    .one_of(&ops_state::KNOWN),
    key("state", "string | array", "GameServer state: Creating, Ready, NotReady, Deleting, PreDelete, …")
        .one_of(STATES),
    key("version", "string | array", "\"old\", \"current\" or \"unknown\", by the pod's revision")
        .one_of(&["old", "current", "unknown"]),
    key(
        "image",
        "string | map | array",
        "image of any container, or `#{container: image}`, all of whose entries must hold; compared exactly",
    ),
    key("ids", "int | string | array", "ordinals: `3`, `\"3-7\"`, `[1, \"3-7\"]`"),
    key("names", "string | array", "names of rooms"),
    key("revision", "string | array", "full name of the pod's ControllerRevision"),
    key("matchable", "bool", "GameServer Ready, opsState None, network ready if it has one"),
    key("open", "bool", "matchable or Allocated"),
    key("network_ready", "bool", "the network lets players in, or there is none"),
    key("network_disabled", "bool", "`spec.networkDisabled`"),
    key("node", "string | array", "node of the pod"),
    key(
        "label",
        "string | map | array",
        "label of the GameServer: `\"key=value\"`, `\"key\"`, or `#{key: value}`, all of whose entries must hold",
    ),
    key("older_than", "duration", "the GameServer was made longer ago"),
    key("younger_than", "duration", "the GameServer was made more recently"),
    key("priority", "int | string | array", "`spec.deletionPriority`"),
];

/// A filter, understood.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    clauses: Vec<Clause>,
}

#[derive(Clone, Debug)]
struct Clause {
    key: String,
    negated: bool,
    test: Test,
    text: String,
}

#[derive(Clone, Debug)]
enum Test {
    OpsState(Vec<String>),
    State(Vec<String>),
    Version(Vec<String>),
    Image(Vec<Images>),
    Ids(BTreeSet<u64>),
    Names(Vec<String>),
    Revision(Vec<String>),
    Matchable(bool),
    Open(bool),
    NetworkReady(bool),
    NetworkDisabled(bool),
    Node(Vec<String>),
    Label(Vec<Labels>),
    OlderThan(Duration),
    YoungerThan(Duration),
    Priority(Vec<String>),
}

/// States that a GameServer can show.
const STATES: &[&str] =
    &["Unknown", "Creating", "Ready", "NotReady", "Crash", "Updating", "Deleting", "PreDelete", "PreUpdate"];

impl Filter {
    /// Understands a map. `custom` are opsStates that the script declared.
    pub fn parse(function: &str, map: &Map, custom: &BTreeSet<String>) -> Result<Filter, Diagnostic> {
        let mut clauses = Vec::new();
        for (name, value) in map {
            let (negated, bare) = match name.strip_prefix("not_") {
                Some(bare) => (true, bare),
                None => (false, name.as_str()),
            };
            if !FILTER_KEYS.iter().any(|known| known.name == bare) {
                return Err(unknown_key(function, name));
            }
            let test = Test::parse(function, bare, value, custom)?;
            clauses.push(Clause { key: name.to_string(), negated, test, text: text_of(value) });
        }
        Ok(Filter { clauses })
    }

    /// Returns whether a clause needs the workload's revision to be known.
    pub fn needs_version(&self) -> bool {
        self.clauses.iter().any(|clause| matches!(clause.test, Test::Version(_)))
    }

    /// Checks names that only the rooms themselves can confirm: containers of image clauses.
    pub fn check_containers(&self, function: &str, containers: &BTreeSet<String>) -> Result<(), Diagnostic> {
        if containers.is_empty() {
            return Ok(());
        }
        for clause in &self.clauses {
            let Test::Image(images) = &clause.test else { continue };
            for container in images.iter().flat_map(Images::containers) {
                if !containers.contains(container) {
                    let known: Vec<&str> = containers.iter().map(String::as_str).collect();
                    let mut diagnostic =
                        Diagnostic::new(Kind::NotFound, format!("{function}: no room has a container `{container}`"))
                            .why(format!("containers that rooms have: {}", known.join(", ")));
                    if let Some(near) = closest(container, known.iter().copied()) {
                        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
                    }
                    return Err(diagnostic);
                }
            }
        }
        Ok(())
    }

    /// Returns whether the room fulfils every clause.
    pub fn matches(&self, room: &Room, now: Timestamp) -> bool {
        self.clauses.iter().all(|clause| clause.holds(room, now))
    }

    /// Returns the clauses that the room fails, as text: `open: true (state Creating)`.
    pub fn failing(&self, room: &Room, now: Timestamp) -> Vec<String> {
        let failing = self.clauses.iter().filter(|clause| !clause.holds(room, now));
        failing
            .map(|clause| format!("{}: {} (is {})", clause.key, clause.text, clause.test.value_of(room, now)))
            .collect()
    }

    /// Returns whether the room fulfils the clauses that waiting does not change: who it is and what it runs.
    pub fn concerns(&self, room: &Room, now: Timestamp) -> bool {
        let fixed = self.clauses.iter().filter(|clause| {
            matches!(
                clause.test,
                Test::Version(_) | Test::Image(_) | Test::Ids(_) | Test::Names(_) | Test::Revision(_) | Test::Label(_)
            )
        });
        fixed.into_iter().all(|clause| clause.holds(room, now))
    }

    /// Returns the filter as a script would write it.
    pub fn text(&self) -> String {
        let clauses: Vec<String> = self.clauses.iter().map(|c| format!("{}: {}", c.key, c.text)).collect();
        format!("#{{{}}}", clauses.join(", "))
    }
}

impl Clause {
    fn holds(&self, room: &Room, now: Timestamp) -> bool {
        self.test.holds(room, now) != self.negated
    }
}

impl Test {
    fn parse(function: &str, key: &str, value: &Dynamic, custom: &BTreeSet<String>) -> Result<Test, Diagnostic> {
        let wrong = |wanted: &str| {
            let given = value.type_name();
            Diagnostic::new(Kind::WrongArguments, format!("{function}: filter `{key}` takes {wanted}, not {given}"))
        };
        let texts = || texts(value).ok_or_else(|| wrong("a string or a list of strings"));
        let flag = || value.as_bool().map_err(|_| wrong("true or false"));
        let span = || match value.clone().into_immutable_string() {
            Ok(text) => duration::parse(&text),
            Err(_) => Err(wrong("a duration such as \"10m\"")),
        };
        Ok(match key {
            "ops_state" => {
                let states = texts()?;
                for state in &states {
                    check_ops_state(state, custom)?;
                }
                Test::OpsState(states)
            }
            "state" => {
                let states = texts()?;
                for state in &states {
                    check_word("GameServer state", state, STATES)?;
                }
                Test::State(states)
            }
            "version" => {
                let words = texts()?;
                for word in &words {
                    check_word("version", word, &["old", "current", "unknown"])?;
                }
                Test::Version(words)
            }
            "image" => Test::Image(
                items(value)
                    .iter()
                    .map(Images::read)
                    .collect::<Option<_>>()
                    .ok_or_else(|| wrong("an image, `#{container: image}` or a list of them"))?,
            ),
            "ids" => {
                Test::Ids(ids(value).map_err(|why| wrong("ordinals such as 3, \"3-7\" or [1, \"3-7\"]").why(why))?)
            }
            "names" => Test::Names(texts()?),
            "revision" => Test::Revision(texts()?),
            "matchable" => Test::Matchable(flag()?),
            "open" => Test::Open(flag()?),
            "network_ready" => Test::NetworkReady(flag()?),
            "network_disabled" => Test::NetworkDisabled(flag()?),
            "node" => Test::Node(texts()?),
            "label" => Test::Label(
                items(value)
                    .iter()
                    .map(Labels::read)
                    .collect::<Option<_>>()
                    .ok_or_else(|| wrong("\"key=value\", \"key\" or `#{key: value}`"))?,
            ),
            "older_than" => Test::OlderThan(span()?),
            "younger_than" => Test::YoungerThan(span()?),
            _ => Test::Priority(priorities(value).ok_or_else(|| wrong("a number or a list of numbers"))?),
        })
    }

    fn holds(&self, room: &Room, now: Timestamp) -> bool {
        let server = &room.server;
        let any = |list: &[String], value: &str| list.iter().any(|item| item == value);
        match self {
            Test::OpsState(states) => any(states, server.ops_state()),
            Test::State(states) => any(states, server.state()),
            Test::Version(words) => any(words, room.version.word()),
            Test::Image(images) => room.pod.as_ref().is_some_and(|pod| images.iter().any(|images| images.run_in(pod))),
            Test::Ids(ids) => server.ordinal().is_some_and(|ordinal| ids.contains(&ordinal)),
            Test::Names(names) => any(names, room.name()),
            Test::Revision(names) => room.pod.as_ref().is_some_and(|pod| any(names, pod.revision())),
            Test::Matchable(wanted) => room.matchable() == *wanted,
            Test::Open(wanted) => room.open() == *wanted,
            Test::NetworkReady(wanted) => server.network_ready() == *wanted,
            Test::NetworkDisabled(wanted) => server.network_disabled() == *wanted,
            Test::Node(nodes) => room.pod.as_ref().is_some_and(|pod| any(nodes, pod.node())),
            Test::Label(labels) => labels.iter().any(|labels| labels.hold(&server.metadata.labels)),
            Test::OlderThan(span) => age(room, now).is_some_and(|age| age > *span),
            Test::YoungerThan(span) => age(room, now).is_some_and(|age| age < *span),
            Test::Priority(numbers) => any(numbers, server.deletion_priority()),
        }
    }

    fn value_of(&self, room: &Room, now: Timestamp) -> String {
        let server = &room.server;
        match self {
            Test::OpsState(_) => server.ops_state().to_owned(),
            Test::State(_) => state_text(room),
            Test::Version(_) => match &room.version {
                Version::Unknown(why) => format!("unknown: {why}"),
                version => version.word().to_owned(),
            },
            Test::Image(_) => room.pod.as_ref().map_or("no pod".to_owned(), |pod| {
                pod.images().iter().map(|(name, image)| format!("{name}={image}")).collect::<Vec<_>>().join(", ")
            }),
            Test::Ids(_) | Test::Names(_) => room.name().to_owned(),
            Test::Revision(_) => room.pod.as_ref().map_or("no pod".to_owned(), |pod| pod.revision().to_owned()),
            Test::Matchable(_) | Test::Open(_) => {
                if server.state() != "Ready" {
                    format!("state {}", state_text(room))
                } else if !server.network_ready() {
                    format!("network {}", server.network_state())
                } else {
                    format!("opsState {}", server.ops_state())
                }
            }
            Test::NetworkReady(_) => server.network_state().to_owned(),
            Test::NetworkDisabled(_) => server.network_disabled().to_string(),
            Test::Node(_) => room.pod.as_ref().map_or("no pod".to_owned(), |pod| pod.node().to_owned()),
            Test::Label(_) => format!("{:?}", server.metadata.labels),
            Test::OlderThan(_) | Test::YoungerThan(_) => age(room, now).map(duration::format).unwrap_or_default(),
            Test::Priority(_) => server.deletion_priority().to_owned(),
        }
    }
}

fn state_text(room: &Room) -> String {
    if room.server.state().is_empty() { "not set yet".to_owned() } else { room.server.state().to_owned() }
}

/// Returns how old the GameServer is.
pub fn age(room: &Room, now: Timestamp) -> Option<Duration> {
    let made = room.server.metadata.creation_timestamp?;
    Duration::try_from(now.duration_since(made)).ok()
}

/// Refuses an opsState that neither OKG nor the script knows.
pub fn check_ops_state(state: &str, custom: &BTreeSet<String>) -> Result<(), Diagnostic> {
    if ops_state::KNOWN.contains(&state) || custom.contains(state) {
        return Ok(());
    }
    let known = ops_state::KNOWN.iter().copied().chain(custom.iter().map(String::as_str));
    let mut diagnostic = Diagnostic::new(Kind::Invalid, format!("OKG knows no opsState `{state}`"))
        .why(format!("OKG acts on {}; the names are case-sensitive", ops_state::KNOWN.join(", ")));
    if let Some(near) = closest(state, known) {
        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
    }
    Err(diagnostic.help(format!("if it is a state of your own, say so first: custom_ops_states([\"{state}\"])")))
}

fn check_word(what: &str, word: &str, known: &[&str]) -> Result<(), Diagnostic> {
    if known.contains(&word) {
        return Ok(());
    }
    let mut diagnostic = Diagnostic::new(Kind::Invalid, format!("there is no {what} `{word}`"))
        .why(format!("known are {}", known.join(", ")));
    if let Some(near) = closest(word, known.iter().copied()) {
        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
    }
    Err(diagnostic)
}

fn unknown_key(function: &str, name: &str) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(Kind::UnknownKey, format!("{function} knows no filter `{name}`"));
    let bare = name.strip_prefix("not_").unwrap_or(name);
    if let Some(near) = closest(bare, FILTER_KEYS.iter().map(|key| key.name)) {
        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
    }
    let known: Vec<&str> = FILTER_KEYS.iter().map(|key| key.name).collect();
    diagnostic.why(format!("filters: {}; `not_` before a key negates it", known.join(", ")))
}

fn texts(value: &Dynamic) -> Option<Vec<String>> {
    match value.clone().into_array() {
        Ok(items) => items.into_iter().map(|item| item.into_string().ok()).collect(),
        Err(_) => value.clone().into_string().ok().map(|text| vec![text]),
    }
}

fn items(value: &Dynamic) -> Vec<Dynamic> {
    match value.clone().into_array() {
        Ok(items) => items,
        Err(_) => vec![value.clone()],
    }
}

/// Images that a pod runs all at once: of any container, or of containers by name.
#[derive(Clone, Debug)]
pub struct Images(Vec<(Option<String>, String)>);

impl Images {
    /// Understands an image or `#{container: image}`.
    pub fn read(value: &Dynamic) -> Option<Images> {
        if let Some(map) = value.read_lock::<Map>() {
            let entry = |(container, image): (&rhai::Identifier, &Dynamic)| {
                Some((Some(container.to_string()), image.clone().into_string().ok()?))
            };
            // An empty map would hold for every pod, in silence.
            return map.iter().map(entry).collect::<Option<_>>().filter(|_| !map.is_empty()).map(Images);
        }
        value.clone().into_string().ok().map(|image| Images(vec![(None, image)]))
    }

    /// Returns the containers that are named.
    pub fn containers(&self) -> impl Iterator<Item = &String> {
        self.0.iter().filter_map(|(container, _)| container.as_ref())
    }

    /// Returns whether an image is given without its container.
    pub fn leaves_container_open(&self) -> bool {
        self.0.iter().any(|(container, _)| container.is_none())
    }

    /// Returns whether a pod runs all of them; compared exactly.
    pub fn run_in(&self, pod: &Pod) -> bool {
        let has = pod.images();
        self.0.iter().all(|(container, image)| match container {
            Some(container) => has.get(container.as_str()) == Some(&image.as_str()),
            None => has.values().any(|value| value == image),
        })
    }
}

/// Labels that hold all at once: a key with its value, or a key that is there.
#[derive(Clone, Debug)]
struct Labels(Vec<(String, Option<String>)>);

impl Labels {
    fn read(value: &Dynamic) -> Option<Labels> {
        if let Some(map) = value.read_lock::<Map>() {
            let entry = |(key, value): (&rhai::Identifier, &Dynamic)| {
                Some((key.to_string(), Some(value.clone().into_string().ok()?)))
            };
            return map.iter().map(entry).collect::<Option<_>>().filter(|_| !map.is_empty()).map(Labels);
        }
        let text = value.clone().into_string().ok()?;
        Some(Labels(vec![match text.split_once('=') {
            Some((key, value)) => (key.trim().to_owned(), Some(value.trim_start_matches('=').trim().to_owned())),
            None => (text, None),
        }]))
    }

    fn hold(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(key, value)| match (labels.get(key), value) {
            (Some(has), Some(wanted)) => has == wanted,
            (has, None) => has.is_some(),
            (None, Some(_)) => false,
        })
    }
}

fn priorities(value: &Dynamic) -> Option<Vec<String>> {
    let text = |item: Dynamic| match item.as_int() {
        Ok(number) => Some(number.to_string()),
        Err(_) => item.into_string().ok(),
    };
    items(value).into_iter().map(text).collect()
}

/// Understands ordinals: `3`, `"3-7"`, `[1, "3-7"]`.
pub fn ids(value: &Dynamic) -> Result<BTreeSet<u64>, String> {
    let mut ids = BTreeSet::new();
    for item in items(value) {
        if let Ok(number) = item.as_int() {
            ids.insert(u64::try_from(number).map_err(|_| format!("{number} is no ordinal"))?);
            continue;
        }
        let text = item.into_string().map_err(|kind| format!("a {kind} is no ordinal"))?;
        let bad = || format!("\"{text}\" is neither an ordinal nor a range such as \"3-7\"");
        let (from, to) = text.split_once('-').unwrap_or((&text, &text));
        let from: u64 = from.trim().parse().map_err(|_| bad())?;
        let to: u64 = to.trim().parse().map_err(|_| bad())?;
        if to < from || to - from > 100_000 {
            return Err(bad());
        }
        ids.extend(from..=to);
    }
    Ok(ids)
}

fn text_of(value: &Dynamic) -> String {
    match value.clone().into_immutable_string() {
        Ok(text) => format!("\"{text}\""),
        Err(_) => value.to_string(),
    }
}

/// Returns the images and containers that rooms have, for [`Filter::check_containers`].
pub fn containers_of<'a>(rooms: impl IntoIterator<Item = &'a Room>) -> BTreeSet<String> {
    let mut containers: BTreeMap<String, ()> = BTreeMap::new();
    for room in rooms {
        if let Some(pod) = &room.pod {
            containers.extend(pod.images().keys().map(|name| ((*name).to_owned(), ())));
        }
    }
    containers.into_keys().collect()
}
