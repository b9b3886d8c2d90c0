//! Custom resources: what is cut off, filled in and refused by the schema of their CRD.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use regex::Regex;
use serde_json::Value;

use super::openapi::QUANTITY;
use super::place::Place;
use super::{Schema, Shape};
use crate::sandbox::status::{Cause, shown};

/// Takes unknown members away and returns their paths.
pub fn prune(value: &mut Value, schema: &Schema, place: &Place, cut: &mut Vec<String>) {
    match (&schema.shape, value) {
        (Shape::Object(members), Value::Object(map)) => {
            if !schema.open {
                let root = place.is_root() || schema.embedded;
                let known = |key: &str| {
                    members.contains_key(key) || (root && ["apiVersion", "kind", "metadata"].contains(&key))
                };
                let unknown: Vec<String> = map.keys().filter(|key| !known(key)).cloned().collect();
                for key in unknown {
                    map.remove(&key);
                    cut.push(place.key(&key).to_string());
                }
            }
            for (key, member) in members {
                if let Some(inner) = map.get_mut(key) {
                    prune(inner, member, &place.member(key), cut);
                }
            }
        }
        (Shape::Map(values), Value::Object(map)) => {
            for (key, inner) in map.iter_mut() {
                prune(inner, values, &place.key(key), cut);
            }
        }
        (Shape::List(items), Value::Array(list)) => {
            for (index, inner) in list.iter_mut().enumerate() {
                prune(inner, items, &place.item(index), cut);
            }
        }
        (Shape::Object(_) | Shape::Map(_), _) => {}
        (_, Value::Object(map)) if !schema.open && !map.is_empty() => {
            for key in std::mem::take(map).keys() {
                cut.push(place.key(key).to_string());
            }
        }
        _ => {}
    }
}

/// Drops nulls that are no values, and fills in defaults.
pub fn fill(value: &mut Value, schema: &Schema) {
    match (&schema.shape, value) {
        (Shape::Object(members), Value::Object(map)) => {
            for (key, member) in members {
                if !member.nullable && map.get(key).is_some_and(Value::is_null) {
                    map.remove(key);
                }
                if let Some(default) = &member.default
                    && !map.contains_key(key)
                {
                    map.insert(key.clone(), default.clone());
                }
                if let Some(inner) = map.get_mut(key) {
                    fill(inner, member);
                }
            }
        }
        (Shape::Map(values), Value::Object(map)) => {
            if !values.nullable {
                match &values.default {
                    Some(default) => {
                        for inner in map.values_mut().filter(|inner| inner.is_null()) {
                            *inner = default.clone();
                        }
                    }
                    None => map.retain(|_, inner| !inner.is_null()),
                }
            }
            for inner in map.values_mut() {
                fill(inner, values);
            }
        }
        (Shape::List(items), Value::Array(list)) => {
            for inner in list {
                fill(inner, items);
            }
        }
        _ => {}
    }
}

/// Judges values against a schema.
pub struct Validator {
    /// What the places in causes begin with: empty, or `status` where only the status is judged.
    pub root: &'static str,
    /// What is wrong.
    pub causes: Vec<Cause>,
}

impl Validator {
    /// Judges a value. At an update, a part that was there before in the same form is not judged again.
    pub fn judge(&mut self, value: &Value, before: Option<&Value>, schema: &Schema, place: &Place) {
        if before == Some(value) {
            return;
        }
        if value.is_null() && schema.nullable {
            return;
        }
        if !self.type_holds(value, schema, place) {
            return;
        }
        self.rules(value, schema, place);
        match (&schema.shape, value) {
            (Shape::Object(members), Value::Object(map)) => {
                for key in schema.required.iter().filter(|key| !map.contains_key(*key)) {
                    let field = self.field(&place.member(key));
                    self.causes.push(Cause::required(field, ""));
                }
                for (key, inner) in map {
                    if let Some(member) = members.get(key) {
                        self.judge(inner, before.and_then(|b| b.get(key)), member, &place.member(key));
                    }
                }
            }
            (Shape::Map(values), Value::Object(map)) => {
                for (key, inner) in map {
                    self.judge(inner, before.and_then(|b| b.get(key)), values, &place.key(key));
                }
            }
            (Shape::List(items), Value::Array(list)) => {
                for (index, inner) in list.iter().enumerate() {
                    let was = before.and_then(|b| b.get(index));
                    self.judge(inner, was, items, &place.item(index));
                }
                self.duplicates(list, schema, place);
            }
            _ => {}
        }
    }

