//! Faults on request: answers that fail, wait, vanish, or are old; watches that end, fall silent or are gone; labels
//! that come late; controllers that are down.
//!
//! A scenario lists them under `faults:`, a test adds them with [`Faults::add`]. Clients meet them over HTTP; the
//! cluster's own players and controllers meet those that name them, at the door through which they write.
//!
//! ```yaml
//! faults:
//! - {kind: unavailable, verb: patch, resource: gameservers, client: okgscript, nth: [2, 3], retryAfter: 1s}
//! - {kind: down, controller: gameserver, from: 30s, until: 2m}
//! ```

mod answer;
mod asked;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::status::Status;
use crate::clock::Clock;

pub(super) use self::answer::Answer;
pub(super) use self::asked::{Asked, fits};
pub use self::asked::{CONTROLLERS, GROUPS, PLAYERS};

/// One fault: whom it meets, when, and what happens then.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fault {
    /// The HTTP method of the requests that it meets; all if none.
    pub method: Option<String>,
    /// The path with its query, where `*` stands for any text; all if none.
    pub path: Option<String>,
    /// Verbs as roles have them: `get`, `list`, `watch`, `create`, …; all if empty.
    pub verbs: Vec<String>,
    /// `pods`, `pods/exec`, `statefulsets.apps.kruise.io`; all if empty.
    pub resources: Vec<String>,
    /// The namespace; all if none.
    pub namespace: Option<String>,
    /// The object's name, where `*` stands for any text; all if none.
    pub name: Option<String>,
    /// Who is met: user agent or user, where `*` stands for any text, or a group of [`GROUPS`]; whoever comes over HTTP
    /// if empty.
    pub clients: Vec<String>,
    /// When it begins, from the cluster's start.
    pub from: Option<Duration>,
    /// When it ends, from the cluster's start; never if none.
    pub until: Option<Duration>,
    /// How many matching requests pass before the first one is met.
    pub skip: u64,
    /// Which of the matching requests are met, from 1; any if empty.
    pub nth: Vec<u64>,
    /// The share of the matching requests that is met, by chance; all if none.
    pub probability: Option<f64>,
    /// How many requests are met; 1 if none, 0 for all.
    pub times: Option<u64>,
    /// The HTTP status that is answered.
    pub status: Option<u16>,
    /// The reason of the answer, by its status if none.
    pub reason: Option<String>,
    /// The message of the answer.
    pub message: Option<String>,
    /// Seconds of the header `Retry-After`.
    pub retry_after: Option<u64>,
    /// How long the request waits before it is done; with `after_applying`, how long its answer waits.
    pub delay: Option<Duration>,
    /// The connection breaks without an answer.
    pub reset: bool,
    /// The request is done before it fails.
    pub after_applying: bool,
    /// A list shows the state of so many writes ago.
    pub behind: u64,
    /// A list shows the state of so long ago.
    pub stale: Option<Duration>,
    /// A watch ends after this time.
    pub watch_ends: Option<Duration>,
    /// A watch says nothing more after this time, but stays open.
    pub watch_silent: Option<Duration>,
    /// A watch is told that its version is gone.
    pub watch_gone: bool,
    /// OKG notices a change of a GameServer so much later.
    pub label_lag: Option<Duration>,
    /// These controllers do nothing, as stopped processes.
    pub down: Vec<String>,
}

impl Fault {
    /// Makes the fault's own times shorter by a factor.
    #[must_use]
    fn faster(mut self, speed: f64) -> Fault {
        let times = [
            &mut self.from,
            &mut self.until,
            &mut self.delay,
            &mut self.stale,
            &mut self.watch_ends,
            &mut self.watch_silent,
            &mut self.label_lag,
        ];
        for time in times.into_iter().flatten() {
            *time = time.div_f64(speed);
        }
        self
    }

    /// Returns whether it is about requests, not about the cluster's inside.
    fn of_requests(&self) -> bool {
        self.label_lag.is_none() && self.down.is_empty()
    }
}

/// What happens to one watch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WatchFault {
    /// It ends.
    Ends {
        /// After this time.
        after: Duration,
    },
    /// It says nothing more.
    Silent {
        /// After this time.
        after: Duration,
    },
    /// Its version is gone: 410.
    Gone,
}

