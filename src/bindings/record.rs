//! What a run writes into its journal beside its requests: steps with their values, and what was done.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::ledger::Note;
use super::replay::{Open, Past, PastStep};
use crate::cluster::{Cluster, JournalFile};
use crate::diagnostic::{Diagnostic, Kind};

/// The journal of a run that goes on, and what an earlier part of the run left in it.
pub struct Record {
    file: Option<Arc<JournalFile>>,
    unusable: Option<Diagnostic>,
    part: u64,
    past: Past,
}

impl Record {
    /// Begins a run's journal with its first record.
    pub fn begin(file: JournalFile, first: &Value) -> Result<Record, Diagnostic> {
        file.append(first, true)?;
        Ok(Record { file: Some(Arc::new(file)), unusable: None, part: 1, past: Past::default() })
    }

    /// Returns the record of a run whose journal cannot be used: it may read, and its first write is refused.
    pub fn unusable(why: Diagnostic) -> Record {
        Record { file: None, unusable: Some(why), part: 1, past: Past::default() }
    }

    /// Goes on with a journal.
    pub fn resume(file: JournalFile, past: Past, again: &Value) -> Result<Record, Diagnostic> {
        file.append(again, true)?;
        let record = Record { part: past.parts + 1, file: Some(Arc::new(file)), unusable: None, past };
        // Written down before anything like them is done again.
        record.past.recovered.iter().for_each(|note| record.note(note));
        Ok(record)
    }

    /// Returns what earlier parts of the run left.
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// Returns which process of the run this is, from 1.
    pub fn part(&self) -> u64 {
        self.part
    }

    /// Follows the requests to a cluster; one that is not where the run began is refused.
    pub fn follow(&self, cluster: &Cluster) -> Result<(), Diagnostic> {
        if let Some(why) = self.unusable.clone() {
            cluster.gate().require("journal", move || Some(why.clone()));
        }
        let here = json!({
            "type": "cluster",
            "part": self.part,
            "context": cluster.context(),
            "namespace": cluster.namespace(),
            "server": cluster.server(),
        });
        if let Some(then) = &self.past.cluster {
            let moved = ["server", "namespace"].into_iter().find(|part| then[*part] != here[*part]);
            if let Some(part) = moved {
                return Err(Diagnostic::new(Kind::Refused, format!("this is not the {part} that the run began on"))
                    .why(format!("it began on {}, this is {}", then[part], here[part]))
                    .help("give the kubeconfig and the context of that time. Nothing was sent."));
            }
        }
        let Some(file) = &self.file else { return Ok(()) };
        file.append(&here, false)?;
        file.clone().follow(cluster.journal(), self.part);
        Ok(())
    }

    /// Writes a note. One that gets lost is found again from the write that it is about.
    pub fn note(&self, note: &Note) {
        let mut record = serde_json::to_value(note).unwrap_or_default();
        record["type"] = json!("note");
        record["part"] = json!(self.part);
        let _ = self.append(&record, false);
    }

    /// Returns the writes of the whole run of which nobody knows the end, as its journal has them.
    pub fn open_writes(&self) -> Vec<Open> {
        let past = self.file.as_ref().and_then(|file| Past::read(&file.recording().ok()?).ok());
        past.map(|past| past.open).unwrap_or_default()
    }

    /// Writes a record.
    pub fn append(&self, record: &Value, force: bool) -> Result<(), Diagnostic> {
        self.file.as_ref().map_or(Ok(()), |file| file.append(record, force))
    }

    /// Notes what a wait has seen to hold, and at which resourceVersions.
    pub fn waited(&self, what: &str, at: &str, versions: &BTreeMap<String, String>) {
        let record = json!({"type": "wait", "part": self.part, "at": at, "what": what, "versions": versions});
        let _ = self.append(&record, false);
    }

    /// Notes that a step begins.
    pub fn step_begins(&self, scope: &str, n: usize, name: &str, at: &str) {
        let record = json!({"type": "step", "part": self.part, "scope": scope, "n": n, "name": name, "state": "began", "at": at});
        let _ = self.append(&record, false);
    }

    /// Notes how a step ended: with a value, with one that cannot be remembered, or with an error.
    pub fn step_ends(&self, scope: &str, n: usize, name: &str, at: &str, how: &PastStep) {
        let mut record = json!({"type": "step", "part": self.part, "scope": scope, "n": n, "name": name, "at": at});
        how.write(&mut record);
        let _ = self.append(&record, true);
    }
}
