//! Is what was typed complete? Brackets closed, strings and comments ended, no operator left without its right side.

use crate::script::brackets;

/// Returns whether more lines have to follow.
pub fn is_incomplete(text: &str) -> bool {
    if text.trim_start().starts_with(':') {
        return false;
    }
    let open = brackets::open(text);
    open.unfinished || !open.brackets.is_empty() || open.last.is_some_and(|last| "+-*/%&|=<>,.:?!".contains(last))
}

#[cfg(test)]
mod tests {
    use super::is_incomplete;

    #[test]
    fn open_brackets_strings_and_comments_want_more() {
        for text in ["f(", "if x {\n  y", "#{ a: [1,", "`room ${n", "`two\nlines", "/* so", "let f = |x| {", "`${ `a"] {
            assert!(is_incomplete(text), "{text}");
        }
        for text in ["a +", "x = // so", "|x|"] {
            assert!(is_incomplete(text), "{text}");
        }
        for text in ["f()", "\"(\"", "'('", "`(`", "// (", "1 /* ( */", "`${x}`", "`${ `a` }`", ":help (", "}"] {
            assert!(!is_incomplete(text), "{text}");
        }
        for text in ["a // +", "\"+\"", "", "\"a\\\"(\""] {
            assert!(!is_incomplete(text), "{text}");
        }
    }
}
