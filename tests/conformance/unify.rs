//! Compares an answer with a recorded one, in which tokens stand for uids, versions and times.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What the numbered tokens of a group stand for, found so far.
#[derive(Clone, Default)]
pub struct Tokens {
    bound: BTreeMap<String, String>,
}

/// One comparison: what counts beside the values.
pub struct Comparison<'a> {
    /// Patterns of places whose lists may have any order.
    pub unordered: &'a [String],
    /// Whether managedFields are compared.
    pub managed: bool,
    /// What differs.
    pub differences: Vec<String>,
}

impl Tokens {
    /// Returns what a token stands for.
    pub fn get(&self, token: &str) -> Option<&str> {
        self.bound.get(token).map(String::as_str)
    }

    /// Says what a token stands for.
    pub fn set(&mut self, token: &str, value: &str) {
        self.bound.insert(token.to_owned(), value.to_owned());
    }

    /// Fills a request's text; a token that was never met is an error.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Token(token) if token.contains(':') => {
                    out.push_str(self.get(token).ok_or_else(|| format!("{token} was never met"))?);
                }
                Piece::Token(token) => out.push_str(token),
            }
        }
        Ok(out)
    }

    /// Fills a request's body.
    pub fn fill_value(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => Value::String(self.fill(text)?),
            Value::Array(list) => list.iter().map(|item| self.fill_value(item)).collect::<Result<_, _>>()?,
            Value::Object(map) => {
                let mut out = Map::new();
                for (key, value) in map {
                    out.insert(self.fill(key)?, self.fill_value(value)?);
                }
                Value::Object(out)
            }
            other => other.clone(),
        })
    }

    /// Compares texts, binding tokens that are met for the first time.
    pub fn text(&mut self, expected: &str, actual: &str) -> bool {
        let pieces: Vec<Piece> = pieces(expected).collect();
        let mut bound = Vec::new();
        if !self.matches(&pieces, actual, &mut bound) {
            return false;
        }
        for (token, value) in bound {
            self.bound.insert(token, value);
        }
        true
    }

    fn matches(&self, pieces: &[Piece], actual: &str, bound: &mut Vec<(String, String)>) -> bool {
        let Some((first, rest)) = pieces.split_first() else { return actual.is_empty() };
        match first {
            Piece::Text(text) => actual.strip_prefix(text).is_some_and(|actual| self.matches(rest, actual, bound)),
            Piece::Token(token) => {
                let known = bound.iter().find(|(name, _)| name == token).map(|(_, value)| value.clone());
                if let Some(known) = known.or_else(|| self.get(token).map(str::to_owned)) {
                    return actual.strip_prefix(known.as_str()).is_some_and(|a| self.matches(rest, a, bound));
                }
                let class = token.trim_matches(['<', '>']).split(':').next().unwrap_or("");
                let mut ends: Vec<usize> = actual.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
                ends.insert(0, 0);
                if class != "any" {
                    ends.reverse();
                }
                for end in ends {
                    let (taken, left) = actual.split_at(end);
                    if !fits(class, taken) || self.taken(class, token, taken) {
                        continue;
                    }
                    let mark = bound.len();
                    if token.contains(':') {
                        bound.push((token.to_string(), taken.to_owned()));
                    }
                    if self.matches(rest, left, bound) {
                        return true;
                    }
                    bound.truncate(mark);
                }
                false
            }
        }
    }

    /// Different uids and versions have different tokens.
    fn taken(&self, class: &str, token: &str, value: &str) -> bool {
        ["uid", "rv"].contains(&class)
            && self
                .bound
                .iter()
                .any(|(other, bound)| other != token && bound == value && other.starts_with(&format!("<{class}:")))
    }
}

