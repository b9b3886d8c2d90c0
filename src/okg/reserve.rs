//! `reserveGameServerIds`: lists of ids and ranges, read and written as OKG and Kruise do.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// An entry of a reserve list that OKG or Kruise cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidId(pub String);

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is neither an id nor a range such as `\"3-7\"`", self.0)
    }
}

impl std::error::Error for InvalidId {}

/// Reads a list of ids and ranges. A string without a dash (`"5"`) and a range that runs backwards are invalid.
pub fn parse(list: &[Value]) -> Result<BTreeSet<i32>, InvalidId> {
    let mut ids = BTreeSet::new();
    for entry in list {
        match entry {
            Value::Number(number) => {
                ids.insert(
                    number
                        .as_i64()
                        .and_then(|id| i32::try_from(id).ok())
                        .ok_or_else(|| InvalidId(number.to_string()))?,
                );
            }
            Value::String(text) => ids.extend(range(text).ok_or_else(|| InvalidId(text.clone()))?),
            other => return Err(InvalidId(other.to_string())),
        }
    }
    Ok(ids)
}

/// Reads the list as OKG does in a scale step: a list with one invalid entry counts as empty.
pub fn parse_or_empty(list: Option<&Value>) -> BTreeSet<i32> {
    list.and_then(Value::as_array).and_then(|list| parse(list).ok()).unwrap_or_default()
}

/// Writes ids: a run of at least three becomes a range, shorter runs ints.
///
/// ```
/// use okgscript::okg::reserve;
/// assert_eq!(serde_json::json!(reserve::encode(&[1, 2, 5, 6, 7].into())).to_string(), r#"[1,2,"5-7"]"#);
/// ```
pub fn encode(ids: &BTreeSet<i32>) -> Vec<Value> {
    let mut entries = Vec::new();
    for (first, last) in runs(ids) {
        if last - first >= 2 {
            entries.push(Value::String(format!("{first}-{last}")));
        } else {
            entries.extend((first..=last).map(Value::from));
        }
    }
    entries
}

/// Writes ids into the annotation reserve-ids: `1,2,5-7`.
pub fn encode_annotation(ids: &BTreeSet<i32>) -> String {
    let words = encode(ids).into_iter().map(|entry| match entry {
        Value::String(text) => text,
        other => other.to_string(),
    });
    words.collect::<Vec<_>>().join(",")
}

/// Reads the annotation reserve-ids; what cannot be read is left out.
pub fn parse_annotation(text: &str) -> BTreeSet<i32> {
    let mut ids = BTreeSet::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word.parse() {
            Ok(id) => {
                ids.insert(id);
            }
            Err(_) => ids.extend(range(word).into_iter().flatten()),
        }
    }
    ids
}

fn range(text: &str) -> Option<std::ops::RangeInclusive<i32>> {
    let (first, last) = text.split_once('-')?;
    let digits = |word: &str| -> Option<i32> {
        (!word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())).then(|| word.parse().ok())?
    };
    let (first, last) = (digits(first)?, digits(last)?);
    (first <= last).then_some(first..=last)
}

fn runs(ids: &BTreeSet<i32>) -> Vec<(i32, i32)> {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for &id in ids {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == id => *last = id,
            _ => runs.push((id, id)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ids(list: Value) -> Result<BTreeSet<i32>, InvalidId> {
        parse(list.as_array().unwrap())
    }

    #[test]
    fn ranges_and_ints_mix() {
        assert_eq!(ids(json!([1, "3-5", 4])).unwrap(), [1, 3, 4, 5].into());
        assert_eq!(ids(json!([-1])).unwrap(), [-1].into());
    }

    #[test]
    fn strings_without_dash_and_backward_ranges_are_invalid() {
        for bad in ["5", "5-3", "a", "1-", "-1", "1-2-3"] {
            assert!(ids(json!([0, bad])).is_err(), "{bad}");
        }
        assert_eq!(parse_or_empty(Some(&json!([2, "5"]))), BTreeSet::new());
    }

    #[test]
    fn runs_of_three_become_ranges() {
        assert_eq!(json!(encode(&[0, 1, 3, 4, 5, 9].into())), json!([0, 1, "3-5", 9]));
        assert_eq!(encode_annotation(&[1, 2, 5, 6, 7].into()), "1,2,5-7");
        assert_eq!(parse_annotation("1,2,5-7"), [1, 2, 5, 6, 7].into());
        assert_eq!(parse_annotation(""), BTreeSet::new());
    }
}
