//! CustomResourceDefinitions: from the definition to the kind that it declares, and what a definition must look like.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::api::State;
use super::kinds::{Column, Form, Kind, Scale, key};
use super::object;
use super::schema::{Shape, openapi, table};
use super::status::Cause;

/// The name of the resource of definitions.
pub const KEY: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Returns the kind that a definition declares.
pub fn kind(definition: &Value) -> Kind {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<String>>();
    let versions: Vec<&Value> = spec["versions"].as_array().into_iter().flatten().collect();
    let served: Vec<&&Value> = versions.iter().filter(|version| version["served"] == true).collect();
    let mut order: Vec<String> = served.iter().map(|version| text(&version["name"])).collect();
    order.sort_by_key(|name| rank(name));
    let stored = versions.iter().find(|version| version["storage"] == true);
    let (group, plural) = (text(&spec["group"]), text(&names["plural"]));
    Kind {
        key: key(&group, &plural),
        shelf: key(&group, &plural),
        versions: order,
        storage: stored.map(|version| text(&version["name"])).unwrap_or_default(),
        singular: text(&names["singular"]),
        kind: text(&names["kind"]),
        list_kind: text(&names["listKind"]),
        short: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        status: versions.iter().any(|version| version["subresources"]["status"].is_object()),
        custom: true,
        forms: served.iter().map(|version| (text(&version["name"]), Arc::new(form(version)))).collect(),
        group,
        plural,
    }
}

/// Stable versions come before betas, these before alphas; higher numbers first.
pub fn rank(version: &str) -> (u8, i64, i64, String) {
    let rest = version.strip_prefix('v').unwrap_or("");
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(end);
    let Ok(major) = major.parse::<i64>() else { return (3, 0, 0, version.to_owned()) };
    let (class, minor) = match rest {
        "" => (0, ""),
        rest if rest.starts_with("beta") => (1, &rest[4..]),
        rest if rest.starts_with("alpha") => (2, &rest[5..]),
        _ => return (3, 0, 0, version.to_owned()),
    };
    (class, -major, -minor.parse::<i64>().unwrap_or(0), String::new())
}

fn form(version: &Value) -> Form {
    let declared = version["schema"]["openAPIV3Schema"].clone();
    let mut schema = openapi::read(&declared);
    if let Shape::Object(members) = &mut schema.shape {
        members.insert("metadata".into(), table::object_meta().clone());
        for member in ["apiVersion", "kind"] {
            members.entry(member.into()).or_insert_with(|| Arc::new(super::schema::Schema::of(Shape::Text)));
        }
    }
    let path = |value: &Value| -> Vec<String> {
        let text = value.as_str().unwrap_or("");
        text.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let scale = version["subresources"]["scale"].as_object().map(|scale| {
        let at = |key: &str| path(scale.get(key).unwrap_or(&Value::Null));
        Scale { spec: at("specReplicasPath"), status: at("statusReplicasPath"), selector: at("labelSelectorPath") }
    });
    let columns = version["additionalPrinterColumns"].as_array().into_iter().flatten().map(|column| {
        let text = |key: &str| column[key].as_str().unwrap_or("").to_owned();
        Column {
            name: text("name"),
            kind: text("type"),
            format: text("format"),
            description: text("description"),
            priority: column["priority"].as_i64().unwrap_or(0),
            path: text("jsonPath"),
        }
    });
    let columns: Vec<Column> = columns.collect();
    let deprecation = (version["deprecated"] == true)
        .then(|| version["deprecationWarning"].as_str().unwrap_or("this version is deprecated").to_owned());
    Form { schema: Arc::new(schema), declared, columns, scale, deprecation }
}

/// Fills in what a definition leaves open.
pub fn fill(definition: &mut Value) {
    let spec = object::member_mut(definition, "spec");
    spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or("").to_owned();
        names.entry("singular").or_insert_with(|| kind.to_lowercase().into());
        names.entry("listKind").or_insert_with(|| format!("{kind}List").into());
    }
}

/// Returns the status of a new definition.
pub fn first_status(definition: &Value) -> Value {
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let stored: Vec<&Value> =
        versions.filter(|version| version["storage"] == true).map(|version| &version["name"]).collect();
    json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored})
}

