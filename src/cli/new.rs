//! `okgscript new FILE --from NAME`

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{files, terminal};
use crate::diagnostic::{Diagnostic, Kind};
use crate::exit_code::ExitCode;
use crate::script::{Sources, shipped};

/// Arguments of `new`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// File to make; `.rhai` is added where the name has no ending.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to copy: a shipped script, an embedded module, or a file.
    #[arg(long, value_name = "NAME")]
    from: String,
}

/// Copies a script or module, its origin in the first line. Never writes over a file.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Diagnostic> {
    let (origin, text) = original(&arguments.from)?;
    let mut file = arguments.file.clone();
    if file.extension().is_none() {
        file.set_extension("rhai");
    }
    let hash = Sources::new().add(&origin, &text, false).hash;
    let header = format!("// Forked from {origin}, okgscript {}, sha256 {hash}.\n", env!("CARGO_PKG_VERSION"));
    write(&file, &format!("{header}{text}"))?;
    terminal::out(&format!("{}: a copy of {origin}", file.display()));
    Ok(ExitCode::Done)
}

/// Returns where a text comes from and the text.
fn original(name: &str) -> Result<(String, String), Diagnostic> {
    let plain = name.strip_suffix(".rhai").unwrap_or(name);
    if let Some(text) = shipped::script(name) {
        return Ok((format!("script `{plain}`"), text.to_owned()));
    }
    if let Some(text) = shipped::module(name) {
        return Ok((format!("module `{plain}`"), text.to_owned()));
    }
    files::read(name).map(|(name, text)| (format!("file `{name}`"), text))
}

fn write(file: &Path, text: &str) -> Result<(), Diagnostic> {
    let created = fs::OpenOptions::new().write(true).create_new(true).open(file);
    created.and_then(|mut created| created.write_all(text.as_bytes())).map_err(|error| {
        let shown = file.display();
        if error.kind() == io::ErrorKind::AlreadyExists {
            return Diagnostic::new(Kind::Refused, format!("`{shown}` exists already"))
                .help("choose another name, or remove the file first")
                .done("nothing was written");
        }
        Diagnostic::new(Kind::Failed, format!("`{shown}` cannot be written")).why(error.to_string())
    })
}