    fn field(&self, place: &Place) -> String {
        match (self.root, place.to_string().as_str()) {
            ("", "") => "<nil>".to_owned(),
            ("", place) => place.to_owned(),
            (root, "") => root.to_owned(),
            (root, place) => format!("{root}.{place}"),
        }
    }

    fn type_holds(&mut self, value: &Value, schema: &Schema, place: &Place) -> bool {
        let wanted = match &schema.shape {
            Shape::Any => return true,
            Shape::Object(_) | Shape::Map(_) => "object",
            Shape::List(_) => "array",
            Shape::Text | Shape::Bytes | Shape::Time | Shape::MicroTime => "string",
            Shape::Integer => "integer",
            Shape::Number => "number",
            Shape::Boolean => "boolean",
            Shape::IntOrString | Shape::Quantity => return self.int_or_string(value, place),
        };
        let found = type_of(value);
        let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
        if found == wanted
            || (wanted == "number" && found == "integer")
            || (wanted == "integer" && found == "number" && whole)
        {
            return true;
        }
        self.wrong_type(place, wanted, found);
        false
    }

    fn wrong_type(&mut self, place: &Place, wanted: &str, found: &str) {
        let why = format!("{place} in body must be of type {wanted}: {found:?}");
        self.causes.push(Cause::type_invalid(self.field(place), &Value::from(found), why));
    }

    fn int_or_string(&mut self, value: &Value, place: &Place) -> bool {
        let found = type_of(value);
        let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
        if ["integer", "string"].contains(&found) || (found == "number" && whole) {
            return true;
        }
        self.wrong_type(place, "integer,string", found);
        let why = format!("{:?} must validate at least one schema (anyOf)", place.to_string());
        self.causes.push(Cause::invalid(self.field(&Place::ROOT), &Value::from(""), why));
        self.wrong_type(place, "integer", found);
        false
    }

    fn rules(&mut self, value: &Value, schema: &Schema, place: &Place) {
        let mut broken: Vec<Cause> = Vec::new();
        let field = || self.field(place);
        let mut invalid = |why: String| broken.push(Cause::invalid(field(), value, format!("{place} in body {why}")));
        if matches!(schema.shape, Shape::Quantity)
            && let Some(text) = value.as_str()
            && !matches(QUANTITY, text)
        {
            invalid(format!("should match '{QUANTITY}'"));
        }
        if schema.format == "date-time"
            && let Some(text) = value.as_str()
            && text.parse::<jiff::Timestamp>().is_err()
        {
            let why = format!("{place} in body must be of type date-time: {text:?}");
            broken.push(Cause::type_invalid(field(), value, why));
        }
        if let Value::String(text) = value {
            broken.extend(text_fault(text, schema, &field, place));
        }
        for (rule, limit) in &schema.rules {
            let number = limit.as_f64().unwrap_or(0.0);
            let count = limit.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
            let exclusive = |key: &str| schema.rules.get(key) == Some(&Value::Bool(true));
            let mut invalid =
                |why: String| broken.push(Cause::invalid(field(), value, format!("{place} in body {why}")));
            match (rule.as_str(), value) {
                ("minimum", Value::Number(n)) => {
                    let n = n.as_f64().unwrap_or(0.0);
                    if exclusive("exclusiveMinimum") && n <= number {
                        invalid(format!("should be greater than {limit}"));
                    } else if n < number {
                        invalid(format!("should be greater than or equal to {limit}"));
                    }
                }
                ("maximum", Value::Number(n)) => {
                    let n = n.as_f64().unwrap_or(0.0);
                    if exclusive("exclusiveMaximum") && n >= number {
                        invalid(format!("should be less than {limit}"));
                    } else if n > number {
                        invalid(format!("should be less than or equal to {limit}"));
                    }
                }
                ("multipleOf", Value::Number(n)) if (n.as_f64().unwrap_or(0.0) % number).abs() > 0.0 => {
                    invalid(format!("should be a multiple of {limit}"));
                }
                ("minItems", Value::Array(list)) if list.len() < count => {
                    invalid(format!("should have at least {count} items"));
                }
                ("maxItems", Value::Array(list)) if list.len() > count => {
                    broken.push(too_many(field(), list.len(), count));
                }
                ("minProperties", Value::Object(map)) if map.len() < count => {
                    invalid(format!("should have at least {count} properties"));
                }
                ("maxProperties", Value::Object(map)) if map.len() > count => {
                    broken.push(too_many(field(), map.len(), count));
                }
                ("uniqueItems", Value::Array(list)) if *limit == Value::Bool(true) && repeats(list) => {
                    invalid("shouldn't contain duplicates".into());
                }
                ("enum", value) => {
                    let choices = limit.as_array().map_or(&[][..], Vec::as_slice);
                    if !choices.contains(value) {
                        let list: Vec<String> = choices.iter().map(shown).collect();
                        let list: Vec<&str> = list.iter().map(|choice| choice.trim_matches('"')).collect();
                        broken.push(Cause::not_supported(field(), value, &list));
                    }
                }
                _ => {}
            }
        }
        self.causes.append(&mut broken);
    }