/// How old a list is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Age {
    /// In writes.
    pub writes: u64,
    /// In time.
    pub time: Duration,
}

/// What the list says about one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// How long the request waits.
    pub delay: Duration,
    /// How long the answer waits after the request is done.
    pub late: Duration,
    /// What the client sees instead of the answer.
    pub answer: Option<Answer>,
    /// Whether the request is done nevertheless.
    pub after_applying: bool,
    pub watch: Option<WatchFault>,
    pub age: Age,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    /// Requests that matched.
    seen: u64,
    left: Option<u64>,
    rng: fastrand::Rng,
}

/// The list of faults of one server. Clones share it, so that a test can add to the list of a running server.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    list: Mutex<List>,
    /// Told when the list changes.
    turn: watch::Sender<u64>,
}

#[derive(Debug)]
struct List {
    armed: Vec<Armed>,
    added: u64,
    seed: u64,
    speed: f64,
    /// When the cluster started.
    begin: Option<(Clock, Timestamp)>,
}

impl Default for Faults {
    fn default() -> Faults {
        let list = List { armed: Vec::new(), added: 0, seed: 0, speed: 1.0, begin: None };
        Faults(Arc::new(Shared { list: Mutex::new(list), turn: watch::channel(0).0 }))
    }
}

impl Faults {
    /// A list with these faults.
    pub fn new(faults: &[Fault]) -> Faults {
        let list = Faults::default();
        for fault in faults {
            list.add(fault.clone());
        }
        list
    }

    /// A list whose times count from now; `speed` shortens them, chance comes from `seed`.
    pub(super) fn started(faults: &[Fault], clock: Clock, seed: u64, speed: f64) -> Faults {
        let list = Faults::default();
        {
            let mut list = list.list();
            list.seed = seed;
            list.speed = if speed > 0.0 { speed } else { 1.0 };
            list.begin = Some((clock, clock.now()));
        }
        for fault in faults {
            list.add(fault.clone());
        }
        list
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a fault.
    pub fn add(&self, fault: Fault) {
        let left = match fault.times {
            Some(0) => None,
            times => Some(times.unwrap_or(1)),
        };
        let mut list = self.list();
        list.added += 1;
        let rng = fastrand::Rng::with_seed(list.seed ^ 0x6661_756c_7473 ^ list.added.rotate_left(32));
        let fault = fault.faster(list.speed);
        list.armed.push(Armed { fault, seen: 0, left, rng });
        drop(list);
        self.0.turn.send_modify(|turn| *turn += 1);
    }

    /// Forgets all faults.
    pub fn clear(&self) {
        self.list().armed.clear();
        self.0.turn.send_modify(|turn| *turn += 1);
    }

    /// Returns whether nothing goes wrong on request.
    pub(super) fn is_empty(&self) -> bool {
        self.list().armed.is_empty()
    }

    /// Returns what happens to a request. Slow answers go with whatever else matches; of the rest the first counts.
    pub(super) fn judge(&self, asked: &Asked<'_>) -> Verdict {
        let mut list = self.list();
        let passed = list.passed();
        let mut verdict = Verdict::default();
        for armed in &mut list.armed {
            if !armed.fault.of_requests() || !armed.fault.now(passed) || !armed.fault.meets(asked) || !armed.fires() {
                continue;
            }
            let slow = armed.fault.delay.unwrap_or_default();
            *if armed.fault.after_applying { &mut verdict.late } else { &mut verdict.delay } += slow;
            if armed.fault.only_slow() {
                continue;
            }
            armed.fault.rule(&mut verdict);
            break;
        }
        verdict
    }

    /// Lets one of the cluster's own actors send a request: it meets what names it.
    pub(super) async fn meet<T>(
        &self,
        asked: &Asked<'_>,
        act: impl FnOnce() -> Result<T, Status>,
    ) -> Result<T, Status> {
        self.read(asked, |_| act()).await
    }

    /// The same for a list, which may have to be old.
    pub(super) async fn read<T>(
        &self,
        asked: &Asked<'_>,
        act: impl FnOnce(Age) -> Result<T, Status>,
    ) -> Result<T, Status> {
        if self.is_empty() {
            return act(Age::default());
        }
        let verdict = self.judge(asked);
        if !verdict.delay.is_zero() {
            tokio::time::sleep(verdict.delay).await;
        }
        let refused = verdict.answer.map(Answer::status);
        if let Some(status) = refused.as_ref().filter(|_| !verdict.after_applying) {
            return Err(status.clone());
        }
        let outcome = act(verdict.age);
        if !verdict.late.is_zero() {
            tokio::time::sleep(verdict.late).await;
        }
        // What became of a request that fails after all nobody hears.
        refused.map_or(outcome, Err)
    }

    /// Returns how much later OKG notices a change of this GameServer.
    pub(super) fn label_lag(&self, namespace: &str, name: &str) -> Duration {
        let mut list = self.list();
        if list.armed.is_empty() {
            return Duration::ZERO;
        }
        let passed = list.passed();
        let asked = Asked { namespace, name, ..Asked::default() };
        let mut lag = Duration::ZERO;
        for armed in &mut list.armed {
            let Some(more) = armed.fault.label_lag else { continue };
            if armed.fault.now(passed) && armed.fault.meets(&asked) && armed.fires() {
                lag += more;
            }
        }
        lag
    }

    /// Returns whether a controller is down.
    pub(super) fn down(&self, controller: &str) -> bool {
        self.list().down(controller).is_some()
    }

    /// Waits while a controller is down.
    pub(super) async fn wait_up(&self, controller: &str) {
        let mut turn = self.0.turn.subscribe();
        loop {
            turn.borrow_and_update();
            let Some(left) = self.list().down(controller) else { return };
            // A list that changes may bring it up again before its time.
            let changed = turn.changed();
            match left {
                Some(left) => drop(tokio::time::timeout(left, changed).await),
                None => drop(changed.await),
            }
        }
    }
}

impl List {
    fn passed(&self) -> Duration {
        let passed = self.begin.map(|(clock, begin)| clock.now().duration_since(begin));
        passed.and_then(|passed| Duration::try_from(passed).ok()).unwrap_or_default()
    }

