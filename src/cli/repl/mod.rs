//! `okgscript repl`: ask the cluster things.
//!
//! Read-only until `:writes on`. Ctrl-C ends the expression that runs, not the REPL. What is not a terminal is read
//! line by line, so that inputs can be piped.

mod editor;
mod input;
mod notebook;

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal};
use std::sync::{Arc, mpsc};

use reedline::Signal;

use self::editor::{Names, Place};
use self::notebook::Notebook;
use super::launch::Launch;
use super::receipt::Receipt;
use super::run::start_script_thread;
use super::stage::Show;
use super::{Global, doc, signals, terminal};
use crate::bindings::display;
use crate::diagnostic::{Diagnostic, Kind};
use crate::exit_code::ExitCode;
use crate::script::Interrupt;
use crate::session::{Desk, Session};

/// Commands with what they do.
const COMMANDS: &[(&str, &str)] = &[
    (":help", "what there is"),
    (":doc", "`:doc NAME` says what a function, type or module does"),
    (":writes", "`:writes on` lets writes go out, `:writes off` refuses them"),
    (":quit", "leave; so does Ctrl-D"),
];

/// Arguments of `repl`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Let writes go out from the start
    #[arg(long)]
    writes: bool,
}

/// Runs the REPL until its input ends.
pub fn run(arguments: &Arguments, global: &Global) -> Result<ExitCode, Diagnostic> {
    let (arguments, global, interrupt) = (arguments.clone(), global.clone(), Interrupt::new());
    let (ended, end) = mpsc::channel();
    let leaving = ended.clone();
    signals::listen_for_each(&interrupt, move || {
        let _ = leaving.send(Ok(ExitCode::Interrupted));
    });
    start_script_thread(ended, move || talk(&arguments, &global, &interrupt))?;
    end.recv().unwrap_or_else(|_| Err(Diagnostic::new(Kind::Internal, "the REPL's thread ended without a word")))
}

fn talk(arguments: &Arguments, global: &Global, interrupt: &Interrupt) -> Result<ExitCode, Diagnostic> {
    let desk = Desk::new(interrupt);
    let launch = Launch::new(global)?;
    let _inside = launch.enter();
    let show = Arc::new(Show::new(global.form(), global.verbose > 0, launch.clock, None));
    let parts = launch.parts(interrupt, &desk.sources, show, BTreeMap::new());
    let session = desk.open(parts);
    let begun = session.host().now();
    let mut repl = Repl {
        place: launch.place.clone(),
        session,
        interrupt: interrupt.clone(),
        notebook: Notebook::default(),
        variables: Names::default(),
        writes: arguments.writes,
    };
    let code = if io::stdin().is_terminal() { repl.converse() } else { repl.read_plainly(io::stdin().lock()) }?;
    let host = repl.session.host();
    if !host.ledger().untouched() {
        let script = repl.session.desk().compile("repl", "")?;
        Receipt::take(host, &script, &BTreeMap::new(), begun, None).print(global.form());
    }
    Ok(code)
}

struct Repl {
    place: String,
    session: Session,
    interrupt: Interrupt,
    notebook: Notebook,
    variables: Names,
    writes: bool,
}

/// What an input leads to.
enum Next {
    On,
    /// It failed, with this exit code.
    Failed(ExitCode),
    Quit,
}

impl Repl {
    /// Talks to a person.
    fn converse(&mut self) -> Result<ExitCode, Diagnostic> {
        let methods = method_names(&self.session);
        let mut editor = editor::editor(editor::history_file(), &self.variables, methods, terminal::colour());
        terminal::note("`:help` says what there is; nothing is written to the cluster before `:writes on`.");
        loop {
            let prompt = Place { place: self.place.clone(), writes: self.writes };
            let read = editor.read_line(&prompt);
            match read {
                Ok(Signal::Success(input)) => {
                    if matches!(self.take(&input), Next::Quit) {
                        break;
                    }
                }
                Ok(Signal::CtrlD) => break,
                // Ctrl-C at the prompt drops what was typed.
                Ok(_) => {}
                Err(error) => {
                    return Err(Diagnostic::new(Kind::Failed, "the terminal cannot be read").why(error.to_string()));
                }
            }
        }
        Ok(ExitCode::Done)
    }