fn fits(class: &str, text: &str) -> bool {
    let shape = |pattern: &str| {
        text.len() == pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|(c, p)| if p == b'9' { c.is_ascii_digit() } else { c == p })
    };
    match class {
        "uid" => text.len() == 36 && text.bytes().all(|c| c == b'-' || c.is_ascii_hexdigit()),
        "rv" | "listrv" => !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()),
        "gen" => text.len() == 5 && text.bytes().all(|c| b"bcdfghjklmnpqrstvwxz2456789".contains(&c)),
        "time" => shape("9999-99-99T99:99:99Z"),
        "microtime" => shape("9999-99-99T99:99:99.999999Z"),
        "age" => !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit() || b"dhmsy".contains(&c)),
        "address" => text.contains(':') && !text.contains(' '),
        "hash" | "etag" | "continue" => !text.is_empty() && !text.contains([' ', '&']),
        "any" => true,
        _ => false,
    }
}

enum Piece<'a> {
    Text(&'a str),
    Token(&'a str),
}

/// Cuts a text into tokens and what stands between them.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    const NUMBERED: [&str; 7] = ["uid", "rv", "listrv", "gen", "continue", "etag", "hash"];
    const PLAIN: [&str; 5] = ["time", "microtime", "age", "address", "any"];
    let mut out = Vec::new();
    let mut from = 0;
    let mut at = 0;
    while let Some(open) = text[at..].find('<').map(|found| at + found) {
        let Some(close) = text[open..].find('>').map(|found| open + found + 1) else { break };
        let inner = &text[open + 1..close - 1];
        let numbered = inner.split_once(':').is_some_and(|(class, number)| {
            NUMBERED.contains(&class) && !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit())
        });
        if numbered || PLAIN.contains(&inner) {
            if from < open {
                out.push(Piece::Text(&text[from..open]));
            }
            out.push(Piece::Token(&text[open..close]));
            from = close;
            at = close;
        } else {
            at = open + 1;
        }
    }
    if from < text.len() {
        out.push(Piece::Text(&text[from..]));
    }
    out.into_iter()
}

impl Comparison<'_> {
    /// Compares values, binding tokens.
    pub fn value(&mut self, tokens: &mut Tokens, expected: &Value, actual: &Value, place: &str) {
        match (expected, actual) {
            (Value::String(e), Value::String(a)) => {
                if !tokens.text(e, a) {
                    self.differ(place, expected, actual);
                }
            }
            (Value::Array(e), Value::Array(a)) if self.any_order(place) => {
                self.unordered_list(tokens, e, a, place);
            }
            (Value::Array(e), Value::Array(a)) => {
                if e.len() != a.len() {
                    self.differences.push(format!(
                        "{place}: {} expected, {} came: {}",
                        e.len(),
                        a.len(),
                        short(actual)
                    ));
                }
                for (index, (e, a)) in e.iter().zip(a).enumerate() {
                    self.value(tokens, e, a, &format!("{place}/{index}"));
                }
            }
            (Value::Object(e), Value::Object(a)) => self.members(tokens, e, a, place),
            _ if expected == actual => {}
            _ => self.differ(place, expected, actual),
        }
    }

    fn members(
        &mut self,
        tokens: &mut Tokens,
        expected: &Map<String, Value>,
        actual: &Map<String, Value>,
        place: &str,
    ) {
        let status = expected.get("kind").and_then(Value::as_str) == Some("Status");
        let causes = |map: &Map<String, Value>| {
            map.get("details").and_then(|d| d.get("causes")).and_then(Value::as_array).map_or(0, Vec::len)
        };
        let several = status && causes(expected) > 1;
        for (key, value) in expected {
            let place = format!("{place}/{key}");
            let prose = key == "description" && place.contains("/columnDefinitions/");
            if (key == "managedFields" && !self.managed) || prose {
                continue;
            }
            match actual.get(key) {
                None => self.differences.push(format!("{place}: missing, expected {}", short(value))),
                Some(found) if several && key == "message" => {
                    let list = |value: &Value| -> Vec<Value> {
                        message_pieces(value.as_str().unwrap_or("")).into_iter().map(Value::String).collect()
                    };
                    let (e, a) = (list(value), list(found));
                    self.unordered_list(tokens, &e, &a, &place);
                }
                Some(found) if key == "managedFields" => {
                    let empty = Vec::new();
                    let list = found.as_array().unwrap_or(&empty).clone();
                    self.unordered_list(tokens, value.as_array().unwrap_or(&empty), &list, &place);
                }
                Some(found) => self.value(tokens, value, found, &place),
            }
        }
        for (key, value) in actual {
            let left_out = ["description", "storageVersionHash"].contains(&key.as_str())
                || (key == "managedFields" && !self.managed);
            if !expected.contains_key(key) && !left_out {
                self.differences.push(format!("{place}/{key}: not expected: {}", short(value)));
            }
        }
    }

    fn unordered_list(&mut self, tokens: &mut Tokens, expected: &[Value], actual: &[Value], place: &str) {
        let mut left: Vec<&Value> = actual.iter().collect();
        for item in expected {
            let found = left.iter().position(|candidate| {
                let mut trial =
                    Comparison { unordered: self.unordered, managed: self.managed, differences: Vec::new() };
                trial.value(&mut tokens.clone(), item, candidate, "");
                trial.differences.is_empty()
            });
            match found {
                Some(at) => {
                    let candidate = left.remove(at);
                    self.value(tokens, item, candidate, place);
                }
                None => self.differences.push(format!("{place}: missing {}", short(item))),
            }
        }
        for item in left {
            self.differences.push(format!("{place}: not expected: {}", short(item)));
        }
    }

    fn any_order(&self, place: &str) -> bool {
        place.ends_with("/details/causes")
            || self.unordered.iter().any(|pattern| {
                let body = pattern.trim_start_matches('^').trim_end_matches('$');
                alternatives(body).iter().any(|body| match pattern.starts_with('^') {
                    true => place == body,
                    false => place.ends_with(body.as_str()),
                })
            })
    }

    fn differ(&mut self, place: &str, expected: &Value, actual: &Value) {
        self.differences.push(format!(
            "{place}:\n      expected {}\n      came     {}",
            short(expected),
            short(actual)
        ));
    }
}

