//! A work queue as controllers use it: a key waits at most once, and is never worked on twice at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// First pause after a failed pass; it doubles with each failure.
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// Longest pause after a failed pass.
const LONGEST_RETRY: Duration = Duration::from_secs(1000);

/// What a pass is about: an object of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Namespace, empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// Makes a key.
    pub fn new(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }
}

/// The queue of one controller. Clones share it.
#[derive(Clone)]
pub struct Queue<K>(Arc<Shared<K>>);

struct Shared<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    waiting: BTreeSet<K>,
    running: BTreeSet<K>,
    failures: BTreeMap<K, u32>,
}

impl<K: Ord + Clone + Send + 'static> Queue<K> {
    /// An empty queue.
    pub fn new() -> Queue<K> {
        let state = State {
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            running: BTreeSet::new(),
            failures: BTreeMap::new(),
        };
        Queue(Arc::new(Shared { state: Mutex::new(state), wake: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a pass over a key.
    pub fn add(&self, key: K) {
        let mut state = self.state();
        if state.waiting.insert(key.clone()) && !state.running.contains(&key) {
            state.ready.push_back(key);
            self.0.wake.notify_one();
        }
    }

    /// Asks for a pass over a key after a while.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let queue = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            queue.add(key);
        });
    }

    /// Waits for the next key. The caller must call [`Queue::done`] with it.
    pub async fn next(&self) -> K {
        loop {
            let wake = self.0.wake.notified();
            {
                let mut state = self.state();
                if let Some(key) = state.ready.pop_front() {
                    state.waiting.remove(&key);
                    state.running.insert(key.clone());
                    if !state.ready.is_empty() {
                        self.0.wake.notify_one();
                    }
                    return key;
                }
            }
            wake.await;
        }
    }

    /// Ends the pass over a key; a key that was asked for meanwhile becomes ready.
    pub fn done(&self, key: &K) {
        let mut state = self.state();
        state.running.remove(key);
        if state.waiting.contains(key) {
            state.ready.push_back(key.clone());
            self.0.wake.notify_one();
        }
    }

    /// Asks for another pass after a failed one, later with each failure.
    pub fn retry(&self, key: K) {
        let failures = {
            let mut state = self.state();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures += 1;
            *failures - 1
        };
        let delay = FIRST_RETRY.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(LONGEST_RETRY);
        self.add_after(key, delay);
    }

    /// Forgets the failures of a key.
    pub fn forget(&self, key: &K) {
        self.state().failures.remove(key);
    }
}
