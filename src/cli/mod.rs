//! The terminal: one file a command. This room alone prints.
//!
//! A command turns its arguments into calls of the other rooms, and what they return into text on stdout; errors go
//! to stderr in the house style and become the exit code of their kind.

mod check;
mod doc;
mod files;
mod list;
mod new;
mod rbac;
mod terminal;

use std::path::PathBuf;
use std::process;

use clap::{Args, Parser, Subcommand, ValueEnum};

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

/// Flags of every command: kubectl's.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Context of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace; default: the context's, or `default`.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Kubeconfig file; default: KUBECONFIG, then ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// User to act as.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// Group to act as; may be repeated.
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub as_groups: Vec<String>,
    /// Longest time for one request: `30s`.
    #[arg(long, global = true, value_name = "DURATION")]
    pub request_timeout: Option<String>,
    /// Form of results on stdout.
    #[arg(short, long, global = true, value_name = "FORM")]
    pub output: Option<Form>,
    /// Show more of what is done; twice: every request.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Columns, as kubectl prints them.
    Table,
    /// Markdown.
    Markdown,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong with scripts, running nothing.
    Check(check::Arguments),
    /// Show what functions, types, modules and scripts do.
    Doc(doc::Arguments),
    /// Name the scripts and modules inside this binary.
    List(list::Arguments),
    /// Start a script of your own as a copy of another.
    New(new::Arguments),
    /// Print the Role that a script needs.
    Rbac(rbac::Arguments),
}

/// Runs the command line and returns the process's exit code.
pub fn run() -> process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return process::ExitCode::from(terminal::usage(&error)),
    };
    let global = &cli.global;
    let result = match &cli.command {
        Command::Check(arguments) => check::run(arguments, global),
        Command::Doc(arguments) => doc::run(arguments, global),
        Command::List(arguments) => list::run(arguments, global),
        Command::New(arguments) => new::run(arguments),
        Command::Rbac(arguments) => rbac::run(arguments, global),
    };
    process::ExitCode::from(end(result) as u8)
}

/// Draws the error of a command and returns the exit code.
fn end(result: Result<ExitCode, Diagnostic>) -> ExitCode {
    result.unwrap_or_else(|diagnostic| {
        terminal::report(&diagnostic);
        diagnostic.kind.exit_code()
    })
}
