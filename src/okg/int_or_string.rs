//! Kubernetes' int-or-string fields: both forms of one value.

use serde_json::Value;

/// Returns the value as OKG writes it into a label: an int as digits, a string as it is, absent as empty.
pub fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    }
}

/// Returns the integer of a priority label, 0 where it has none (`TestDeleteSequenceGs`).
pub fn priority(label: &str) -> i64 {
    label.parse().unwrap_or(0)
}

/// Returns how many of `total` a value such as `2` or `"25%"` means; percentages are rounded down.
///
/// `None` if the value is neither.
pub fn of_total(value: &Value, total: i32, round_up: bool) -> Option<i32> {
    match value {
        Value::Number(number) => i32::try_from(number.as_i64()?).ok(),
        Value::String(text) => match text.strip_suffix('%') {
            Some(percent) => {
                let hundredths = percent.trim().parse::<i64>().ok()? * i64::from(total);
                let rounded = if round_up {
                    hundredths.div_euclid(100) + i64::from(hundredths % 100 != 0)
                } else {
                    hundredths / 100
                };
                i32::try_from(rounded).ok()
            }
            None => text.parse().ok(),
        },
        _ => None,
    }
}

/// Returns `maxUnavailable` as a number of pods: rounded down, at least 1 (`K:statefulset`).
pub fn max_unavailable(value: Option<&Value>, replicas: i32) -> i32 {
    value.and_then(|value| of_total(value, replicas, false)).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn percentages_round_down_and_never_to_nothing() {
        assert_eq!(max_unavailable(Some(&json!("30%")), 5), 1);
        assert_eq!(max_unavailable(Some(&json!("10%")), 5), 1);
        assert_eq!(max_unavailable(Some(&json!("50%")), 5), 2);
        assert_eq!(max_unavailable(Some(&json!(3)), 5), 3);
        assert_eq!(max_unavailable(None, 5), 1);
        assert_eq!(of_total(&json!("25%"), 5, true), Some(2));
        assert_eq!(of_total(&json!("x"), 5, true), None);
    }

    #[test]
    fn priorities_without_a_number_are_zero() {
        assert_eq!([priority("10"), priority("-5"), priority(""), priority("abc")], [10, -5, 0, 0]);
        assert_eq!([text(Some(&json!(5))), text(Some(&json!("a"))), text(None)], ["5", "a", ""]);
    }
}
