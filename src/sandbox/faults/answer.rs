//! What the client sees of a request that fails.

use serde_json::{Value, json};

use super::Fault;
use crate::sandbox::status::Status;

/// What a client sees of a request that fails.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A refusal.
    Status(Box<Status>),
    /// A broken connection.
    Reset,
}

impl Answer {
    /// Returns what the cluster's own actors see of it.
    pub fn status(self) -> Status {
        match self {
            Answer::Status(status) => *status,
            Answer::Reset => Status::unknown("connection reset by a fault on request"),
        }
    }
}

/// Returns the refusal with a status.
pub fn refusal(fault: &Fault, code: u16) -> Status {
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
