//! The one error: kind, what, where, why, what to do and what state things are in; drawn as text, JSON or script map.
//!
//! Each fact is added where it is known: `cluster` the reply, `script` the line, `cli` the context. Drawing happens
//! only here, by a [`miette::ReportHandler`].

use std::fmt;
use std::sync::Arc;

use miette::{LabeledSpan, SourceSpan};
use serde_json::{Map, Value, json};

use crate::exit_code::ExitCode;

/// What sort of failure it is: stable, kebab-case, what a script tests as `e.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The command line is wrong.
    Usage,
    /// A script does not parse.
    Syntax,
    /// A script calls a function that does not exist.
    UnknownFunction,
    /// A function was called with the wrong number or types of arguments.
    WrongArguments,
    /// A map has a key that the function does not know.
    UnknownKey,
    /// A property does not exist on this value.
    UnknownProperty,
    /// A variable does not exist.
    UnknownVariable,
    /// A module could not be found.
    UnknownModule,
    /// A script, a parameter or a file is missing on this side.
    Missing,
    /// A parameter has no value or a bad one.
    Parameter,
    /// A value that means nothing: a duration without unit, an opsState that OKG does not know.
    Invalid,
    /// The object does not exist on the cluster.
    NotFound,
    /// The object exists already or changed meanwhile.
    Conflict,
    /// The API server does not allow it.
    Forbidden,
    /// The API server does not know who asks.
    Unauthorized,
    /// A guard of ours refused.
    Refused,
    /// A wait ran out of time.
    Timeout,
    /// The API server could not be reached or cannot serve.
    Unavailable,
    /// The API server asked to come back later.
    TooManyRequests,
    /// No cluster is configured.
    NoCluster,
    /// OKG is not installed on the cluster.
    NotInstalled,
    /// A request was sent and its outcome is not known.
    Unknown,
    /// Stopped by a signal.
    Interrupted,
    /// The script said `fail(…)` or threw.
    Failed,
    /// Some writes failed.
    Partial,
    /// A limit of the script host was reached.
    Limit,
    /// A fault of okgscript itself.
    Internal,
}

impl Kind {
    /// Returns the stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Usage => "usage",
            Kind::Syntax => "syntax",
            Kind::UnknownFunction => "unknown-function",
            Kind::WrongArguments => "wrong-arguments",
            Kind::UnknownKey => "unknown-key",
            Kind::UnknownProperty => "unknown-property",
            Kind::UnknownVariable => "unknown-variable",
            Kind::UnknownModule => "unknown-module",
            Kind::Missing => "missing",
            Kind::Parameter => "parameter",
            Kind::Invalid => "invalid",
            Kind::NotFound => "not-found",
            Kind::Conflict => "conflict",
            Kind::Forbidden => "forbidden",
            Kind::Unauthorized => "unauthorized",
            Kind::Refused => "refused",
            Kind::Timeout => "timeout",
            Kind::Unavailable => "unavailable",
            Kind::TooManyRequests => "too-many-requests",
            Kind::NoCluster => "no-cluster",
            Kind::NotInstalled => "not-installed",
            Kind::Unknown => "unknown-outcome",
            Kind::Interrupted => "interrupted",
            Kind::Failed => "failed",
            Kind::Partial => "partial",
            Kind::Limit => "limit",
            Kind::Internal => "internal",
        }
    }

    /// Returns the kind of that name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Every kind.
    pub const ALL: &'static [Kind] = &[
        Kind::Usage,
        Kind::Syntax,
        Kind::UnknownFunction,
        Kind::WrongArguments,
        Kind::UnknownKey,
        Kind::UnknownProperty,
        Kind::UnknownVariable,
        Kind::UnknownModule,
        Kind::Missing,
        Kind::Parameter,
        Kind::Invalid,
        Kind::NotFound,
        Kind::Conflict,
        Kind::Forbidden,
        Kind::Unauthorized,
        Kind::Refused,
        Kind::Timeout,
        Kind::Unavailable,
        Kind::TooManyRequests,
        Kind::NoCluster,
        Kind::NotInstalled,
        Kind::Unknown,
        Kind::Interrupted,
        Kind::Failed,
        Kind::Partial,
        Kind::Limit,
        Kind::Internal,
    ];

    /// Returns the exit code of a command that ends with this kind.
    pub const fn exit_code(self) -> ExitCode {
        match self {
            Kind::Usage
            | Kind::Syntax
            | Kind::UnknownFunction
            | Kind::WrongArguments
            | Kind::UnknownKey
            | Kind::UnknownProperty
            | Kind::UnknownVariable
            | Kind::UnknownModule
            | Kind::Missing
            | Kind::Parameter => ExitCode::Usage,
            Kind::Refused => ExitCode::Refused,
            Kind::Timeout => ExitCode::TimedOut,
            Kind::Forbidden | Kind::Unauthorized | Kind::Unavailable | Kind::NoCluster | Kind::NotInstalled => {
                ExitCode::Unavailable
            }
            Kind::Partial => ExitCode::Partial,
            Kind::Interrupted => ExitCode::Interrupted,
            Kind::NotFound
            | Kind::Conflict
            | Kind::Invalid
            | Kind::TooManyRequests
            | Kind::Unknown
            | Kind::Failed
            | Kind::Limit
            | Kind::Internal => ExitCode::Failed,
        }
    }

    /// Returns whether the same call may succeed a little later.
    pub const fn passes(self) -> bool {
        matches!(self, Kind::Conflict | Kind::Timeout | Kind::Unavailable | Kind::TooManyRequests | Kind::Unknown)
    }
}

