//! Printing: results to stdout, everything else to stderr, colour only where a terminal wants it.

use std::io::{self, Write};

use crate::diagnostic::{Diagnostic, Kind};
use crate::exit_code::ExitCode;

/// Writes a result to stdout. A reader that has gone away is no error.
pub fn out(text: &str) {
    let mut stdout = anstream::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| if text.is_empty() || text.ends_with('\n') { Ok(()) } else { stdout.write_all(b"\n") });
    let _ = stdout.flush();
}

/// Writes a line to stderr.
pub fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Writes a question to stderr; the answer stands behind it.
pub fn prompt(text: &str) {
    let mut stderr = anstream::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Draws an error on stderr.
pub fn report(diagnostic: &Diagnostic) {
    // Colours are taken out again where NO_COLOR is set or stderr is no terminal.
    let _ = anstream::stderr().lock().write_all(diagnostic.draw(true).as_bytes());
}

/// Returns whether stderr takes colour: a terminal, and nobody said no.
pub fn colour() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// Prints what clap says about the command line: help to stdout, faults in the house style to stderr. Returns the exit
/// code.
pub fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion => {
            let _ = error.print();
            ExitCode::Done
        }
        DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::Usage
        }
        _ => {
            report(&fault(&error.render().to_string()));
            ExitCode::Usage
        }
    }
}

/// Says in the house style what clap says of a faulty command line.
fn fault(text: &str) -> Diagnostic {
    let ticks = |text: &str| text.trim().replace('\'', "`");
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let mut wrong = Diagnostic::new(Kind::Usage, reworded(&ticks(first.strip_prefix("error: ").unwrap_or(first))));
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let line = ticks(line);
        if let Some(usage) = line.strip_prefix("Usage: ") {
            wrong = wrong.help(format!("usage: {usage}"));
        } else if let Some(tip) = line.strip_prefix("tip: ") {
            let meant = ["a similar argument exists: ", "a similar subcommand exists: ", "a similar value exists: "];
            match meant.iter().find_map(|start| tip.strip_prefix(start)) {
                Some(meant) => wrong = wrong.help(format!("did you mean {meant}?")),
                None if tip.starts_with("to pass ") => {}
                None => wrong = wrong.help(tip),
            }
        } else if line.starts_with("For more information") {
            wrong = wrong.help("`--help` says more");
        } else {
            wrong = wrong.why(line.trim_matches(['[', ']']));
        }
    }
    wrong
}

fn reworded(what: &str) -> String {
    let named = |start: &str, end: &str| what.strip_prefix(start)?.strip_suffix(end).map(str::to_owned);
    if let Some(argument) = named("unexpected argument ", " found") {
        return if argument.starts_with("`-") {
            format!("there is no flag {argument}")
        } else {
            format!("{argument} is one argument too many")
        };
    }
    if let Some(command) = named("unrecognized subcommand ", "") {
        return format!("there is no command {command}");
    }
    match what {
        "the following required arguments were not provided:" => "an argument is missing".to_owned(),
        other => other.to_owned(),
    }
}
