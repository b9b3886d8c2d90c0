//! The line editor: several lines, history, completion, hints, colour.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use reedline::{
    Color, ColumnarMenu, Completer, CompletionResult, DefaultHinter, Emacs, FileBackedHistory, Highlighter, KeyCode,
    KeyModifiers, MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline,
    ReedlineEvent, ReedlineMenu, Span, StyledText, Suggestion, ValidationResult, Validator, default_emacs_keybindings,
};

use super::super::terminal;
use super::COMMANDS;
use super::input::is_incomplete;
use crate::bindings;
use crate::reference::{self, Extras};

/// Inputs that are remembered.
const REMEMBERED: usize = 5000;

const MENU: &str = "completion";

/// Names that change while the REPL runs, shared with the completer.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<Vec<String>>>);

impl Names {
    /// Replaces the names.
    pub fn set(&self, names: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    fn get(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns the editor; `history` is `None` where there is no place for one.
pub fn editor(history: Option<PathBuf>, variables: &Names, methods: Vec<String>, colour: bool) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let next = ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, next);
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU)));
    let mut editor = Reedline::create()
        .with_validator(Box::new(Whole))
        .with_completer(Box::new(Words::new(variables.clone(), methods)))
        .with_menu(menu)
        .with_partial_completions(true)
        .with_quick_completions(true)
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_hinter(Box::new(DefaultHinter::default().with_style(Color::DarkGray.normal())))
        .with_ansi_colors(colour);
    if colour {
        editor = editor.with_highlighter(Box::new(Colours::new()));
    }
    if let Some(file) = history {
        let shown = file.display().to_string();
        match FileBackedHistory::with_file(REMEMBERED, file) {
            Ok(history) => editor = editor.with_history(Box::new(history)),
            Err(error) => terminal::note(&format!("warning: no history, `{shown}` cannot be used: {error}")),
        }
    }
    editor
}

/// Returns where the history lies: the XDG folder for state.
pub fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("okgscript").join("history"))
}

struct Whole;

impl Validator for Whole {
    fn validate(&self, line: &str) -> ValidationResult {
        if is_incomplete(line) { ValidationResult::Incomplete } else { ValidationResult::Complete }
    }
}

struct Words {
    variables: Names,
    methods: Vec<String>,
    properties: Vec<(&'static str, &'static str)>,
}

impl Words {
    fn new(variables: Names, methods: Vec<String>) -> Words {
        let types = bindings::display::types().into_iter();
        let properties = types.flat_map(|ty| ty.properties).map(|(name, _, doc)| (name, doc)).collect();
        Words { variables, methods, properties }
    }
}

impl Completer for Words {
    fn complete(&mut self, line: &str, position: usize) -> CompletionResult {
        let before = line.get(..position).unwrap_or(line);
        let suggestion = |start: usize, value: &str, help: &str, append_whitespace: bool| Suggestion {
            value: value.to_owned(),
            description: (!help.is_empty()).then(|| help.to_owned()),
            span: Span::new(start, position),
            append_whitespace,
            ..Suggestion::default()
        };
        if before.starts_with(':') {
            let known = COMMANDS.iter().filter(|(name, _)| name.starts_with(before));
            return CompletionResult::fresh(
                known.map(|(name, help)| suggestion(0, name, help, false)).collect::<Vec<_>>(),
            );
        }
        let variables = self.variables.get();
        let extras = Extras { properties: &self.properties, variables: &variables, methods: &self.methods };
        let (start, found) = reference::candidates(before, &bindings::ALL, &extras);
        let all = found.iter().map(|found| suggestion(start, &found.text, &found.help, false));
        CompletionResult::fresh(all.collect::<Vec<_>>())
    }
}

/// Colours names of ours, strings, numbers and comments.
struct Colours {
    known: Vec<&'static str>,
}

impl Colours {
    fn new() -> Colours {
        Colours { known: bindings::records().map(|record| record.name).collect() }
    }
}

impl Highlighter for Colours {
    fn highlight(&self, line: &str, _: usize) -> StyledText {
        const WORDS: &[&str] = &[
            "let", "const", "if", "else", "for", "in", "while", "loop", "fn", "return", "throw", "try", "catch",
            "import", "as", "switch", "true", "false", "break", "continue",
        ];
        let mut styled = StyledText::new();
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let (length, colour) = if rest.starts_with("//") {
                (rest.find('\n').unwrap_or(rest.len()), Some(Color::DarkGray))
            } else if matches!(first, '"' | '`') {
                let end = rest[1..].find(first).map_or(rest.len(), |end| end + 2);
                (end, Some(Color::Green))
            } else if word(first) {
                let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
                let token = &rest[..length];
                let colour = match token {
                    _ if self.known.contains(&token) => Some(Color::Cyan),
                    _ if WORDS.contains(&token) => Some(Color::Magenta),
                    _ if first.is_ascii_digit() => Some(Color::Yellow),
                    _ => None,
                };
                (length, colour)
            } else {
                (first.len_utf8(), None)
            };
            let (token, left) = rest.split_at(length);
            styled.push((colour.map(Color::normal).unwrap_or_default(), token.to_owned()));
            rest = left;
        }
        styled
    }
}

/// The prompt: where one is, and whether writes go out.
pub struct Place {
    /// Context or sandbox.
    pub place: String,
    /// Whether writes go out.
    pub writes: bool,
}

impl Prompt for Place {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        if self.place.is_empty() { "okgscript".into() } else { self.place.as_str().into() }
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        if self.writes { "writes go out".into() } else { "read only".into() }
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        if self.writes { "!> ".into() } else { "> ".into() }
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "... ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = match search.status {
            PromptHistorySearchStatus::Failing => "nothing like ",
            PromptHistorySearchStatus::Passing => "",
        };
        format!("({failing}{}) ", search.term).into()
    }
}