/// A line of a script that the error points at.
#[derive(Clone, Debug)]
pub struct Place {
    /// Name of the source as the user knows it.
    pub source: String,
    /// Its whole text.
    pub text: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
    /// Length of the token in characters, at least 1.
    pub length: usize,
    /// What stands under the carets.
    pub label: Option<String>,
}

/// What went wrong, and all that is known of it.
#[derive(Clone, Debug)]
pub struct Diagnostic(Box<Parts>);

/// The parts of a [`Diagnostic`]; reached by dereferencing it.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Sort of failure.
    pub kind: Kind,
    /// First line: lower case, no final stop, ticks round names.
    pub what: String,
    /// Script lines, innermost first.
    pub places: Vec<Place>,
    /// Where it happened beside the script: `context prod-eu`.
    pub context: Option<String>,
    /// Reasons, the server's own words quoted.
    pub why: Vec<String>,
    /// What to do now.
    pub help: Vec<String>,
    /// What state things are in now.
    pub done: Vec<String>,
    /// Further keys of the script's error map: `code`, `reason`, `retry_after_seconds`, …
    pub data: Map<String, Value>,
}

impl std::ops::Deref for Diagnostic {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::ops::DerefMut for Diagnostic {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl Diagnostic {
    /// Returns a diagnostic with nothing but its first line.
    pub fn new(kind: Kind, what: impl Into<String>) -> Diagnostic {
        Diagnostic(Box::new(Parts {
            kind,
            what: what.into(),
            places: Vec::new(),
            context: None,
            why: Vec::new(),
            help: Vec::new(),
            done: Vec::new(),
            data: Map::new(),
        }))
    }

    /// Adds a reason.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Diagnostic {
        self.0.why.push(why.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.0.help.push(help.into());
        self
    }

    /// Adds what state things are in.
    #[must_use]
    pub fn done(mut self, done: impl Into<String>) -> Diagnostic {
        self.0.done.push(done.into());
        self
    }

    /// Adds a key of the error map.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Diagnostic {
        self.0.data.insert(key.to_owned(), value.into());
        self
    }

    /// Adds the next outer script line.
    #[must_use]
    pub fn at(mut self, place: Place) -> Diagnostic {
        self.0.places.push(place);
        self
    }

    /// Returns the diagnostic as JSON: what a script catches and what `-o json` prints.
    pub fn to_json(&self) -> Value {
        let mut map = self.data.clone();
        map.insert("kind".into(), self.kind.name().into());
        map.insert("message".into(), self.what.clone().into());
        map.insert("why".into(), self.why.clone().into());
        map.insert("help".into(), self.help.clone().into());
        map.insert("done".into(), self.done.clone().into());
        if let Some(place) = self.places.first() {
            map.insert("source".into(), place.source.clone().into());
            map.insert("line".into(), json!(place.line));
            map.insert("column".into(), json!(place.column));
        }
        if let Some(context) = &self.context {
            map.insert("context".into(), context.clone().into());
        }
        Value::Object(map)
    }

    /// Returns the whole text, with colour or without.
    pub fn draw(&self, colour: bool) -> String {
        let mut text = String::new();
        let _ = House { colour }.write(self, &mut text);
        text
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.kind.name()))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(self.help.join("\n")) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.places.first()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(place.label.clone(), place.span()))))
    }
}

impl Place {
    /// Returns the byte range in the source text.
    fn span(&self) -> SourceSpan {
        let start: usize = self.text.split_inclusive('\n').take(self.line.saturating_sub(1)).map(str::len).sum();
        let rest = self.text.get(start..).unwrap_or_default();
        let offset: usize = rest.chars().take(self.column.saturating_sub(1)).map(char::len_utf8).sum();
        let length =
            rest.get(offset..).unwrap_or_default().chars().take(self.length).map(char::len_utf8).sum::<usize>();
        SourceSpan::from((start + offset, length))
    }

    /// Returns the text of the line.
    fn line_text(&self) -> String {
        self.text.lines().nth(self.line.saturating_sub(1)).unwrap_or_default().to_owned()
    }
}

/// Draws diagnostics in the house style; [`miette::set_hook`] installs it for reports.
#[derive(Debug)]
pub struct House {
    /// Whether to use colour; it never carries meaning.
    pub colour: bool,
}

