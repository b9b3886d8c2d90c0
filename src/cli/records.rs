//! The folder of runs: where their journals lie, and how one begins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::global::Global;
use super::launch::Launch;
use crate::bindings::record::Record;
use crate::bindings::replay::Past;
use crate::cluster::JournalFile;
use crate::cluster::journal_file::{Run, runs_folder};
use crate::diagnostic::{Diagnostic, Kind};
use crate::exit_code::ExitCode;
use crate::plan::Plan;
use crate::script::{Script, Sources};

/// The form of the journals that are written here; a later one may mean things that this okgscript does not know.
pub const FORM: u64 = 1;

/// How often a name is drawn for a run until nobody else has it.
const DRAWS: usize = 50;

/// Returns the folder that journals are kept in.
pub fn folder(asked: Option<&Path>) -> Result<PathBuf, Diagnostic> {
    if let Some(folder) = asked {
        return Ok(folder.to_owned());
    }
    let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((key.into_string().ok()?, value.into_string().ok()?))
    };
    runs_folder(&std::env::vars_os().filter_map(text).collect()).ok_or_else(|| {
        Diagnostic::new(Kind::Refused, "there is no folder for the journals of runs")
            .why("neither XDG_STATE_HOME nor HOME is set")
            .help("`--journal FOLDER` names one")
    })
}

/// Begins the journal of a run and returns the run's name with it. Where that cannot be done the run may still read;
/// its first write is refused.
pub fn begin(
    asked: Option<&Path>,
    global: &Global,
    launch: &Launch,
    script: &Script,
    sources: &Sources,
    params: &BTreeMap<String, Value>,
    plan: Option<&Plan>,
) -> (String, Record) {
    let first = launch.run_names().next().unwrap_or_default();
    let unusable = |why: Diagnostic| {
        let mut refusal = Diagnostic::new(Kind::Refused, "the run's journal cannot be written, so nothing else is")
            .why(why.what.clone());
        for line in &why.why {
            refusal = refusal.why(line.clone());
        }
        let help = "make room or give another folder with `--journal FOLDER`; `--no-journal` goes without, and cannot \
                    be resumed";
        Record::unusable(refusal.help(help))
    };
    let folder = match folder(asked) {
        Ok(folder) => folder,
        Err(why) => return (first, unusable(why)),
    };
    let free = launch.run_names().take(DRAWS).find(|name| !JournalFile::exists(&folder, name));
    let name = free.unwrap_or_else(|| first.clone());
    let mut record = opening(&name, global, launch, script, sources, params);
    // A run that is resumed keeps to the plan that it began with.
    record["plan"] = json!(plan);
    match JournalFile::create(&folder, &name).and_then(|file| Record::begin(file, &record)) {
        Ok(record) => (name, record),
        Err(why) => (name, unusable(why)),
    }
}

fn opening(
    name: &str,
    global: &Global,
    launch: &Launch,
    script: &Script,
    sources: &Sources,
    params: &BTreeMap<String, Value>,
) -> Value {
    json!({
        "type": "begin",
        "journal": FORM,
        "part": 1,
        "run": name,
        "at": launch.clock.now().to_string(),
        "okgscript": env!("CARGO_PKG_VERSION"),
        "process": std::process::id(),
        "folder": std::env::current_dir().ok(),
        "script": {"name": script.name, "hash": script.hash(), "text": &*script.text},
        "modules": sources.modules(&script.name),
        "params": params,
        "flags": {
            "kubeconfig": global.kubeconfig,
            "context": global.context,
            "namespace": global.namespace,
            "as": global.as_user,
            "asGroups": global.as_groups,
            "requestTimeout": global.request_timeout,
            "embedded": global.embedded(),
        },
    })
}

/// Returns the record of a run's end.
pub fn end(record: &Record, receipt: Value, code: ExitCode, error: Option<&Diagnostic>) -> Value {
    let mut end = receipt;
    end["type"] = json!("end");
    end["part"] = json!(record.part());
    end["code"] = json!(code as u8);
    end["error"] = json!(error.map(Diagnostic::to_json));
    end
}

/// How a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A process works on it.
    Running,
    /// Its script came to its end.
    Done,
    /// It ended with an error.
    Failed,
    /// It was interrupted.
    Interrupted,
    /// Its process ended without a word.
    Died,
}

impl State {
    /// Judges a run.
    pub fn of(past: &Past, live: bool) -> State {
        let code = past.end.as_ref().and_then(|end| end["code"].as_u64());
        match code {
            _ if live => State::Running,
            None => State::Died,
            Some(0 | 3) => State::Done,
            Some(130) => State::Interrupted,
            Some(_) => State::Failed,
        }
    }

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
            State::Interrupted => "interrupted",
            State::Died => "died",
        }
    }
}

/// Finds the run that a name or the beginning of one means.
pub fn find(folder: &Path, name: &str) -> Result<Run, Diagnostic> {
    let runs = JournalFile::runs(folder);
    if let Some(run) = runs.iter().find(|run| run.id == name) {
        return Ok(run.clone());
    }
    let mut meant: Vec<Run> = runs.into_iter().filter(|run| !name.is_empty() && run.id.starts_with(name)).collect();
    match (meant.len(), meant.pop()) {
        (1, Some(run)) => Ok(run),
        (0, _) | (_, None) => Err(Diagnostic::new(Kind::Missing, format!("there is no run `{name}`"))
            .why(format!("its journal is not in `{}`", folder.display()))
            .help("`okgscript runs` lists the runs")),
        (_, Some(last)) => {
            meant.push(last);
            let ids: Vec<&str> = meant.iter().map(|run| run.id.as_str()).collect();
            Err(Diagnostic::new(Kind::Usage, format!("`{name}` may be several runs")).why(ids.join(", ")))
        }
    }
}

/// Returns the part of a run's name that people say.
pub fn short(run: &str) -> &str {
    run.split('-').next().unwrap_or(run)
}
