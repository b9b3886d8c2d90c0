//! From a file of YAML documents to a scenario.

use serde_json::Value;

use super::fields::{Document, Fields};
use super::{Room, Scenario, containers, faults};
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::sandbox::object;
use crate::sandbox::players::{Crowd, Disturbance, Matchmaker, Span, Trouble};
use crate::sandbox::world::World;
use crate::sandbox::{Rate, autoscaler};

const API_VERSION: &str = "okgscript.io/v1";
/// Fields of `metadata` that the server sets: what `kubectl get -o yaml` printed can be loaded again.
const SERVER_SET: [&str; 7] =
    ["resourceVersion", "uid", "creationTimestamp", "generation", "selfLink", "managedFields", "ownerReferences"];
const SCENARIO: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "params",
    "start",
    "settle",
    "age",
    "world",
    "rooms",
    "players",
    "disturbances",
    "faults",
    "commands",
    "logs",
    "autoscaler",
];
const WORLD: &[&str] = &[
    "base",
    "nodes",
    "podStart",
    "podStartOf",
    "restart",
    "termination",
    "network",
    "labelLag",
    "okg",
    "missingImages",
];
const ROOM: &[&str] = &["name", "names", "namespace", "opsState", "deletionPriority", "updatePriority", "playing"];
const PLAYERS: &[&str] = &[
    "gss",
    "namespace",
    "matchmaker",
    "lag",
    "perMinute",
    "match",
    "players",
    "disconnects",
    "afterMatch",
    "patience",
];
const DISTURBANCE: &[&str] = &["gss", "namespace", "kind", "perHour"];

/// Reads a file.
pub fn read(file: &str, text: &str) -> Result<Scenario, Diagnostic> {
    let name = file.rsplit('/').next().unwrap_or(file);
    let name = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).unwrap_or(name);
    let mut scenario = Scenario { name: name.to_owned(), world: World::shipped(0), ..Scenario::default() };
    let mut described = None;
    for (index, (line, text)) in documents(text).into_iter().enumerate() {
        // Empty lines in front keep the line numbers of the file.
        let padded = format!("{}{text}", "\n".repeat(line));
        let document = Document { file, number: index + 1, text: &padded };
        // As Kubernetes reads it, `n` is a name and no truth value.
        let options = serde_saphyr::options! { strict_booleans: true };
        let value: Value = serde_saphyr::from_str_with_options(&padded, options)
            .map_err(|error| document.fault(Kind::Syntax, "is no YAML").why(error.to_string()))?;
        if value.is_null() {
            continue;
        }
        if value["apiVersion"].as_str().is_some_and(|version| version.starts_with("okgscript.io/")) {
            if let Some(first) = described.replace(document.number) {
                let what = format!("there is a Scenario already, in document {first}");
                return Err(document.fault(Kind::Parameter, &what).help("put everything into one of them"));
            }
            describe(document, &value, &mut scenario)?;
        } else {
            collect(document, "", value, &mut scenario.objects)?;
        }
    }
    Ok(scenario)
}

/// Splits a file at its `---` lines; each part with the number of lines before it.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut parts = vec![(0, String::new())];
    for (number, line) in text.lines().enumerate() {
        let marker = line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if let Some(rest) = marker {
            parts.push((number, rest.to_owned() + "\n"));
        } else if let Some((_, part)) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    let empty = |part: &str| part.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    parts.retain(|(_, part)| !empty(part));
    parts
}

/// Takes the object of a document, or those of a list.
fn collect(document: Document<'_>, path: &str, mut value: Value, objects: &mut Vec<Value>) -> Result<(), Diagnostic> {
    let at = if path.is_empty() { "it".to_owned() } else { format!("`{path}`") };
    if !value.is_object() {
        return Err(document.fault(Kind::Parameter, &format!("{at} is no object of Kubernetes")));
    }
    for field in ["apiVersion", "kind"] {
        if value[field].as_str().unwrap_or_default().is_empty() {
            let known = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
            let mut fault = document.fault(Kind::Parameter, &format!("{at} has no `{field}`"));
            if let Some(near) = closest(field, known) {
                fault = fault.help(format!("it has `{near}`; did you mean `{field}`?"));
            }
            return Err(fault);
        }
    }
    let kind = value["kind"].as_str().unwrap_or_default();
    if kind.ends_with("List") && value["items"].is_array() {
        let Value::Array(items) = value["items"].take() else { return Ok(()) };
        for (index, item) in items.into_iter().enumerate() {
            collect(document, &format!("items[{index}]"), item, objects)?;
        }
        return Ok(());
    }
    if object::name(&value).is_empty() && object::meta(&value, "generateName").is_empty() {
        let what = format!("the {kind} {}has no `metadata.name`", if path.is_empty() { "" } else { "of its list " });
        return Err(document.fault(Kind::Parameter, &what));
    }
    let meta = object::meta_mut(&mut value);
    for field in SERVER_SET {
        meta.remove(field);
    }
    objects.push(value);
    Ok(())
}

