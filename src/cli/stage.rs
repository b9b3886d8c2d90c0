//! What a run shows while it goes on: live on a terminal, plain lines elsewhere, results on stdout.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::global::Form;
use super::terminal::{self, note, out};
use crate::bindings::host::lock;
use crate::bindings::stage::{Answer, Event, Question, Stage};
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, Kind};

/// How often a plain wait says that it goes on, in seconds of the run's clock.
const EVERY: f64 = 10.0;

/// Draws a run.
pub struct Show {
    format: Form,
    colour: bool,
    live: bool,
    verbose: bool,
    clock: Clock,
    approved: Option<String>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    step: Option<String>,
    notes: Vec<String>,
    bar: Option<ProgressBar>,
    said: f64,
    last: String,
    results: Vec<Value>,
    events: Option<File>,
}

impl Show {
    /// Returns a stage that prints results as `format`, and writes events to a file if there is one.
    pub fn new(format: Form, verbose: bool, clock: Clock, events: Option<File>) -> Show {
        let live = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let inner = Inner { events, ..Inner::default() };
        Show { format, colour: terminal::colour(), live, verbose, clock, approved: None, inner: Mutex::new(inner) }
    }

    /// Says yes beforehand to whatever a person is asked: who does, if it was said.
    pub fn approved(mut self, by: Option<String>) -> Show {
        self.approved = by;
        self
    }

    /// Returns the results that were held back for one document.
    pub fn results(&self) -> Vec<Value> {
        std::mem::take(&mut lock(&self.inner).results)
    }

