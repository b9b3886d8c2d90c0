//! Service qualities: what a probe's result does to its GameServer (`syncServiceQualities`).

use serde_json::{Map, Value, json};

use crate::okg::names;
use crate::okg::state::condition;

/// What the service qualities of a set make of a GameServer.
#[derive(Default)]
pub struct Outcome {
    /// New `serviceQualitiesConditions`; `None` if the set has no service qualities.
    pub conditions: Option<Vec<Value>>,
    /// Fields of the spec that actions set.
    pub spec: Map<String, Value>,
    /// Labels that actions set.
    pub labels: Map<String, Value>,
    /// Annotations that actions set.
    pub annotations: Map<String, Value>,
    /// Warnings: reason and message.
    pub warnings: Vec<(&'static str, String)>,
}

/// Judges the probes of a pod. Actions are edge-triggered: they run when a condition is first seen, or when its
/// status or message changed (once only, if the quality is permanent).
pub fn judge(qualities: &Value, pod: &Value, game_server: &Value, now: &str) -> Outcome {
    let Some(qualities) = qualities.as_array() else { return Outcome::default() };
    let mut outcome = Outcome { conditions: Some(Vec::new()), ..Outcome::default() };
    for quality in qualities {
        let name = quality["name"].as_str().unwrap_or_default();
        let mut next = json!({"name": name});
        if let Some(found) = condition(pod, &format!("{}{name}", names::PREFIX)) {
            let status = found["status"].as_str().unwrap_or_default();
            let result = found["message"].as_str().unwrap_or_default().replace(['|', '\n'], "");
            next["status"] = status.into();
            if !result.is_empty() {
                next["result"] = result.clone().into();
            }
            if let Some(time) = found["lastProbeTime"].as_str() {
                next["lastProbeTime"] = time.into();
            }
            let before = before(game_server, name);
            let changed = before["status"] != status || before["result"].as_str().unwrap_or_default() != result;
            let permanent = quality["permanent"] == true;
            let acted = before["lastActionTransitionTime"].clone();
            if before.is_null() || (changed && (acted.is_null() || !permanent)) {
                if outcome.act(quality, status, &result) {
                    next["lastActionTransitionTime"] = now.into();
                }
            } else if !acted.is_null() {
                next["lastActionTransitionTime"] = acted;
            }
        }
        let times = [&next["lastActionTransitionTime"], &next["lastProbeTime"]];
        if let Some(latest) = times.iter().filter_map(|time| time.as_str()).max() {
            next["lastTransitionTime"] = latest.into();
        }
        if let Some(conditions) = &mut outcome.conditions {
            conditions.push(next);
        }
    }
    outcome
}

fn before<'a>(game_server: &'a Value, name: &str) -> &'a Value {
    let conditions = game_server["status"]["serviceQualitiesConditions"].as_array();
    conditions.and_then(|all| all.iter().find(|condition| condition["name"] == name)).unwrap_or(&Value::Null)
}

impl Outcome {
    /// Runs the actions that fit; returns whether any did.
    fn act(&mut self, quality: &Value, status: &str, result: &str) -> bool {
        let state = match status {
            "True" => true,
            "False" => false,
            _ => return false,
        };
        let mut acted = false;
        for action in quality["serviceQualityAction"].as_array().into_iter().flatten() {
            let wanted = action["result"].as_str().unwrap_or_default();
            if action["state"] != state || !(wanted.is_empty() || wanted == result) {
                continue;
            }
            acted = true;
            for (field, reason, word) in [
                ("deletionPriority", "InvalidDeletionPriority", "DeletionPriority"),
                ("updatePriority", "InvalidUpdatePriority", "UpdatePriority"),
            ] {
                match &action[field] {
                    Value::Null => {}
                    Value::String(template) => match priority(template, result) {
                        Ok(number) => {
                            self.spec.insert(field.into(), number.into());
                        }
                        Err(why) => self.warnings.push((
                            reason,
                            format!("Failed to parse {word} template '{template}' with result '{result}': {why}"),
                        )),
                    },
                    number => {
                        self.spec.insert(field.into(), number.clone());
                    }
                }
            }
            if let Some(ops_state) = action["opsState"].as_str().filter(|text| !text.is_empty()) {
                self.spec.insert("opsState".into(), render(ops_state, result).unwrap_or_default().into());
            }
            if let Some(disabled) = action["networkDisabled"].as_bool() {
                self.spec.insert("networkDisabled".into(), disabled.into());
            }
            for (field, target) in [("labels", &mut self.labels), ("annotations", &mut self.annotations)] {
                for (key, value) in action[field].as_object().into_iter().flatten() {
                    let text = value.as_str().unwrap_or_default();
                    target.insert(key.clone(), render(text, result).unwrap_or_else(|| text.to_owned()).into());
                }
            }
        }
        acted
    }
}

fn priority(template: &str, result: &str) -> Result<i64, String> {
    let suffix = format!("(template: {template}, probe result: {result})");
    let text = render(template, result).ok_or_else(|| format!("the template cannot be read {suffix}"))?;
    let text = text.trim();
    text.parse().map_err(|_| format!("priority value must be numeric, got: {text} {suffix}"))
}

/// Renders the part of Go's templates that probes use: `{{.Result}}`, and `if`/`else`/`end` with one comparison.
pub fn render(template: &str, result: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = template;
    // Whether each open `if` lets text through.
    let mut open: Vec<bool> = Vec::new();
    while let Some(start) = rest.find("{{") {
        if open.iter().all(|shown| *shown) {
            text.push_str(&rest[..start]);
        }
        let end = rest[start..].find("}}")? + start;
        let action = rest[start + 2..end].trim().trim_matches('-').trim();
        rest = &rest[end + 2..];
        let shown = open.iter().all(|shown| *shown);
        match action.split_whitespace().collect::<Vec<_>>()[..] {
            [".Result"] if shown => text.push_str(result),
            [".Result"] => {}
            ["if", word, left, right] => open.push(compare(word, left, right, result)?),
            ["else"] => {
                let last = open.last_mut()?;
                *last = !*last;
            }
            ["end"] => {
                open.pop()?;
            }
            _ => return None,
        }
    }
    if open.is_empty() {
        text.push_str(rest);
        Some(text)
    } else {
        None
    }
}

fn compare(word: &str, left: &str, right: &str, result: &str) -> Option<bool> {
    let value =
        |text: &str| if text == ".Result" { result.to_owned() } else { text.trim_matches(['"', '`']).to_owned() };
    let (left, right) = (value(left), value(right));
    let order = match (left.parse::<f64>(), right.parse::<f64>()) {
        (Ok(left), Ok(right)) => left.partial_cmp(&right)?,
        _ => left.cmp(&right),
    };
    match word {
        "eq" => Some(order.is_eq()),
        "ne" => Some(order.is_ne()),
        "lt" => Some(order.is_lt()),
        "le" => Some(order.is_le()),
        "gt" => Some(order.is_gt()),
        "ge" => Some(order.is_ge()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_results() {
        assert_eq!(render("{{.Result}}", "12").as_deref(), Some("12"));
        let choice = "{{if gt .Result 10}}full{{else}}free{{end}}";
        assert_eq!(render(choice, "12").as_deref(), Some("full"));
        assert_eq!(render(choice, "9").as_deref(), Some("free"));
        assert_eq!(render("{{ .Nothing }}", "9"), None);
        assert!(priority("{{.Result}}", "full").unwrap_err().starts_with("priority value must be numeric, got: full"));
    }
}
