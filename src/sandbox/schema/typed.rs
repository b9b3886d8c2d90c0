//! Built-in kinds: bodies read into their types and written again, as the server's Go types do.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::place::Place;
use super::{Schema, Shape};
use crate::sandbox::quantity;

/// Members that are written even when they are empty, by type and member.
fn always() -> &'static BTreeMap<&'static str, Vec<(&'static str, Value)>> {
    static ALWAYS: OnceLock<BTreeMap<&'static str, Vec<(&'static str, Value)>>> = OnceLock::new();
    ALWAYS.get_or_init(|| {
        let mut all: BTreeMap<&str, Vec<(&str, Value)>> = BTreeMap::new();
        for line in include_str!("always.txt").lines().filter(|line| !line.starts_with('#')) {
            let (place, value) = line.split_once(' ').unwrap_or((line, "null"));
            let (kind, member) = place.split_once('.').unwrap_or((place, ""));
            all.entry(kind).or_default().push((member, serde_json::from_str(value).unwrap_or(Value::Null)));
        }
        all
    })
}

/// Reads a body into a type.
pub struct Reader {
    /// Paths of members that the type does not have.
    pub unknown: Vec<String>,
}

impl Reader {
    /// Returns a body as the server would write it again; the error is the text of Go's decoder.
    pub fn read(&mut self, mut value: Value, schema: &Schema) -> Result<Value, String> {
        self.value(&mut value, schema, &Place::ROOT, "")?;
        Ok(value)
    }

    /// Brings a value into its form where it stands; `owner` is the type that it is a member of.
    fn value(&mut self, value: &mut Value, schema: &Schema, place: &Place, owner: &str) -> Result<(), String> {
        match (&schema.shape, &mut *value) {
            (Shape::Any, _) | (_, Value::Null) => {}
            (Shape::Object(members), Value::Object(map)) => self.members(map, members, schema, place)?,
            (Shape::Map(values), Value::Object(map)) => {
                for (key, inner) in map.iter_mut() {
                    self.value(inner, values, &place.key(key), owner)?;
                    if inner.is_null() {
                        *inner = zero(values);
                    }
                }
            }
            (Shape::List(items), Value::Array(list)) => {
                for (index, inner) in list.iter_mut().enumerate() {
                    self.value(inner, items, &place.item(index), owner)?;
                    if inner.is_null() {
                        *inner = zero(items);
                    }
                }
            }
            (Shape::Bytes, Value::String(text)) => {
                if let Some(at) = not_base64(text) {
                    return Err(format!("illegal base64 data at input byte {at}"));
                }
            }
            (Shape::Text, Value::String(_))
            | (Shape::Boolean, Value::Bool(_))
            | (Shape::Number, Value::Number(_))
            | (Shape::IntOrString, Value::String(_) | Value::Number(_)) => {}
            (Shape::Integer, Value::Number(number)) => {
                let small = schema.format == "int32";
                let fits = number.as_i64().is_some_and(|n| !small || i32::try_from(n).is_ok());
                if !fits {
                    return Err(mismatch(place, owner, &format!("number {number}"), schema));
                }
            }
            (Shape::Quantity, Value::String(text)) => *text = quantity::canonical(text).ok_or(QUANTITY)?,
            (Shape::Quantity, Value::Number(number)) => {
                *value = Value::String(quantity::canonical(&number.to_string()).ok_or(QUANTITY)?);
            }
            (Shape::Time, Value::String(text)) if is_stamp(text) => {}
            (Shape::Time, Value::String(text)) => *text = time(text)?,
            (Shape::MicroTime, Value::String(text)) => *text = micro_time(text)?,
            (Shape::Time | Shape::MicroTime, other) => {
                return Err(format!("json: cannot unmarshal {} into Go value of type string", described(other)));
            }
            (_, other) => return Err(mismatch(place, owner, described(other), schema)),
        }
        Ok(())
    }

    fn members(
        &mut self,
        map: &mut Map<String, Value>,
        members: &BTreeMap<String, Arc<Schema>>,
        schema: &Schema,
        place: &Place,
    ) -> Result<(), String> {
        let owner = schema.short_name();
        let mut dropped: Vec<String> = Vec::new();
        for (key, inner) in map.iter_mut() {
            let here = place.member(key);
            match members.get(key) {
                Some(member) => {
                    self.value(inner, member, &here, owner)?;
                    if !keeps(inner, member, schema, key) {
                        dropped.push(key.clone());
                    }
                }
                None if place.is_root() && ["apiVersion", "kind"].contains(&key.as_str()) => {}
                None => {
                    self.unknown.push(here.to_string());
                    dropped.push(key.clone());
                }
            }
        }
        for key in dropped {
            map.remove(&key);
        }
        complete(map, schema);
        Ok(())
    }
}

/// Adds the members that are written even when they are empty.
fn complete(out: &mut Map<String, Value>, schema: &Schema) {
    for (member, value) in always().get(schema.short_name()).into_iter().flatten() {
        if schema.member(member).is_some() && !out.contains_key(*member) {
            let mut value = value.clone();
            if let (Value::Object(inner), Some(form)) = (&mut value, schema.member(member)) {
                complete(inner, form);
            }
            out.insert((*member).to_owned(), value);
        }
    }
    for key in &schema.required {
        if let Some(member) = schema.member(key)
            && !out.contains_key(key)
        {
            out.insert(key.clone(), zero(member));
        }
    }
}

