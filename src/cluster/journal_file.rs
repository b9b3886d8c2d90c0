//! A run's journal on disk: JSON Lines, appended only, so that a run can be read and resumed after any end.
//!
//! The intent of a write is on the disk before the write is sent; if that fails, the write is not sent. Outcomes
//! follow without being forced: a write whose outcome is missing is one of which nobody knows the end, and is read
//! again from the cluster. A last line that was cut off is told apart from a journal that is damaged.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::journal::{Entry, Journal, Outcome};
use crate::diagnostic::{Diagnostic, Kind};

const SUFFIX: &str = "jsonl";

/// Returns the folder that runs are kept in: `$XDG_STATE_HOME/okgscript/runs`, `~/.local/state/okgscript/runs`.
pub fn runs_folder(variables: &BTreeMap<String, String>) -> Option<PathBuf> {
    let variable = |name: &str| variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The specification has relative paths ignored.
    let state = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| variable("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("okgscript/runs"))
}

/// A run's journal, open for writing; while it is open no other process can open it.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    file: Mutex<Good>,
}

/// A file and the length up to which it holds whole lines.
#[derive(Debug)]
struct Good {
    file: File,
    length: u64,
}

/// What a journal holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// The records, oldest first.
    pub records: Vec<Value>,
    /// The last line, when it was cut off.
    pub torn: Option<String>,
}

impl Recording {
    /// Returns the writes whose outcome is not recorded: their `asked` records.
    pub fn open_writes(&self) -> Vec<&Value> {
        let known: std::collections::BTreeSet<_> =
            self.records.iter().filter(|it| it["type"] == "answered").map(|it| (part(it), it["id"].as_u64())).collect();
        self.records
            .iter()
            .filter(|it| it["type"] == "asked" && !known.contains(&(part(it), it["id"].as_u64())))
            .collect()
    }
}

/// Which process of the run wrote a record: a resumed run counts its requests anew.
fn part(record: &Value) -> u64 {
    record["part"].as_u64().unwrap_or(1)
}

/// One run in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its journal.
    pub path: PathBuf,
    /// Whether a process has it open.
    pub live: bool,
}

impl JournalFile {
    /// Begins the journal of a new run.
    pub fn create(folder: &Path, run: &str) -> Result<JournalFile, Diagnostic> {
        let path = path_of(folder, run)?;
        std::fs::create_dir_all(folder).map_err(|error| unwritable(&path, &error))?;
        let mut options = OpenOptions::new();
        options.create_new(true).append(true);
        // Parameters may be secrets.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|error| unwritable(&path, &error))?;
        claim(&file, run, &path)?;
        // The name itself must survive a crash.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(JournalFile::on(file, &path))
    }

    /// Returns whether there is a journal of that name.
    pub fn exists(folder: &Path, run: &str) -> bool {
        path_of(folder, run).is_ok_and(|path| path.exists())
    }

    /// Takes a file that is open for appending and empty; nobody else may write to it.
    pub fn on(file: File, path: &Path) -> JournalFile {
        JournalFile { path: path.to_owned(), file: Mutex::new(Good { file, length: 0 }) }
    }

    /// Opens a run's journal to go on with it. A last line that was cut off is taken out; the recording keeps it.
    pub fn open(folder: &Path, run: &str) -> Result<(JournalFile, Recording), Diagnostic> {
        let path = path_of(folder, run)?;
        let file = OpenOptions::new().read(true).append(true).open(&path);
        let mut file = file.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => unknown(folder, run),
            _ => unwritable(&path, &error),
        })?;
        claim(&file, run, &path)?;
        let (recording, length) = read_all(&mut file, &path)?;
        file.set_len(length).map_err(|error| unwritable(&path, &error))?;
        Ok((JournalFile { path, file: Mutex::new(Good { file, length }) }, recording))
    }

    /// Reads a run's journal, also of one that goes on.
    pub fn read(folder: &Path, run: &str) -> Result<Recording, Diagnostic> {
        let path = path_of(folder, run)?;
        let mut file = File::open(&path).map_err(|_| unknown(folder, run))?;
        Ok(read_all(&mut file, &path)?.0)
    }

    /// Returns the runs in a folder, by id.
    pub fn runs(folder: &Path) -> Vec<Run> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut runs: Vec<Run> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let id = path.file_stem()?.to_str()?.to_owned();
                if path.extension()?.to_str()? != SUFFIX {
                    return None;
                }
                let file = File::open(&path).ok()?;
                let live = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
                Some(Run { id, path, live })
            })
            .collect();
        runs.sort_by(|left, right| left.id.cmp(&right.id));
        runs
    }

    /// Returns what it holds by now.
    pub fn recording(&self) -> Result<Recording, Diagnostic> {
        let mut file = File::open(&self.path).map_err(|error| unwritable(&self.path, &error))?;
        Ok(read_all(&mut file, &self.path)?.0)
    }

    /// Returns where the journal lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record; with `force` it is on the disk when this returns. After a failure nothing of it is left.
    pub fn append(&self, record: &Value, force: bool) -> Result<(), Diagnostic> {
        let mut line = record.to_string();
        line.push('\n');
        let mut good = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = good.file.write_all(line.as_bytes());
        let written = written.and_then(|()| if force { good.file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => {
                good.length += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                let _ = good.file.set_len(good.length);
                Err(unwritable(&self.path, &error))
            }
        }
    }

    /// Records every request of a journal from now on: of a write its intent, on the disk before it is sent, and its
    /// outcome; of a read that it was sent, and how it ended.
    ///
    /// `part` tells the processes of a run apart: 1 for the first, one more each time it is resumed.
    pub fn follow(self: Arc<Self>, journal: &Journal, part: u64) {
        journal.observe(move |entry| match (entry.write, &entry.outcome) {
            (false, Outcome::Pending) => self.append(&read(entry, part), false),
            (false, _) => self.append(&got(entry, part), false),
            (true, Outcome::Pending) => self.append(&asked(entry, part), true),
            (true, _) => self.append(&answered(entry, part), false),
        });
    }
}

