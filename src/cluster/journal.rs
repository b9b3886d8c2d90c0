//! Every request and its answer, in the order in which they were sent.
//!
//! All writes are kept; of the reads the newest are, and all are counted. Observers see an entry twice: before it is
//! sent, and when its outcome is known. An observer that fails before a write is sent stops that write.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::diagnostic::Diagnostic;

/// Reads that are kept beside all the writes.
const READS_KEPT: usize = 10_000;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was sent, or is about to be; no answer yet.
    Pending,
    /// The answer was read to its end.
    Answered,
    /// The answer began and was not read to its end: a watch that was left, a connection that broke.
    Cut,
    /// There was no answer, for this reason.
    Failed(String),
    /// The call was given up before an answer came: whether it took effect is not known.
    Unknown,
}

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Number in the order of sending, from 1.
    pub id: u64,
    /// HTTP method.
    pub method: String,
    /// Path with parameters.
    pub path: String,
    /// Whether it can change something on the cluster.
    pub write: bool,
    /// The write's body.
    pub body: Option<Arc<Value>>,
    /// Bytes of the request's body.
    pub sent: u64,
    /// Bytes of the answer's body so far.
    pub received: u64,
    /// When it was sent.
    pub started: Timestamp,
    /// When its outcome became known.
    pub ended: Option<Timestamp>,
    /// HTTP status of the answer.
    pub status: Option<u16>,
    /// resourceVersion of the object or list in the answer.
    pub version: Option<String>,
    /// uid of the object in a write's answer.
    pub uid: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// Sums over a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests of any sort.
    pub requests: u64,
    /// Requests that can change something.
    pub writes: u64,
    /// Watches among the requests.
    pub watches: u64,
    /// Bytes of all requests' bodies.
    pub sent: u64,
    /// Bytes of all answers' bodies.
    pub received: u64,
}

type Observer = Box<dyn Fn(&Entry) -> Result<(), Diagnostic> + Send + Sync>;

/// The record of what was asked and answered; clones share it.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    book: Mutex<Book>,
    observers: Mutex<Vec<Arc<Observer>>>,
    pending_writes: watch::Sender<usize>,
}

#[derive(Default)]
struct Book {
    next: u64,
    totals: Totals,
    writes: Vec<Entry>,
    reads: VecDeque<Entry>,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal(Arc::new(Shared {
            book: Mutex::default(),
            observers: Mutex::default(),
            pending_writes: watch::Sender::new(0),
        }))
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Journal").field(&self.totals()).finish()
    }
}

impl Journal {
    /// Calls `observer` with every entry before it is sent and again when its outcome is known.
    ///
    /// An error before a write keeps it from being sent and goes to its caller; any other error is dropped.
    pub fn observe(&self, observer: impl Fn(&Entry) -> Result<(), Diagnostic> + Send + Sync + 'static) {
        self.0.observers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(Box::new(observer)));
    }

    /// Returns all writes and the newest reads, in the order of sending.
    pub fn entries(&self) -> Vec<Entry> {
        let book = self.book();
        let mut entries: Vec<Entry> = book.writes.iter().chain(&book.reads).cloned().collect();
        entries.sort_by_key(|entry| entry.id);
        entries
    }

    /// Returns all writes, in the order of sending.
    pub fn writes(&self) -> Vec<Entry> {
        self.book().writes.clone()
    }

    /// Returns the sums so far.
    pub fn totals(&self) -> Totals {
        self.book().totals
    }

    /// Returns when no write is without outcome any more. After an interrupt, give it a limited time.
    pub async fn settled(&self) {
        let mut pending = self.0.pending_writes.subscribe();
        let _ = pending.wait_for(|count| *count == 0).await;
    }

    /// Opens an entry; an observer's error means that a write must not be sent.
    pub(super) fn asked(&self, mut entry: Entry, watch: bool) -> Result<u64, Diagnostic> {
        let copy = {
            let mut book = self.book();
            book.next += 1;
            entry.id = book.next;
            book.totals.requests += 1;
            book.totals.writes += u64::from(entry.write);
            book.totals.watches += u64::from(watch);
            book.totals.sent += entry.sent;
            if entry.write {
                book.writes.push(entry.clone());
            } else {
                if book.reads.len() == READS_KEPT {
                    book.reads.pop_front();
                }
                book.reads.push_back(entry.clone());
            }
            entry
        };
        let stopped = self.tell(&copy).err().filter(|_| copy.write);
        if copy.write {
            self.0.pending_writes.send_modify(|count| *count += 1);
        }
        match stopped {
            Some(error) => {
                self.settle(copy.id, copy.started, Outcome::Failed(format!("not sent: {error}")));
                Err(error)
            }
            None => Ok(copy.id),
        }
    }

    /// Notes the status of the answer.
    pub(super) fn answered(&self, id: u64, status: u16) {
        self.book().change(id, |entry| entry.status = Some(status));
    }

    /// Notes bytes of the answer.
    pub(super) fn received(&self, id: u64, bytes: u64) {
        let mut book = self.book();
        book.totals.received += bytes;
        book.change(id, |entry| entry.received += bytes);
    }

    /// Notes what the answer says of the object.
    pub(super) fn identified(&self, id: u64, version: Option<String>, uid: Option<String>) {
        self.book().change(id, |entry| {
            entry.version = version;
            entry.uid = uid;
        });
    }

    /// Closes an entry.
    pub(super) fn settle(&self, id: u64, now: Timestamp, outcome: Outcome) {
        let mut closed = None;
        self.book().change(id, |entry| {
            entry.ended = Some(now);
            entry.outcome = outcome;
            closed = Some(entry.clone());
        });
        let Some(entry) = closed else { return };
        let _ = self.tell(&entry);
        if entry.write {
            self.0.pending_writes.send_modify(|count| *count = count.saturating_sub(1));
        }
    }

    fn tell(&self, entry: &Entry) -> Result<(), Diagnostic> {
        let observers = self.0.observers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut result = Ok(());
        for observer in observers {
            result = result.and(observer(entry));
        }
        result
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Entry)) {
        let found = match self.writes.binary_search_by_key(&id, |entry| entry.id) {
            Ok(at) => self.writes.get_mut(at),
            Err(_) => self.reads.binary_search_by_key(&id, |entry| entry.id).ok().and_then(|at| self.reads.get_mut(at)),
        };
        if let Some(entry) = found {
            change(entry);
        }
    }
}
