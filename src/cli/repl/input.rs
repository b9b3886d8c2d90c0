//! Is what was typed complete? Brackets closed, strings and comments ended, no operator left without its right side.

/// Returns whether more lines have to follow.
pub fn is_incomplete(text: &str) -> bool {
    if text.trim_start().starts_with(':') {
        return false;
    }
    let mut open = Vec::new();
    // The last character that means something.
    let mut last = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let comment = c == '/' && matches!(chars.peek(), Some('/' | '*'));
        if !comment && !c.is_whitespace() {
            last = c;
        }
        match c {
            '"' | '\'' => {
                // Ends at the line's end at the latest: Rhai says what is wrong then.
                while let Some(inner) = chars.next() {
                    match inner {
                        '\\' => {
                            chars.next();
                        }
                        '\n' => break,
                        inner if inner == c => break,
                        _ => {}
                    }
                }
            }
            '`' => match text_in_ticks(&mut chars) {
                true => {}
                false => return true,
            },
            '/' if chars.peek() == Some(&'/') => {
                chars.by_ref().find(|c| *c == '\n');
            }
            '/' if chars.peek() == Some(&'*') => {
                let mut before = ' ';
                let ended = chars.by_ref().skip(1).any(|c| std::mem::replace(&mut before, c) == '*' && c == '/');
                if !ended {
                    return true;
                }
            }
            '(' | '[' | '{' => open.push(c),
            ')' | ']' | '}' => {
                open.pop();
            }
            _ => {}
        }
    }
    !open.is_empty() || "+-*/%&|=<>,.:?!".contains(last)
}

/// Reads a text in back-ticks to its end, expressions in `${…}` included; returns whether it ends.
fn text_in_ticks(chars: &mut std::iter::Peekable<std::str::Chars>) -> bool {
    let mut depth = 0;
    while let Some(c) = chars.next() {
        match c {
            '`' if depth == 0 => return true,
            '`' if !text_in_ticks(chars) => return false,
            '$' if chars.peek() == Some(&'{') => depth += 1,
            '{' if depth > 1 => depth += 1,
            '}' if depth > 0 => depth -= 1,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_incomplete;

    #[test]
    fn open_brackets_strings_and_comments_want_more() {
        for text in [
            "f(",
            "if x {\n  y",
            "#{ a: [1,",
            "`room ${n",
            "`two\nlines",
            "/* so",
            "let f = |x| {",
            "`${ `a",
            "a +",
            "x = // so",
            "|x|",
        ] {
            assert!(is_incomplete(text), "{text}");
        }
        for text in [
            "f()",
            "\"(\"",
            "'('",
            "`(`",
            "// (",
            "1 /* ( */",
            "`${x}`",
            "`${ `a` }`",
            ":help (",
            "}",
            "a // +",
            "\"+\"",
            "",
            "\"a\\\"(\"",
        ] {
            assert!(!is_incomplete(text), "{text}");
        }
    }
}
