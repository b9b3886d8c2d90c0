//! Script values and JSON.

use rhai::{Dynamic, FnPtr, Map};
use serde_json::{Number, Value};

use crate::diagnostic::{Diagnostic, Kind};

/// Deepest nesting that is converted; a structure of shared values may contain itself.
const DEEPEST: usize = 128;

/// Returns a value as JSON; `()` is `null`. Closures, values of host types and numbers that are not finite have no
/// JSON form and are errors of kind `invalid`.
pub fn to_json(value: &Dynamic) -> Result<Value, Diagnostic> {
    convert(value, 0)
}

fn convert(value: &Dynamic, depth: usize) -> Result<Value, Diagnostic> {
    if depth > DEEPEST {
        return Err(Diagnostic::new(Kind::Invalid, format!("a value is nested more than {DEEPEST} levels deep")));
    }
    if value.is_shared() {
        return convert(&value.flatten_clone(), depth);
    }
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(truth) = value.as_bool() {
        return Ok(Value::Bool(truth));
    }
    if let Ok(number) = value.as_int() {
        return Ok(number.into());
    }
    if let Ok(number) = value.as_float() {
        let number = Number::from_f64(number).map(Value::Number);
        return number.ok_or_else(|| Diagnostic::new(Kind::Invalid, format!("{value} is not a number JSON knows")));
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(text.as_str().into());
    }
    if let Ok(character) = value.as_char() {
        return Ok(character.to_string().into());
    }
    if let Ok(items) = value.as_array_ref() {
        return items.iter().map(|item| convert(item, depth + 1)).collect();
    }
    if let Ok(entries) = value.as_map_ref() {
        return entries.iter().map(|(key, value)| Ok((key.to_string(), convert(value, depth + 1)?))).collect();
    }
    let what =
        if value.is::<FnPtr>() { "a closure".to_owned() } else { format!("a value of type {}", type_name(value)) };
    Err(Diagnostic::new(Kind::Invalid, format!("{what} cannot be written as JSON")))
}

/// Returns JSON as a script value; an integer that does not fit becomes a float.
pub fn from_json(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.into(),
            (None, number) => number.unwrap_or_default().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => Dynamic::from_array(items.iter().map(from_json).collect()),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.as_str().into(), from_json(value)));
            Dynamic::from_map(entries.collect::<Map>())
        }
    }
}

/// Returns the type's name as scripts and documentation call it.
pub fn type_name(value: &Dynamic) -> String {
    script_type(value.type_name())
}

/// Returns Rhai's or Rust's name of a type as scripts and documentation call it.
pub fn script_type(name: &str) -> String {
    let name = name.trim().trim_start_matches("&mut ").trim_start_matches('&');
    let short = match name {
        "i64" => "int",
        "f64" => "float",
        "str" | "String" | "ImmutableString" | "alloc::string::String" => "string",
        "rhai::types::immutable_string::ImmutableString" => "string",
        "&str | ImmutableString | String" | "str | ImmutableString | String" => "string",
        "Map" => "map",
        "Array" => "array",
        "Fn" | "FnPtr" | "rhai::types::fn_ptr::FnPtr" => "closure",
        "()" => "()",
        range if range.contains("Range<") || range.contains("RangeInclusive<") => "range",
        other => other.rsplit("::").next().unwrap_or(other),
    };
    short.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_comes_back_as_it_went() {
        let value = json!({"a": [1, 2.5, "x", null, true], "b": {"c": -3}});
        assert_eq!(to_json(&from_json(&value)).unwrap(), value);
    }

    #[test]
    fn what_json_does_not_know_is_refused() {
        let error = to_json(&Dynamic::from(FnPtr::new("f").unwrap())).unwrap_err();
        assert_eq!((error.kind, error.what.as_str()), (Kind::Invalid, "a closure cannot be written as JSON"));
        assert_eq!(to_json(&f64::NAN.into()).unwrap_err().kind, Kind::Invalid);
    }
}