    /// Returns whether results are one document at the end.
    pub fn one_document(&self) -> bool {
        matches!(self.format, Form::Json | Form::Yaml)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Writes a line to stderr, above the live line if there is one.
    fn line(&self, inner: &Inner, text: &str) {
        match &inner.bar {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }

    fn begin(&self, inner: &mut Inner, name: &str) {
        inner.notes.clear();
        inner.said = 0.0;
        inner.last.clear();
        inner.step = Some(name.to_owned());
        if self.live {
            inner.bar = Some(spinner(&format!("{name:<22}")));
        } else {
            note(&format!("  {name} ..."));
        }
    }

    fn end(&self, inner: &mut Inner, name: &str, ok: bool, summary: &str, seconds: f64) {
        if let Some(bar) = inner.bar.take() {
            bar.finish_and_clear();
        }
        inner.step = None;
        let mut said = std::mem::take(&mut inner.notes);
        if !summary.is_empty() {
            said.push(summary.to_owned());
        }
        let mark = if ok { self.paint("32", "done") } else { self.paint("31", "failed") };
        let text = said.join("; ");
        note(format!("  {name:<22} {mark}  {:>7}  {text}", span(seconds)).trim_end());
    }

    fn wait(&self, inner: &mut Inner, event: &Event) {
        let Event::Waiting { text, have, want, slowest, seconds } = event else { return };
        let mut state = match (have, want) {
            (Some(have), Some(want)) => format!("{have} of {want}"),
            _ => text.clone(),
        };
        if let Some(slowest) = slowest {
            state.push_str(&format!(", slowest {slowest}"));
        }
        if self.live {
            let bar = inner.bar.get_or_insert_with(|| spinner(""));
            if let (Some(have), Some(want)) = (have, want) {
                let rate = if *seconds > 0.0 { *have as f64 / seconds } else { 0.0 };
                let left = want.saturating_sub(*have) as f64;
                let eta = if rate > 0.0 && left > 0.0 {
                    format!(", about {} left", span(left / rate))
                } else {
                    String::new()
                };
                state = format!("{} {state}{eta}", gauge(*have, *want));
            }
            let step = inner.step.clone().unwrap_or_default();
            bar.set_message(format!("{step:<22} {state}"));
            return;
        }
        let counted = format!("{have:?}");
        // A long wait speaks less often, so that a log of hours stays readable.
        if seconds - inner.said >= EVERY.max(seconds / 6.0) || (counted != inner.last && have.is_some()) {
            inner.said = *seconds;
            inner.last = counted;
            let step = inner.step.clone().unwrap_or_else(|| "waiting".to_owned());
            note(&format!("  {step} ... {state} after {}", span(*seconds)));
        }
    }
}

fn gauge(have: u64, want: u64) -> String {
    let full = (have.min(want) * 20).checked_div(want).and_then(|full| usize::try_from(full).ok()).unwrap_or(20);
    format!("{}{}", "█".repeat(full), "░".repeat(20 - full))
}

fn spinner(message: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("  {wide_msg} {elapsed:>4}") {
        bar.set_style(style);
    }
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Writes a span of seconds as people read it.
pub fn span(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.1}s")
    } else {
        crate::script::duration::format(Duration::from_secs_f64(seconds))
    }
}

/// Reads a line from stdin on a thread of its own, so that a signal ends the wait for it.
fn line(stop: &dyn Fn() -> bool) -> Option<String> {
    let (send, answer) = mpsc::channel();
    let reading = std::thread::Builder::new().name("answer".into()).spawn(move || {
        let mut text = String::new();
        let read = std::io::stdin().read_line(&mut text);
        let _ = send.send(read.map(|_| text).unwrap_or_default());
    });
    reading.ok()?;
    loop {
        match answer.recv_timeout(Duration::from_millis(20)) {
            Ok(text) => return Some(text),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Some(String::new()),
            Err(mpsc::RecvTimeoutError::Timeout) if stop() => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Returns who sits at this machine.
fn user() -> String {
    let word = |name: &str| std::env::var(name).ok().filter(|word| !word.is_empty());
    let user = word("USER").or_else(|| word("LOGNAME")).unwrap_or_else(|| "somebody".to_owned());
    format!("{user}@{}", word("HOSTNAME").unwrap_or_else(|| "this machine".to_owned()))
}

impl Stage for Show {
    fn ask(&self, question: &Question, stop: &dyn Fn() -> bool) -> Answer {
        if let Some(by) = &self.approved {
            let by = if by.is_empty() { user() } else { by.clone() };
            return Answer::Yes { by, how: "beforehand, --approve" };
        }
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Answer::Nobody;
        }
        // The live line would be drawn over the question.
        if let Some(bar) = lock(&self.inner).bar.take() {
            bar.finish_and_clear();
        }
        let Question { what, run, done } = question;
        let done = if done.is_empty() { "nothing was written so far".to_owned() } else { done.join("; ") };
        note(&format!("  about to happen: {}", self.paint("1", what)));
        note(&format!("  run {run}; {done}"));
        terminal::prompt("  go on? [y/N] ");
        match line(stop) {
            None => Answer::Interrupted,
            Some(text) if matches!(text.trim().to_lowercase().as_str(), "y" | "yes") => {
                Answer::Yes { by: user(), how: "on a terminal" }
            }
            Some(_) => Answer::No { by: user() },
        }
    }

    fn show(&self, event: &Event) {
        let mut inner = lock(&self.inner);
        let now = self.clock.now();
        if let Some(events) = &mut inner.events {
            let mut line = serde_json::to_value(event).unwrap_or(Value::Null);
            line["time"] = json!(now.to_string());
            if let Err(error) = writeln!(events, "{line}") {
                inner.events = None;
                note(&format!("  warning: events are no longer written: {error}"));
            }
        }
        match event {
            Event::Begun { script, place, run } => note(&self.paint("1", &format!("{script}  {place}, run {run}"))),
            Event::StepBegan { name } => self.begin(&mut inner, name),
            Event::StepEnded { name, ok, summary, seconds } => self.end(&mut inner, name, *ok, summary, *seconds),
            Event::StepRemembered { name, summary } => {
                let mark = self.paint("36", "remembered");
                self.line(&inner, format!("  {name:<22} {mark}  {summary}").trim_end());
            }
            Event::Note { text } if inner.step.is_some() => inner.notes.push(text.clone()),
            Event::Note { text } | Event::Log { text } => self.line(&inner, &format!("  {text}")),
            Event::Warning { text } => {
                let text = format!("  {} {text}", self.paint("33", "warning:"));
                self.line(&inner, &text);
            }
            Event::Waiting { .. } => self.wait(&mut inner, event),
            Event::Waited => {
                if inner.step.is_none()
                    && let Some(bar) = inner.bar.take()
                {
                    bar.finish_and_clear();
                }
            }
            Event::Retrying { attempt, seconds, reason } => {
                let text = format!("  again in {} (attempt {attempt}): {reason}", span(*seconds));
                self.line(&inner, &text);
            }
            Event::Output { text, value } => {
                if self.one_document() {
                    inner.results.push(value.clone());
                } else {
                    match &inner.bar {
                        Some(bar) => bar.suspend(|| out(text)),
                        None => out(text),
                    }
                }
            }
            Event::Request { method, path, status, outcome, seconds, bytes } => {
                if self.verbose {
                    let status = status.map_or_else(|| (*outcome).to_owned(), |status| status.to_string());
                    let milliseconds = seconds * 1000.0;
                    self.line(&inner, &format!("  {method} {path} {status} {milliseconds:.0}ms {bytes}B"));
                }
            }
            Event::Custom { .. } => {}
        }
    }
}

/// Opens the file that events are written to.
pub fn events_file(path: Option<&std::path::Path>) -> Result<Option<File>, Diagnostic> {
    let open = |path: &std::path::Path| {
        File::create(path).map_err(|error| {
            Diagnostic::new(Kind::Usage, format!("events cannot be written to `{}`", path.display()))
                .why(error.to_string())
        })
    };
    path.map(open).transpose()
}