fn zero(schema: &Schema) -> Value {
    match &schema.shape {
        Shape::Object(_) => {
            let mut out = Map::new();
            complete(&mut out, schema);
            Value::Object(out)
        }
        Shape::Text => "".into(),
        Shape::Integer | Shape::Number => 0.into(),
        Shape::IntOrString => 0.into(),
        Shape::Boolean => false.into(),
        Shape::Quantity => "0".into(),
        _ => Value::Null,
    }
}

/// Returns where a text stops being base64.
fn not_base64(text: &str) -> Option<usize> {
    use base64::Engine as _;
    let wrong = |c: u8| !(c.is_ascii_alphanumeric() || b"+/=\r\n".contains(&c));
    let whole = || base64::engine::general_purpose::STANDARD.decode(text.replace(['\r', '\n'], "")).is_ok();
    text.bytes().position(wrong).or_else(|| (!whole()).then_some(text.len()))
}

/// Returns whether a value is written: empty ones are left out unless the type says otherwise.
fn keeps(value: &Value, schema: &Schema, owner: &Schema, key: &str) -> bool {
    let full = match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty() || schema.pointer,
        Value::Bool(flag) => *flag || schema.pointer,
        Value::Number(number) => {
            number.as_f64() != Some(0.0) || schema.pointer || matches!(schema.shape, Shape::IntOrString)
        }
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty() || matches!(schema.shape, Shape::Object(_) | Shape::Any),
    };
    full || owner.required.iter().any(|required| required == key)
}

fn mismatch(place: &Place, owner: &str, found: &str, schema: &Schema) -> String {
    let wanted = go_type(schema);
    let fields = place.fields();
    if fields.is_empty() {
        return format!("json: cannot unmarshal {found} into Go value of type {wanted}");
    }
    format!("json: cannot unmarshal {found} into Go struct field {owner}.{fields} of type {wanted}")
}

/// Returns the name of a type in Go.
pub fn go_type(schema: &Schema) -> String {
    match &schema.shape {
        Shape::Any => "interface {}".into(),
        Shape::Object(_) => {
            let mut parts = schema.name.rsplit('.');
            let (name, package) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            format!("{package}.{name}")
        }
        Shape::Map(values) => format!("map[string]{}", go_type(values)),
        Shape::List(items) => format!("[]{}", go_type(items)),
        Shape::Text => "string".into(),
        Shape::Integer if schema.format == "int32" => "int32".into(),
        Shape::Integer => "int64".into(),
        Shape::Number => "float64".into(),
        Shape::Boolean => "bool".into(),
        Shape::IntOrString => "intstr.IntOrString".into(),
        Shape::Quantity => "resource.Quantity".into(),
        Shape::Bytes => "[]uint8".into(),
        Shape::Time => "v1.Time".into(),
        Shape::MicroTime => "v1.MicroTime".into(),
    }
}

fn described(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

const QUANTITY: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// Returns whether a text is a time in whole seconds already, on a day that every month has.
fn is_stamp(text: &str) -> bool {
    const FORM: &[u8; 20] = b"0000-00-00T00:00:00Z";
    let bytes = text.as_bytes();
    let form = bytes.len() == FORM.len()
        && bytes.iter().zip(FORM).all(|(byte, form)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form });
    form && ("01"..="12").contains(&&text[5..7])
        && ("01"..="28").contains(&&text[8..10])
        && &text[11..13] < "24"
        && &text[14..16] < "60"
        && &text[17..19] < "60"
}

/// Returns a time in whole seconds.
pub fn time(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    let parsed = parsed.ok().filter(|_| text.contains('T'));
    parsed.map(crate::sandbox::object::stamp).ok_or_else(|| parse_error(text, "2006-01-02T15:04:05Z07:00"))
}

fn micro_time(text: &str) -> Result<String, String> {
    const LAYOUT: &str = "2006-01-02T15:04:05.000000Z07:00";
    if text.is_empty() {
        return Ok(String::new());
    }
    let parsed: Option<jiff::Timestamp> = text.parse().ok();
    let Some(parsed) = parsed.filter(|_| text.contains('T')) else { return Err(parse_error(text, LAYOUT)) };
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    if digits < 6 {
        return Err(parse_error(text, LAYOUT));
    }
    Ok(crate::sandbox::object::micro_stamp(parsed))
}

/// Returns the text of Go's time parser: what is left of the value, and the part of the layout that it does not meet.
fn parse_error(text: &str, layout: &str) -> String {
    const PARTS: [(&str, usize); 11] = [
        ("2006", 4),
        ("-", 1),
        ("01", 2),
        ("-", 1),
        ("02", 2),
        ("T", 1),
        ("15", 2),
        (":", 1),
        ("04", 2),
        (":", 1),
        ("05", 2),
    ];
    let mut rest = text;
    for (part, length) in PARTS {
        let digits = part.starts_with(|c: char| c.is_ascii_digit());
        let holds = match rest.get(..length) {
            Some(head) if digits => head.bytes().all(|c| c.is_ascii_digit()),
            Some(head) => head == part,
            None => false,
        };
        if !holds {
            return format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {part:?}");
        }
        rest = &rest[length..];
    }
    let part = if layout.contains(".000000") { ".000000" } else { "Z07:00" };
    format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {part:?}")
}
