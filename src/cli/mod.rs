//! The terminal: one file a command. This room alone prints.
//!
//! A command turns its arguments into calls of the other rooms, and what they return into text on stdout; errors go
//! to stderr in the house style and become the exit code of their kind.

mod check;
mod completions;
mod doc;
mod eval;
mod files;
mod global;
mod launch;
mod list;
mod new;
mod plan;
mod plan_file;
mod policy;
pub mod preflight;
mod rbac;
pub mod receipt;
mod receipt_text;
mod records;
mod repl;
mod resume;
mod run;
mod runs;
mod sandbox;
mod script_args;
mod script_changes;
mod signals;
mod stage;
mod terminal;

use std::ffi::OsString;
use std::process;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use self::global::{Form, Global};
use crate::diagnostic::Diagnostic;
use crate::exit_code::ExitCode;

/// Scripts for game operations on OpenKruiseGame: lossless releases, checks and drains, rehearsed on an embedded
/// cluster.
#[derive(Debug, Parser)]
#[command(name = "okgscript", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a script: a file, `-` for stdin, or the name of a shipped one.
    Run(run::Arguments),
    /// Go on with a run that did not come to its end.
    Resume(resume::Arguments),
    /// List the runs, or show what one did: `runs show RUN`.
    Runs(runs::Arguments),
    /// Evaluate an expression and print its value.
    Eval(eval::Arguments),
    /// Ask the cluster things, line by line.
    Repl(repl::Arguments),
    /// Show what a script would change, sending nothing that changes anything: `run --plan`.
    ///
    /// The script runs against the cluster as it is; its writes are answered here, and what it reads afterwards shows
    /// them. Waits are assumed to succeed and are listed. Only GETs are sent, and questions after rights
    /// (SelfSubjectAccessReview: a POST that the server answers and does not store), not even a server-side dry run.
    ///
    /// `--out FILE` saves the plan; `run --plan-file FILE` carries it out. It covers the rooms that the script would
    /// touch as they are, and those that it would touch should their matches end first. Any other room, one that the
    /// run itself opens or that has been recreated included, lies beyond it: a write to it is refused before it is
    /// sent, and the run ends. The file holds the set's specification as it is, its environment included.
    Plan(run::Arguments),
    /// Say what is wrong with scripts, running nothing.
    Check(check::Arguments),
    /// Show what functions, types, modules and scripts do.
    Doc(doc::Arguments),
    /// Name the scripts and modules inside this binary.
    List(list::Arguments),
    /// Start a script of your own as a copy of another.
    New(new::Arguments),
    /// Print a completion script for a shell.
    Completions(completions::Arguments),
    /// Print the Role that a script needs.
    Rbac(rbac::Arguments),
    /// Print the admission policy that makes every client respect holds and marks.
    Policy(policy::Arguments),
    /// Serve an embedded OKG cluster on loopback, for kubectl and any other client.
    Sandbox(sandbox::Arguments),
}

/// Runs the command line and returns the process's exit code.
pub fn run() -> process::ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    process::ExitCode::from(end(dispatch(&arguments)) as u8)
}

fn dispatch(arguments: &[OsString]) -> Result<ExitCode, Diagnostic> {
    let mut command = Cli::command();
    let script = script_args::find(arguments)?;
    if let Some(script) = &script {
        command = script_args::add(command, script);
    }
    let parsed = command.try_get_matches_from(arguments);
    let (matches, cli) = match parsed.and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (matches, cli))) {
        Ok(parsed) => parsed,
        Err(error) => return Ok(terminal::usage(&error)),
    };
    let global = cli.global;
    match &cli.command {
        Command::Run(arguments) => {
            let given = script_args::values(&matches, script.as_ref());
            run::run(arguments.clone(), global, script, given)
        }
        Command::Resume(arguments) => resume::run(arguments, &global),
        Command::Runs(arguments) => runs::run(arguments, &global),
        Command::Eval(arguments) => eval::run(arguments, &global),
        Command::Repl(arguments) => repl::run(arguments, &global),
        Command::Plan(arguments) => {
            let given = script_args::values(&matches, script.as_ref());
            run::run(arguments.clone().planning(), global, script, given)
        }
        Command::Check(arguments) => check::run(arguments, &global),
        Command::Doc(arguments) => doc::run(arguments, &global),
        Command::List(arguments) => list::run(arguments, &global),
        Command::New(arguments) => new::run(arguments),
        Command::Completions(arguments) => completions::run(arguments, Cli::command()),
        Command::Rbac(arguments) => rbac::run(arguments, &global),
        Command::Policy(arguments) => policy::run(arguments, &global),
        Command::Sandbox(arguments) => sandbox::run(arguments, &global),
    }
}

/// Draws the error of a command and returns the exit code.
fn end(result: Result<ExitCode, Diagnostic>) -> ExitCode {
    result.unwrap_or_else(|diagnostic| {
        terminal::report(&diagnostic);
        diagnostic.kind.exit_code()
    })
}
