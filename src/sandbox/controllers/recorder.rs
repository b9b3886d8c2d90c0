//! Events as client-go's recorder writes them: repeated ones are counted, and each is gone after an hour.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::sandbox::api::Api;
use crate::sandbox::object::{self, Actor, Patch};

/// How long an API server keeps an event after its last write.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// Writes events for one controller process.
pub struct Recorder {
    api: Api,
    clock: Clock,
    actor: Actor,
    state: Mutex<State>,
}

/// Events about one object that differ in nothing but the message, before they are combined.
const SIMILAR: usize = 10;
/// For how long similar events count.
const SIMILAR_FOR: SignedDuration = SignedDuration::from_mins(10);
/// Events about one object at once; beyond, one in five minutes.
const SPAM_BURST: f64 = 25.0;
const SPAM_QPS: f64 = 1.0 / 300.0;

#[derive(Default)]
struct State {
    similar: BTreeMap<[String; 4], (BTreeSet<String>, Timestamp)>,
    spam: BTreeMap<[String; 2], (f64, Timestamp)>,
    known: BTreeMap<[String; 5], Known>,
    by_age: VecDeque<(Timestamp, [String; 5])>,
    number: u64,
}

impl State {
    /// Returns the text of a combined event if there were too many similar ones.
    fn combine(&mut self, key: [&str; 4], message: &str, now: Timestamp) -> Option<String> {
        let (messages, last) = self.similar.entry(key.map(str::to_owned)).or_insert_with(|| (BTreeSet::new(), now));
        if now.duration_since(*last) > SIMILAR_FOR {
            messages.clear();
        }
        *last = now;
        messages.insert(message.to_owned());
        if messages.len() < SIMILAR {
            return None;
        }
        messages.pop_first();
        Some(format!("(combined from similar events): {message}"))
    }

    /// Returns whether the spam filter lets another event about this object through.
    fn may_write(&mut self, key: [String; 2], now: Timestamp) -> bool {
        let (tokens, last) = self.spam.entry(key).or_insert((SPAM_BURST, now));
        let passed = now.duration_since(*last).as_secs_f64();
        *tokens = (*tokens + passed * SPAM_QPS).min(SPAM_BURST);
        *last = now;
        let allowed = *tokens >= 1.0;
        if allowed {
            *tokens -= 1.0;
        }
        allowed
    }
}

struct Known {
    namespace: String,
    name: String,
    count: u64,
    last: Timestamp,
}

impl Recorder {
    /// A recorder that writes as `actor`.
    pub fn new(api: &Api, clock: Clock, actor: Actor) -> Recorder {
        Recorder { api: api.clone(), clock, actor, state: Mutex::default() }
    }

    /// Writes an event about an object, or counts it up if it was written before.
    pub fn emit(&self, component: &str, about: &Value, kind: &str, reason: &str, message: &str) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.expire(&mut state, now);
        let uid = object::meta(about, "uid").to_owned();
        let combined = state.combine([component, &uid, kind, reason], message, now);
        let message = combined.as_deref().unwrap_or(message);
        // Combined events are one event, whatever their text.
        let text = if combined.is_some() { "" } else { message };
        let key = [component, &uid, kind, reason, text].map(str::to_owned);
        if !state.may_write([component, &uid].map(str::to_owned), now) {
            return;
        }
        state.by_age.push_back((now, key.clone()));
        if let Some(known) = state.known.get_mut(&key) {
            known.count += 1;
            known.last = now;
            let patch = json!({"count": known.count, "lastTimestamp": object::stamp(now), "message": message});
            let (namespace, name) = (known.namespace.clone(), known.name.clone());
            if self.api.patch(&self.actor, "events", "", &namespace, &name, &Patch::Merge(patch)).is_ok() {
                return;
            }
            state.known.remove(&key);
        }
        state.number += 1;
        let namespace = match object::namespace(about) {
            "" => "default",
            namespace => namespace,
        };
        let suffix = u64::try_from(now.as_nanosecond()).unwrap_or(0).wrapping_add(state.number);
        let name = format!("{}.{suffix:x}", object::name(about));
        let stamp = object::stamp(now);
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": object::name(about),
                "namespace": object::namespace(about),
                "uid": object::meta(about, "uid"),
                "resourceVersion": object::meta(about, "resourceVersion"),
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": "",
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "eventTime": null,
            "count": 1,
        });
        match self.api.create(&self.actor, "events", event) {
            Ok(_) => {
                let known = Known { namespace: namespace.to_owned(), name, count: 1, last: now };
                state.known.insert(key, known);
            }
            // A namespace that is going takes no events; nobody waits for them.
            Err(status) => tracing::debug!("event {reason} was not written: {}", status.message),
        }
    }

    fn expire(&self, state: &mut State, now: Timestamp) {
        while let Some((at, _)) = state.by_age.front()
            && now.duration_since(*at) > KEPT
            && let Some((at, key)) = state.by_age.pop_front()
        {
            if let Some(known) = state.known.get(&key)
                && known.last <= at
            {
                let options = object::DeleteOptions::default();
                let _ = self.api.delete(&self.actor, "events", &known.namespace, &known.name, &options);
                state.known.remove(&key);
            }
        }
    }
}
