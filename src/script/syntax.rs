//! Parse errors, with a hint at what was meant.

use rhai::{LexError, ParseErrorType, Position};

use super::{Sources, brackets, error, token};
use crate::diagnostic::{Diagnostic, Kind, Place};

/// Says what a parse error means, where it is and what to write instead.
pub fn explain(kind: &ParseErrorType, position: Position, sources: &Sources, source: &str) -> Diagnostic {
    let text = sources.get(source).map(|source| source.text).unwrap_or_default();
    let here = Here::new(&text, position);
    let (what, help) = describe(kind, &here);
    let mut diagnostic = Diagnostic::new(Kind::Syntax, what);
    let place = token::place(sources, source, position)
        .unwrap_or_else(|| token::place_in(source, &text, text.lines().count().max(1), 1));
    let place = match kind {
        ParseErrorType::MissingToken(token, _) if token == ";" && !here.at_end => here.end_of_statement(place),
        _ => place,
    };
    diagnostic.places.push(place);
    diagnostic.help.extend(help);
    diagnostic.help.extend(here.still_open(kind));
    diagnostic
}

/// The text around a parse error.
struct Here<'a> {
    /// The whole text up to it.
    above: &'a str,
    /// Its line up to it, without blanks at the end.
    before: &'a str,
    /// Its line from it on.
    after: &'a str,
    /// Brackets that are still open: character, line, column.
    open: Vec<(char, usize, usize)>,
    /// Whether nothing follows.
    at_end: bool,
}

impl<'a> Here<'a> {
    fn new(text: &'a str, position: Position) -> Here<'a> {
        let start = match position.line() {
            Some(line) => text.split_inclusive('\n').take(line - 1).map(str::len).sum(),
            None => text.len(),
        };
        let line = text[start..].lines().next().unwrap_or_default();
        let column = position.position().unwrap_or(1) - 1;
        let at = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
        let (above, below) = text.split_at(start + at);
        let (before, after) = line.split_at(at);
        let open = brackets::open(above).brackets;
        Here { above, before: before.trim_end(), after, open, at_end: below.trim().is_empty() }
    }

    /// The word that the line ends with before the error.
    fn word_before(&self) -> &'a str {
        let start = self
            .before
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map_or(0, |at| at + self.before[at..].chars().next().map_or(1, char::len_utf8));
        &self.before[start..]
    }

    /// Moves a missing `;` to the end of the statement, where it belongs.
    fn end_of_statement(&self, place: Place) -> Place {
        let above = self.above.trim_end();
        let line = above.lines().count();
        if line == place.line || line == 0 {
            return place;
        }
        let column = above.lines().next_back().unwrap_or_default().chars().count() + 1;
        Place { line, column, length: 1, label: Some("`;` belongs here".to_owned()), ..place }
    }

    /// Returns whether the text ends too early.
    fn ends_early(&self, kind: &ParseErrorType) -> bool {
        matches!(kind, ParseErrorType::UnexpectedEOF) || (self.at_end && !self.open.is_empty())
    }

    /// Names the bracket that is still open, where that is probably the cause.
    fn still_open(&self, kind: &ParseErrorType) -> Option<String> {
        let (bracket, line, column) = self.open.last()?;
        let closes = |c: char| matches!((bracket, c), ('(', ')') | ('[', ']') | ('{', '}'));
        let wrong_one = self.after.starts_with([')', ']', '}']) && !self.after.starts_with(closes);
        (wrong_one || self.ends_early(kind))
            .then(|| format!("`{bracket}` of line {line}, column {column} is still open"))
    }
}

fn describe(kind: &ParseErrorType, here: &Here) -> (String, Option<String>) {
    let plain = ticks(&error::lower(&kind.to_string()));
    if here.ends_early(kind) {
        return ("the script ends in the middle of something".into(), None);
    }
    if let Some(hint) = number_with_unit(here) {
        return (plain, Some(hint));
    }
    let arrow = "`=>` stands only in `switch`; a closure is `|x| …`";
    let help = match kind {
        ParseErrorType::Reserved(word) | ParseErrorType::UnknownOperator(word) => return reserved(word),
        ParseErrorType::BadInput(LexError::ImproperSymbol(symbol, _)) if symbol == "=>" => arrow,
        ParseErrorType::BadInput(LexError::ImproperSymbol(word, _)) if !word.is_empty() => return reserved(word),
        ParseErrorType::BadInput(LexError::UnterminatedString) => "strings over several lines stand in back-ticks",
        ParseErrorType::BadInput(LexError::MalformedChar(_)) => {
            return ("strings stand in double quotes".into(), Some("write \"…\"; `'x'` is a single character".into()));
        }
        ParseErrorType::BadInput(LexError::UnexpectedInput(token)) if token == "fn" => {
            "a function without a name is a closure: `|x| …`"
        }
        ParseErrorType::MissingToken(token, _) if token == ";" => return (plain, Some(missing_semicolon(here))),
        ParseErrorType::MissingToken(_, what) if what.contains("iteration variable") => {
            "write `for x in list { … }`, without parentheses"
        }
        ParseErrorType::MissingToken(_, what) if what.contains("map literal") => {
            "entries of a map are separated by `,`, and it ends with `}`"
        }
        ParseErrorType::MissingToken(_, what) if what.contains("array") => {
            "elements are separated by `,`, and the array ends with `]`"
        }
        ParseErrorType::MissingToken(token, _) if token == "," || token == ")" => {
            "arguments are separated by `,` and end with `)`"
        }
        ParseErrorType::MissingToken(token, _) if token == "}" && here.after.starts_with("=>") => arrow,
        ParseErrorType::MissingToken(token, _) if token == "}" && here.after.starts_with(':') => {
            "a map is written `#{ key: value }`"
        }
        ParseErrorType::MissingToken(token, _) if token == "}" => "a `;` or a `}` is missing before this",
        ParseErrorType::PropertyExpected => "a map is written `#{ key: value }`",
        ParseErrorType::WrongFnDefinition => "move the function to the top level, or use a closure: `let f = |x| …;`",
        ParseErrorType::WrongDocComment => "`///` stands directly above a function; use `//` elsewhere",
        ParseErrorType::LoopBreak => "`break` ends a loop only, not a closure; use `return` there",
        ParseErrorType::ExprTooDeep => "name parts of the expression with `let`",
        _ => return (plain, None),
    };
    (plain, Some(help.to_owned()))
}

