//! Where the fields of a document stand: read only once something is wrong.

use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::diagnostic::Place;

/// A part of a document.
enum Node {
    Leaf(usize),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

/// Returns the place of a field, such as `players[0].gss`, or of the nearest one around it that is there.
pub fn find(file: &str, text: &str, path: &str) -> Option<Place> {
    let options = serde_saphyr::options! { strict_booleans: true };
    let whole: Spanned<Node> = serde_saphyr::from_str_with_options(text, options).ok()?;
    let mut found = None;
    let mut node = &whole;
    for step in steps(path) {
        match (&node.value, step) {
            (Node::Map(members), Step::Key(key)) => {
                let Some((name, value)) = members.iter().find(|(name, _)| name.value == key) else { break };
                found = Some((name.referenced, name.value.chars().count()));
                node = value;
            }
            (Node::List(items), Step::Index(index)) => {
                let Some(item) = items.get(index) else { break };
                let length = if let Node::Leaf(length) = item.value { length } else { 1 };
                found = Some((item.referenced, length));
                node = item;
            }
            _ => break,
        }
    }
    let (at, length) = found?;
    let (line, column) = (usize::try_from(at.line()).ok()?, usize::try_from(at.column()).ok()?);
    Some(Place { source: file.to_owned(), text: Arc::from(text), line, column, length: length.max(1), label: None })
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn steps(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let mut pieces = part.split('[');
        steps.extend(pieces.next().filter(|key| !key.is_empty()).map(Step::Key));
        steps.extend(pieces.filter_map(|index| index.trim_end_matches(']').parse().ok()).map(Step::Index));
    }
    steps
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(value.to_string().len()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.to_string().len()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Leaf(value.to_string().len()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Leaf(value.to_string().len()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.chars().count()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf(1))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf(1))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(member) = members.next_entry()? {
            map.push(member);
        }
        Ok(Node::Map(map))
    }
}