    /// Returns how long a controller is still down, `Some(None)` for ever, if it is.
    fn down(&self, controller: &str) -> Option<Option<Duration>> {
        if self.armed.is_empty() {
            return None;
        }
        let passed = self.passed();
        let found = self.armed.iter().filter(|armed| armed.fault.now(passed) && asked::stops(&armed.fault, controller));
        found
            .map(|armed| armed.fault.until.map(|until| until.saturating_sub(passed).max(Duration::from_micros(1))))
            // The longest counts; none at all is longest.
            .max_by_key(|left| left.unwrap_or(Duration::MAX))
    }
}

impl Armed {
    /// Counts a request that matches, and returns whether it is met.
    fn fires(&mut self) -> bool {
        self.seen += 1;
        let fault = &self.fault;
        if self.left == Some(0)
            || self.seen <= fault.skip
            || (!fault.nth.is_empty() && !fault.nth.contains(&self.seen))
            || fault.probability.is_some_and(|share| self.rng.f64() >= share)
        {
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        true
    }
}

impl Fault {
    fn now(&self, passed: Duration) -> bool {
        self.from.is_none_or(|from| passed >= from) && self.until.is_none_or(|until| passed < until)
    }

    fn only_slow(&self) -> bool {
        self.delay.is_some()
            && self.status.is_none()
            && !self.reset
            && self.watch().is_none()
            && self.age() == Age::default()
    }

    fn age(&self) -> Age {
        Age { writes: self.behind, time: self.stale.unwrap_or_default() }
    }

    fn watch(&self) -> Option<WatchFault> {
        if self.watch_gone {
            return Some(WatchFault::Gone);
        }
        let ends = self.watch_ends.map(|after| WatchFault::Ends { after });
        ends.or(self.watch_silent.map(|after| WatchFault::Silent { after }))
    }

    fn rule(&self, verdict: &mut Verdict) {
        verdict.answer = match self.status {
            _ if self.reset => Some(Answer::Reset),
            Some(code) => Some(Answer::Status(Box::new(answer::refusal(self, code)))),
            None => None,
        };
        verdict.after_applying = self.after_applying;
        verdict.watch = self.watch();
        verdict.age = self.age();
    }
}
