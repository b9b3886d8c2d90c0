//! `okgscript runs [show RUN]`: what ran, how it ended, and what it did.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::global::{Form, Global};
use super::receipt::Receipt;
use super::records::{self, State};
use super::run::print_document;
use super::terminal::{note, out};
use crate::bindings::replay::{Past, PastStep};
use crate::bindings::table;
use crate::cluster::JournalFile;
use crate::cluster::journal_file::Run;
use crate::diagnostic::Diagnostic;
use crate::exit_code::ExitCode;

/// Arguments of `runs`.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Folder of the journals; $XDG_STATE_HOME/okgscript/runs unless given
    #[arg(long, value_name = "FOLDER", global = true)]
    journal: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Show what one run did: its receipt, put together from its journal alone
    Show {
        /// Name of the run, or the beginning of one
        #[arg(value_name = "RUN")]
        run: String,
    },
}

/// Lists the runs, the newest last, or shows one.
pub fn run(arguments: &Arguments, global: &Global) -> Result<ExitCode, Diagnostic> {
    let folder = records::folder(arguments.journal.as_deref())?;
    match &arguments.command {
        None => list(&JournalFile::runs(&folder), &folder, global.form()),
        Some(Command::Show { run }) => {
            let run = records::find(&folder, run)?;
            let recording = JournalFile::read(&folder, &run.id)?;
            if !run.live && recording.torn.is_some() {
                note("the last line of the journal was cut off, as by a crash; it is left out");
            }
            show(&Past::read(&recording)?, run.live, global.form())
        }
    }?;
    Ok(ExitCode::Done)
}

fn list(runs: &[Run], folder: &std::path::Path, form: Form) -> Result<(), Diagnostic> {
    let mut rows: Vec<(String, Value)> = Vec::new();
    for run in runs {
        let past = JournalFile::read(folder, &run.id).and_then(|recording| Past::read(&recording));
        let row = match past {
            Ok(past) => summary(&past, run.live),
            Err(error) => json!({"run": run.id, "state": "unreadable", "error": error.what}),
        };
        rows.push((row["begun"].as_str().unwrap_or_default().to_owned(), row));
    }
    rows.sort_by(|left, right| left.0.cmp(&right.0));
    let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    if matches!(form, Form::Json | Form::Yaml) {
        return print_document(form, &Value::Array(rows));
    }
    if rows.is_empty() {
        out("no runs yet");
        return Ok(());
    }
    let headers = ["RUN", "SCRIPT", "SET", "WHERE", "BEGUN", "STATE", "EXIT"];
    let cell = |row: &Value, key: &str| match &row[key] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let cells = |row: &Value| {
        let keys = ["run", "script", "set", "where", "begun", "state", "exit"];
        let mut cells: Vec<String> = keys.iter().map(|key| cell(row, key)).collect();
        if let Some(begun) = cells.get_mut(4) {
            *begun = begun.split('.').next().unwrap_or_default().trim_end_matches('Z').replace('T', " ");
        }
        cells
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    out(&if form == Form::Markdown { table::markdown(&headers, &rows) } else { table::draw(&headers, &rows) });
    Ok(())
}

fn summary(past: &Past, live: bool) -> Value {
    let begin = &past.begin;
    let name = begin["script"]["name"].as_str().unwrap_or_default();
    let script = std::path::Path::new(name).file_stem().map_or(name.into(), |stem| stem.to_string_lossy());
    json!({
        "run": past.run(),
        "script": script,
        "set": begin["params"]["gss"],
        "where": past.cluster.as_ref().map(|it| {
            let part = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
            format!("{}, {}", part("context"), part("namespace"))
        }),
        "begun": begin["at"],
        "state": State::of(past, live).word(),
        "exit": past.end.as_ref().map(|end| end["code"].clone()),
    })
}

fn show(past: &Past, live: bool, form: Form) -> Result<(), Diagnostic> {
    let receipt = Receipt::of_past(past);
    let steps = past.main_steps().map(|(name, step)| {
        let state = match step {
            PastStep::Unfinished if live => "goes on",
            PastStep::Unfinished => "unfinished",
            PastStep::Done(_) | PastStep::Forgotten(_) => "done",
            PastStep::Failed(_) => "failed",
        };
        (name, state)
    });
    if matches!(form, Form::Json | Form::Yaml) {
        let steps: Vec<Value> = steps.map(|(name, state)| json!({"name": name, "state": state})).collect();
        let error = past.end.as_ref().map(|end| end["error"].clone());
        let document = json!({
            "run": summary(past, live),
            "params": past.begin["params"],
            "steps": steps,
            "receipt": receipt.to_json(),
            "error": error,
        });
        return print_document(form, &document);
    }
    let row = summary(past, live);
    let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let resumed = if past.parts > 1 { format!(", resumed {} times", past.parts - 1) } else { String::new() };
    let head = format!(
        "run {}: {} on {}, {}, begun {}{resumed}",
        past.run(),
        text("script"),
        text("set"),
        text("where"),
        text("begun")
    );
    out(&format!("{head}: {}", text("state")));
    for (name, state) in steps {
        out(&if form == Form::Markdown { format!("- {name}: {state}") } else { format!("  {name:<22} {state}") });
    }
    if let Some(error) = past.end.as_ref().map(|end| &end["error"]).filter(|error| !error.is_null()) {
        let part = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        out(&format!("error[{}]: {}", part("kind"), part("message")));
    }
    receipt.print(form);
    let state = State::of(past, live);
    if matches!(state, State::Died | State::Interrupted | State::Failed) && past.begin["flags"]["embedded"] != true {
        out(&format!("To go on: okgscript resume {}", past.run()));
    }
    Ok(())
}
