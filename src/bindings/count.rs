//! Counts that may be relative: `3` or `"25%"`.

use rhai::Dynamic;

use crate::diagnostic::{Diagnostic, Kind};
use crate::script::value;

/// A count, absolute or relative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Count {
    /// So many.
    Number(i64),
    /// Part of a total, in percent.
    Percent(f64),
}

impl Count {
    /// Understands `3`, `"3"` and `"25%"`.
    pub fn read(function: &str, count: &Dynamic) -> Result<Count, Diagnostic> {
        let wrong = |given: String| {
            Diagnostic::new(Kind::Invalid, format!("{function}: {given} is no count"))
                .help("a count is written like 3 or \"25%\"")
        };
        if let Ok(number) = count.as_int() {
            return if number >= 0 { Ok(Count::Number(number)) } else { Err(wrong(number.to_string())) };
        }
        let Ok(text) = count.clone().into_string() else { return Err(wrong(value::type_name(count))) };
        Count::parse(&text).ok_or_else(|| wrong(format!("\"{text}\"")))
    }

    /// Understands `"3"` and `"25%"`.
    pub fn parse(text: &str) -> Option<Count> {
        match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse().ok().filter(|p| (0.0..=1000.0).contains(p)).map(Count::Percent),
            None => text.trim().parse().ok().filter(|n| *n >= 0).map(Count::Number),
        }
    }

    /// Returns the count of a total; a part is rounded up.
    pub fn of(self, total: i64) -> i64 {
        match self {
            Count::Number(number) => number,
            Count::Percent(percent) => (total as f64 * percent / 100.0).ceil() as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_numbers_or_percentages() {
        let read = |value: Dynamic| Count::read("f", &value).map_err(|error| error.what.clone());
        assert_eq!(read(3_i64.into()), Ok(Count::Number(3)));
        assert_eq!(read("25%".into()).map(|count| count.of(10)), Ok(3));
        assert_eq!(read("0".into()), Ok(Count::Number(0)));
        assert_eq!(read("many".into()), Err("f: \"many\" is no count".to_owned()));
        assert_eq!(read((-1_i64).into()), Err("f: -1 is no count".to_owned()));
    }
}