impl House {
    fn write(&self, diagnostic: &Diagnostic, f: &mut dyn fmt::Write) -> fmt::Result {
        let (red, blue, bold, reset) =
            if self.colour { ("\x1b[1;31m", "\x1b[34m", "\x1b[1m", "\x1b[0m") } else { ("", "", "", "") };
        writeln!(f, "{red}error[{}]{reset}{bold}: {}{reset}", diagnostic.kind.name(), diagnostic.what)?;
        for (index, place) in diagnostic.places.iter().enumerate() {
            // The call around it on the same line says nothing new.
            let before = index.checked_sub(1).and_then(|before| diagnostic.places.get(before));
            if before.is_some_and(|before| before.source == place.source && before.line == place.line) {
                continue;
            }
            let context = diagnostic.context.as_deref().filter(|_| index == 0);
            let context = context.map(|context| format!(", {context}")).unwrap_or_default();
            let arrow = if index == 0 { "-->" } else { "from" };
            writeln!(f, "  {blue}{arrow}{reset} {}:{}:{}{context}", place.source, place.line, place.column)?;
            let number = place.line.to_string();
            let margin = " ".repeat(number.len() + 1);
            let line = place.line_text();
            let indent: String =
                line.chars().take(place.column.saturating_sub(1)).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let label = place.label.as_deref().map(|label| format!(" {label}")).unwrap_or_default();
            writeln!(f, "{margin}{blue}|{reset}")?;
            writeln!(f, "{blue}{number} |{reset} {line}")?;
            writeln!(f, "{margin}{blue}|{reset} {indent}{red}{}{label}{reset}", "^".repeat(place.length.max(1)))?;
        }
        if diagnostic.places.is_empty()
            && let Some(context) = &diagnostic.context
        {
            writeln!(f, "  {blue}-->{reset} {context}")?;
        }
        for (name, lines) in [("why", &diagnostic.why), ("done", &diagnostic.done), ("help", &diagnostic.help)] {
            let mut head = format!("{name}:");
            for line in lines.iter().flat_map(|text| text.lines()) {
                writeln!(f, "  {bold}{head:<5}{reset} {line}")?;
                head.clear();
            }
        }
        Ok(())
    }
}

impl miette::ReportHandler for House {
    fn debug(&self, error: &dyn miette::Diagnostic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = error.code().map(|code| code.to_string()).unwrap_or_else(|| "internal".to_owned());
        let mut diagnostic = Diagnostic::new(Kind::from_name(&code).unwrap_or(Kind::Internal), error.to_string());
        if let Some(help) = error.help() {
            diagnostic = diagnostic.help(help.to_string());
        }
        self.write(&diagnostic, f)
    }
}

/// Returns the known word that `word` was probably meant to be, if any comes near enough. Of two that come equally
/// near, the first in the alphabet.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Makes `opsState`, `ops-state` and `OPS_STATE` the same as `ops_state`.
    let fold =
        |word: &str| word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let folded = fold(word);
    let limit = match folded.chars().count() {
        0..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    let distance = |candidate: &str| {
        let other = fold(candidate);
        // A word of some length inside the other one: `set_ops_state` for `gs_set_ops_state`.
        let within = folded.len().min(other.len()) >= 5 && (other.contains(&folded) || folded.contains(&other));
        if within && other != folded { 2 } else { strsim::damerau_levenshtein(&folded, &other) }
    };
    let near =
        known.into_iter().filter(|candidate| *candidate != word).map(|candidate| (distance(candidate), candidate));
    near.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn house_style_shows_line_reason_and_help() {
        let text: Arc<str> = "let a = 1;\n  gs_set_opstate(name);\n".into();
        let place = Place {
            source: "drain.rhai".into(),
            text,
            line: 2,
            column: 3,
            length: 14,
            label: Some("did you mean `gs_set_ops_state`?".into()),
        };
        let drawn = Diagnostic::new(Kind::UnknownFunction, "there is no function `gs_set_opstate`")
            .at(place)
            .why("because")
            .help("first\nsecond")
            .draw(false);
        let expected = "error[unknown-function]: there is no function `gs_set_opstate`\n  --> drain.rhai:2:3\n  |\n\
                        2 |   gs_set_opstate(name);\n  |   ^^^^^^^^^^^^^^ did you mean `gs_set_ops_state`?\n  \
                        why:  because\n  help: first\n        second\n";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn closest_tolerates_case_separators_and_a_slip() {
        assert_eq!(closest("kill", ["None", "Kill"]), Some("Kill"));
        assert_eq!(closest("opsstate", ["ops_state", "state"]), Some("ops_state"));
        assert_eq!(closest("minecraftt", ["minecraft", "lobby"]), Some("minecraft"));
        assert_eq!(closest("zork", ["sort", "map"]), None);
        assert_eq!(closest("set_ops_state", ["gs_get", "gs_set_ops_state"]), Some("gs_set_ops_state"));
        assert_eq!(closest("gs_set_opstate", ["gs_set_ops_state", "gs_select"]), Some("gs_set_ops_state"));
        assert_eq!(closest("drain", ["gs_get", "rain_or_shine"]), None);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(*kind));
        }
    }
}
