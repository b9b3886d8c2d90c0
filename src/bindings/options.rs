//! Options of a host function: a map whose keys its record lists.

use std::time::Duration;

use rhai::{Dynamic, Map};

use super::binding::Key;
use super::host::ScriptResult;
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::script::{duration, throw, value};

/// A map of options whose keys are all known.
pub struct Options<'a> {
    function: &'static str,
    map: &'a Map,
}

impl<'a> Options<'a> {
    /// Checks the keys; an unknown one is an error with a suggestion.
    pub fn read(function: &'static str, map: &'a Map, keys: &[Key]) -> ScriptResult<Options<'a>> {
        for name in map.keys() {
            if keys.iter().any(|key| key.name == name.as_str()) {
                continue;
            }
            let what = format!("{function} knows no option `{name}`");
            let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
            let mut diagnostic = Diagnostic::new(Kind::UnknownKey, what).why(format!("options: {}", known.join(", ")));
            if let Some(near) = closest(name, known.iter().copied()) {
                diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
            }
            return Err(throw(diagnostic));
        }
        Ok(Options { function, map })
    }

    fn value(&self, key: &str) -> Option<&Dynamic> {
        self.map.get(key).filter(|value| !value.is_unit())
    }

    fn wrong(&self, key: &str, wanted: &str, given: &Dynamic) -> Box<rhai::EvalAltResult> {
        let given = value::type_name(given);
        let what = format!("{}: option `{key}` takes {wanted}, not {given}", self.function);
        throw(Diagnostic::new(Kind::WrongArguments, what))
    }

    /// Returns a text.
    pub fn text(&self, key: &str) -> ScriptResult<Option<String>> {
        let read = |value: &Dynamic| value.clone().into_string().map_err(|_| self.wrong(key, "a string", value));
        self.value(key).map(read).transpose()
    }

    /// Returns a truth value.
    pub fn flag(&self, key: &str) -> ScriptResult<Option<bool>> {
        let read = |value: &Dynamic| value.as_bool().map_err(|_| self.wrong(key, "true or false", value));
        self.value(key).map(read).transpose()
    }

    /// Returns a duration.
    pub fn duration(&self, key: &str) -> ScriptResult<Option<Duration>> {
        let read = |value: &Dynamic| {
            if value.is_int() || value.is_float() {
                return Err(throw(duration::unitless(value)));
            }
            match value.clone().into_immutable_string() {
                Ok(text) => duration::parse(&text).map_err(throw),
                Err(_) => Err(self.wrong(key, "a duration such as \"10m\"", value)),
            }
        };
        self.value(key).map(read).transpose()
    }

    /// Returns a duration that must be there.
    pub fn required_duration(&self, key: &str) -> ScriptResult<Duration> {
        self.duration(key)?.ok_or_else(|| {
            let what = format!("{} needs the option `{key}`", self.function);
            throw(Diagnostic::new(Kind::WrongArguments, what).help(format!("for example #{{ {key}: \"10m\" }}")))
        })
    }

    /// Returns a number that is not negative.
    pub fn count(&self, key: &str) -> ScriptResult<Option<u64>> {
        let read = |value: &Dynamic| {
            let number = value.as_int().ok().and_then(|number| u64::try_from(number).ok());
            number.ok_or_else(|| self.wrong(key, "a number of 0 or more", value))
        };
        self.value(key).map(read).transpose()
    }

    /// Returns a number with or without a fraction.
    pub fn number(&self, key: &str) -> ScriptResult<Option<f64>> {
        let read = |value: &Dynamic| match (value.as_float(), value.as_int()) {
            (Ok(number), _) => Ok(number),
            (Err(_), Ok(number)) => Ok(number as f64),
            _ => Err(self.wrong(key, "a number", value)),
        };
        self.value(key).map(read).transpose()
    }
}
