//! A cache of one collection, kept fresh by one list and one watch, whatever the length of the wait.
//!
//! The watch is resumed from its resourceVersion after it ends or breaks; another list is made only when the server
//! has forgotten that version (410), or when nothing at all was heard for [`SILENCE`]. Since a watch may be silent
//! for other reasons than that nothing happens, whoever is about to report a success asks for a fresh list first
//! ([`Collection::refresh`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::client::{Cluster, call, get};
use super::errors::Call;
use super::kind::{Kind, Query, Selector};
use super::list::{Identified, Identity, Sheet};
use crate::diagnostic::{self, Diagnostic};

/// Seconds after which the server is asked to end a watch.
const WATCH_SECONDS: &str = "290";
/// Longest time without a word after which a watch is taken for dead.
pub const SILENCE: Duration = Duration::from_secs(295);
/// Pause before a watch that ended by itself is resumed.
const AFTER_END: Duration = Duration::from_millis(100);
/// First and longest pause after errors.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Watches that end at once without a word this often in a row count as errors.
const EMPTY_ENDS: u32 = 5;
/// How long [`Collection::start`] tries to get its first list from a server that is in trouble.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cache of the objects of one kind in one namespace that a selector selects; clones share it.
///
/// The last clone that is dropped ends the watch.
pub struct Collection<T> {
    shared: Arc<Shared<T>>,
    driver: Arc<Driver>,
    seen: watch::Receiver<u64>,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Collection<T> {
        Collection { shared: self.shared.clone(), driver: self.driver.clone(), seen: self.seen.clone() }
    }
}

impl<T> std::fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collection")
            .field("resource", &self.shared.kind.resource())
            .field("namespace", &self.shared.namespace)
            .field("version", &self.shared.state().version)
            .finish_non_exhaustive()
    }
}

/// The task that keeps the cache fresh.
#[derive(Debug, Default)]
struct Driver(Mutex<Option<AbortHandle>>);

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(task) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

struct Shared<T> {
    cluster: Cluster,
    kind: Kind,
    namespace: String,
    selector: Selector,
    state: Mutex<State<T>>,
    listing: tokio::sync::Mutex<()>,
    changes: watch::Sender<u64>,
    restart: Notify,
}

struct State<T> {
    items: Arc<BTreeMap<String, Arc<T>>>,
    versions: BTreeMap<String, String>,
    version: String,
    /// Counts the lists that replaced the items: a watch opened before must not speak any more.
    epoch: u64,
    broken: Option<Diagnostic>,
    /// Since when nothing has been heard, and the newest reason.
    trouble: Option<(Timestamp, Diagnostic)>,
}

/// How a watch ended.
enum End {
    /// The server ended it, after so many words.
    Ended(u64),
    /// A fresh list has replaced the items.
    Replaced,
    /// The server has forgotten the version, or said nothing for too long.
    Lost,
    /// An error, after so many words.
    Failed(Diagnostic, u64),
}

