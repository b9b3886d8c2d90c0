//! Label and field selectors.

use serde_json::Value;

use super::object;

/// A label selector.
#[derive(Clone, Debug, Default)]
pub struct Labels(Vec<Requirement>);

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

impl Labels {
    /// Parses `a=b,c!=d,e in (f,g),!h`. The error is the server's text.
    pub fn parse(text: &str) -> Result<Labels, String> {
        let mut parser = Parser { tokens: tokens(text), at: 0 };
        let requirements = parser.requirements()?;
        Ok(Labels(requirements))
    }

    /// Returns whether the selector lets everything through.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether an object's labels satisfy the selector.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|requirement| {
            let value = object::label(object, &requirement.key);
            match &requirement.rule {
                Rule::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
                Rule::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
                Rule::Exists => value.is_some(),
                Rule::Absent => value.is_none(),
                Rule::Greater(than) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v > *than),
                Rule::Less(than) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v < *than),
            }
        })
    }
}

/// A `LabelSelector` object (`matchLabels`, `matchExpressions`) turned into a selector; none selects nothing.
pub fn from_object(selector: Option<&Value>) -> Option<Labels> {
    let selector = selector?;
    let mut requirements = Vec::new();
    if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
        for (key, value) in labels {
            let value = value.as_str().unwrap_or("").to_owned();
            requirements.push(Requirement { key: key.clone(), rule: Rule::In(vec![value]) });
        }
    }
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let values = || -> Vec<String> {
            let values = expression.get("values").and_then(Value::as_array);
            values.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
        };
        let rule = match expression.get("operator").and_then(Value::as_str).unwrap_or("") {
            "In" => Rule::In(values()),
            "NotIn" => Rule::NotIn(values()),
            "Exists" => Rule::Exists,
            _ => Rule::Absent,
        };
        requirements.push(Requirement { key: object::text_at(expression, &["key"]).to_owned(), rule });
    }
    Some(Labels(requirements))
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Sign(&'static str),
}

