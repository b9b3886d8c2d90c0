//! Printing: results to stdout, everything else to stderr, colour only where a terminal wants it.

use std::io::{self, Write};

use crate::diagnostic::Diagnostic;
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

/// Draws an error on stderr.
pub fn report(diagnostic: &Diagnostic) {
    // Colours are taken out again where NO_COLOR is set or stderr is no terminal.
    let _ = anstream::stderr().lock().write_all(diagnostic.draw(true).as_bytes());
}

/// Returns whether stderr takes colour: a terminal, and nobody said no.
pub fn colour() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// Prints what clap says about the command line: help to stdout, faults to stderr. Returns the exit code.
pub fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::Usage } else { ExitCode::Done }
}
