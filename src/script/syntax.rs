//! Parse errors, with a hint at what was meant.

use rhai::{LexError, ParseErrorType, Position};

use super::{Sources, error, token};
use crate::diagnostic::{Diagnostic, Kind};

/// Says what a parse error means, where it is and what to write instead.
pub fn explain(kind: &ParseErrorType, position: Position, sources: &Sources, source: &str) -> Diagnostic {
    let text = sources.get(source).map(|source| source.text);
    let line = position.line().and_then(|line| text.as_deref()?.lines().nth(line - 1)).unwrap_or_default();
    let before: String = line.chars().take(position.position().unwrap_or(1).saturating_sub(1)).collect();
    let after: String = line.chars().skip(before.chars().count()).collect();
    let (what, help) = describe(kind, before.trim_end(), &after);
    let mut diagnostic = Diagnostic::new(Kind::Syntax, what);
    diagnostic.help.extend(help);
    let place = token::place(sources, source, position)
        .or_else(|| text.map(|text| token::place_in(source, &text, text.lines().count().max(1), 1)));
    diagnostic.places.extend(place);
    diagnostic
}

fn describe(kind: &ParseErrorType, before: &str, after: &str) -> (String, Option<String>) {
    let plain = error::lower(&kind.to_string());
    if let Some(hint) = number_with_unit(before, after) {
        return (plain, Some(hint));
    }
    let help = match kind {
        ParseErrorType::UnexpectedEOF => {
            return (
                "the script ends in the middle of something".into(),
                Some("a `}`, `)`, `]` or `;` is missing".into()),
            );
        }
        ParseErrorType::Reserved(word) | ParseErrorType::UnknownOperator(word) => return reserved(word),
        ParseErrorType::BadInput(LexError::ImproperSymbol(word, _)) if word == "eval" => return reserved(word),
        ParseErrorType::BadInput(LexError::ImproperSymbol(symbol, _)) if symbol == "=>" => {
            Some("`=>` stands only in `switch`; a closure is `|x| …`".to_owned())
        }
        ParseErrorType::BadInput(LexError::UnterminatedString) => {
            Some("strings over several lines stand in back-ticks".to_owned())
        }
        ParseErrorType::MissingToken(token, _) if token == ";" || token == "}" => missing_semicolon(before, after),
        ParseErrorType::MissingToken(token, _) if token == "," || token == ")" => {
            Some("arguments are separated by `,` and end with `)`".to_owned())
        }
        ParseErrorType::PropertyExpected => Some("a map is written `#{ key: value }`".to_owned()),
        ParseErrorType::WrongFnDefinition => {
            Some("move the function to the top level, or use a closure: `let f = |x| …;`".to_owned())
        }
        ParseErrorType::WrongDocComment => {
            Some("`///` stands directly above a function; use `//` elsewhere".to_owned())
        }
        ParseErrorType::LoopBreak => Some("`break` ends a loop only, not a closure; use `return` there".to_owned()),
        ParseErrorType::ExprTooDeep => Some("name parts of the expression with `let`".to_owned()),
        _ => None,
    };
    (plain, help)
}

/// `10s` and the like: a number that runs into a word.
fn number_with_unit(before: &str, after: &str) -> Option<String> {
    let both = format!("{before}{after}");
    let start = before.trim_end().rfind(|c: char| !c.is_ascii_alphanumeric() && c != '.').map_or(0, |at| at + 1);
    let token: String = both[start..].trim_start().chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
    let digits = token.chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = token.split_at(digits);
    let known = ["ns", "us", "ms", "s", "m", "h", "d", "sec", "secs", "min", "mins"];
    (digits > 0 && known.contains(&unit)).then(|| format!("durations are strings: write \"{number}{unit}\""))
}

fn missing_semicolon(before: &str, after: &str) -> Option<String> {
    if after.starts_with(':') {
        return Some("a map is written `#{ key: value }`".to_owned());
    }
    if after.starts_with("=>") {
        return Some("`=>` stands only in `switch`; a closure is `|x| …`".to_owned());
    }
    let word: String = before.chars().rev().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let word: String = word.chars().rev().collect();
    foreign(&word).or_else(|| Some("a `;` is missing before this".to_owned()))
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
        "===" => "equality is `==`".to_owned(),
        "!==" => "inequality is `!=`".to_owned(),
        "++" => "write `x += 1`".to_owned(),
        "--" => "write `x -= 1`".to_owned(),
        ":=" => "a variable is declared with `let x = …`".to_owned(),
        "->" => "functions have no declared result type".to_owned(),
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