fn tokens(text: &str) -> Vec<Token> {
    const SIGNS: [&str; 9] = ["!=", "==", "=", "!", "(", ")", ",", ">", "<"];
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "=!(),><".contains(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn peek_word(&self) -> String {
        match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            Some(Token::Sign(sign)) => (*sign).to_owned(),
            None => String::new(),
        }
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        if self.tokens.is_empty() {
            return Ok(requirements);
        }
        loop {
            requirements.push(self.requirement()?);
            match self.next() {
                None => return Ok(requirements),
                Some(Token::Sign(",")) => {
                    if !matches!(self.peek(), Some(Token::Word(_) | Token::Sign("!"))) {
                        return Err(format!("found '{}', expected: identifier after ','", self.peek_word()));
                    }
                }
                Some(other) => return Err(format!("found '{}', expected: ',' or 'end of string'", spelt(&other))),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = self.peek() == Some(&Token::Sign("!"));
        if negated {
            self.at += 1;
        }
        let key = match self.next() {
            Some(Token::Word(word)) => word,
            other => {
                let found = other.as_ref().map(spelt).unwrap_or_default();
                return Err(match self.at == 1 && !negated {
                    true => format!("found '{found}', expected: !, identifier, or 'end of string'"),
                    false => format!("unable to parse requirement: found '{found}', expected: identifier"),
                });
            }
        };
        if let Some(why) = super::names::label_key(&key) {
            return Err(format!("unable to parse requirement: <nil>: Invalid value: {key:?}: {why}"));
        }
        if negated {
            return Ok(Requirement { key, rule: Rule::Absent });
        }
        let sign = match self.peek() {
            None | Some(Token::Sign(",")) => return Ok(Requirement { key, rule: Rule::Exists }),
            Some(Token::Word(word)) if word == "in" || word == "notin" => word.clone(),
            Some(Token::Sign(sign)) if ["=", "==", "!=", ">", "<"].contains(sign) => (*sign).to_owned(),
            Some(other) => {
                let found = spelt(other);
                let list = "in, notin, =, ==, !=, gt, lt";
                return Err(format!("unable to parse requirement: found '{found}', expected: {list}"));
            }
        };
        self.at += 1;
        if sign == "in" || sign == "notin" {
            let values = self.set()?;
            for (index, value) in values.iter().enumerate() {
                check_value(value, &format!("values[{index}][{key}]"))?;
            }
            let rule = if sign == "in" { Rule::In(values) } else { Rule::NotIn(values) };
            return Ok(Requirement { key, rule });
        }
        let value = match self.peek() {
            None | Some(Token::Sign(",")) => String::new(),
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                word
            }
            Some(other) => {
                return Err(format!("unable to parse requirement: found '{}', expected: identifier", spelt(other)));
            }
        };
        let number = |value: &str| {
            value.parse::<i64>().map_err(|_| {
                let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                format!("unable to parse requirement: values[0]: Invalid value: {value:?}: {why}")
            })
        };
        let rule = match sign.as_str() {
            ">" => Rule::Greater(number(&value)?),
            "<" => Rule::Less(number(&value)?),
            _ => {
                check_value(&value, &format!("values[0][{key}]"))?;
                if sign == "!=" { Rule::NotIn(vec![value]) } else { Rule::In(vec![value]) }
            }
        };
        Ok(Requirement { key, rule })
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        if self.next() != Some(Token::Sign("(")) {
            self.at -= 1;
            return Err(format!("unable to parse requirement: found '{}' expected: '('", self.peek_word()));
        }
        let mut values = Vec::new();
        let mut expect_value = true;
        loop {
            match self.next() {
                Some(Token::Word(word)) if expect_value => {
                    values.push(word);
                    expect_value = false;
                }
                Some(Token::Sign(",")) => {
                    if expect_value {
                        values.push(String::new());
                    }
                    expect_value = true;
                }
                Some(Token::Sign(")")) => {
                    if expect_value {
                        values.push(String::new());
                    }
                    values.sort();
                    values.dedup();
                    return Ok(values);
                }
                other => {
                    let found = other.as_ref().map(spelt).unwrap_or_default();
                    let list = if expect_value { "',', ')' or identifier" } else { "',' or ')'" };
                    return Err(format!("unable to parse requirement: found '{found}', expected: {list}"));
                }
            }
        }
    }
}

fn check_value(value: &str, place: &str) -> Result<(), String> {
    match super::names::label_value(value) {
        None => Ok(()),
        Some(why) => Err(format!("unable to parse requirement: {place}: Invalid value: {value:?}: {why}")),
    }
}

fn spelt(token: &Token) -> String {
    match token {
        Token::Word(word) => word.clone(),
        Token::Sign(sign) => (*sign).to_owned(),
    }
}

/// A field selector: `(field, value, must be equal)`.
#[derive(Clone, Debug, Default)]
pub struct Fields(pub Vec<(String, String, bool)>);

impl Fields {
    /// Parses `a=b,c!=d`. The error is the server's text.
    pub fn parse(text: &str) -> Result<Fields, String> {
        let mut terms = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            let parsed = [("!=", false), ("==", true), ("=", true)].iter().find_map(|(sign, equal)| {
                term.split_once(sign).map(|(field, value)| (field.to_owned(), unescaped(value), *equal))
            });
            match parsed {
                Some((_, Err(c), _)) => {
                    return Err(format!("invalid field selector: unescaped character in value: {}", u32::from(c)));
                }
                Some((field, Ok(value), equal)) => terms.push((field, value, equal)),
                None => return Err(format!("invalid selector: '{text}'; can't understand '{term}'")),
            }
        }
        Ok(Fields(terms))
    }

    /// Returns whether the selector lets everything through.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the one name that `metadata.name=…` asks for.
    pub fn name(&self) -> Option<&str> {
        self.0.iter().find(|(field, _, equal)| *equal && field == "metadata.name").map(|(_, value, _)| value.as_str())
    }

    /// Returns whether an object satisfies the selector.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, value, equal)| (field_value(object, field) == *value) == *equal)
    }
}

fn field_value(object: &Value, field: &str) -> String {
    let found = field.split('.').try_fold(object, |value, key| value.get(key));
    match (field, found) {
        (_, Some(Value::String(text))) => text.clone(),
        (_, Some(Value::Bool(value))) => value.to_string(),
        (_, Some(Value::Number(value))) => value.to_string(),
        ("spec.unschedulable" | "spec.hostNetwork", None) => "false".to_owned(),
        ("source", Some(Value::Object(_))) => object::text_at(object, &["source", "component"]).to_owned(),
        ("status.successful", None) => "0".to_owned(),
        _ => String::new(),
    }
}

fn split_terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        let last = terms.len() - 1;
        if c == ',' && !escaped {
            terms.push(String::new());
        } else {
            terms[last].push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    terms
}

/// Takes the backslashes away; the error is a sign that should have had one.
fn unescaped(value: &str) -> Result<String, char> {
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().unwrap_or('\\')),
            '=' | ',' => return Err(c),
            _ => out.push(c),
        }
    }
    Ok(out)
}
