//! What a watch saw during a step: the values of fields one after the other, the order of rooms, events.

use std::collections::BTreeMap;

use okgscript::sandbox::api::Api;
use okgscript::sandbox::object::{Change, ChangeKind};
use serde_json::{Value, json};

use super::view::{self, Tokens, text};

#[derive(Default)]
pub struct Seen {
    /// By object, then field.
    pub values: BTreeMap<String, BTreeMap<String, Vec<Value>>>,
    /// `created`, `terminating`, `updated`.
    pub order: BTreeMap<String, Vec<String>>,
    pub events: BTreeMap<String, Vec<String>>,
}

impl Seen {
    pub fn read(_api: &Api, changes: &[Change], namespace: &str, tokens: &Tokens) -> Seen {
        let mut seen = Seen::default();
        for change in changes {
            let name = text(&change.object["metadata"]["name"]);
            let deleted = change.kind == ChangeKind::Deleted;
            let previous = change.previous.as_deref();
            let now = (!deleted).then_some(&*change.object);
            // A deletion carries the last state; what was before is the same object.
            let before = if deleted { previous.or(Some(&*change.object)) } else { previous };
            match &*change.resource {
                "pods" => {
                    for (field, read) in POD {
                        seen.note(&name, field, before, now, |pod| read(pod, tokens));
                    }
                    seen.note_order(&name, before, now);
                }
                view::GS => {
                    for (field, read) in GAME_SERVER {
                        seen.note(&name, field, before, now, |gs| read(gs, tokens));
                    }
                }
                view::GSS => {
                    let object = format!("gss/{name}");
                    seen.note(&object, "replicas", before, now, |set| set["spec"]["replicas"].clone());
                    let ids = |set: &Value| set["spec"]["reserveGameServerIds"].clone();
                    seen.note(&object, "reserveGameServerIds", before, now, ids);
                    let annotation = |set: &Value| set["metadata"]["annotations"]["game.kruise.io/reserve-ids"].clone();
                    seen.note(&object, "reserveIdsAnnotation", before, now, annotation);
                }
                view::ASTS => {
                    let object = format!("asts/{name}");
                    seen.note(&object, "asts", before, now, |set| tokens.uid('s', set));
                    seen.note(&object, "replicas", before, now, |set| set["spec"]["replicas"].clone());
                    seen.note(&object, "reserveOrdinals", before, now, |set| set["spec"]["reserveOrdinals"].clone());
                }
                "events" if !deleted => seen.note_event(&change.object, namespace, tokens),
                _ => {}
            }
        }
        for fields in seen.values.values_mut() {
            // A new object without the field is no news.
            let plain = [json!(["-", null]), json!(["-", false]), json!(["-", 0])];
            fields.retain(|_, values| values.len() > 1 && !plain.contains(&json!(values)));
        }
        seen.values.retain(|_, fields| !fields.is_empty());
        seen
    }

    fn note(
        &mut self,
        object: &str,
        field: &str,
        before: Option<&Value>,
        now: Option<&Value>,
        read: impl Fn(&Value) -> Value,
    ) {
        let value = |state: Option<&Value>| state.map_or_else(|| json!("-"), &read);
        let values = self.values.entry(object.to_owned()).or_default().entry(field.to_owned()).or_default();
        for value in [value(before), value(now)] {
            if values.last() != Some(&value) {
                values.push(value);
            }
        }
    }

    fn note_order(&mut self, name: &str, before: Option<&Value>, now: Option<&Value>) {
        let terminating = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
        let revision = |pod: &Value| pod["metadata"]["labels"]["controller-revision-hash"].clone();
        let word = match (before, now) {
            (None, Some(_)) => "created",
            (Some(before), Some(now)) if !terminating(before) && terminating(now) => "terminating",
            (Some(before), None) if !terminating(before) => "terminating",
            (Some(before), Some(now)) if revision(before) != revision(now) => "updated",
            _ => return,
        };
        self.order.entry(word.to_owned()).or_default().push(name.to_owned());
    }

    fn note_event(&mut self, event: &Value, namespace: &str, tokens: &Tokens) {
        let about = &event["involvedObject"];
        let kind = match about["kind"].as_str().unwrap_or_default() {
            "GameServerSet" => "gss",
            "GameServer" => "gs",
            "StatefulSet" => "asts",
            other => other,
        };
        let message = tokens.in_text(&text(&event["message"])).replace(namespace, "NS");
        let message =
            match message.split_once("waited ").and_then(|(start, rest)| Some((start, rest.split_once(',')?.1))) {
                Some((start, end)) => format!("{start}waited <t>,{end}"),
                None => message,
            };
        let line = format!("{} {} {message}", text(&event["type"]), text(&event["reason"]));
        let lines = self.events.entry(format!("{kind}/{}", text(&about["name"]))).or_default();
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
}

type Field = (&'static str, fn(&Value, &Tokens) -> Value);

const POD: [Field; 9] = [
    ("pod", |pod, tokens| tokens.uid('p', pod)),
    ("gs-state", |pod, _| pod["metadata"]["labels"]["game.kruise.io/gs-state"].clone()),
    ("gs-opsState", |pod, _| pod["metadata"]["labels"]["game.kruise.io/gs-opsState"].clone()),
    ("lifecycle", |pod, _| pod["metadata"]["labels"]["lifecycle.apps.kruise.io/state"].clone()),
    ("revision", |pod, tokens| tokens.revision(&pod["metadata"]["labels"]["controller-revision-hash"])),
    ("phase", |pod, _| pod["status"]["phase"].clone()),
    ("ready", |pod, _| {
        let conditions = pod["status"]["conditions"].as_array();
        let ready = conditions.and_then(|all| all.iter().find(|found| found["type"] == "Ready"));
        ready.map(|ready| ready["status"].clone()).unwrap_or_default()
    }),
    ("terminating", |pod, _| (!pod["metadata"]["deletionTimestamp"].is_null()).into()),
    ("image", |pod, _| {
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        let images: Vec<String> = containers.map(|container| text(&container["image"])).collect();
        images.join(",").into()
    }),
];

const GAME_SERVER: [Field; 4] = [
    ("gs", |gs, tokens| tokens.uid('g', gs)),
    ("currentState", |gs, _| gs["status"]["currentState"].clone()),
    ("opsState", |gs, _| gs["spec"]["opsState"].clone()),
    ("gs-deleting", |gs, _| gs["metadata"]["labels"]["game.kruise.io/gs-deleting"].clone()),
];
