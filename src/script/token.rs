//! Where a position of Rhai lies in its source, and how long the token there is.

use std::sync::Arc;

use rhai::Position;

use super::Sources;
use crate::diagnostic::Place;

/// Returns the place of a position in a source, with the whole token under the carets. `None` without a position or a
/// source of that name.
pub fn place(sources: &Sources, source: &str, position: Position) -> Option<Place> {
    let text = sources.get(source)?.text;
    let line = position.line()?;
    let column = position.position().unwrap_or(1);
    Some(place_in(source, &text, line, column))
}

/// Returns the place of a line and column in a text.
pub fn place_in(source: &str, text: &Arc<str>, line: usize, column: usize) -> Place {
    let length = length_at(text.lines().nth(line - 1).unwrap_or_default(), column);
    Place { source: source.to_owned(), text: text.clone(), line, column, length, label: None }
}

/// Returns the length in characters of the token at a column, which counts from 1.
fn length_at(line: &str, column: usize) -> usize {
    let mut rest = line.chars().skip(column.saturating_sub(1)).peekable();
    let Some(first) = rest.next() else { return 1 };
    let word = |c: &char| c.is_alphanumeric() || *c == '_';
    if word(&first) {
        return 1 + rest.take_while(word).count();
    }
    if matches!(first, '"' | '`' | '\'') {
        let mut length = 1;
        let mut escaped = false;
        for c in rest {
            length += 1;
            if c == first && !escaped {
                break;
            }
            escaped = c == '\\' && !escaped;
        }
        return length;
    }
    let pair: String = [Some(first), rest.next()].into_iter().flatten().collect();
    let known = ["==", "!=", "<=", ">=", "&&", "||", "??", "=>", "::", "..", "#{", "+=", "-=", "*=", "/=", "?.", "**"];
    if known.contains(&pair.as_str()) { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::length_at;

    #[test]
    fn whole_tokens_are_marked() {
        let line = r#"let x = gs_get("a\"b") == `t`;"#;
        for (column, length) in [(1, 3), (9, 6), (16, 6), (24, 2), (27, 3), (30, 1), (99, 1)] {
            assert_eq!(length_at(line, column), length, "column {column}");
        }
    }
}
