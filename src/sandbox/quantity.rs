//! Amounts of resources: `100m`, `2Gi`, `1e3`, in the one spelling that the server stores.

const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// An amount in billionths, and how it is to be written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity {
    nanos: i128,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Binary,
    Decimal,
    Exponent,
}

/// Reads an amount.
pub fn parse(text: &str) -> Option<Quantity> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = i32::try_from(fraction.len()).ok()?;
    let (power, factor, form) = if let Some((_, bits)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        (0, 1i128 << bits, Form::Binary)
    } else if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        (*power, 1, Form::Decimal)
    } else {
        let exponent = suffix.strip_prefix(['e', 'E'])?;
        (exponent.parse().ok()?, 1, Form::Exponent)
    };
    let shift = 9 + power - scale;
    let scaled = mantissa.checked_mul(factor)?;
    let nanos = if shift >= 0 {
        scaled.checked_mul(10i128.checked_pow(u32::try_from(shift).ok()?)?)?
    } else {
        let divisor = 10i128.checked_pow(u32::try_from(-shift).ok()?)?;
        // Rounded away from zero, as the server does.
        (scaled + divisor - 1) / divisor
    };
    Some(Quantity { nanos: if negative { -nanos } else { nanos }, form })
}

/// Returns an amount in the server's spelling, or `None` if it is none.
pub fn canonical(text: &str) -> Option<String> {
    Some(parse(text)?.written())
}

impl Quantity {
    /// Returns the amount in billionths.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    fn written(self) -> String {
        let Quantity { nanos, form } = self;
        if nanos == 0 {
            return "0".into();
        }
        const ONE: i128 = 1_000_000_000;
        if form == Form::Binary && nanos % ONE == 0 && (nanos / ONE).abs() >= 1024 {
            let mut value = nanos / ONE;
            let mut suffix = "";
            for (name, _) in BINARY {
                if value % 1024 != 0 {
                    break;
                }
                value /= 1024;
                suffix = name;
            }
            return format!("{value}{suffix}");
        }
        let mut value = nanos;
        let mut power = -9;
        while value % 1000 == 0 && power < 18 {
            value /= 1000;
            power += 3;
        }
        if form == Form::Exponent {
            return if power == 0 { value.to_string() } else { format!("{value}e{power}") };
        }
        let suffix = DECIMAL.iter().find(|(_, p)| *p == power).map_or("", |(name, _)| name);
        format!("{value}{suffix}")
    }
}
