//! What may be typed next.

use crate::bindings::binding::{Binding, Bindings};

/// Sort of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// A key of a map that the call under the cursor takes.
    Key,
    /// A property of a value.
    Property,
    /// A function.
    Function,
    /// A variable.
    Variable,
}

/// A text that may be typed next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What is put in place of the word under the cursor.
    pub text: String,
    /// What it is, in a few words.
    pub help: String,
    /// Sort.
    pub sort: Sort,
}

/// Names that the records do not hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// Properties of all types, with what they are.
    pub properties: &'a [(&'a str, &'a str)],
    /// Variables.
    pub variables: &'a [String],
    /// Functions that can be called as methods.
    pub methods: &'a [String],
}

/// Returns what may stand at the end of `before`, the text up to the cursor, and where the word that it replaces
/// begins.
///
/// In a map literal of a call those are the keys of the record, after a point the properties of all types, elsewhere
/// functions and variables.
pub fn candidates(before: &str, families: &[Bindings], extras: &Extras) -> (usize, Vec<Candidate>) {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let start = before.char_indices().rev().take_while(|(_, c)| word(*c)).last().map_or(before.len(), |(at, _)| at);
    let (head, typed) = before.split_at(start);
    if in_string(head) {
        return (start, Vec::new());
    }
    let mut found: Vec<Candidate> = Vec::new();
    let mut add = |text: &str, help: &str, sort: Sort| {
        if text.starts_with(typed) && !found.iter().any(|known| known.text == text) {
            found.push(Candidate { text: text.to_owned(), help: help.to_owned(), sort });
        }
    };
    if head.ends_with('.') && !head.ends_with("..") {
        extras.properties.iter().for_each(|(name, doc)| add(name, doc, Sort::Property));
        extras.methods.iter().for_each(|name| add(name, "", Sort::Function));
    } else if let Some((call, index)) = open_map(head) {
        let records = families.iter().flat_map(|family| family.records().iter());
        let keys = records.filter(|record| record.name == call).filter_map(|record| record.params.get(index));
        keys.flat_map(|param| param.keys).for_each(|key| add(key.name, key.doc, Sort::Key));
    } else {
        extras.variables.iter().for_each(|name| add(name, "", Sort::Variable));
        let records = families.iter().flat_map(|family| family.records().iter());
        records.for_each(|record: &&Binding| add(record.name, &record.signature(), Sort::Function));
    }
    found.sort_by(|a, b| (a.sort, &a.text).cmp(&(b.sort, &b.text)));
    (start, found)
}

/// Returns whether a text ends inside a string.
fn in_string(text: &str) -> bool {
    let mut open = None;
    let mut escaped = false;
    for c in text.chars() {
        match open {
            Some(quote) if c == quote && !escaped => open = None,
            None if matches!(c, '"' | '`') => open = Some(c),
            _ => {}
        }
        escaped = open == Some('"') && c == '\\' && !escaped;
    }
    open.is_some()
}

/// Returns the call and the index of its argument where a text ends in a map literal at the place of a key.
fn open_map(text: &str) -> Option<(String, usize)> {
    let chars: Vec<char> = text.chars().collect();
    // Brackets that are open at the end, with the number of commas since.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut quote = None;
    for (at, c) in chars.iter().enumerate() {
        match (quote, c) {
            (Some(end), c) if *c == end => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`') => quote = Some(*c),
            (None, '(' | '[' | '{') => open.push((at, 0)),
            (None, ')' | ']' | '}') => {
                open.pop();
            }
            (None, ',') => {
                if let Some(last) = open.last_mut() {
                    last.1 += 1;
                }
            }
            _ => {}
        }
    }
    let (brace, _) = open.pop().filter(|(at, _)| chars[*at] == '{' && *at > 0 && chars[*at - 1] == '#')?;
    let last = chars[brace + 1..].iter().rev().find(|c| !c.is_whitespace());
    if last.is_some_and(|c| *c != ',') {
        return None;
    }
    let (paren, index) = open.pop().filter(|(at, _)| chars[*at] == '(')?;
    let name: Vec<char> =
        chars[..paren].iter().rev().copied().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    Some((name.into_iter().rev().collect(), index))
}

#[cfg(test)]
mod tests {
    use super::{in_string, open_map};

    #[test]
    fn a_key_belongs_to_its_call() {
        assert_eq!(open_map("gs_select(\"a\", #{ "), Some(("gs_select".into(), 1)));
        assert_eq!(open_map("x(1); wait(#{ timeout: \"1m\", "), Some(("wait".into(), 0)));
        assert_eq!(open_map("gs_select(\"a\", #{ image: "), None);
        assert_eq!(open_map("let m = #{ "), None);
        assert_eq!(open_map("f(#{ a: 1 }, "), None);
    }

    #[test]
    fn strings_are_left_alone() {
        assert!(in_string("f(\"ab") && in_string("`x ") && !in_string("f(\"a\\\"b\", "));
    }
}
