//! What a write to several rooms came to.

use rhai::{Array, Dynamic, Engine, ImmutableString, Map};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ledger::Remark;
use super::property::{Property, TypeRecord, register};
use super::table;

/// What a write to several rooms came to: a room that changed meanwhile is skipped, which is no error.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// Names of rooms that were written.
    pub changed: Vec<String>,
    /// Names of rooms that were as wanted already.
    pub unchanged: Vec<String>,
    /// Rooms left alone, and why.
    pub skipped: Vec<Remark>,
    /// Rooms whose write failed, and why.
    pub failed: Vec<Remark>,
}

fn names(names: &[String]) -> Dynamic {
    Dynamic::from_array(names.iter().map(|name| Dynamic::from(ImmutableString::from(name.as_str()))).collect())
}

fn remarks(remarks: &[Remark]) -> Dynamic {
    let array: Array = remarks
        .iter()
        .map(|remark| {
            let mut map = Map::new();
            map.insert("name".into(), remark.name.clone().into());
            map.insert("reason".into(), remark.reason.clone().into());
            Dynamic::from_map(map)
        })
        .collect();
    Dynamic::from_array(array)
}

/// Properties of an outcome.
pub static OUTCOME: &[Property<Outcome>] = &[
    Property { name: "changed", ty: "array", doc: "names of rooms that were written", get: |o| names(&o.changed) },
    Property {
        name: "unchanged",
        ty: "array",
        doc: "names of rooms that were as wanted already",
        get: |o| names(&o.unchanged),
    },
    Property {
        name: "skipped",
        ty: "array",
        doc: "rooms left alone because they changed meanwhile: `#{name, reason}`",
        get: |o| remarks(&o.skipped),
    },
    Property {
        name: "failed",
        ty: "array",
        doc: "rooms whose write failed: `#{name, reason}`",
        get: |o| remarks(&o.failed),
    },
    Property {
        name: "summary",
        ty: "string",
        doc: "one line: `2 changed, 1 skipped`",
        get: |o| Dynamic::from(ImmutableString::from(o.summary())),
    },
];

impl Outcome {
    /// Returns the outcome in one line.
    pub fn summary(&self) -> String {
        let parts = [
            ("changed", self.changed.len()),
            ("unchanged", self.unchanged.len()),
            ("skipped", self.skipped.len()),
            ("failed", self.failed.len()),
        ];
        let said: Vec<String> = parts
            .iter()
            .enumerate()
            .filter(|(index, (_, count))| *index == 0 || *count > 0)
            .map(|(_, (word, count))| format!("{count} {word}"))
            .collect();
        said.join(", ")
    }

    /// Returns the outcome as data.
    pub fn to_json(&self) -> Value {
        json!({
            "changed": self.changed,
            "unchanged": self.unchanged,
            "skipped": self.skipped,
            "failed": self.failed,
        })
    }

    /// Takes what another write came to as well.
    pub fn extend(&mut self, other: Outcome) {
        self.changed.extend(other.changed);
        self.unchanged.extend(other.unchanged);
        self.skipped.extend(other.skipped);
        self.failed.extend(other.failed);
    }

    /// Draws the outcome as a table.
    pub fn table(&self) -> String {
        let mut rows = Vec::new();
        rows.extend(self.changed.iter().map(|name| vec![name.clone(), "changed".to_owned(), String::new()]));
        rows.extend(self.unchanged.iter().map(|name| vec![name.clone(), "unchanged".to_owned(), String::new()]));
        rows.extend(self.skipped.iter().map(|r| vec![r.name.clone(), "skipped".to_owned(), r.reason.clone()]));
        rows.extend(self.failed.iter().map(|r| vec![r.name.clone(), "failed".to_owned(), r.reason.clone()]));
        if rows.is_empty() {
            return "no rooms".to_owned();
        }
        table::draw(&["NAME", "OUTCOME", "REASON"], &rows)
    }
}

/// Returns the record of the type.
pub fn record() -> TypeRecord {
    TypeRecord {
        name: "Outcome",
        doc: "What a write to several rooms came to; `a + b` joins two.",
        properties: OUTCOME.iter().map(Property::record).collect(),
    }
}

/// Makes the type known to an engine.
pub fn register_type(engine: &mut Engine) {
    register(engine, "Outcome", OUTCOME);
    engine.register_fn("to_string", |outcome: &mut Outcome| outcome.summary());
    engine.register_fn("to_debug", |outcome: &mut Outcome| outcome.table());
    engine.register_fn("without_changed", |outcome: &mut Outcome| Outcome {
        changed: Vec::new(),
        unchanged: outcome.unchanged.clone(),
        skipped: outcome.skipped.clone(),
        failed: outcome.failed.clone(),
    });
    engine.register_fn("+", |mut a: Outcome, b: Outcome| {
        a.extend(b);
        a
    });
}
