//! Scripts by the names that people give them.

use std::io::Read;
use std::path::Path;
use std::{fs, io};

use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::script::shipped;

/// Reads a script: a file, `-` for stdin, or the name of a shipped script. Returns its name and text.
pub fn read(name: &str) -> Result<(String, String), Diagnostic> {
    if name == "-" {
        let mut text = String::new();
        let read = io::stdin().read_to_string(&mut text);
        return read.map(|_| ("-".to_owned(), text)).map_err(|error| unreadable("stdin", &error));
    }
    let path = Path::new(name);
    match fs::read_to_string(path) {
        Ok(text) => Ok((name.to_owned(), text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match shipped::script(name) {
            Some(text) => Ok((format!("{}.rhai", name.strip_suffix(".rhai").unwrap_or(name)), text.to_owned())),
            None => Err(missing(name)),
        },
        Err(error) => Err(unreadable(name, &error)),
    }
}

fn unreadable(name: &str, error: &io::Error) -> Diagnostic {
    Diagnostic::new(Kind::Missing, format!("`{name}` cannot be read")).why(error.to_string())
}

fn missing(name: &str) -> Diagnostic {
    let known: Vec<&str> = shipped::SCRIPTS.iter().map(|(name, _)| *name).collect();
    let wrong = Diagnostic::new(Kind::Missing, format!("there is no script `{name}`"))
        .why("it is neither a file here nor the name of a shipped script");
    match closest(name.strip_suffix(".rhai").unwrap_or(name), known.iter().copied()) {
        Some(meant) => wrong.help(format!("did you mean `{meant}`?")),
        None => wrong.help("`okgscript list` names the shipped scripts"),
    }
}