fn describe(document: Document<'_>, value: &Value, scenario: &mut Scenario) -> Result<(), Diagnostic> {
    let fields = Fields::open(document, "", value, SCENARIO)?;
    fields.one_of("apiVersion", &[API_VERSION])?;
    fields.needed("kind")?;
    fields.one_of("kind", &["Scenario"])?;
    if let Some(meta) = fields.inner("metadata", &["name", "labels", "annotations"])?
        && let Some(name) = meta.text("name")?
    {
        scenario.name = name.to_owned();
    }
    if let Some(params) = fields.get("params") {
        let Some(params) = params.as_object() else { return Err(fields.fault("params", "is not a mapping")) };
        scenario.params = params.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    }
    if let Some(start) = fields.text("start")? {
        let time = start.parse().map_err(|_| {
            fields.fault("start", &format!("is `{start}`, not a time")).help("write it like 2026-01-05T18:00:00Z")
        })?;
        scenario.start = Some(time);
    }
    scenario.settle = fields.truth("settle")?.unwrap_or(true);
    scenario.age = fields.duration("age")?.unwrap_or_default();
    world(&fields, scenario)?;
    for (path, value) in fields.list("rooms")? {
        rooms(&Fields::open(document, &path, value, ROOM)?, scenario)?;
    }
    if !scenario.settle && !scenario.rooms.is_empty() {
        return Err(fields.fault("rooms", "needs `settle: true`: rooms can be set only when they are there"));
    }
    for (path, value) in fields.list("players")? {
        scenario.players.push(crowd(&Fields::open(document, &path, value, PLAYERS)?)?);
    }
    for (path, value) in fields.list("disturbances")? {
        scenario.disturbances.push(disturbance(&Fields::open(document, &path, value, DISTURBANCE)?)?);
    }
    scenario.faults = faults::read(document, &fields)?;
    containers::read(document, &fields, &mut scenario.containers)?;
    if let Some(inner) = fields.inner("autoscaler", &["poll"])? {
        let poll = inner.duration("poll")?;
        if poll.is_some_and(|poll| poll.is_zero()) {
            return Err(inner.fault("poll", "is zero"));
        }
        let usual = autoscaler::Settings::default();
        scenario.autoscaler = autoscaler::Settings { poll: poll.unwrap_or(usual.poll), ..usual };
    }
    Ok(())
}

fn world(fields: &Fields<'_>, scenario: &mut Scenario) -> Result<(), Diagnostic> {
    let Some(fields) = fields.inner("world", WORLD)? else { return Ok(()) };
    let world = &mut scenario.world;
    if fields.one_of("base", &["shipped", "conformance"])? == Some("conformance") {
        *world = World::conformance(0);
    }
    match fields.get("nodes") {
        Some(Value::Number(_)) => {
            let count = fields.number("nodes", 1.0, 5000.0)?.unwrap_or(1.0);
            scenario.nodes =
                (0..).take_while(|index| f64::from(*index) < count).map(|i: i32| format!("node-{i}")).collect();
        }
        Some(_) => scenario.nodes = fields.texts("nodes")?,
        None => {}
    }
    if scenario.nodes.is_empty() {
        return Err(fields.fault("nodes", "is empty: no room would start"));
    }
    if let Some(span) = fields.span("podStart")? {
        world.start = bounds(&fields, "podStart", span)?;
    }
    if let Some(sets) = fields.get("podStartOf") {
        let known: Vec<&str> = sets.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        if let Some(inner) = fields.inner("podStartOf", &known)? {
            for set in inner.keys() {
                if let Some(span) = inner.span(set)? {
                    world.start_of.insert(set.clone(), bounds(&inner, set, span)?);
                }
            }
        }
    }
    for (key, slot) in [
        ("restart", &mut world.restart),
        ("termination", &mut world.end),
        ("network", &mut world.network),
        ("labelLag", &mut world.label_lag),
    ] {
        if let Some(time) = fields.duration(key)? {
            *slot = time;
        }
    }
    if let Some(okg) = fields.inner("okg", &["qps", "burst"])? {
        let qps = okg.number("qps", 0.1, 100_000.0)?.unwrap_or(world.okg_rate.qps);
        let burst = okg.number("burst", 1.0, 100_000.0)?.unwrap_or((qps * 2.0).max(1.0));
        world.okg_rate = Rate { qps, burst };
    }
    world.missing_images.extend(fields.texts("missingImages")?);
    Ok(())
}