    /// Reads inputs from a pipe or file; ends with the exit code of the last one that failed.
    fn read_plainly(&mut self, lines: impl BufRead) -> Result<ExitCode, Diagnostic> {
        let mut code = ExitCode::Done;
        let mut input = String::new();
        for line in lines.lines() {
            let line =
                line.map_err(|error| Diagnostic::new(Kind::Failed, "stdin cannot be read").why(error.to_string()))?;
            input.push_str(&line);
            input.push('\n');
            if input::is_incomplete(&input) {
                continue;
            }
            match self.take(&std::mem::take(&mut input)) {
                Next::On => {}
                Next::Failed(failed) => code = failed,
                Next::Quit => return Ok(code),
            }
        }
        if !input.trim().is_empty()
            && let Next::Failed(failed) = self.take(&input)
        {
            code = failed;
        }
        Ok(code)
    }

    fn take(&mut self, input: &str) -> Next {
        let input = input.trim_end();
        if input.trim().is_empty() {
            return Next::On;
        }
        if let Some(command) = input.trim_start().strip_prefix(':') {
            return self.command(command);
        }
        self.guard();
        self.interrupt.reset();
        let result = self.notebook.evaluate(&self.session, input);
        self.variables.set(self.notebook.variables());
        match result {
            Ok(value) => {
                terminal::out(&display::text(&value));
                Next::On
            }
            Err(wrong) => {
                wrong.iter().for_each(terminal::report);
                Next::Failed(wrong.last().map_or(ExitCode::Failed, |wrong| wrong.kind.exit_code()))
            }
        }
    }

    /// Closes or opens the way to the cluster for writes. The cluster is connected before anything runs that could
    /// write; where none is configured, the call that needs one says so.
    fn guard(&self) {
        if self.session.host().cluster().is_err() {
            return;
        }
        if let Some(cluster) = self.session.host().known_cluster() {
            match self.writes {
                true => cluster.gate().open(),
                false => cluster.gate().close_with(
                    Diagnostic::new(Kind::Refused, "writes are off")
                        .help("`:writes on` lets them go out")
                        .done("nothing was sent to the cluster"),
                ),
            }
        }
    }

    fn command(&mut self, command: &str) -> Next {
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (name, rest.trim()) {
            ("quit" | "q" | "exit", _) => return Next::Quit,
            ("help" | "h" | "?", _) => {
                let lines = COMMANDS.iter().map(|(name, help)| format!("  {name:<8}  {help}\n"));
                let rest =
                    "  anything else is evaluated: `gs_list(\"minecraft\")`, `let rooms = …;`, `fn f(x) { … }`\n";
                terminal::out(&(lines.collect::<String>() + rest));
            }
            ("doc" | "d", about) => {
                let text = if about.is_empty() { Ok(doc::everything()) } else { doc::about(about) };
                match text {
                    Ok(text) => terminal::out(&text),
                    Err(wrong) => return failed(&wrong),
                }
            }
            ("writes" | "w", "on") => self.writes = true,
            ("writes" | "w", "off") => self.writes = false,
            ("writes" | "w", "") => terminal::out(if self.writes { "on" } else { "off" }),
            _ => {
                let known: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
                let wrong = Diagnostic::new(Kind::Usage, format!("there is no command `:{}`", command.trim()));
                return failed(&wrong.help(format!("commands: {}", known.join(", "))));
            }
        }
        Next::On
    }
}

fn failed(wrong: &Diagnostic) -> Next {
    terminal::report(wrong);
    Next::Failed(wrong.kind.exit_code())
}

/// Names of functions that can be called as methods.
fn method_names(session: &Session) -> Vec<String> {
    let word = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.contains('$');
    let mut names = session.engine().collect_fn_metadata(
        None,
        |info| {
            let name = info.metadata.name.as_str();
            (info.metadata.num_params > 0 && word(name)).then(|| name.to_owned())
        },
        true,
    );
    names.sort();
    names.dedup();
    names
}