impl<T: DeserializeOwned + Send + Sync + 'static> Collection<T> {
    pub(super) fn new(cluster: Cluster, kind: Kind, namespace: String, selector: Selector) -> Collection<T> {
        let changes = watch::Sender::new(0);
        let seen = changes.subscribe();
        let state = State {
            items: Arc::default(),
            versions: BTreeMap::new(),
            version: String::new(),
            epoch: 0,
            broken: None,
            trouble: None,
        };
        let shared = Shared {
            cluster,
            kind,
            namespace,
            selector,
            state: Mutex::new(state),
            listing: tokio::sync::Mutex::default(),
            changes,
            restart: Notify::new(),
        };
        Collection { shared: Arc::new(shared), driver: Arc::default(), seen }
    }

    /// Lists the objects and begins to watch them; does nothing when that is so already.
    ///
    /// A server in trouble is tried again for [`PATIENCE`]; an error that will not heal is returned at once.
    pub async fn start(&self) -> Result<(), Diagnostic> {
        if self.runs() {
            return Ok(());
        }
        let _turn = self.shared.listing.lock().await;
        if self.runs() {
            return Ok(());
        }
        let mut pauses = self.shared.pauses();
        let mut left = PATIENCE;
        let sheet = loop {
            match self.shared.list().await {
                Ok(sheet) => break sheet,
                Err(error) if error.kind.passes() => {
                    let pause = pauses.next().unwrap_or(PAUSES.1);
                    left = left.checked_sub(pause).ok_or(error)?;
                    sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        };
        let again = self.shared.state().epoch > 0;
        self.shared.state().take(&self.shared, sheet);
        if again {
            // Clones that wait have seen it break.
            self.shared.changes.send_modify(|count| *count += 1);
        }
        let task = tokio::spawn(drive(self.shared.clone())).abort_handle();
        let mut driver = self.driver.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(former) = driver.replace(task) {
            former.abort();
        }
        Ok(())
    }

    fn runs(&self) -> bool {
        let driver = self.driver.0.lock().unwrap_or_else(PoisonError::into_inner);
        driver.as_ref().is_some_and(|task| !task.is_finished()) && self.shared.state().broken.is_none()
    }

    /// Returns the objects by name, or by `namespace/name` in a collection of all namespaces.
    pub fn items(&self) -> Arc<BTreeMap<String, Arc<T>>> {
        self.shared.state().items.clone()
    }

    /// Returns the newest resourceVersion that the items are known to show.
    pub fn version(&self) -> String {
        self.shared.state().version.clone()
    }

    /// Returns since when the server cannot be watched, and why; nothing while all is well. What a wait that runs out
    /// of time should tell.
    pub fn trouble(&self) -> Option<(Timestamp, Diagnostic)> {
        self.shared.state().trouble.clone()
    }

    /// Returns when something has changed since this clone last returned from here: evaluate after it, then wait
    /// again, and no change is missed. Changes that come together are reported once.
    ///
    /// Fails with the error of a watch that will not heal, such as `forbidden`; anything else is survived in silence.
    pub async fn changed(&mut self) -> Result<(), Diagnostic> {
        // The sender lives as long as `self.shared`.
        let _ = self.seen.changed().await;
        match &self.shared.state().broken {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Makes sure that the items are at least as new as this moment, by a list; returns whether they differ from
    /// what they were before. A watch that had missed something is begun anew.
    pub async fn refresh(&self) -> Result<bool, Diagnostic> {
        let shared = &self.shared;
        let before = shared.state().items.clone();
        let _turn = shared.listing.lock().await;
        let sheet = shared.list().await?;
        let mut state = shared.state();
        // The watch may have moved on while the list was under way: then it has proved to be alive.
        let overtaken = newer(&state.version, &sheet.version);
        if !overtaken && !state.shows(shared, &sheet) {
            state.take(shared, sheet);
            drop(state);
            shared.changes.send_modify(|count| *count += 1);
            shared.restart.notify_one();
            return Ok(true);
        }
        if !overtaken {
            state.version = sheet.version;
        }
        Ok(!Arc::ptr_eq(&before, &state.items))
    }
}

/// Returns whether a resourceVersion is newer than another one of the same collection.
fn newer(left: &str, right: &str) -> bool {
    match (left.parse::<u64>(), right.parse::<u64>()) {
        (Ok(left), Ok(right)) => left > right,
        _ => false,
    }
}

impl<T> State<T> {
    fn shows(&self, shared: &Shared<T>, sheet: &Sheet<T>) -> bool {
        self.versions.len() == sheet.items.len()
            && sheet.items.iter().all(|(identity, _)| {
                self.versions.get(&shared.key(identity)) == Some(&identity.resource_version.clone().unwrap_or_default())
            })
    }

    fn take(&mut self, shared: &Shared<T>, sheet: Sheet<T>) {
        let mut items = BTreeMap::new();
        self.versions.clear();
        for (identity, value) in sheet.items {
            let key = shared.key(&identity);
            self.versions.insert(key.clone(), identity.resource_version.unwrap_or_default());
            items.insert(key, Arc::new(value));
        }
        self.items = Arc::new(items);
        self.version = sheet.version;
        self.epoch += 1;
        self.broken = None;
        self.trouble = None;
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, identity: &Identity) -> String {
        if self.namespace.is_empty() && !identity.namespace.is_empty() {
            format!("{}/{}", identity.namespace, identity.name)
        } else {
            identity.name.clone()
        }
    }

    fn replace(&self, sheet: Sheet<T>) {
        self.state().take(self, sheet);
        self.changes.send_modify(|count| *count += 1);
    }

    fn suffer(&self, error: &Diagnostic) {
        let now = self.cluster.clock().now();
        let mut state = self.state();
        let since = state.trouble.take().map_or(now, |(since, _)| since);
        state.trouble = Some((since, error.clone()));
    }

    fn fail(&self, error: Diagnostic) {
        self.state().broken = Some(error);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Returns growing pauses whose jitter depends on nothing but the run's seed and the collection.
    fn pauses(&self) -> impl Iterator<Item = Duration> + use<T> {
        let path = self.kind.collection_path(&self.namespace);
        let hash = path
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        ExponentialBuilder::new()
            .with_min_delay(PAUSES.0)
            .with_max_delay(PAUSES.1)
            .with_factor(2.0)
            .without_max_times()
            .with_jitter()
            .with_jitter_seed(self.cluster.seed() ^ hash)
            .build()
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Shared<T> {
    async fn list(&self) -> Result<Sheet<T>, Diagnostic> {
        self.cluster.sheet(&self.kind, &self.namespace, &self.selector).await
    }

    /// Lists anew after the watch lost its place, unless somebody else's list was quicker.
    async fn list_anew(&self, epoch: u64) -> Result<(), Diagnostic> {
        let _turn = self.listing.lock().await;
        if self.state().epoch != epoch {
            return Ok(());
        }
        let sheet = self.list().await?;
        self.replace(sheet);
        Ok(())
    }

    /// Watches from the state's version on, and applies what it hears.
    async fn watch(&self) -> End {
        let call = call("watch", &self.kind, &self.namespace, "");
        let (epoch, version) = {
            let state = self.state();
            (state.epoch, state.version.clone())
        };
        let mut query = Query::default();
        for (key, value) in [("watch", "1"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", WATCH_SECONDS)] {
            query.add(key, value);
        }
        query.add("resourceVersion", &version);
        self.selector.query(&mut query);
        let mut request = get(&query.on(&self.kind.collection_path(&self.namespace)));
        // Some servers compress each event by itself, which no client library can read.
        request.headers_mut().insert(http::header::ACCEPT_ENCODING, http::HeaderValue::from_static("identity"));
        if let Err(error) = self.cluster.ready().await {
            return End::Failed(error, 0);
        }
        let limit = self.cluster.timeout();
        let body = match timeout(limit, self.cluster.open(&call, request)).await {
            Ok(Ok(answer)) => {
                self.state().trouble = None;
                answer.into_body()
            }
            Ok(Err(error)) if gone(&error) => return End::Lost,
            Ok(Err(error)) => return End::Failed(error, 0),
            Err(_) => return End::Failed(self.cluster.origin().too_long(&call, limit), 0),
        };
        self.listen(&call, epoch, body).await
    }

    async fn listen(&self, call: &Call, epoch: u64, mut body: Body) -> End {
        let mut pending: Vec<u8> = Vec::new();
        let mut words = 0;
        loop {
            let frame = tokio::select! {
                biased;
                () = self.restart.notified() => {
                    if self.state().epoch == epoch { continue } else { return End::Replaced }
                }
                frame = timeout(SILENCE, body.frame()) => frame,
            };
            let data = match frame {
                Err(_) => return End::Lost,
                Ok(None) => return End::Ended(words),
                Ok(Some(Err(error))) => return End::Failed(self.cluster.origin().failure(call, error), words),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            pending.extend_from_slice(&data);
            let Some(end) = pending.iter().rposition(|byte| *byte == b'\n') else { continue };
            let rest = pending.split_off(end + 1);
            let lines = std::mem::replace(&mut pending, rest);
            let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            match self.apply(call, epoch, lines, &mut words) {
                Ok(true) => {}
                Ok(false) => return End::Replaced,
                Err(error) if gone(&error) => return End::Lost,
                Err(error) => return End::Failed(error, words),
            }
        }
    }

    /// Applies the events of one frame; returns false when a fresh list has replaced the items meanwhile.
    fn apply<'a>(
        &self,
        call: &Call,
        epoch: u64,
        lines: impl Iterator<Item = &'a [u8]>,
        words: &mut u64,
    ) -> Result<bool, Diagnostic> {
        let origin = self.cluster.origin();
        let mut state = self.state();
        if state.epoch != epoch {
            return Ok(false);
        }
        let mut items = state.items.clone();
        let mut changed = false;
        let mut result = Ok(true);
        for line in lines {
            let event: Event<Identified> = match serde_json::from_slice(line) {
                Ok(event) => event,
                // A line that was cut off says nothing; its event comes again.
                Err(error) => {
                    result = Err(origin.unreadable(call, &error));
                    break;
                }
            };
            let identity = event.object.metadata;
            match event.kind.as_str() {
                "ERROR" => {
                    let event: Event<Value> = serde_json::from_slice(line).unwrap_or_default();
                    result = Err(origin.event(call, &event.object));
                    break;
                }
                "ADDED" | "MODIFIED" => match serde_json::from_slice::<Event<Option<T>>>(line) {
                    Ok(Event { object: Some(value), .. }) => {
                        let key = self.key(&identity);
                        let version = identity.resource_version.clone().unwrap_or_default();
                        if state.versions.get(&key) != Some(&version) {
                            state.versions.insert(key.clone(), version);
                            Arc::make_mut(&mut items).insert(key, Arc::new(value));
                            changed = true;
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        result = Err(origin.unreadable(call, &error));
                        break;
                    }
                },
                "DELETED" => {
                    let key = self.key(&identity);
                    if state.versions.remove(&key).is_some() {
                        Arc::make_mut(&mut items).remove(&key);
                        changed = true;
                    }
                }
                _ => {}
            }
            *words += 1;
            if let Some(version) = identity.resource_version.filter(|version| !version.is_empty()) {
                state.version = version;
            }
        }
        if changed {
            state.items = items;
            drop(state);
            self.changes.send_modify(|count| *count += 1);
        }
        result
    }
}

/// One line of a watch.
#[derive(Default, Deserialize)]
struct Event<T> {
    #[serde(rename = "type")]
    kind: String,
    object: T,
}

/// Whether the server has forgotten the version that was asked for.
fn gone(error: &Diagnostic) -> bool {
    error.data.get("code") == Some(&json!(410))
}

/// Whether an error may pass: everything but what the server said about us or the resource.
fn heals(error: &Diagnostic) -> bool {
    use diagnostic::Kind;
    !matches!(
        error.kind,
        Kind::Unauthorized | Kind::Forbidden | Kind::NotFound | Kind::NotInstalled | Kind::Invalid | Kind::Internal
    ) && error.data.get("certificate").is_none()
}

/// Keeps a collection fresh until it breaks for good or the task is aborted.
async fn drive<T: DeserializeOwned + Send + Sync + 'static>(shared: Arc<Shared<T>>) {
    let mut pauses = shared.pauses();
    // Watches in a row that ended without a word, and that found their version forgotten.
    let (mut empty, mut lost) = (0, 0);
    let mut stale = false;
    loop {
        let epoch = shared.state().epoch;
        let end = match stale {
            true => shared.list_anew(epoch).await.err().map(|error| End::Failed(error, 0)),
            false => None,
        };
        stale &= end.is_some();
        let end = match end {
            Some(end) => end,
            None => shared.watch().await,
        };
        let pause = match end {
            End::Replaced => None,
            End::Lost => {
                stale = true;
                lost += 1;
                (lost > 1).then(|| pauses.next())
            }
            End::Ended(words) => {
                (empty, lost) = (if words == 0 { empty + 1 } else { 0 }, 0);
                if empty < EMPTY_ENDS {
                    pauses = shared.pauses();
                    Some(Some(AFTER_END))
                } else {
                    Some(pauses.next())
                }
            }
            End::Failed(error, words) if heals(&error) => {
                shared.suffer(&error);
                if words > 0 {
                    (pauses, lost) = (shared.pauses(), 0);
                }
                let pause = pauses.next().unwrap_or(PAUSES.1);
                let asked = error.data.get("retry_after_seconds").and_then(Value::as_u64).map(Duration::from_secs);
                Some(Some(asked.map_or(pause, |asked| asked.max(pause))))
            }
            End::Failed(error, _) => return shared.fail(error),
        };
        if let Some(pause) = pause {
            sleep(pause.unwrap_or(PAUSES.1)).await;
        }
    }
}