/// Resolves the one group that a pattern may have.
fn alternatives(pattern: &str) -> Vec<String> {
    match (pattern.split_once('('), pattern.split_once(')')) {
        (Some((before, _)), Some((_, after))) => {
            let inner = &pattern[before.len() + 1..pattern.len() - after.len() - 1];
            inner.split('|').map(|choice| format!("{before}{choice}{after}")).collect()
        }
        _ => vec![pattern.to_owned()],
    }
}

fn message_pieces(text: &str) -> Vec<String> {
    let text = text.replace(", ", "\n").replace("- ", "\n").replace(['[', ']'], "\n");
    text.split('\n').filter(|piece| !piece.trim().is_empty()).map(str::to_owned).collect()
}

/// Returns a value short enough to read.
pub fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(1600) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Returns the value at a pointer whose segments may choose list elements: `/resources/[name=pods]/verbs`.
pub fn pick(value: &Value, pointer: &str) -> Option<Value> {
    let mut at = value.clone();
    let mut rest = pointer;
    while let Some(after) = rest.strip_prefix('/') {
        if let Some(choice) = after.strip_prefix('[') {
            let (choice, left) = choice.split_once(']')?;
            let (key, wanted) = choice.split_once('=')?;
            let list = at.as_array()?.clone();
            at = list.into_iter().find(|item| {
                let found = key.split('/').try_fold(item, |value, key| value.get(key));
                found.is_some_and(|found| found.as_str().map_or_else(|| found.to_string(), str::to_owned) == wanted)
            })?;
            rest = left;
            continue;
        }
        let end = after.find('/').unwrap_or(after.len());
        let (segment, left) = after.split_at(end);
        let key = segment.replace("~1", "/").replace("~0", "~");
        rest = left;
        if key == "#keys" {
            return Some(at.as_object()?.keys().cloned().collect());
        }
        at = match &at {
            Value::Object(map) => map.get(&key)?.clone(),
            Value::Array(list) => list.get(key.parse::<usize>().ok()?)?.clone(),
            _ => return None,
        };
    }
    Some(at)
}
