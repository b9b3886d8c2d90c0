//! Durations as scripts write them: `"90s"`, `"1h30m"`, `"2d"`.

use std::fmt;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use crate::diagnostic::{Diagnostic, Kind};

/// Reads a duration with units; days have 24 hours.
///
/// Errors are of kind `invalid` and say what to write.
pub fn parse(text: &str) -> Result<Duration, Diagnostic> {
    let text = text.trim();
    if text.parse::<f64>().is_ok() {
        return Err(unitless(&text));
    }
    let wrong = |why: String| {
        Diagnostic::new(Kind::Invalid, format!("`{text}` is not a duration"))
            .why(why)
            .help("write a number with a unit: \"500ms\", \"90s\", \"10m\", \"1h30m\", \"2d\"")
    };
    if text.is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    let span = text.parse::<Span>().map_err(|error| wrong(reason(text, &error)))?;
    let days = SpanRelativeTo::days_are_24_hours();
    let signed = span.to_duration(days).map_err(|_| wrong("months and years have no fixed length".to_owned()))?;
    Duration::try_from(signed).map_err(|_| wrong("it is negative".to_owned()))
}

/// Says why a text is no duration, in words about units where the unit is the fault.
fn reason(text: &str, error: &jiff::Error) -> String {
    let unit: String = text.chars().skip_while(|c| !c.is_alphabetic()).take_while(|c| c.is_alphabetic()).collect();
    let known = ["ns", "us", "ms", "s", "m", "h", "d", "w"];
    if text.starts_with(|c: char| c.is_ascii_digit()) && !unit.is_empty() && !known.contains(&unit.as_str()) {
        return format!("there is no unit `{unit}`");
    }
    error.to_string()
}

/// Returns the error for a number that stands where a duration belongs.
pub fn unitless(number: &dyn fmt::Display) -> Diagnostic {
    let number = number.to_string();
    Diagnostic::new(Kind::Invalid, format!("`{number}` is not a duration: its unit is missing"))
        .help(format!("write \"{number}s\" for seconds, \"{number}m\" for minutes, \"{number}ms\" for milliseconds"))
}

/// Returns a duration as kubectl writes ages: `2m18s`, `3h`, `5d`.
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |big: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if hours < 192 {
        two(days, "d", hours % 24, "h")
    } else if days < 2 * 365 {
        format!("{days}d")
    } else if days < 8 * 365 {
        two(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

/// Returns a duration without loss above a millisecond, as scripts write it: `1h30m`, `1.5s`, `250ms`.
pub fn exact(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds < 1000 {
        return if milliseconds == 0 { "0s".to_owned() } else { format!("{milliseconds}ms") };
    }
    let (hours, minutes) = (milliseconds / 3_600_000, milliseconds / 60_000 % 60);
    let (seconds, rest) = (milliseconds / 1000 % 60, milliseconds % 1000);
    let mut text = String::new();
    for (count, unit) in [(hours, "h"), (minutes, "m")] {
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if rest > 0 {
        text.push_str(format!("{seconds}.{rest:03}").trim_end_matches('0'));
        text.push('s');
    } else if seconds > 0 {
        text.push_str(&format!("{seconds}s"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        let cases = [("90s", 90_000), ("10m", 600_000), ("1h30m", 5_400_000), ("500ms", 500), ("2d", 172_800_000)];
        for (text, milliseconds) in cases.into_iter().chain([("0s", 0), ("1.5s", 1_500), ("1w", 604_800_000)]) {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
    }

    #[test]
    fn everything_else_says_what_to_write() {
        for text in ["10", "0", "1.5", "10 parsecs", "", "soon", "-5s", "1mo", "10s and more"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind, Kind::Invalid, "{text}");
            assert!(error.help[0].starts_with("write "), "{text}: {:?}", error.help);
        }
        assert_eq!(parse("10").unwrap_err().what, "`10` is not a duration: its unit is missing");
        assert_eq!(parse("10 parsecs").unwrap_err().why, ["there is no unit `parsecs`"]);
    }

    #[test]
    fn ages_look_as_kubectl_shows_them() {
        let cases = [(0, "0s"), (57, "57s"), (119, "119s"), (138, "2m18s"), (600, "10m"), (10_799, "179m")];
        let more = [(10_800, "3h"), (11_100, "3h5m"), (172_799, "47h"), (176_400, "2d1h"), (8 * 86_400, "8d")];
        for (seconds, text) in cases.into_iter().chain(more) {
            assert_eq!(format(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn exact_comes_back() {
        for milliseconds in [0, 1, 250, 1_000, 1_500, 90_000, 5_400_000, 93_784_005] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse(&exact(duration)).unwrap(), duration, "{}", exact(duration));
        }
    }
}
