//! Rhai's errors as diagnostics, and diagnostics as errors that scripts can catch.

use rhai::{Dynamic, EvalAltResult, Map, Position};
use serde_json::Value;

use super::{Sources, syntax, token, value};
use crate::diagnostic::{Diagnostic, Kind, Place};

/// Marks an interrupt among the reasons for which a script is ended.
const INTERRUPT: &str = "interrupted";

/// Keys of an error map that are not `data`.
const OWN_KEYS: &[&str] = &["kind", "message", "why", "help", "done", "source", "line", "column", "context"];

/// Frames shown above the line that failed.
const MOST_FRAMES: usize = 8;

/// Returns the error that a host function throws: a map that scripts test as `e.kind`.
///
/// [`diagnose`] gets the diagnostic back.
pub fn throw(diagnostic: Diagnostic) -> Box<EvalAltResult> {
    if diagnostic.kind == Kind::Interrupted {
        return interrupted();
    }
    EvalAltResult::ErrorRuntime(value::from_json(&diagnostic.to_json()), Position::NONE).into()
}

/// Returns the error that ends the script and cannot be caught.
pub fn interrupted() -> Box<EvalAltResult> {
    EvalAltResult::ErrorTerminated(interrupt_token(), Position::NONE).into()
}

/// Returns whether an error is an interrupt or a limit, which no function may swallow.
pub fn is_interrupt(error: &EvalAltResult) -> bool {
    matches!(error.unwrap_inner(), EvalAltResult::ErrorTerminated(..) | EvalAltResult::Exit(..))
}

pub(super) fn interrupt_token() -> Dynamic {
    INTERRUPT.into()
}

pub(super) fn limit_token(what: &str) -> Dynamic {
    what.into()
}

/// Returns the kind of an error without looking for its place.
pub fn kind_of(error: &EvalAltResult) -> Kind {
    innermost(error).kind
}

/// Returns what an error says, with the place of the failure and of each call that led there.
///
/// `main` names the source that was run. A position in Rhai's chain of calls belongs to the *caller's* source, so the
/// chain is walked from the outside, carrying the source along.
#[allow(clippy::boxed_local, reason = "Rhai hands its errors out in boxes")]
pub fn diagnose(error: Box<EvalAltResult>, sources: &Sources, main: &str) -> Diagnostic {
    let mut source = main.to_owned();
    let mut frames: Vec<(String, Position, Option<String>)> = Vec::new();
    let mut current = error.as_ref();
    loop {
        match current {
            EvalAltResult::ErrorInFunctionCall(name, callee, inner, position) => {
                frames.push((source.clone(), *position, frame_label(name)));
                if !callee.is_empty() {
                    source = callee.clone();
                }
                current = inner;
            }
            EvalAltResult::ErrorInModule(path, inner, position) => {
                frames.push((source.clone(), *position, Some(format!("while importing `{path}`"))));
                if !path.is_empty() {
                    source = path.clone();
                }
                current = inner;
            }
            _ => break,
        }
    }
    if let EvalAltResult::ErrorParsing(kind, position) = current {
        let mut diagnostic = syntax::explain(kind, *position, sources, &source);
        add_frames(&mut diagnostic, &frames, sources);
        return diagnostic;
    }
    let mut diagnostic = innermost(current);
    diagnostic.places.extend(first_place(current, sources, &source));
    if let Some(place) = token::place(sources, &source, current.position()) {
        diagnostic.places.push(place);
    }
    add_frames(&mut diagnostic, &frames, sources);
    diagnostic
}

fn frame_label(name: &str) -> Option<String> {
    (!name.is_empty() && !name.starts_with("anon$")).then(|| format!("in `{name}`"))
}

fn add_frames(diagnostic: &mut Diagnostic, frames: &[(String, Position, Option<String>)], sources: &Sources) {
    for (source, position, label) in frames.iter().rev().take(MOST_FRAMES) {
        let Some(mut place) = token::place(sources, source, *position) else { continue };
        let last = diagnostic.places.last();
        if last.is_some_and(|last| (&last.source, last.line, last.column) == (source, place.line, place.column)) {
            continue;
        }
        place.label = label.clone();
        diagnostic.places.push(place);
    }
}