    fn duplicates(&mut self, list: &[Value], schema: &Schema, place: &Place) {
        let keys = match &schema.list {
            super::ListType::Atomic => return,
            super::ListType::Set => &[][..],
            super::ListType::Map(keys) => keys.as_slice(),
        };
        let identity = |item: &Value| -> Value {
            if keys.is_empty() {
                return item.clone();
            }
            let part = |key: &String| item.get(key).map(|value| (key.clone(), value.clone()));
            Value::Object(keys.iter().filter_map(part).collect())
        };
        let mut seen = Vec::new();
        for (index, item) in list.iter().enumerate() {
            let identity = identity(item);
            if seen.contains(&identity) {
                let field = self.field(&place.item(index));
                self.causes.push(Cause::duplicate(field, &identity));
            }
            seen.push(identity);
        }
    }
}

/// Returns the first rule for texts that does not hold: the length, then the pattern.
fn text_fault(text: &str, schema: &Schema, field: &dyn Fn() -> String, place: &Place) -> Option<Cause> {
    let rule = |name: &str| schema.rules.get(name);
    let count = |name: &str| rule(name).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
    let length = text.chars().count();
    let invalid = |why: String| Some(Cause::invalid(field(), &text.into(), format!("{place} in body {why}")));
    if let Some(most) = count("maxLength").filter(|most| length > *most) {
        return Some(Cause::too_long(field(), most));
    }
    if let Some(least) = count("minLength").filter(|least| length < *least) {
        return invalid(format!("should be at least {least} chars long"));
    }
    let pattern = rule("pattern").and_then(Value::as_str).filter(|pattern| !matches(pattern, text))?;
    invalid(format!("should match '{pattern}'"))
}

fn repeats(list: &[Value]) -> bool {
    list.iter().enumerate().any(|(index, item)| list[..index].contains(item))
}

fn too_many(field: String, found: usize, most: usize) -> Cause {
    Cause { reason: "FieldValueTooMany", message: format!("Too many: {found}: must have at most {most} items"), field }
}

/// Returns the JSON Schema name of a value's type.
pub fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Returns whether a text matches a pattern; a pattern that does not parse matches nothing.
fn matches(pattern: &str, text: &str) -> bool {
    static PATTERNS: Mutex<BTreeMap<String, Option<Arc<Regex>>>> = Mutex::new(BTreeMap::new());
    let mut patterns = PATTERNS.lock().unwrap_or_else(PoisonError::into_inner);
    if !patterns.contains_key(pattern) {
        patterns.insert(pattern.to_owned(), Regex::new(pattern).ok().map(Arc::new));
    }
    let parsed = patterns.get(pattern).cloned().flatten();
    drop(patterns);
    parsed.is_some_and(|parsed| parsed.is_match(text))
}