/// Judges a definition.
pub fn validate(definition: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let name = object::name(definition);
    if name != format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"])) {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &Value::from(name), why));
    }
    let versions: Vec<&Value> = spec["versions"].as_array().into_iter().flatten().collect();
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &Value::Array(Vec::new()), why));
    }
    if !["Namespaced", "Cluster"].contains(&text(&spec["scope"]).as_str()) {
        causes.push(Cause::not_supported("spec.scope", &spec["scope"], &["Cluster", "Namespaced"]));
    }
    for (index, version) in versions.iter().enumerate() {
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            causes.push(Cause::required(format!("spec.versions[{index}].schema.openAPIV3Schema"), ""));
            continue;
        }
        let place = match versions.len() {
            1 => "spec.validation.openAPIV3Schema".to_owned(),
            _ => format!("spec.versions[{index}].schema.openAPIV3Schema"),
        };
        structural(schema, &place, true, &mut causes);
    }
    causes
}

/// A schema must name the type of each value.
fn structural(schema: &Value, place: &str, root: bool, causes: &mut Vec<Cause>) {
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let int_or_string = schema["x-kubernetes-int-or-string"] == true;
    if schema["type"].as_str().unwrap_or("").is_empty() && !int_or_string && !open {
        let what = if root { "must not be empty at the root" } else { "must not be empty for specified object fields" };
        causes.push(Cause::required(format!("{place}.type"), what));
    } else if root && schema["type"] != "object" {
        causes.push(Cause::invalid(format!("{place}.type"), &schema["type"], "must be object at the root"));
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        structural(member, &format!("{place}.properties[{name}]"), false, causes);
    }
    if schema["additionalProperties"].is_object() {
        structural(&schema["additionalProperties"], &format!("{place}.additionalProperties"), false, causes);
    }
    if schema["items"].is_object() {
        let before = causes.len();
        structural(&schema["items"], &format!("{place}.items"), false, causes);
        for cause in &mut causes[before..] {
            if cause.field == format!("{place}.items.type") {
                cause.message = "Required value: must not be empty for specified array items".into();
            }
        }
    }
}