/// Says what one error means, without place.
fn innermost(error: &EvalAltResult) -> Diagnostic {
    use EvalAltResult as E;
    let new = |kind: Kind, what: String| Diagnostic::new(kind, what);
    match error.unwrap_inner() {
        E::ErrorRuntime(thrown, _) => from_thrown(thrown),
        E::ErrorTerminated(reason, _) => match reason.clone().into_immutable_string().as_deref() {
            Ok(INTERRUPT) | Err(_) => new(Kind::Interrupted, "interrupted".into()),
            Ok(limit) => new(Kind::Limit, limit.to_owned()).help("a script that needs more is better cut into several"),
        },
        E::ErrorParsing(kind, _) => new(Kind::Syntax, kind.to_string()),
        E::ErrorFunctionNotFound(signature, _) => function_not_found(signature),
        E::ErrorVariableNotFound(name, _) => new(Kind::UnknownVariable, format!("there is no variable `{name}`"))
            .with("variable", name.as_str())
            .help(format!("a function sees only its parameters; a `const` of the script is `global::{name}` there")),
        E::ErrorPropertyNotFound(name, _) => {
            new(Kind::UnknownProperty, format!("there is no property `{name}`")).with("property", name.as_str())
        }
        E::ErrorDotExpr(text, _) => unknown_property(text),
        E::ErrorModuleNotFound(name, _) => unknown_module(name),
        E::ErrorMismatchDataType(wanted, given, _) | E::ErrorMismatchOutputType(wanted, given, _) => {
            let (wanted, given) = (value::script_type(wanted), value::script_type(given));
            new(Kind::WrongArguments, format!("a value of type {wanted} is wanted here, not {given}"))
        }
        E::ErrorIndexingType(what, _) => new(Kind::WrongArguments, format!("this cannot be indexed: {what}")),
        E::ErrorArrayBounds(length, index, _) => {
            new(Kind::Invalid, format!("index {index} is out of range: the array has {length} elements"))
        }
        E::ErrorStringBounds(length, index, _) => {
            new(Kind::Invalid, format!("index {index} is out of range: the string has {length} characters"))
        }
        E::ErrorFor(_) => new(Kind::WrongArguments, "`for` cannot go over this value".into())
            .help("arrays, ranges, strings and room lists can be gone over; a map by its `keys()` or `values()`"),
        E::ErrorArithmetic(text, _) => new(Kind::Invalid, lower(text)),
        E::ErrorAssignmentToConstant(name, _) => {
            new(Kind::Invalid, format!("`{name}` is a constant and cannot be assigned to"))
        }
        E::ErrorStackOverflow(_) => new(Kind::Limit, "functions call each other too deeply".into()),
        E::ErrorTooManyOperations(_) | E::ErrorTooManyVariables(_) | E::ErrorTooManyModules(_) => {
            new(Kind::Limit, lower(&error.to_string()))
        }
        E::ErrorDataTooLarge(what, _) => new(Kind::Limit, format!("a value is too large: {}", lower(what))),
        E::ErrorDataRace(name, _) => new(Kind::Failed, format!("two branches change `{name}` at once"))
            .help("let each branch return its value, and put them together afterwards"),
        other => new(Kind::Failed, lower(&without_position(other))),
    }
}

fn without_position(error: &EvalAltResult) -> String {
    let mut text = error.to_string();
    let suffix = format!(" ({})", error.position());
    if text.ends_with(&suffix) {
        text.truncate(text.len() - suffix.len());
    }
    text
}

pub(super) fn lower(text: &str) -> String {
    let mut chars = text.trim().trim_end_matches('.').chars();
    let first = chars.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
    first + chars.as_str()
}

fn function_not_found(signature: &str) -> Diagnostic {
    let (name, types) = signature.split_once(" (").unwrap_or((signature, ""));
    let types = types.strip_suffix(')').unwrap_or(types);
    let types: Vec<String> = types.split(", ").filter(|ty| !ty.is_empty()).map(value::script_type).collect();
    let word = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    let diagnostic = if word {
        Diagnostic::new(Kind::UnknownFunction, format!("there is no function `{name}({})`", types.join(", ")))
    } else {
        Diagnostic::new(Kind::WrongArguments, format!("`{name}` does not work on {}", types.join(" and ")))
    };
    diagnostic.with("function", name).with("types", types)
}

fn unknown_property(text: &str) -> Diagnostic {
    // Rhai: "Unknown property 'x' - a getter is not registered for type 'T'"
    let mut quoted = text.split('\'').skip(1).step_by(2);
    match (quoted.next(), quoted.next()) {
        (Some(name), Some(ty)) => {
            let ty = value::script_type(ty);
            let verb = if text.contains("setter") { "cannot be set on" } else { "does not exist on" };
            Diagnostic::new(Kind::UnknownProperty, format!("property `{name}` {verb} a value of type {ty}"))
                .with("property", name)
                .with("type", ty)
        }
        _ => Diagnostic::new(Kind::UnknownProperty, lower(text)),
    }
}

