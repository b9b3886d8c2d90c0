//! Kubernetes' protobuf envelope, and the messages that kubectl sends in no other form.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::sandbox::object::stamp;

/// The media type.
pub const MEDIA: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

type Fields = BTreeMap<u64, (&'static str, &'static str)>;

fn messages() -> &'static BTreeMap<&'static str, Fields> {
    static MESSAGES: OnceLock<BTreeMap<&'static str, Fields>> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let lines = include_str!("messages.txt").lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let fields = words[1..]
                    .chunks_exact(3)
                    .filter_map(|field| field[0].parse().ok().map(|number| (number, (field[1], field[2]))));
                (words[0], fields.collect())
            })
            .collect()
    })
}

/// Returns an object in the envelope. Its content is JSON, and says so: clients that know only protobuf cannot read it.
pub fn envelope(value: &Value) -> Vec<u8> {
    let text = |field: u8, text: &[u8], out: &mut Vec<u8>| {
        out.push(field << 3 | 2);
        varint(text.len() as u64, out);
        out.extend_from_slice(text);
    };
    let mut kind = Vec::new();
    text(1, value["apiVersion"].as_str().unwrap_or("").as_bytes(), &mut kind);
    text(2, value["kind"].as_str().unwrap_or("").as_bytes(), &mut kind);
    let mut out = MAGIC.to_vec();
    text(1, &kind, &mut out);
    text(2, value.to_string().as_bytes(), &mut out);
    text(4, b"application/json", &mut out);
    out
}

/// Writes a number.
pub fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads an object out of the envelope.
pub fn read(body: &[u8]) -> Result<Value, String> {
    let rest = body.strip_prefix(MAGIC).ok_or("provided data does not appear to be a protobuf message")?;
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Wire(rest) {
        let (number, part) = field?;
        match (number, part) {
            (1, Part::Bytes(meta)) => {
                for field in Wire(meta) {
                    match field? {
                        (1, Part::Bytes(text)) => version = String::from_utf8_lossy(text).into_owned(),
                        (2, Part::Bytes(text)) => kind = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
            }
            (2, Part::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let fields = messages()
        .get(kind.as_str())
        .ok_or_else(|| format!("kind {kind:?} is not read from protobuf here; send JSON or YAML"))?;
    let mut value = message(raw, fields)?;
    value["apiVersion"] = version.into();
    value["kind"] = kind.into();
    Ok(value)
}

enum Part<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

struct Wire<'a>(&'a [u8]);

impl Wire<'_> {
    fn number(&mut self) -> Result<u64, String> {
        let mut out = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or("unexpected EOF")?;
            self.0 = rest;
            out |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(out);
            }
        }
        Err("proto: integer overflow".into())
    }
}

impl<'a> Wire<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let taken = self.0.get(..count).ok_or("unexpected EOF")?;
        self.0 = &self.0[count..];
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Part<'a>), String> {
        let tag = self.number()?;
        let part = match tag & 7 {
            0 => Part::Number(self.number()?),
            1 => Part::Bytes(self.take(8)?),
            2 => {
                let count = usize::try_from(self.number()?).map_err(|_| "proto: negative length")?;
                Part::Bytes(self.take(count)?)
            }
            5 => Part::Bytes(self.take(4)?),
            other => return Err(format!("proto: illegal wireType {other}")),
        };
        Ok((tag >> 3, part))
    }
}

impl<'a> Iterator for Wire<'a> {
    type Item = Result<(u64, Part<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn message(bytes: &[u8], fields: &Fields) -> Result<Value, String> {
    let mut out = Map::new();
    for field in Wire(bytes) {
        let (number, part) = field?;
        let Some((name, form)) = fields.get(&number) else { continue };
        if let Some(form) = form.strip_prefix("[]") {
            let list = out.entry(*name).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(value(&part, form)?);
            }
        } else if let Some(form) = form.strip_prefix("{}") {
            let Part::Bytes(entry) = part else { continue };
            let (mut key, mut inner) = (String::new(), Value::from(""));
            for field in Wire(entry) {
                match field? {
                    (1, Part::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
                    (2, part) => inner = value(&part, form)?,
                    _ => {}
                }
            }
            out.entry(*name).or_insert_with(|| json!({}))[key] = inner;
        } else {
            let value = value(&part, form)?;
            if value.as_object().is_none_or(|map| !map.is_empty()) && value != "" {
                out.insert((*name).to_owned(), value);
            }
        }
    }
    Ok(Value::Object(out))
}

fn value(part: &Part, form: &str) -> Result<Value, String> {
    Ok(match (part, form) {
        (Part::Number(number), "b") => (*number != 0).into(),
        (Part::Number(number), _) => number.cast_signed().into(),
        (Part::Bytes(text), "s") => String::from_utf8_lossy(text).into(),
        (Part::Bytes(bytes), "bytes") => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
        (Part::Bytes(bytes), "t") => {
            let mut seconds = None;
            for field in Wire(bytes) {
                if let (1, Part::Number(number)) = field? {
                    seconds = Some(number.cast_signed());
                }
            }
            let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            time.map_or(Value::Null, |time| stamp(time).into())
        }
        (Part::Bytes(bytes), "q") => {
            let mut text = Value::Null;
            for field in Wire(bytes) {
                if let (1, Part::Bytes(found)) = field? {
                    text = String::from_utf8_lossy(found).into();
                }
            }
            text
        }
        (Part::Bytes(bytes), "ios") => {
            let (mut is_text, mut number, mut text) = (false, 0, String::new());
            for field in Wire(bytes) {
                match field? {
                    (1, Part::Number(kind)) => is_text = kind == 1,
                    (2, Part::Number(found)) => number = found.cast_signed(),
                    (3, Part::Bytes(found)) => text = String::from_utf8_lossy(found).into_owned(),
                    _ => {}
                }
            }
            if is_text { text.into() } else { number.into() }
        }
        (Part::Bytes(bytes), form) => match messages().get(form) {
            Some(fields) => message(bytes, fields)?,
            None => Value::Null,
        },
    })
}

/// Returns the head of an OpenAPI document in its protobuf form; the rest is served as JSON only. `place` is the number
/// of the field for the version of the document's content.
pub fn openapi_head(openapi: &str, place: u8, title: &str, version: &str) -> Vec<u8> {
    let text = |field: u8, text: &[u8], out: &mut Vec<u8>| {
        out.push(field << 3 | 2);
        varint(text.len() as u64, out);
        out.extend_from_slice(text);
    };
    let (mut info, mut out) = (Vec::new(), Vec::new());
    text(1, title.as_bytes(), &mut info);
    text(place, version.as_bytes(), &mut info);
    text(1, openapi.as_bytes(), &mut out);
    text(2, &info, &mut out);
    out
}
