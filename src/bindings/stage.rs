//! What a run tells while it goes on; `cli` draws it.

use serde::Serialize;
use serde_json::Value;

/// Something that the user may want to see.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The run begins: what is about to happen, where.
    Begun {
        /// Script.
        script: String,
        /// Namespace and context.
        place: String,
        /// Run id.
        run: String,
    },
    /// A step begins.
    StepBegan {
        /// Name of the step.
        name: String,
    },
    /// A step ended.
    StepEnded {
        /// Name of the step.
        name: String,
        /// Whether it succeeded.
        ok: bool,
        /// What it did, in one line; empty if there is nothing to say.
        summary: String,
        /// Duration on the run's clock, in seconds.
        seconds: f64,
    },
    /// A step that an earlier part of the run has finished: its value is remembered.
    StepRemembered {
        /// Name of the step.
        name: String,
        /// What it did, in one line; empty if there is nothing to say.
        summary: String,
    },
    /// A note within a step.
    Note {
        /// The text.
        text: String,
    },
    /// A warning.
    Warning {
        /// The text.
        text: String,
    },
    /// A wait goes on.
    Waiting {
        /// What is waited for.
        text: String,
        /// How many there are.
        have: Option<u64>,
        /// How many are wanted.
        want: Option<u64>,
        /// What is slowest, and since when.
        slowest: Option<String>,
        /// Time waited so far, in seconds.
        seconds: f64,
    },
    /// A wait is over, however it ended.
    Waited,
    /// A call is tried again after a wait.
    Retrying {
        /// Which attempt comes next, from 2.
        attempt: u64,
        /// Wait before it, in seconds.
        seconds: f64,
        /// Why the last one did not do.
        reason: String,
    },
    /// A line for the script's own log.
    Log {
        /// The text.
        text: String,
    },
    /// A result, for stdout.
    Output {
        /// As text.
        text: String,
        /// As data, where the caller asked for JSON or YAML.
        value: Value,
    },
    /// A request is over, however it ended.
    Request {
        /// HTTP method.
        method: String,
        /// Path with parameters.
        path: String,
        /// HTTP status of the answer, if there was one.
        status: Option<u16>,
        /// What became of it: `answered`, `cut`, `failed`, `unknown`.
        outcome: &'static str,
        /// Time it took, in seconds.
        seconds: f64,
        /// Bytes sent and received.
        bytes: u64,
    },
    /// A custom event of the script.
    Custom {
        /// Name.
        name: String,
        /// Data.
        data: Value,
    },
}

/// What a person is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is about to happen.
    pub what: String,
    /// The run.
    pub run: String,
    /// What the run has written so far, in a few words each.
    pub done: Vec<String>,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Yes {
        /// Who said so.
        by: String,
        /// How.
        how: &'static str,
    },
    /// No, or anything else.
    No {
        /// Who said so.
        by: String,
    },
    /// There is nobody to ask.
    Nobody,
    /// A signal came first.
    Interrupted,
}

/// Where events go, and where people are.
pub trait Stage: Send + Sync {
    /// Shows one event.
    fn show(&self, event: &Event);

    /// Asks a person for a yes, until `stop` says that it is too late.
    fn ask(&self, _question: &Question, _stop: &dyn Fn() -> bool) -> Answer {
        Answer::Nobody
    }
}
