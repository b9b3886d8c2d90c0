//! Bodies in YAML, read as the server reads them: by version 1.1, in which `y`, `on` and `010` are no texts.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads a body.
pub fn read(body: &[u8]) -> Result<Value, String> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let read: Result<Node, _> = serde_saphyr::from_str_with_options(text, options);
    read.map(|node| node.0).map_err(|error| format!("yaml: {error}"))
}

struct Node(Value);

/// The key of a map: what is no text becomes the text of its value.
struct Key(String);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(Reader).map(Node)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        match deserializer.deserialize_any(Reader)? {
            Value::String(text) => Ok(Key(text)),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(D::Error::custom("a key must be a scalar")),
            other => Ok(Key(other.to_string())),
        }
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // As Go writes it: whole numbers without a fraction.
        if value.fract() == 0.0 && value.abs() < 9e15 {
            return Ok((value as i64).into());
        }
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(Node(item)) = list.next_element()? {
            out.push(item);
        }
        Ok(out.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(Key(key)) = map.next_key()? {
            let Node(value) = map.next_value()?;
            out.insert(key, value);
        }
        Ok(out.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::read;

    #[test]
    fn words_and_numbers_are_those_of_version_1_1() {
        let text = "y: 1\nn: no\n'yes': \"on\"\nOff: 010\n12: 0x1F\nrest: [~, 1_000, 1.5, 2.0, .5, a, 2020-01-01]\n";
        let expected = json!({
            "true": 1, "false": false, "yes": "on", "12": 31, "rest": [null, 1000, 1.5, 2, 0.5, "a", "2020-01-01"],
        });
        let mut found = read(text.as_bytes()).unwrap();
        assert_eq!(found["false"], 8, "the last of equal keys counts");
        found["false"] = false.into();
        assert_eq!(found, expected);
    }
}
