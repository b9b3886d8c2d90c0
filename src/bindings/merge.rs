//! What a merge patch does to an object: the result, and what it would lose.

use serde_json::{Value, json};

pub use crate::cluster::diff::changes;
use crate::cluster::diff::{entry_key, short};

/// A list that a patch would shorten or thin out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Dotted path of the list.
    pub list: String,
    /// What would be lost, in words.
    pub what: Vec<String>,
}

/// Returns the object with a merge patch applied (RFC 7386).
pub fn apply(object: &Value, patch: &Value) -> Value {
    let mut result = object.clone();
    json_patch::merge(&mut result, patch);
    result
}

/// Returns the patch with a resourceVersion that the server holds the object to.
pub fn pinned(patch: &Value, version: &str) -> Value {
    let mut pinned = patch.clone();
    json_patch::merge(&mut pinned, &json!({"metadata": {"resourceVersion": version}}));
    pinned
}

/// Returns the containers that a patch of the template names, with their image.
pub fn containers_of(patch: &Value) -> Vec<(String, Option<String>)> {
    let containers = patch.pointer("/spec/gameServerTemplate/spec/containers").and_then(Value::as_array);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let named = |container: &Value| text(container.get("name")).map(|name| (name, text(container.get("image"))));
    containers.into_iter().flatten().filter_map(named).collect()
}

/// Returns the list entries, and fields of entries, that applying `patch` to `before` loses.
pub fn losses(before: &Value, after: &Value, patch: &Value) -> Vec<Loss> {
    let mut found = Vec::new();
    walk(before, after, patch, &mut Vec::new(), &mut found);
    found
}

/// Follows the patch: only lists that it names are replaced.
fn walk(before: &Value, after: &Value, patch: &Value, path: &mut Vec<String>, found: &mut Vec<Loss>) {
    match (before, patch) {
        (Value::Object(before), Value::Object(fields)) => {
            for (key, inner) in fields {
                if let Some(old) = before.get(key) {
                    path.push(key.clone());
                    walk(old, after.get(key).unwrap_or(&Value::Null), inner, path, found);
                    path.pop();
                }
            }
        }
        (Value::Array(before), Value::Array(_)) => {
            let after = after.as_array().map(Vec::as_slice).unwrap_or_default();
            let what = list_losses(before, after, path.last().map(String::as_str).unwrap_or_default());
            if !what.is_empty() {
                found.push(Loss { list: path.join("."), what });
            }
        }
        _ => {}
    }
}

fn list_losses(before: &[Value], after: &[Value], list: &str) -> Vec<String> {
    let mut lost = Vec::new();
    let noun = list.strip_suffix('s').unwrap_or(list);
    for (index, old) in before.iter().enumerate() {
        let Some(key) = entry_key(old) else {
            let kept = if old.is_object() { after.get(index).is_some() } else { after.contains(old) };
            if !kept {
                lost.push(format!("{noun} `{}`", short(old)));
            }
            continue;
        };
        match after.iter().find(|new| entry_key(new).as_ref() == Some(&key)) {
            None => lost.push(format!("{noun} `{key}`")),
            Some(new) => {
                let fields = field_losses(old, new);
                if !fields.is_empty() {
                    lost.push(format!("of `{key}`: {}", fields.join(", ")));
                }
            }
        }
    }
    lost
}

fn field_losses(old: &Value, new: &Value) -> Vec<String> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return Vec::new() };
    let mut lost = Vec::new();
    for (key, value) in old {
        match (value, new.get(key)) {
            (Value::Array(items), None) => lost.push(format!("{key} ({})", items.len())),
            (_, None) => lost.push(key.clone()),
            (Value::Array(items), Some(Value::Array(kept))) => {
                lost.extend(list_losses(items, kept, key).into_iter().map(|what| format!("{key}: {what}")));
            }
            (Value::Object(_), Some(inner @ Value::Object(_))) => {
                lost.extend(field_losses(value, inner).into_iter().map(|what| format!("{key}.{what}")));
            }
            _ => {}
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Value {
        json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 3, "gameServerTemplate": {"spec": {"containers": [
            {"name": "minecraft", "image": "a:1", "ports": [{"containerPort": 25565}], "env": [{"name": "A"}, {"name": "B"}],
             "resources": {"limits": {"cpu": "1"}}},
            {"name": "telemetry", "image": "t:1"},
        ]}}}})
    }

    #[test]
    fn the_classic_workflow_patch_loses_ports_env_and_sidecar() {
        let patch =
            json!({"spec": {"gameServerTemplate": {"spec": {"containers": [{"name": "minecraft", "image": "a:2"}]}}}});
        let lost = losses(&set(), &apply(&set(), &patch), &patch);
        let what = vec!["of `minecraft`: env (2), ports (1), resources".to_owned(), "container `telemetry`".to_owned()];
        assert_eq!(lost, vec![Loss { list: "spec.gameServerTemplate.spec.containers".into(), what }]);
    }

    #[test]
    fn a_patch_that_keeps_everything_loses_nothing() {
        let mut containers = set()["spec"]["gameServerTemplate"]["spec"]["containers"].clone();
        containers[0]["image"] = json!("a:2");
        let patch = json!({"spec": {"replicas": 4, "gameServerTemplate": {"spec": {"containers": containers}}}});
        let after = apply(&set(), &patch);
        assert_eq!(losses(&set(), &after, &patch), vec![]);
        let paths: Vec<String> =
            changes(&set(), &after).into_iter().map(|c| format!("{} {} {}", c.path, c.from, c.to)).collect();
        let image = "spec.gameServerTemplate.spec.containers[minecraft].image a:1 a:2";
        assert_eq!(paths, vec![image.to_owned(), "spec.replicas 3 4".to_owned()]);
    }

    #[test]
    fn nested_lists_and_plain_lists_count_too() {
        let before = json!({"spec": {"ids": [1, 2], "list": [{"name": "a", "env": [{"name": "X"}, {"name": "Y"}]}]}});
        let patch = json!({"spec": {"ids": [2, 3], "list": [{"name": "a", "env": [{"name": "X"}]}]}});
        let lost = losses(&before, &apply(&before, &patch), &patch);
        let texts: Vec<String> = lost.iter().map(|loss| format!("{}: {}", loss.list, loss.what.join(", "))).collect();
        assert_eq!(texts, vec!["spec.ids: id `1`", "spec.list: of `a`: env: env `Y`"]);
    }
}