fn bounds(
    fields: &Fields<'_>,
    key: &str,
    span: Span,
) -> Result<(std::time::Duration, std::time::Duration), Diagnostic> {
    match span {
        Span::Fixed(time) => Ok((time, time)),
        Span::Between(from, to) => Ok((from, to)),
        Span::Mean(_) => Err(fields.fault(key, "has a mean").help("write 20s or {from: 10s, to: 30s}")),
    }
}

fn rooms(fields: &Fields<'_>, scenario: &mut Scenario) -> Result<(), Diagnostic> {
    let mut names = fields.texts("names")?;
    names.extend(fields.text("name")?.map(str::to_owned));
    if names.is_empty() {
        return Err(fields.fault("name", "is missing"));
    }
    let priority = |key: &str| match fields.get(key) {
        None => Ok(None),
        Some(value) if value.is_string() || value.is_i64() => Ok(Some(value.clone())),
        Some(_) => Err(fields.fault(key, "is neither a whole number nor a text")),
    };
    let room = Room {
        namespace: fields.text("namespace")?.unwrap_or("default").to_owned(),
        name: String::new(),
        ops_state: fields.text("opsState")?.map(str::to_owned),
        deletion_priority: priority("deletionPriority")?,
        update_priority: priority("updatePriority")?,
        playing: fields.duration("playing")?,
    };
    scenario.rooms.extend(names.into_iter().map(|name| Room { name, ..room.clone() }));
    Ok(())
}

fn crowd(fields: &Fields<'_>) -> Result<Crowd, Diagnostic> {
    let matchmaker = match fields.one_of("matchmaker", &["blind", "guarded", "slow"])? {
        Some("guarded") => Matchmaker::Guarded,
        Some("slow") => Matchmaker::Slow,
        _ => Matchmaker::Blind,
    };
    let usual = Crowd::new(fields.needed("gss")?, matchmaker);
    let per_minute = fields.number("perMinute", 0.0, 100_000.0)?;
    let per_minute = per_minute.ok_or_else(|| fields.fault("perMinute", "is missing"))?;
    let players = fields.number("players", 1.0, 100_000.0)?.unwrap_or(1.0);
    Ok(Crowd {
        namespace: fields.text("namespace")?.unwrap_or("default").to_owned(),
        lag: fields.duration("lag")?.unwrap_or(usual.lag),
        per_minute,
        length: fields.span("match")?.unwrap_or(usual.length),
        players: (1..).find(|count| f64::from(*count) >= players).unwrap_or(1),
        disconnects: fields.number("disconnects", 0.0, 1.0)?.unwrap_or(0.0),
        after: fields.one_of("afterMatch", &["None", "WaitToBeDeleted"])?.unwrap_or("None").to_owned(),
        patience: fields.duration("patience")?.unwrap_or(usual.patience),
        ..usual
    })
}

fn disturbance(fields: &Fields<'_>) -> Result<Disturbance, Diagnostic> {
    fields.needed("kind")?;
    let trouble = match fields.one_of("kind", &["serviceQuality", "crash"])? {
        Some("crash") => Trouble::Crash,
        _ => Trouble::ServiceQuality,
    };
    let per_hour = fields.number("perHour", 0.0, 100_000.0)?;
    Ok(Disturbance {
        namespace: fields.text("namespace")?.unwrap_or("default").to_owned(),
        gss: fields.needed("gss")?.to_owned(),
        trouble,
        per_hour: per_hour.ok_or_else(|| fields.fault("perHour", "is missing"))?,
    })
}
