//! Faults on request: answers that fail, wait, vanish, or are old; watches that end, fall silent or are gone.
//!
//! A test sets them from Rust with [`Faults::add`]; a scenario lists them as [`Fault`] documents:
//!
//! ```yaml
//! - method: PATCH
//!   path: "*/gameservers/*"
//!   times: 2
//!   status: 503
//!   retryAfter: 1
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use super::status::Status;

/// One fault, as a scenario writes it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fault {
    /// The method of the requests that it meets; all if none.
    pub method: Option<String>,
    /// The path with its query, where `*` stands for any text; all if none.
    pub path: Option<String>,
    /// How many matching requests pass before the first one is met.
    pub skip: u64,
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
    /// How long the answer takes.
    pub delay: Option<jiff::SignedDuration>,
    /// The connection breaks without an answer.
    pub reset: bool,
    /// The request is done before it fails.
    pub after_applying: bool,
    /// A list shows the state of so many writes ago.
    pub behind: u64,
    /// A watch ends after this time.
    pub watch_ends: Option<jiff::SignedDuration>,
    /// A watch says nothing more after this time, but stays open.
    pub watch_silent: Option<jiff::SignedDuration>,
    /// A watch is told that its version is gone.
    pub watch_gone: bool,
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

/// What a client sees of a request that fails.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// A refusal.
    Status(Box<Status>),
    /// A broken connection.
    Reset,
}

/// What happens to one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Met {
    pub delay: Option<Duration>,
    pub answer: Option<Answer>,
    pub after_applying: bool,
}

/// What the list says about one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    pub fault: Option<Met>,
    pub watch: Option<WatchFault>,
    pub behind: u64,
}

#[derive(Clone, Debug)]
struct Armed {
    fault: Fault,
    skip: u64,
    left: Option<u64>,
}

/// The list of faults of one server. Clones share it, so that a test can add to the list of a running server.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Armed>>>);

impl Faults {
    /// A list with these faults.
    pub fn new(faults: &[Fault]) -> Faults {
        let list = Faults::default();
        for fault in faults {
            list.add(fault.clone());
        }
        list
    }

    /// Adds a fault.
    pub fn add(&self, fault: Fault) {
        let left = match fault.times {
            Some(0) => None,
            times => Some(times.unwrap_or(1)),
        };
        let armed = Armed { skip: fault.skip, left, fault };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(armed);
    }

    /// Forgets all faults.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns what happens to a request; the first fault that matches counts.
    pub(super) fn judge(&self, method: &Method, uri: &Uri) -> Verdict {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = uri.path_and_query().map_or("", |part| part.as_str());
        for armed in list.iter_mut().filter(|armed| armed.left != Some(0)) {
            let fault = &armed.fault;
            let method_fits = fault.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method.as_str()));
            let path_fits = fault.path.as_ref().is_none_or(|p| fits(p, whole) || fits(p, uri.path()));
            if !method_fits || !path_fits {
                continue;
            }
            if armed.skip > 0 {
                armed.skip -= 1;
                continue;
            }
            armed.left = armed.left.map(|left| left - 1);
            return verdict(fault);
        }
        Verdict::default()
    }
}

fn verdict(fault: &Fault) -> Verdict {
    let span = |time: Option<jiff::SignedDuration>| time.and_then(|time| Duration::try_from(time).ok());
    let watch = if fault.watch_gone {
        Some(WatchFault::Gone)
    } else if let Some(after) = span(fault.watch_ends) {
        Some(WatchFault::Ends { after })
    } else {
        span(fault.watch_silent).map(|after| WatchFault::Silent { after })
    };
    let answer = match fault.status {
        _ if fault.reset => Some(Answer::Reset),
        Some(code) => Some(Answer::Status(Box::new(refusal(fault, code)))),
        None => None,
    };
    let met = Met { delay: span(fault.delay), answer, after_applying: fault.after_applying };
    Verdict { fault: Some(met), watch, behind: fault.behind }
}

fn refusal(fault: &Fault, code: u16) -> Status {
    let (reason, message) = match code {
        400 => ("BadRequest", "the server rejected our request"),
        401 => ("Unauthorized", "Unauthorized"),
        403 => ("Forbidden", "forbidden by a fault on request"),
        404 => ("NotFound", "the server could not find the requested resource"),
        409 => {
            ("Conflict", "the object has been modified; please apply your changes to the latest version and try again")
        }
        410 => ("Expired", "The resourceVersion for the provided list is too old."),
        422 => ("Invalid", "the server rejected our request due to an error in our request"),
        429 => ("TooManyRequests", "Too many requests, please try again later."),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => ("Timeout", "the server was unable to return a response in the time allotted"),
        _ => ("InternalError", "an error on the server prevented the request from succeeding"),
    };
    let details = match fault.retry_after {
        Some(seconds) => json!({"retryAfterSeconds": seconds}),
        None => Value::Null,
    };
    let reason = fault.reason.as_deref().unwrap_or(reason);
    Status::new(code, reason, fault.message.as_deref().unwrap_or(message), details)
}

/// Returns whether a text fits a pattern in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => {
            let Some(text) = text.strip_prefix(head) else { return false };
            (0..=text.len()).any(|at| text.is_char_boundary(at) && fits(rest, &text[at..]))
        }
    }
}
