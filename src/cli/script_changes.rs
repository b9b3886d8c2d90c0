//! What became of a script since a run began with it: steps and parameters, in words.

use crate::script::calls::calls;
use crate::script::{Interrupt, Script};
use crate::session::Desk;

/// Says which steps and parameters of a script are other now; one that does not parse any more says so.
pub fn between(then: &Script, now: &str) -> Vec<String> {
    // A desk of its own: the run's positions are those of the text that it began with.
    let now = match Desk::new(&Interrupt::new()).compile(&then.name, now) {
        Ok(now) => now,
        Err(error) => return vec![format!("as it is now it does not parse: {error}")],
    };
    let (before, after) = (steps(then), steps(&now));
    let without = |these: &[String], those: &[String]| {
        let missing: Vec<String> = these.iter().filter(|it| !those.contains(it)).map(|it| format!("`{it}`")).collect();
        missing.join(", ")
    };
    let mut said = Vec::new();
    let (new, gone) = (without(&after, &before), without(&before, &after));
    if !new.is_empty() {
        said.push(format!("steps that are new: {new}"));
    }
    if !gone.is_empty() {
        said.push(format!("steps that are no more: {gone}"));
    }
    if new.is_empty() && gone.is_empty() && before != after {
        said.push(format!("the order of its steps: {} became {}", before.join(", "), after.join(", ")));
    }
    let default = |script: &Script, name: &str| {
        let param = script.params.iter().find(|it| it.name == name)?;
        Some(param.default.as_ref().map_or("required".to_owned(), |value| value.to_string()))
    };
    let names = then.params.iter().chain(&now.params).map(|it| it.name.as_str());
    for name in names.collect::<std::collections::BTreeSet<_>>() {
        match (default(then, name), default(&now, name)) {
            (Some(then), Some(now)) if then != now => {
                said.push(format!("parameter `{name}`: default was {then}, is {now}"));
            }
            (Some(_), None) => said.push(format!("parameter `{name}` is no more")),
            (None, Some(_)) => said.push(format!("parameter `{name}` is new")),
            _ => {}
        }
    }
    if said.is_empty() {
        said.push("its steps and parameters are the same".to_owned());
    }
    said
}

/// Returns the names of a script's steps, as they stand in its text.
fn steps(script: &Script) -> Vec<String> {
    let calls = calls(&script.ast);
    let names = calls.iter().filter(|call| call.name == "step" && call.namespace.is_empty());
    names.filter_map(|call| Some(call.args.first()?.text()?.to_owned())).collect()
}
