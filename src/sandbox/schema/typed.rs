//! Built-in kinds: bodies read into their types and written again, as the server's Go types do.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

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
    pub fn read(&mut self, value: Value, schema: &Schema) -> Result<Value, String> {
        let mut stack = Stack { path: Vec::new(), fields: Vec::new(), owner: String::new() };
        self.value(value, schema, &mut stack)
    }

    fn value(&mut self, value: Value, schema: &Schema, stack: &mut Stack) -> Result<Value, String> {
        Ok(match (&schema.shape, value) {
            (Shape::Any, value) => value,
            (_, Value::Null) => Value::Null,
            (Shape::Object(members), Value::Object(map)) => Value::Object(self.members(map, members, schema, stack)?),
            (Shape::Map(values), Value::Object(map)) => {
                let mut out = Map::new();
                for (key, inner) in map {
                    stack.path.push(format!(".{key}"));
                    let inner = self.value(inner, values, stack)?;
                    stack.path.pop();
                    let inner = if inner.is_null() { zero(values) } else { inner };
                    out.insert(key, inner);
                }
                Value::Object(out)
            }
            (Shape::List(items), Value::Array(list)) => {
                let mut out = Vec::with_capacity(list.len());
                for (index, inner) in list.into_iter().enumerate() {
                    stack.path.push(format!("[{index}]"));
                    let inner = self.value(inner, items, stack)?;
                    stack.path.pop();
                    out.push(if inner.is_null() { zero(items) } else { inner });
                }
                Value::Array(out)
            }
            (Shape::Text, text @ Value::String(_)) | (Shape::Bytes, text @ Value::String(_)) => text,
            (Shape::Boolean, flag @ Value::Bool(_)) => flag,
            (Shape::Number, number @ Value::Number(_)) => number,
            (Shape::Integer, Value::Number(number)) => {
                let small = schema.format == "int32";
                let fits = number.as_i64().is_some_and(|n| !small || i32::try_from(n).is_ok());
                if !fits {
                    return Err(stack.mismatch(&format!("number {number}"), schema));
                }
                Value::Number(number)
            }
            (Shape::IntOrString, value @ (Value::String(_) | Value::Number(_))) => value,
            (Shape::Quantity, Value::String(text)) => Value::String(quantity::canonical(&text).ok_or(QUANTITY)?),
            (Shape::Quantity, Value::Number(number)) => {
                Value::String(quantity::canonical(&number.to_string()).ok_or(QUANTITY)?)
            }
            (Shape::Time, Value::String(text)) => Value::String(time(&text)?),
            (Shape::MicroTime, Value::String(text)) => Value::String(micro_time(&text)?),
            (Shape::Time | Shape::MicroTime, other) => {
                return Err(format!("json: cannot unmarshal {} into Go value of type string", described(&other)));
            }
            (_, other) => return Err(stack.mismatch(described(&other), schema)),
        })
    }

    fn members(
        &mut self,
        map: Map<String, Value>,
        members: &BTreeMap<String, std::sync::Arc<Schema>>,
        schema: &Schema,
        stack: &mut Stack,
    ) -> Result<Map<String, Value>, String> {
        let owner = std::mem::replace(&mut stack.owner, schema.short_name().to_owned());
        let mut out = Map::new();
        for (key, inner) in map {
            let root = stack.path.is_empty();
            if root && ["apiVersion", "kind"].contains(&key.as_str()) && !members.contains_key(&key) {
                out.insert(key, inner);
                continue;
            }
            stack.path.push(if root { key.clone() } else { format!(".{key}") });
            let Some(member) = members.get(&key) else {
                self.unknown.push(stack.path.concat());
                stack.path.pop();
                continue;
            };
            stack.fields.push(key.clone());
            stack.owner = schema.short_name().to_owned();
            let inner = self.value(inner, member, stack)?;
            stack.fields.pop();
            stack.path.pop();
            if keeps(&inner, member, schema.required.contains(&key)) {
                out.insert(key, inner);
            }
        }
        stack.owner = owner;
        complete(&mut out, schema);
        Ok(out)
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

/// Returns whether a value is written: empty ones are left out unless the type says otherwise.
fn keeps(value: &Value, schema: &Schema, required: bool) -> bool {
    if required {
        return true;
    }
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty() || schema.pointer,
        Value::Bool(flag) => *flag || schema.pointer,
        Value::Number(number) => {
            number.as_f64() != Some(0.0) || schema.pointer || matches!(schema.shape, Shape::IntOrString)
        }
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty() || matches!(schema.shape, Shape::Object(_) | Shape::Any),
    }
}

struct Stack {
    path: Vec<String>,
    fields: Vec<String>,
    owner: String,
}

impl Stack {
    fn mismatch(&self, found: &str, schema: &Schema) -> String {
        let wanted = go_type(schema);
        if self.fields.is_empty() {
            return format!("json: cannot unmarshal {found} into Go value of type {wanted}");
        }
        let place = format!("{}.{}", self.owner, self.fields.join("."));
        format!("json: cannot unmarshal {found} into Go struct field {place} of type {wanted}")
    }
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
