//! Brackets, strings and comments of a text that need not parse: what is still open at its end.

use std::iter::Peekable;
use std::str::Chars;

/// What is open at the end of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Open {
    /// Brackets that are not closed, outermost first: character, line, column.
    pub brackets: Vec<(char, usize, usize)>,
    /// Whether it ends in a text in back-ticks or in a comment.
    pub unfinished: bool,
    /// The last character that is neither blank nor comment.
    pub last: Option<char>,
}

/// Returns what is open at the end of a text.
pub fn open(text: &str) -> Open {
    let mut scan = Scan { chars: text.chars().peekable(), line: 1, column: 0 };
    let mut open = Open::default();
    while let Some(c) = scan.next() {
        let next = scan.chars.peek().copied();
        if c == '/' && next == Some('/') {
            scan.skip_to(|c| c == '\n');
            continue;
        }
        if c == '/' && next == Some('*') {
            let mut before = ' ';
            scan.next();
            let ended = scan.skip_to(|c| std::mem::replace(&mut before, c) == '*' && c == '/');
            open.unfinished = !ended;
            continue;
        }
        if !c.is_whitespace() {
            open.last = Some(c);
        }
        match c {
            '"' | '\'' => scan.quoted(c),
            '`' => open.unfinished = !scan.ticks(),
            '(' | '[' | '{' => open.brackets.push((c, scan.line, scan.column)),
            ')' | ']' | '}' => {
                open.brackets.pop();
            }
            _ => {}
        }
    }
    open
}

struct Scan<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
    column: usize,
}

impl Scan<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        self.column += 1;
        if c == '\n' {
            self.line += 1;
            self.column = 0;
        }
        Some(c)
    }

    /// Goes on past the first character that does; returns whether there was one.
    fn skip_to(&mut self, mut does: impl FnMut(char) -> bool) -> bool {
        while let Some(c) = self.next() {
            if does(c) {
                return true;
            }
        }
        false
    }

    /// Goes on past a string, which ends with its line at the latest.
    fn quoted(&mut self, quote: char) {
        while let Some(c) = self.next() {
            match c {
                '\\' => {
                    self.next();
                }
                '\n' => return,
                c if c == quote => return,
                _ => {}
            }
        }
    }

    /// Goes on past a text in back-ticks, expressions in `${…}` included; returns whether it ends.
    fn ticks(&mut self) -> bool {
        let mut depth = 0;
        while let Some(c) = self.next() {
            match c {
                '`' if depth == 0 => return true,
                '`' if !self.ticks() => return false,
                '$' if self.chars.peek() == Some(&'{') => depth += 1,
                '{' if depth > 1 => depth += 1,
                '}' if depth > 0 => depth -= 1,
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::open;

    #[test]
    fn open_brackets_are_found_outside_of_strings_and_comments() {
        let found = open("f(\n  [1, \"(\", `${ g(`)`) } (`], // (\n  |x| {");
        assert_eq!(found.brackets, [('(', 1, 2), ('{', 3, 7)]);
        assert_eq!((found.unfinished, found.last), (false, Some('{')));
    }

    #[test]
    fn texts_in_ticks_and_comments_may_be_unfinished() {
        assert!(open("`a\n").unfinished && open("`${ `a").unfinished && open("/* a").unfinished);
        assert!(!open("`a` /* b */").unfinished && !open("\"a\\\"").unfinished);
    }
}