/// Accepts the names of a definition, and serves its kind; the write that follows every write of a definition.
pub fn establish(state: &mut State, crd_kind: &Kind, name: &str) {
    let Some(stored) = state.store.get(KEY, "", name) else { return };
    if object::terminating(&stored) {
        return;
    }
    let mut definition = (*stored).clone();
    let names = definition["spec"]["names"].clone();
    let now = object::stamp(state.clock.now());
    let taken = taken_name(state, &definition);
    let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({"type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message});
    let mut accepted = names.as_object().cloned().unwrap_or_default();
    let conditions = match &taken {
        None => vec![
            condition("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
            condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        Some((reason, message, lost)) => {
            for member in lost {
                accepted.remove(*member);
            }
            accepted.entry("kind").or_insert_with(|| "".into());
            accepted.entry("plural").or_insert_with(|| "".into());
            vec![
                condition("NamesAccepted", "False", reason, message),
                condition("Established", "False", "NotAccepted", "not all names are accepted"),
            ]
        }
    };
    let status = object::member_mut(&mut definition, "status");
    let settled = |list: &Value| -> Vec<(Value, Value)> {
        let list = list.as_array().into_iter().flatten();
        list.map(|condition| (condition["type"].clone(), condition["status"].clone())).collect()
    };
    let same = settled(status.get("conditions").unwrap_or(&Value::Null)) == settled(&json!(conditions))
        && status.get("acceptedNames").and_then(Value::as_object) == Some(&accepted);
    if !same {
        status.insert("conditions".into(), conditions.into());
        status.insert("acceptedNames".into(), Value::Object(accepted));
        state.store.put(crd_kind, definition.clone());
    }
    if taken.is_none() {
        state.store.serve(kind(&definition));
    }
}

type NameOf = fn(&Kind) -> &str;
type Taken = (&'static str, String, Vec<&'static str>);

/// Returns why names of a definition cannot be had: another kind of the group has them.
fn taken_name(state: &State, definition: &Value) -> Option<Taken> {
    let group = object::text_at(definition, &["spec", "group"]);
    let names = &definition["spec"]["names"];
    let own = object::name(definition);
    let others: Vec<&Arc<Kind>> =
        state.store.kinds().filter(|kind| kind.group == group && &*kind.key != own && kind.custom).collect();
    let mut lost = Vec::new();
    let mut first: Option<(&'static str, String)> = None;
    let checks: [(&str, &str, NameOf); 4] = [
        ("plural", "PluralConflict", |kind| &kind.plural),
        ("singular", "SingularConflict", |kind| &kind.singular),
        ("kind", "KindConflict", |kind| &kind.kind),
        ("listKind", "ListKindConflict", |kind| &kind.list_kind),
    ];
    for (member, reason, name_of) in checks {
        let wanted = names[member].as_str().unwrap_or("");
        if !wanted.is_empty() && others.iter().any(|kind| name_of(kind) == wanted) {
            lost.push(member);
            first = Some((reason, format!("{wanted:?} is already in use")));
        }
    }
    first.map(|(reason, message)| (reason, message, lost))
}

/// Marks a definition whose objects are about to go.
pub fn terminating_status(definition: &mut Value, now: &str) {
    let status = object::member_mut(definition, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    if let Some(list) = conditions.as_array_mut() {
        list.retain(|condition| condition["type"] != "Terminating");
        list.push(json!({
            "type": "Terminating",
            "status": "True",
            "lastTransitionTime": now,
            "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        }));
    }
}

/// Takes the objects of a definition away, then its kind.
pub fn demolish(state: &mut State, name: &str) {
    let Some(kind) = state.store.kind(name) else { return };
    for object in state.store.list(name, None) {
        state.store.remove(&kind, object::namespace(&object), object::name(&object));
    }
    state.store.withdraw(name);
}

/// Reads one of our tables into a definition.
pub fn from_table(text: &str) -> Value {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let mut head = lines[0].split(' ').skip(1);
    let mut word = || head.next().unwrap_or("");
    let (name, kind, scope, short) = (word(), word(), word(), word());
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    let mut names = json!({
        "plural": plural,
        "singular": kind.to_lowercase(),
        "kind": kind,
        "listKind": format!("{kind}List"),
    });
    if !short.is_empty() {
        names["shortNames"] = short.split(',').collect();
    }
    let mut versions = Vec::new();
    let starts: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("version ")).collect();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(lines.len());
        versions.push(version(&lines[*start..end]));
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {"group": group, "names": names, "scope": scope, "versions": versions},
    })
}

fn version(lines: &[&str]) -> Value {
    let words: Vec<&str> = lines[0].split(' ').collect();
    let has = |word: &str| words.contains(&word);
    let columns: Vec<Value> = lines[1..]
        .iter()
        .filter_map(|line| line.strip_prefix("column "))
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let mut column = json!({"name": words[0], "type": words[1], "jsonPath": words[2]});
            if let Some(priority) = words.get(3).and_then(|text| text.parse::<i64>().ok()) {
                column["priority"] = priority.into();
            }
            column
        })
        .collect();
    let fields: Vec<&str> = lines[1..].iter().copied().filter(|line| !line.starts_with("column ")).collect();
    let mut schema = openapi::write(&table::indented(&fields));
    if let Some(members) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        members.insert("apiVersion".into(), json!({"type": "string"}));
        members.insert("kind".into(), json!({"type": "string"}));
        members.insert("metadata".into(), json!({"type": "object"}));
    }
    let mut subresources = Map::new();
    if has("status") {
        subresources.insert("status".into(), json!({}));
    }
    if has("scale") {
        let scale = json!({
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.labelSelector",
        });
        subresources.insert("scale".into(), scale);
    }
    let mut out = BTreeMap::from([
        ("name", words[1].into()),
        ("served", true.into()),
        ("storage", has("stored").into()),
        ("schema", json!({"openAPIV3Schema": schema})),
    ]);
    if !columns.is_empty() {
        out.insert("additionalPrinterColumns", columns.into());
    }
    if !subresources.is_empty() {
        out.insert("subresources", Value::Object(subresources));
    }
    json!(out)
}
