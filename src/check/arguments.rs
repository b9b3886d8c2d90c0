//! Rule: literal arguments are of the types that the record says; maps have known keys, durations have units, and
//! words that OKG knows are spelt as it spells them.

use serde_json::Value;

use super::functions::nothing_sent;
use super::{Checker, File, label};
use crate::bindings::binding::{Binding, Key, Param};
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::script::calls::{Arg, Call, Entry, Shape};
use crate::script::duration;

pub(super) fn check(checker: &Checker, file: &File, found: &mut Vec<Diagnostic>) {
    let words = declared_words(file);
    for call in file.outline.calls.iter().filter(|call| call.namespace.is_empty()) {
        let own = file.outline.functions.iter().any(|function| function.name == call.name);
        let Some(record) = checker.records.get(call.name.as_str()).filter(|_| !own) else { continue };
        let params = record.params.iter().skip(usize::from(call.method));
        for (param, arg) in params.zip(&call.args) {
            argument(checker, file, &words, record, param, arg, found);
        }
    }
}

/// Words that the script declares as valid beside OKG's own; `None` when it declares some that are not literal.
fn declared_words(file: &File) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let declares = |call: &&Call| call.name == "custom_ops_states" && call.namespace.is_empty();
    for call in file.outline.calls.iter().filter(declares) {
        let Some(Value::Array(items)) = call.args.first().and_then(Arg::literal) else { return None };
        words.extend(items.iter().filter_map(|item| item.as_str().map(str::to_owned)));
    }
    Some(words)
}

fn argument(
    checker: &Checker,
    file: &File,
    words: &Option<Vec<String>>,
    record: &Binding,
    param: &Param,
    arg: &Arg,
    found: &mut Vec<Diagnostic>,
) {
    if let Some(wrong) = mismatch(param.ty, arg) {
        found.push(place(checker, file, arg, wrong, || {
            format!("`{}`: {} is {}", record.signature(), param.name, named(param.ty))
        }));
        return;
    }
    found.extend(unknown_word(checker, file, words, (param.name, param.one_of), arg));
    if let Shape::Map(entries) = &arg.shape
        && !param.keys.is_empty()
    {
        for entry in entries {
            let plain = entry.key.strip_prefix("not_").filter(|_| param.negatable).unwrap_or(&entry.key);
            match param.keys.iter().find(|key| key.name == plain) {
                Some(key) => value(checker, file, words, record, key, entry, found),
                None => found.push(unknown_key(checker, file, record, param, entry)),
            }
        }
    }
}

fn value(
    checker: &Checker,
    file: &File,
    words: &Option<Vec<String>>,
    record: &Binding,
    key: &Key,
    entry: &Entry,
    found: &mut Vec<Diagnostic>,
) {
    match mismatch(key.ty, &entry.value) {
        Some(wrong) => {
            let label = || format!("key `{}` of `{}` is {}", key.name, record.name, named(key.ty));
            found.push(place(checker, file, &entry.value, wrong, label));
        }
        None => found.extend(unknown_word(checker, file, words, (key.name, key.one_of), &entry.value)),
    }
}

fn place(checker: &Checker, file: &File, arg: &Arg, wrong: Wrong, text: impl Fn() -> String) -> Diagnostic {
    let mut diagnostic = match wrong {
        Wrong::Type(given) => {
            let diagnostic =
                checker.at(file.name, arg.position, Kind::WrongArguments, format!("{given} does not fit here"));
            label(diagnostic, text())
        }
        Wrong::Value(value) => {
            let place = checker.at(file.name, arg.position, value.kind, value.what.clone()).places.clone();
            let mut value = *value;
            value.places = place;
            value
        }
    };
    diagnostic = nothing_sent(diagnostic);
    diagnostic
}

