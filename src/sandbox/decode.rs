//! From a body to an object as it is stored: types, unknown fields, defaults.

use serde_json::Value;

use super::kinds::Kind;
use super::schema::place::Place;
use super::schema::typed::Reader;
use super::schema::{structural, table};
use super::{convert, object, rules};

/// A body that was read.
pub struct Decoded {
    /// The object in its stored version.
    pub value: Value,
    /// What was dropped: `unknown field "spec.x"`.
    pub findings: Vec<String>,
}

/// Reads a body of a version; the error is the text of the server's decoder.
pub fn decode(kind: &Kind, version: &str, body: Value) -> Result<Decoded, String> {
    let unknown = |paths: Vec<String>| -> Vec<String> {
        paths.into_iter().map(|path| format!("unknown field {path:?}")).collect()
    };
    if kind.custom {
        let (value, paths) = custom(kind, version, body)?;
        return Ok(Decoded { value, findings: unknown(paths) });
    }
    let form = kind.form(version);
    let mut reader = Reader { unknown: Vec::new() };
    let value = reader.read(body, &form.schema)?;
    let mut value = convert::to_stored(kind, version, value)?;
    rules::defaults(kind, &mut value);
    value["apiVersion"] = convert::stored_api_version(kind).into();
    value["kind"] = kind.kind.clone().into();
    Ok(Decoded { value, findings: unknown(reader.unknown) })
}

fn custom(kind: &Kind, version: &str, mut body: Value) -> Result<(Value, Vec<String>), String> {
    let form = kind.form(version);
    let mut reader = Reader { unknown: Vec::new() };
    let Value::Object(map) = &mut body else { return Err("the body is not an object".into()) };
    let meta = map.remove("metadata").unwrap_or(Value::Null);
    let meta = match meta {
        Value::Null => Value::Object(serde_json::Map::new()),
        meta => reader.read(meta, table::object_meta())?,
    };
    let mut paths: Vec<String> = reader.unknown.iter().map(|path| format!("metadata.{path}")).collect();
    // Another kind in the body is refused later; until then nobody knows what it looks like.
    let own = ["", kind.kind.as_str()].contains(&object::text_at(&body, &["kind"]));
    if own {
        structural::prune(&mut body, &form.schema, &Place::ROOT, &mut paths);
        structural::fill(&mut body, &form.schema);
    }
    body["metadata"] = meta;
    if object::text_at(&body, &["kind"]).is_empty() {
        body["kind"] = kind.kind.clone().into();
    }
    body["apiVersion"] = kind.api_version(&kind.storage).into();
    Ok((body, paths))
}