/// Makes Rhai's quoted words ours.
fn ticks(text: &str) -> String {
    if text.matches('\'').count().is_multiple_of(2) { text.replace('\'', "`") } else { text.to_owned() }
}

/// `10s` and the like: a number that runs into a word.
fn number_with_unit(here: &Here) -> Option<String> {
    let start = here.before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '.').map_or(0, |at| at + 1);
    let both = format!("{}{}", here.before.get(start..)?, here.after);
    let token: String = both.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
    let digits = token.chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = token.split_at(digits);
    let known = ["ns", "us", "ms", "s", "m", "h", "d", "sec", "secs", "min", "mins"];
    (digits > 0 && known.contains(&unit)).then(|| format!("durations are strings: write \"{number}{unit}\""))
}

fn missing_semicolon(here: &Here) -> String {
    let word = here.word_before();
    if here.after.starts_with(':') {
        return "a map is written `#{ key: value }`".to_owned();
    }
    if here.after.starts_with("=>") {
        return "`=>` stands only in `switch`; a closure is `|x| …`".to_owned();
    }
    if let Some(hint) = foreign(word) {
        return hint;
    }
    let called = word.starts_with(|c: char| c.is_alphabetic()) && here.before.trim_start() == word;
    if called && here.after.starts_with(['"', '`']) {
        return format!("a call has its arguments in parentheses: `{word}(…)`");
    }
    "a statement ends with `;`".to_owned()
}

fn reserved(word: &str) -> (String, Option<String>) {
    let what = if word.chars().all(|c| c.is_alphanumeric() || c == '_') {
        format!("`{word}` is a reserved word")
    } else {
        format!("`{word}` has no meaning here")
    };
    let help = match word {
        "eval" => "`eval` is switched off, so that a script can be checked before it runs".to_owned(),
        "=>" => "`=>` stands only in `switch`; a closure is `|x| …`".to_owned(),
        "=" => return ("`=` assigns; it does not compare".to_owned(), Some("equality is `==`".to_owned())),
        "===" => "equality is `==`".to_owned(),
        "!==" => "inequality is `!=`".to_owned(),
        "++" => "write `x += 1`".to_owned(),
        "--" => "write `x -= 1`".to_owned(),
        ":=" => "a variable is declared with `let x = …`".to_owned(),
        "->" => "functions have no declared result type; a property is `x.y`".to_owned(),
        "<-" | "..." | "::<" => "this is not Rhai".to_owned(),
        _ => return (what, foreign(word).or_else(|| Some("choose another name".to_owned()))),
    };
    (what, Some(help))
}

/// What to write for a word of another language.
fn foreign(word: &str) -> Option<String> {
    let hint = match word {
        "var" | "val" | "auto" => "a variable is declared with `let`",
        "def" | "func" | "function" | "fun" | "lambda" => "a function is declared with `fn`",
        "elif" | "elsif" | "elseif" => "write `else if`",
        "match" | "case" => "write `switch value { … }`",
        "foreach" | "each" => "write `for x in list { … }`",
        "null" | "nil" | "None" | "undefined" => "nothing is written `()`",
        "new" => "values are made by functions; there is no `new`",
        "async" | "await" | "go" | "spawn" | "thread" => "calls wait by themselves; `parallel` runs several at once",
        "and" => "write `&&`",
        "or" => "write `||`",
        "not" => "write `!`",
        "raise" => "write `throw`",
        "except" | "rescue" => "write `try { … } catch (e) { … }`",
        "use" | "require" | "include" | "from" => "write `import \"okg/drain\" as drain;`",
        "echo" | "puts" | "printf" | "println" => "write `print(…)`",
        _ => return None,
    };
    Some(hint.to_owned())
}