enum Wrong {
    /// A literal of another type.
    Type(&'static str),
    /// A literal of the right type that means nothing.
    Value(Box<Diagnostic>),
}

/// Holds a literal against a type of a record: alternatives joined by `|`.
fn mismatch(ty: &str, arg: &Arg) -> Option<Wrong> {
    let given = match &arg.shape {
        Shape::Literal(Value::Number(number)) if number.is_f64() => "a float",
        Shape::Literal(Value::Number(_)) => "an int",
        Shape::Literal(Value::Bool(_)) => "a bool",
        Shape::Literal(Value::Null) => "`()`",
        Shape::Literal(_) | Shape::Text => "a string",
        Shape::Map(_) => "a map",
        Shape::Array(_) => "an array",
        Shape::Closure(..) => "a closure",
        Shape::Variable(_) | Shape::Other => return None,
    };
    let alternatives: Vec<&str> = ty.split('|').map(str::trim).collect();
    if alternatives.iter().any(|ty| fits(ty, given)) {
        return None;
    }
    let has = |ty: &str| alternatives.contains(&ty);
    match &arg.shape {
        Shape::Literal(Value::Number(number)) if has("duration") => {
            Some(Wrong::Value(Box::new(duration::unitless(number))))
        }
        Shape::Literal(Value::String(text)) if has("duration") => {
            duration::parse(text).err().map(|wrong| Wrong::Value(Box::new(wrong)))
        }
        Shape::Literal(Value::Number(number)) if has("count") => (number.as_i64().is_none_or(|count| count < 0))
            .then(|| Wrong::Value(Box::new(no_count(&number.to_string())))),
        Shape::Literal(Value::String(text)) if has("count") => {
            let digits = text.strip_suffix('%').unwrap_or(text);
            let good = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
            (!good).then(|| Wrong::Value(Box::new(no_count(text))))
        }
        Shape::Text if has("duration") || has("count") => None,
        _ => Some(Wrong::Type(given)),
    }
}

/// Returns a type with its article.
fn named(ty: &str) -> String {
    let vowel = ty.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']);
    format!("{} {ty}", if vowel { "an" } else { "a" })
}

fn no_count(text: &str) -> Diagnostic {
    Diagnostic::new(Kind::Invalid, format!("`{text}` is not a count"))
        .help("write a number, `3`, or a share, `\"25%\"`")
}

fn fits(ty: &str, given: &str) -> bool {
    match ty {
        "string" => given == "a string",
        "int" => given == "an int",
        "float" => matches!(given, "a float" | "an int"),
        "bool" => given == "a bool",
        "map" => given == "a map",
        "array" => given == "an array",
        "closure" => given == "a closure",
        "()" => given == "`()`",
        "duration" | "count" => false,
        // A type of ours: names stand for objects in many places, numbers and truths never do.
        ty if ty.starts_with(|c: char| c.is_ascii_uppercase()) => matches!(given, "a string" | "an array" | "a map"),
        _ => true,
    }
}

fn unknown_key(checker: &Checker, file: &File, record: &Binding, param: &Param, entry: &Entry) -> Diagnostic {
    let what = format!("`{}` knows no key `{}` in its {}", record.name, entry.key, param.name);
    let wrong = checker.at(file.name, entry.position, Kind::UnknownKey, what);
    let names: Vec<&str> = param.keys.iter().map(|key| key.name).collect();
    nothing_sent(match closest(&entry.key, names.iter().copied()) {
        Some(meant) => label(wrong, format!("did you mean `{meant}`?")),
        None => wrong,
    })
    .help(format!("keys: {}", names.join(", ")))
}

fn unknown_word(
    checker: &Checker,
    file: &File,
    words: &Option<Vec<String>>,
    (name, one_of): (&str, &[&str]),
    arg: &Arg,
) -> Vec<Diagnostic> {
    if one_of.is_empty() {
        return Vec::new();
    }
    if let Shape::Array(items) = &arg.shape {
        return items.iter().flat_map(|item| unknown_word(checker, file, words, (name, one_of), item)).collect();
    }
    let Some(text) = arg.text().filter(|text| !one_of.contains(text)) else { return Vec::new() };
    // Of all words, only opsStates can be declared.
    let ops_state = one_of.contains(&"WaitToBeDeleted");
    let declared: &[String] = match words {
        Some(words) if ops_state => words,
        None if ops_state => return Vec::new(),
        _ => &[],
    };
    if declared.iter().any(|word| word == text) {
        return Vec::new();
    }
    let name = if ops_state { "opsState" } else { name };
    let wrong = checker.at(file.name, arg.position, Kind::Invalid, format!("`{text}` is not a known {name}"));
    let wrong = match closest(text, one_of.iter().copied().chain(declared.iter().map(String::as_str))) {
        Some(meant) => label(wrong, format!("did you mean \"{meant}\"?")),
        None => wrong,
    };
    let mut wrong = nothing_sent(wrong.help(format!("known: {}", one_of.join(", "))));
    if ops_state {
        wrong = wrong.help(format!("one of your own is declared by `custom_ops_states([\"{text}\"])`"));
    }
    vec![wrong]
}
