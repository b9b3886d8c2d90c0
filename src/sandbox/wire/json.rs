//! JSON as the server's decoder reads it: repeated members are noticed, and faults are told in its words.

use serde_json::{Map, Value};

/// A text that was read.
pub struct Read {
    /// The value; of repeated members the last counts.
    pub value: Value,
    /// The paths of repeated members.
    pub repeated: Vec<String>,
}

/// Reads a text; the error is what Go's decoder says.
pub fn read(text: &[u8]) -> Result<Read, String> {
    let mut parser = Parser { text, at: 0, repeated: Vec::new() };
    let value = parser.value("")?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.unexpected("after top-level value"));
    }
    Ok(Read { value, repeated: parser.repeated })
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    repeated: Vec<String>,
}

impl Parser<'_> {
    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(|c| b" \t\r\n".contains(c)) {
            self.at += 1;
        }
    }

    fn unexpected(&self, place: &str) -> String {
        match self.text.get(self.at) {
            None => "unexpected end of JSON input".into(),
            Some(_) => {
                let rest = String::from_utf8_lossy(&self.text[self.at..]);
                let found = rest.chars().next().unwrap_or(' ');
                let shown = match found {
                    '\'' => r"'\''".to_owned(),
                    '"' => "'\"'".to_owned(),
                    other => format!("{other:?}"),
                };
                format!("invalid character {shown} {place}")
            }
        }
    }

    fn value(&mut self, place: &str) -> Result<Value, String> {
        self.blanks();
        match self.text.get(self.at) {
            Some(b'{') => self.object(place),
            Some(b'[') => self.array(place),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, String> {
        for expected in word.bytes() {
            if self.text.get(self.at) != Some(&expected) {
                let place = format!("in literal {word} (expecting {:?})", char::from(expected));
                return Err(self.unexpected(&place));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|c| b"+-.eE0123456789".contains(c)) {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        serde_json::from_slice(text).map_err(|_| {
            if self.at >= self.text.len() {
                "unexpected end of JSON input".into()
            } else {
                self.unexpected("in numeric literal")
            }
        })
    }

    fn string(&mut self) -> Result<String, String> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.text.get(self.at) {
                None => return Err("unexpected end of JSON input".into()),
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(c) if *c < 0x20 => return Err(self.unexpected("in string literal")),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        let end = self.at.min(self.text.len());
        serde_json::from_slice(&self.text[start..end]).map_err(|_| {
            self.at = start + 1;
            self.unexpected("in string escape code")
        })
    }

    fn object(&mut self, place: &str) -> Result<Value, String> {
        self.at += 1;
        let mut map = Map::new();
        self.blanks();
        if self.text.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(Value::Object(map));
        }
        loop {
            self.blanks();
            if self.text.get(self.at) != Some(&b'"') {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            let key = self.string()?;
            self.blanks();
            if self.text.get(self.at) != Some(&b':') {
                return Err(self.unexpected("after object key"));
            }
            self.at += 1;
            let inner = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
            let value = self.value(&inner)?;
            if map.insert(key, value).is_some() {
                self.repeated.push(inner);
            }
            self.blanks();
            match self.text.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(map));
                }
                _ => return Err(self.unexpected("after object key:value pair")),
            }
        }
    }

    fn array(&mut self, place: &str) -> Result<Value, String> {
        self.at += 1;
        let mut list = Vec::new();
        self.blanks();
        if self.text.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(Value::Array(list));
        }
        loop {
            let value = self.value(&format!("{place}[{}]", list.len()))?;
            list.push(value);
            self.blanks();
            match self.text.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(list));
                }
                _ => return Err(self.unexpected("after array element")),
            }
        }
    }
}
