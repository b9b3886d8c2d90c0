//! What goes on in containers, as far as the scenario says it: no container runs.
//!
//! Commands get the answer that the scenario declares for them; logs are the lines that it gives to a container, read
//! off its start and the clock, so that nothing is stored.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::faults::fits;
use super::object;

/// Everything that the scenario says of containers.
#[derive(Clone, Debug, Default)]
pub struct Containers {
    /// What commands answer; the first that fits counts.
    pub commands: Vec<Command>,
    /// What containers write; all that fit count.
    pub logs: Vec<Log>,
}

/// Which containers are meant; `*` stands for any text.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Pattern of the namespace; any if none.
    pub namespace: Option<String>,
    /// Pattern of the pod's name; any if none.
    pub pod: Option<String>,
    /// Pattern of the container's name; any if none.
    pub container: Option<String>,
}

/// What a command answers.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// Where.
    pub place: Place,
    /// Pattern of the words, joined by blanks; any command if none.
    pub words: Option<String>,
    /// What it writes to its output, with the places that [`fill`] knows.
    pub stdout: String,
    /// What it writes to its error output.
    pub stderr: String,
    /// How it ends.
    pub exit_code: u8,
    /// How long it takes.
    pub takes: Duration,
}

/// What a container writes.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Where.
    pub place: Place,
    /// Lines that come when it starts.
    pub lines: Vec<String>,
    /// Lines that come again and again, and after how long each time.
    pub again: Option<(Duration, Vec<String>)>,
}

/// A container of a pod.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// The pod.
    pub pod: &'a Value,
    /// The container's name.
    pub name: &'a str,
}

/// A line of a log, and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What, without the line break.
    pub text: String,
}

impl Place {
    fn fits(&self, container: &Container<'_>) -> bool {
        let fits = |pattern: &Option<String>, text: &str| pattern.as_deref().is_none_or(|pattern| fits(pattern, text));
        fits(&self.namespace, object::namespace(container.pod))
            && fits(&self.pod, object::name(container.pod))
            && fits(&self.container, container.name)
    }
}

impl Container<'_> {
    /// Returns the container's status, if its kubelet has told one.
    pub fn status(&self) -> Option<&Value> {
        let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
        let mut statuses = lists.iter().flat_map(|list| self.pod["status"][*list].as_array().into_iter().flatten());
        statuses.find(|status| status["name"] == self.name)
    }

    /// Returns whether it runs.
    pub fn runs(&self) -> bool {
        self.status().is_some_and(|status| status["state"]["running"].is_object())
    }

    /// Returns from when to when it ran, if it ever did; no end while it runs.
    fn times(&self) -> Option<(Timestamp, Option<Timestamp>)> {
        let state = &self.status()?["state"];
        let time = |state: &Value, field: &str| state[field].as_str().and_then(|text| text.parse().ok());
        match time(&state["running"], "startedAt") {
            Some(start) => Some((start, None)),
            None => Some((time(&state["terminated"], "startedAt")?, time(&state["terminated"], "finishedAt"))),
        }
    }
}

impl Containers {
    /// Returns what a command answers in a container.
    pub fn answer(&self, container: &Container<'_>, words: &[String]) -> Option<&Command> {
        let line = words.join(" ");
        self.commands.iter().find(|command| {
            command.place.fits(container) && command.words.as_deref().is_none_or(|pattern| fits(pattern, &line))
        })
    }

    /// Returns what a container has written up to now, oldest first.
    pub fn log(&self, container: &Container<'_>, now: Timestamp) -> Vec<Line> {
        let Some((start, end)) = container.times() else { return Vec::new() };
        let end = end.unwrap_or(now).min(now);
        let mut lines = Vec::new();
        for log in self.logs.iter().filter(|log| log.place.fits(container)) {
            let mut write = |at: Timestamp, texts: &[String], turn: u64| {
                lines.extend(texts.iter().map(|text| Line { at, text: fill(text, container, &turn.to_string(), "") }));
            };
            write(start, &log.lines, 0);
            let Some((pause, texts)) = &log.again else { continue };
            let Ok(pause) = SignedDuration::try_from(*pause) else { continue };
            let mut at = start;
            for turn in 1.. {
                match at.checked_add(pause) {
                    Ok(next) if next <= end && next > at => at = next,
                    _ => break,
                }
                write(at, texts, turn);
            }
        }
        lines.sort_by_key(|line| line.at);
        lines
    }
}

/// Puts values into a text: `$(POD)`, `$(NAMESPACE)`, `$(CONTAINER)`, `$(N)` and `$(STDIN)`.
pub fn fill(text: &str, container: &Container<'_>, n: &str, stdin: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once("$(") {
        out.push_str(head);
        let known = tail.split_once(')').and_then(|(name, after)| {
            let value = match name {
                "POD" => object::name(container.pod),
                "NAMESPACE" => object::namespace(container.pod),
                "CONTAINER" => container.name,
                "N" => n,
                "STDIN" => stdin,
                _ => return None,
            };
            Some((value, after))
        });
        match known {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push_str("$(");
                rest = tail;
            }
        }
    }
    out + rest
}