fn asked(entry: &Entry, part: u64) -> Value {
    json!({
        "type": "asked",
        "part": part,
        "id": entry.id,
        "at": entry.started.to_string(),
        "method": entry.method,
        "path": entry.path,
        "sent": entry.sent,
        "body": entry.body.as_deref(),
    })
}

fn read(entry: &Entry, part: u64) -> Value {
    json!({
        "type": "read",
        "part": part,
        "id": entry.id,
        "at": entry.started.to_string(),
        "method": entry.method,
        "path": entry.path,
        "sent": entry.sent,
    })
}

fn got(entry: &Entry, part: u64) -> Value {
    let (outcome, _) = outcome(entry);
    let (status, bytes) = (entry.status, entry.received);
    json!({"type": "got", "part": part, "id": entry.id, "status": status, "outcome": outcome, "bytes": bytes})
}

fn outcome(entry: &Entry) -> (&'static str, Option<String>) {
    match &entry.outcome {
        Outcome::Pending | Outcome::Unknown => ("unknown", None),
        Outcome::Answered => ("answered", None),
        Outcome::Cut => ("cut", None),
        Outcome::Failed(error) => ("failed", Some(error.clone())),
    }
}

fn answered(entry: &Entry, part: u64) -> Value {
    let (outcome, error) = outcome(entry);
    json!({
        "type": "answered",
        "part": part,
        "id": entry.id,
        "at": entry.ended.map(|at| at.to_string()),
        "status": entry.status,
        "outcome": outcome,
        "error": error,
        "resourceVersion": entry.version,
        "uid": entry.uid,
        "bytes": entry.received,
    })
}

fn path_of(folder: &Path, run: &str) -> Result<PathBuf, Diagnostic> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if run.is_empty() || !run.chars().all(plain) {
        return Err(Diagnostic::new(Kind::Missing, format!("`{run}` cannot be the id of a run"))
            .help("`okgscript runs` lists the runs"));
    }
    Ok(folder.join(format!("{run}.{SUFFIX}")))
}

fn claim(file: &File, run: &str, path: &Path) -> Result<(), Diagnostic> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(Diagnostic::new(Kind::Refused, format!("run `{run}` is still going on in another process"))
                .help(format!("`okgscript runs show {run}` shows how far it is")))
        }
        Err(TryLockError::Error(error)) => Err(unwritable(path, &error)),
    }
}

/// Reads all whole lines and returns them with their length in bytes.
fn read_all(file: &mut File, path: &Path) -> Result<(Recording, u64), Diagnostic> {
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes));
    read.map_err(|error| unwritable(path, &error))?;
    let mut recording = Recording::default();
    let mut length = 0;
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        match serde_json::from_slice(line).ok().filter(|_| line.ends_with(b"\n")) {
            Some(record) => {
                recording.records.push(record);
                length += line.len() as u64;
            }
            None if lines.peek().is_none() => recording.torn = Some(String::from_utf8_lossy(line).into_owned()),
            None => {
                return Err(Diagnostic::new(
                    Kind::Failed,
                    format!("the journal `{}` is damaged in line {}", path.display(), number + 1),
                )
                .why("only the last line can be cut off by a crash; this one was changed")
                .help("look at the cluster before anything is repeated"));
            }
        }
    }
    Ok((recording, length))
}

fn unknown(folder: &Path, run: &str) -> Diagnostic {
    Diagnostic::new(Kind::Missing, format!("there is no run `{run}`"))
        .why(format!("its journal is not in `{}`", folder.display()))
        .help("`okgscript runs` lists the runs")
}

fn unwritable(path: &Path, error: &std::io::Error) -> Diagnostic {
    Diagnostic::new(Kind::Failed, format!("the run's journal `{}` cannot be used", path.display()))
        .why(error.to_string())
        .help("nothing is written to the cluster that is not in the journal first")
}
