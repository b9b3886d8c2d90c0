//! Reading a document field by field: what is unknown or of the wrong kind is an error that says where, and what is
//! allowed.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Map, Value};

use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::sandbox::players::Span;
use crate::sandbox::scenario::places;

/// A document of a file.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// The file's name.
    pub file: &'a str,
    /// The document's number, from 1.
    pub number: usize,
    /// Its text, with as many empty lines in front as the file has lines before it.
    pub text: &'a str,
}

impl Document<'_> {
    /// Returns an error about a place in the document.
    pub fn fault(&self, kind: Kind, what: &str) -> Diagnostic {
        Diagnostic::new(kind, format!("`{}`, document {}: {what}", self.file, self.number))
    }

    /// The same about one field, whose line is shown.
    pub fn fault_at(&self, path: &str, kind: Kind, what: &str) -> Diagnostic {
        let fault = self.fault(kind, what);
        match places::find(self.file, self.text, path) {
            Some(place) => fault.at(place),
            None => fault,
        }
    }
}

/// The fields of one mapping.
pub struct Fields<'a> {
    document: Document<'a>,
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// Opens a mapping that may have the known fields only.
    pub fn open(
        document: Document<'a>,
        path: &str,
        value: &'a Value,
        known: &[&str],
    ) -> Result<Fields<'a>, Diagnostic> {
        let Some(map) = value.as_object() else { return Err(wrong(&document, path, value, "a mapping")) };
        let fields = Fields { document, path: path.to_owned(), map };
        if let Some(stranger) = map.keys().find(|key| !known.contains(&key.as_str())) {
            let at = fields.at(stranger);
            let mut fault = document.fault_at(&at, Kind::UnknownKey, &format!("there is no field `{at}`"));
            if let Some(near) = closest(stranger, known.iter().copied()) {
                fault = fault.help(format!("did you mean `{near}`?"));
            }
            return Err(fault.help(format!("allowed here: {}", known.join(", "))));
        }
        Ok(fields)
    }

    /// Opens a mapping inside, if it is there.
    pub fn inner(&self, key: &str, known: &[&str]) -> Result<Option<Fields<'a>>, Diagnostic> {
        self.get(key).map(|value| Fields::open(self.document, &self.at(key), value, known)).transpose()
    }

    /// Returns the path of a field.
    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Returns an error about a field.
    pub fn fault(&self, key: &str, why: &str) -> Diagnostic {
        let at = self.at(key);
        self.document.fault_at(&at, Kind::Parameter, &format!("`{at}` {why}"))
    }

    /// Returns a value; null counts as absent.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Returns the keys there are.
    pub fn keys(&self) -> impl Iterator<Item = &'a String> {
        self.map.keys()
    }

    /// Returns the entries of a list with their paths.
    pub fn list(&self, key: &str) -> Result<Vec<(String, &'a Value)>, Diagnostic> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let Some(items) = value.as_array() else { return Err(wrong(&self.document, &self.at(key), value, "a list")) };
        Ok(items.iter().enumerate().map(|(index, item)| (format!("{}[{index}]", self.at(key)), item)).collect())
    }

    /// Returns the texts of a list.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, Diagnostic> {
        let item = |(path, value): (String, &Value)| {
            value.as_str().map(str::to_owned).ok_or_else(|| wrong(&self.document, &path, value, "a text"))
        };
        self.list(key)?.into_iter().map(item).collect()
    }

    /// Returns a text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, Diagnostic> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| wrong(&self.document, &self.at(key), value, "a text"))
    }

    /// Returns a text that must be there.
    pub fn needed(&self, key: &str) -> Result<&'a str, Diagnostic> {
        self.text(key)?.ok_or_else(|| self.fault(key, "is missing"))
    }

    /// Returns a text out of a few.
    pub fn one_of(&self, key: &str, allowed: &[&str]) -> Result<Option<&'a str>, Diagnostic> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        self.check(key, text, allowed).map(|()| Some(text))
    }

    /// Refuses a word that is not one of a few.
    pub fn check(&self, key: &str, word: &str, allowed: &[&str]) -> Result<(), Diagnostic> {
        if allowed.contains(&word) {
            return Ok(());
        }
        let mut fault = self.fault(key, &format!("is `{word}`"));
        if let Some(near) = closest(word, allowed.iter().copied()) {
            fault = fault.help(format!("did you mean `{near}`?"));
        }
        Err(fault.help(format!("allowed here: {}", allowed.join(", "))))
    }

    /// Returns one text or the texts of a list, each with its field.
    pub fn words(&self, key: &str) -> Result<Vec<(String, String)>, Diagnostic> {
        match self.get(key) {
            Some(Value::Array(_)) => {
                let paths = self.list(key)?.into_iter().map(|(path, _)| path[self.at(key).len()..].to_owned());
                Ok(paths.map(|index| format!("{key}{index}")).zip(self.texts(key)?).collect())
            }
            _ => Ok(self.text(key)?.map(|text| (key.to_owned(), text.to_owned())).into_iter().collect()),
        }
    }

    /// Returns one whole number from 1, or those of a list.
    pub fn counts(&self, key: &str) -> Result<Vec<u64>, Diagnostic> {
        let one = |path: &str, value: &Value| {
            let count = value.as_u64().filter(|count| *count > 0);
            count.ok_or_else(|| wrong(&self.document, path, value, "a whole number from 1"))
        };
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(_)) => self.list(key)?.into_iter().map(|(path, value)| one(&path, value)).collect(),
            Some(value) => Ok(vec![one(&self.at(key), value)?]),
        }
    }

    /// Returns a truth value.
    pub fn truth(&self, key: &str) -> Result<Option<bool>, Diagnostic> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| wrong(&self.document, &self.at(key), value, "true or false"))
    }

    /// Returns a number within bounds.
    pub fn number(&self, key: &str, least: f64, most: f64) -> Result<Option<f64>, Diagnostic> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| wrong(&self.document, &self.at(key), value, "a number"))?;
        if number < least || number > most {
            return Err(self.fault(key, &format!("is {value}")).help(format!("a number from {least} to {most}")));
        }
        Ok(Some(number))
    }

    /// Returns a duration.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, Diagnostic> {
        self.get(key).map(|value| duration(&self.document, &self.at(key), value)).transpose()
    }

    /// Returns a duration, or how one is drawn: `20m`, `{from: 10m, to: 30m}`, `{mean: 20m}`.
    pub fn span(&self, key: &str) -> Result<Option<Span>, Diagnostic> {
        let Some(value) = self.get(key) else { return Ok(None) };
        if !value.is_object() {
            return self.duration(key).map(|fixed| fixed.map(Span::Fixed));
        }
        let inner = Fields::open(self.document, &self.at(key), value, &["from", "to", "mean"])?;
        let (from, to, mean) = (inner.duration("from")?, inner.duration("to")?, inner.duration("mean")?);
        match (from, to, mean) {
            (Some(from), Some(to), None) if from <= to => Ok(Some(Span::Between(from, to))),
            (Some(_), Some(_), None) => Err(inner.fault("from", "is longer than `to`")),
            (None, None, Some(mean)) => Ok(Some(Span::Mean(mean))),
            _ => Err(self.fault(key, "is no span of time").help("write 20m, {from: 10m, to: 30m} or {mean: 20m}")),
        }
    }
}

fn wrong(document: &Document<'_>, path: &str, value: &Value, wanted: &str) -> Diagnostic {
    let found = match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
        Value::String(text) => format!("`{text}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    };
    let what = if path.is_empty() { "the document" } else { path };
    document.fault_at(path, Kind::Parameter, &format!("`{what}` is {found}, not {wanted}"))
}

/// Reads a duration with its unit.
fn duration(document: &Document<'_>, path: &str, value: &Value) -> Result<Duration, Diagnostic> {
    const HELP: &str = "write a number with a unit: 500ms, 90s, 10m, 1h30m";
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            let what = format!("`{path}` is {number}: its unit is missing");
            return Err(document.fault_at(path, Kind::Parameter, &what).help(format!("write {number}s for seconds")));
        }
        _ => return Err(wrong(document, path, value, "a duration").help(HELP)),
    };
    let parsed = text.parse::<SignedDuration>().ok().and_then(|signed| Duration::try_from(signed).ok());
    parsed.ok_or_else(|| {
        document.fault_at(path, Kind::Parameter, &format!("`{path}` is `{text}`, not a duration")).help(HELP)
    })
}
