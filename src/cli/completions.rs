//! `okgscript completions SHELL`

use clap_complete::Shell;

use super::terminal;
use crate::diagnostic::Diagnostic;
use crate::exit_code::ExitCode;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints a completion script of the command line for a shell.
pub fn run(arguments: &Arguments, mut command: clap::Command) -> Result<ExitCode, Diagnostic> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "okgscript", &mut text);
    terminal::out(&String::from_utf8_lossy(&text));
    Ok(ExitCode::Done)
}