fn unknown_module(name: &str) -> Diagnostic {
    Diagnostic::new(Kind::UnknownModule, format!("there is no module `{name}`"))
        .with("module", name)
        .help("`okgscript list` names the embedded modules; others are looked for beside the script that imports them")
}

fn from_thrown(thrown: &Dynamic) -> Diagnostic {
    let thrown = thrown.flatten_clone();
    let Ok(map) = thrown.as_map_ref() else {
        let what =
            if thrown.is_unit() { "the script threw an error without words".to_owned() } else { thrown.to_string() };
        return Diagnostic::new(Kind::Failed, what);
    };
    let text = |key: &str| map.get(key).map(|value| value.to_string());
    if let Some(caught) = Caught::read(&map) {
        return caught.diagnostic();
    }
    let kind = text("kind").and_then(|kind| Kind::from_name(&kind));
    let what = text("message").unwrap_or_else(|| "the script threw an error without a message".to_owned());
    let mut diagnostic = Diagnostic::new(kind.unwrap_or(Kind::Failed), what);
    diagnostic.why = lines(&map, "why");
    diagnostic.help = lines(&map, "help");
    diagnostic.done = lines(&map, "done");
    diagnostic.context = text("context");
    for (key, entry) in map.iter().filter(|(key, _)| !OWN_KEYS.contains(&key.as_str())) {
        let entry = value::to_json(entry).unwrap_or_else(|_| Value::String(entry.to_string()));
        diagnostic.data.insert(key.to_string(), entry);
    }
    diagnostic
}

/// Rhai's own map of a caught error, taken apart: what it says, and where it happened.
struct Caught {
    message: String,
    source: Option<String>,
    line: Option<u16>,
    column: Option<u16>,
}

impl Caught {
    fn read(map: &Map) -> Option<Caught> {
        let text = |key: &str| map.get(key).map(|value| value.to_string());
        text("error").filter(|name| name.starts_with("Error"))?;
        let message = text("message")?;
        let number = |key: &str| map.get(key)?.as_int().ok().and_then(|number| u16::try_from(number).ok());
        // An error in a function has its own place only in the text: `… @ 'file' (line 2, position 3)`.
        let first = message.lines().next().unwrap_or_default();
        if let Some((said, place)) = first.rsplit_once(" (line ")
            && let Some((line, column)) = place.trim_end_matches(')').split_once(", position ")
        {
            let (said, source) = said.rsplit_once(" @ '").unwrap_or((said, ""));
            return Some(Caught {
                message: said.to_owned(),
                source: Some(source.trim_end_matches('\'').to_owned()),
                line: line.parse().ok(),
                column: column.parse().ok(),
            });
        }
        Some(Caught {
            message: first.to_owned(),
            source: text("source"),
            line: number("line"),
            column: number("position"),
        })
    }

    fn diagnostic(&self) -> Diagnostic {
        let none = Position::NONE;
        let of = |start: &str| self.message.strip_prefix(start).map(str::to_owned);
        let known = of("Function not found: ").map(|it| EvalAltResult::ErrorFunctionNotFound(it, none));
        let known =
            known.or_else(|| of("Variable not found: ").map(|it| EvalAltResult::ErrorVariableNotFound(it, none)));
        let known = known.or_else(|| of("Module not found: ").map(|it| EvalAltResult::ErrorModuleNotFound(it, none)));
        let property = self.message.starts_with("Unknown property");
        let known = known.or_else(|| property.then(|| EvalAltResult::ErrorDotExpr(self.message.clone(), none)));
        match known {
            Some(error) => innermost(&error),
            None => Diagnostic::new(Kind::Invalid, lower(&self.message)),
        }
    }
}

/// Returns where an error happened that was caught and thrown again, as far as its map tells.
fn first_place(error: &EvalAltResult, sources: &Sources, source: &str) -> Option<Place> {
    let EvalAltResult::ErrorRuntime(thrown, _) = error else { return None };
    let caught = Caught::read(&*thrown.flatten_clone().as_map_ref().ok()?)?;
    let position = Position::new(caught.line.filter(|line| *line > 0)?, caught.column?);
    let named = caught.source.filter(|name| sources.get(name).is_some());
    token::place(sources, named.as_deref().unwrap_or(source), position)
}

fn lines(map: &Map, key: &str) -> Vec<String> {
    let Some(entry) = map.get(key) else { return Vec::new() };
    match entry.as_array_ref() {
        Ok(items) => items.iter().map(ToString::to_string).collect(),
        Err(_) if entry.is_unit() => Vec::new(),
        Err(_) => vec![entry.to_string()],
    }
}
