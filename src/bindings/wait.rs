//! Waiting: for a condition over watched collections, for time, for a call that succeeds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rhai::{Dynamic, Engine, FnPtr, Map, NativeCallContext};

use super::binding::{Binding, Bindings, Key, key, param};
use super::filter::Filter;
use super::gs::{game_servers, reading};
use super::host::{Host, ScriptResult, host, with_reads};
use super::options::Options;
use super::property::TypeRecord;
use super::reads::{Reads, SetView, read_view};
use super::stage::Event;
use super::values::GameServers;
use crate::diagnostic::{Diagnostic, Kind};
use crate::script::{diagnose, duration, is_interrupt, kind_of, throw};

/// How often a condition that reads nothing watchable is evaluated.
const EVERY: Duration = Duration::from_secs(2);

/// How often a condition is evaluated although nothing that it reads has changed: it may read the time as well. That
/// costs no request.
const ANYWAY: Duration = Duration::from_secs(10);

/// How long after an error that may pass a condition is evaluated again.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// The family of this file.
pub fn bindings() -> Bindings {
    Bindings::new("wait", "Waits and repeats: driven by watches, ended at once by Ctrl-C.")
        .bind(&WAIT_UNTIL, wait_until)
        .bind(&GS_WAIT, |ctx: NativeCallContext, gss: &str, filter: Map, count: i64, timeout: &str| {
            gs_wait(&ctx, gss, &filter, count, timeout, &Map::new())
        })
        .bind(&GS_WAIT, |ctx: NativeCallContext, gss: &str, filter: Map, count: i64, timeout: &str, opts: Map| {
            gs_wait(&ctx, gss, &filter, count, timeout, &opts)
        })
        .bind(&RETRY_BACKOFF, retry_backoff)
        .bind(&SLEEP, sleep)
        .bind(&DEADLINE, deadline)
}

const WAIT_KEYS: &[Key] = &[
    key("timeout", "duration", "longest wait; required"),
    key("stable_for", "duration", "the condition must hold for so long; default \"0s\""),
    key(
        "every",
        "duration",
        "evaluate again at least so often; default \"2s\" if the condition reads nothing that can be watched",
    ),
    key("what", "string", "what is waited for, for progress and messages"),
];

const WAIT_UNTIL: Binding = Binding {
    name: "wait_until",
    doc: "Waits until a condition is truthy, and returns its value. The collections that the condition reads are \
          watched: it is evaluated again when they change. A success is reported only after a fresh list.",
    params: &[
        param("opts", "map", "how to wait").keys(WAIT_KEYS),
        param("condition", "closure", "evaluated until it gives a truthy value: anything but `false` and `()`"),
    ],
    returns: "any",
    errors: &["timeout", "not-found", "forbidden"],
    access: reading::WATCH,
    example: r#"wait_until(#{ timeout: "1m" }, || gs_count("minecraft", #{ state: "Ready" }) == 3)"#,
};

const GS_WAIT_KEYS: &[Key] = &[
    key("stable_for", "duration", "so many rooms must be there for so long; default \"0s\""),
    key("fail_fast", "bool", "give up at once when a room is in a state that waiting will not heal; default false"),
];

const GS_WAIT: Binding = Binding {
    name: "gs_wait",
    doc: "Waits until at least `count` rooms match a filter, and returns them. When the time is over, the error names \
          each room that fails, the clause it fails, since when, and why.",
    params: &[
        param("gss", "string", "GameServerSet"),
        param("filter", "map", "as in `gs_select`").clauses(super::filter::FILTER_KEYS),
        param("count", "int", "how many rooms must match"),
        param("timeout", "duration", "longest wait"),
        param("opts", "map", "how to wait").keys(GS_WAIT_KEYS).optional(),
    ],
    returns: "GameServers",
    errors: &["timeout", "not-found", "forbidden", "failed"],
    access: reading::WATCH,
    example: r#"gs_wait("minecraft", #{ matchable: true }, 2, "1m").len == 2"#,
};

const RETRY_KEYS: &[Key] = &[
    key("initial", "duration", "first wait; default \"1s\""),
    key("factor", "float", "each wait is so many times the one before; default 2"),
    key("max", "duration", "longest single wait; default \"1m\""),
    key("jitter", "float", "part of each wait that is drawn by lot, 0 to 1; default 0"),
    key("limit", "int", "most attempts; default no limit, if there is a `timeout`"),
    key("timeout", "duration", "no attempt begins later; default no limit, if there is a `limit`"),
];

const RETRY_BACKOFF: Binding = Binding {
    name: "retry_backoff",
    doc: "Calls a closure until it gives a truthy value, and returns it. Tries again on `false`, `()` and on errors \
          that may pass (time-outs, 429, 5xx, conflicts), not on those that never heal. `Retry-After` is honoured; \
          each wait is shown.",
    params: &[
        param("opts", "map", "how often and how long").keys(RETRY_KEYS),
        param("attempt", "closure", "what is tried"),
    ],
    returns: "any",
    errors: &["timeout"],
    access: &[],
    example: r#"retry_backoff(#{ initial: "1s", limit: 3 }, || gs_count("minecraft") == 3)"#,
};

const SLEEP: Binding = Binding {
    name: "sleep",
    doc: "Waits for a time.",
    params: &[param("time", "duration", "how long")],
    returns: "()",
    errors: &["invalid"],
    access: &[],
    example: r#"sleep("2s"); true"#,
};

const DEADLINE: Binding = Binding {
    name: "deadline",
    doc: "Returns a moment so far from now: `over` says whether it has come, `left` is the time until then as a \
          duration that waits take.",
    params: &[param("time", "duration", "how long from now")],
    returns: "Deadline",
    errors: &["invalid"],
    access: &[],
    example: r#"let ends = deadline("10s"); sleep("4s"); ends.left == "6s" && !ends.over"#,
};

/// A moment in the run's future.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Timestamp);

/// Returns the record of [`Deadline`].
pub fn deadline_record() -> TypeRecord {
    TypeRecord {
        name: "Deadline",
        doc: "A moment that comes.",
        properties: vec![
            ("over", "bool", "whether it has come"),
            ("left", "string", "time until then, as a duration: \"1h30m\"; \"0s\" when it is over"),
        ],
    }
}

/// Makes [`Deadline`] known to an engine.
pub fn register_type(engine: &mut Engine) {
    engine.register_type_with_name::<Deadline>("Deadline");
    engine.register_get("over", |ctx: NativeCallContext, deadline: &mut Deadline| -> ScriptResult<bool> {
        Ok(host(&ctx)?.now() >= deadline.0)
    });
    engine.register_get("left", |ctx: NativeCallContext, deadline: &mut Deadline| -> ScriptResult<String> {
        let left = deadline.0.duration_since(host(&ctx)?.now());
        Ok(duration::exact(Duration::try_from(left).unwrap_or_default()))
    });
    engine.register_indexer_get(|_: &mut Deadline, key: &str| -> ScriptResult<Dynamic> {
        Err(throw(super::property::unknown("Deadline", key, ["over", "left"].into_iter())))
    });
    engine.register_fn("to_string", |deadline: &mut Deadline| deadline.0.to_string());
    engine.register_fn("to_debug", |deadline: &mut Deadline| deadline.0.to_string());
}

fn deadline(ctx: NativeCallContext, time: &str) -> ScriptResult<Deadline> {
    let time = duration::parse(time).map_err(throw)?;
    Ok(Deadline(host(&ctx)?.now().checked_add(signed(time)).unwrap_or(Timestamp::MAX)))
}

/// A wait that is about to begin.
pub struct Wait<'a> {
    /// The host.
    pub host: &'a Host,
    /// What is waited for.
    pub what: String,
    /// Longest wait.
    pub timeout: Duration,
    /// How long the condition must hold.
    pub stable_for: Duration,
    /// Evaluate again at least so often.
    pub every: Option<Duration>,
}

/// How a wait ended.
pub enum Ended<T> {
    /// The condition held.
    Held(T),
    /// The time is over; what kept the server from being watched, if anything did.
    TimedOut(Vec<String>),
    /// A plan takes it for granted.
    Assumed,
}

/// What an evaluation of a condition gave.
pub enum Seen<T> {
    /// It holds, with this value.
    Holds(T),
    /// It does not hold yet.
    NotYet,
}

impl Wait<'_> {
    /// Evaluates until the condition holds. `show` is called after each evaluation with the seconds waited so far.
    /// A plan evaluates once and does not wait.
    pub fn run<T>(
        &self,
        mut evaluate: impl FnMut() -> ScriptResult<Seen<T>>,
        mut show: impl FnMut(f64),
    ) -> ScriptResult<Ended<T>> {
        let host = self.host;
        if host.planning() {
            return Ok(match evaluate()? {
                Seen::Holds(value) => Ended::Held(value),
                Seen::NotYet => {
                    host.assume(&self.what);
                    Ended::Assumed
                }
            });
        }
        let reads = Arc::new(Reads::default());
        let begun = host.now();
        let deadline = begun.checked_add(signed(self.timeout)).unwrap_or(Timestamp::MAX);
        let mut held_since: Option<Timestamp> = None;
        let outcome = loop {
            let mut pause = self.every;
            match with_reads(&reads, &mut evaluate) {
                Ok(Seen::Holds(value)) => {
                    let now = host.now();
                    let since = *held_since.get_or_insert(now);
                    let left = signed(self.stable_for) - now.duration_since(since);
                    if left <= SignedDuration::ZERO {
                        // A watch can be silent: only a fresh list proves that it still holds.
                        match self.confirmed(&reads, &mut evaluate, value)? {
                            Some(value) => {
                                self.remember(&reads)?;
                                break Ended::Held(value);
                            }
                            None => held_since = None,
                        }
                    } else {
                        pause = Duration::try_from(left).ok();
                    }
                }
                Ok(Seen::NotYet) => held_since = None,
                Err(error) if kind_of(&error).passes() && !is_interrupt(&error) => {
                    held_since = None;
                    pause = Some(AFTER_ERROR);
                }
                Err(error) => return Err(error),
            }
            let now = host.now();
            show(now.duration_since(begun).as_secs_f64());
            if now >= deadline {
                let watched = reads.clone();
                break Ended::TimedOut(host.call(async move { Ok(watched.trouble().await) })?);
            }
            let left = Duration::try_from(deadline.duration_since(now)).unwrap_or_default();
            let waiting = reads.clone();
            host.call(async move {
                let pause = match pause {
                    Some(pause) => pause,
                    None if waiting.any().await => ANYWAY,
                    None => EVERY,
                };
                tokio::select! {
                    biased;
                    change = waiting.changed() => change,
                    () = tokio::time::sleep(pause.min(left)) => Ok(()),
                }
            })?;
        };
        host.show(Event::Waited);
        Ok(outcome)
    }

    /// Writes down at which resourceVersions the condition was seen to hold.
    fn remember(&self, reads: &Arc<Reads>) -> ScriptResult<()> {
        let Some(record) = &self.host.record else { return Ok(()) };
        let seen = reads.clone();
        let versions = self.host.call(async move { Ok(seen.versions().await) })?;
        record.waited(&self.what, &self.host.now().to_string(), &versions);
        Ok(())
    }

    fn confirmed<T>(
        &self,
        reads: &Arc<Reads>,
        evaluate: &mut impl FnMut() -> ScriptResult<Seen<T>>,
        value: T,
    ) -> ScriptResult<Option<T>> {
        let listing = reads.clone();
        let fresh = self.host.call(async move {
            if !listing.any().await {
                return Ok(false);
            }
            listing.refresh().await.map(|()| true)
        });
        match fresh {
            Ok(false) => Ok(Some(value)),
            Ok(true) => match with_reads(reads, evaluate)? {
                Seen::Holds(value) => Ok(Some(value)),
                Seen::NotYet => Ok(None),
            },
            Err(error) if kind_of(&error).passes() && !is_interrupt(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Returns whether a value ends a wait.
fn truthy(value: &Dynamic) -> bool {
    !value.is_unit() && value.as_bool().unwrap_or(true)
}

fn wait_until(ctx: NativeCallContext, opts: Map, condition: FnPtr) -> ScriptResult<Dynamic> {
    let host = host(&ctx)?;
    let opts = Options::read("wait_until", &opts, WAIT_KEYS)?;
    let wait = Wait {
        host: &host,
        what: opts.text("what")?.unwrap_or_else(|| "the condition".to_owned()),
        timeout: opts.required_duration("timeout")?,
        stable_for: opts.duration("stable_for")?.unwrap_or_default(),
        every: opts.duration("every")?,
    };
    let mut last = Dynamic::UNIT;
    let mut evaluations = 0u64;
    let result = wait.run(
        || {
            evaluations += 1;
            let value: Dynamic = condition.call_within_context(&ctx, ())?;
            last = value.clone();
            Ok(if truthy(&value) { Seen::Holds(value) } else { Seen::NotYet })
        },
        |seconds| {
            host.show(Event::Waiting { text: wait.what.clone(), have: None, want: None, slowest: None, seconds });
        },
    )?;
    let timed_out = |trouble: Vec<String>| {
        let what = format!("{} did not hold within {}", wait.what, duration::exact(wait.timeout));
        let diagnostic = Diagnostic::new(Kind::Timeout, what)
            .why(format!("it was evaluated {evaluations} times and gave `{last}` last"))
            .help("raise `timeout`, or look at what the condition reads");
        throw(trouble.into_iter().fold(diagnostic, Diagnostic::why))
    };
    match result {
        Ended::Held(value) => Ok(value),
        Ended::Assumed => Ok(Dynamic::TRUE),
        Ended::TimedOut(trouble) => Err(timed_out(trouble)),
    }
}

/// What a room lacks and since when.
struct Lack {
    state: String,
    text: String,
    since: Timestamp,
}

fn gs_wait(
    ctx: &NativeCallContext,
    gss: &str,
    filter: &Map,
    count: i64,
    timeout: &str,
    opts: &Map,
) -> ScriptResult<GameServers> {
    let host = host(ctx)?;
    let opts = Options::read("gs_wait", opts, GS_WAIT_KEYS)?;
    let filter = Filter::parse("gs_wait", filter, &host.custom_ops_states()).map_err(throw)?;
    let fail_fast = opts.flag("fail_fast")?.unwrap_or(false);
    let wait = Wait {
        host: &host,
        what: format!("{count} rooms of {gss} {}", filter.text()),
        timeout: duration::parse(timeout).map_err(throw)?,
        stable_for: opts.duration("stable_for")?.unwrap_or_default(),
        every: None,
    };
    let wanted = usize::try_from(count).unwrap_or(0);
    let lacks: std::cell::RefCell<BTreeMap<String, Lack>> = std::cell::RefCell::default();
    let seen: std::cell::RefCell<Option<SetView>> = std::cell::RefCell::default();
    let matching = std::cell::Cell::new(0usize);
    let result = wait.run(
        || {
            let view = read_view(&host, gss)?;
            let now = host.now();
            let containers = super::filter::containers_of(&view.rooms);
            filter.check_containers("gs_wait", &containers).map_err(throw)?;
            let rooms: Vec<_> = view.rooms.iter().filter(|room| filter.matches(room, now)).cloned().collect();
            matching.set(rooms.len());
            note_lacks(&mut lacks.borrow_mut(), &view, &filter, now);
            if fail_fast && rooms.len() < wanted {
                stop_if_hopeless(gss, &view, &filter, now)?;
            }
            let found = game_servers(&host, gss, rooms);
            *seen.borrow_mut() = Some(view);
            Ok(if found.rooms.len() >= wanted { Seen::Holds(found) } else { Seen::NotYet })
        },
        |seconds| {
            let now = host.now();
            let lacks = lacks.borrow();
            let slowest = lacks.iter().min_by_key(|(_, lack)| lack.since);
            let slowest = slowest.map(|(name, lack)| format!("{name} {} {}", lack.state, passed(lack.since, now)));
            host.show(Event::Waiting {
                text: wait.what.clone(),
                have: Some(matching.get() as u64),
                want: Some(wanted as u64),
                slowest,
                seconds,
            });
        },
    )?;
    let trouble = match result {
        Ended::Held(found) => return Ok(found),
        Ended::Assumed => return Ok(game_servers(&host, gss, Vec::new())),
        Ended::TimedOut(trouble) => trouble,
    };
    let namespace = host.cluster()?.namespace().to_owned();
    let what = format!(
        "{} of {wanted} rooms of `{namespace}/{gss}` matched {} after {}",
        matching.get(),
        filter.text(),
        duration::exact(wait.timeout)
    );
    let mut diagnostic = trouble.into_iter().fold(Diagnostic::new(Kind::Timeout, what), Diagnostic::why);
    let now = host.now();
    let lacks = lacks.into_inner();
    for (name, lack) in lacks.iter().take(20) {
        diagnostic = diagnostic.why(format!("{name} {} for {}", lack.text, passed(lack.since, now)));
    }
    if lacks.len() > 20 {
        diagnostic = diagnostic.why(format!("and {} more rooms", lacks.len() - 20));
    }
    if let Some(view) = seen.into_inner() {
        diagnostic = explain_missing(diagnostic, &view, matching.get() + lacks.len(), wanted);
    }
    let rooms: Vec<&str> = lacks.keys().map(String::as_str).collect();
    Err(throw(diagnostic.with("rooms", rooms)))
}

/// Notes what each room that the filter is about still lacks; a lack that lasts keeps its beginning.
fn note_lacks(lacks: &mut BTreeMap<String, Lack>, view: &SetView, filter: &Filter, now: Timestamp) {
    let mut present = BTreeMap::new();
    for room in view.rooms.iter().filter(|room| filter.concerns(room, now) && !filter.matches(room, now)) {
        let state = room.server.state();
        let state = if state.is_empty() { "without state" } else { state };
        let mut text = match room.reason() {
            Some(reason) if state == "Ready" => reason,
            Some(reason) => format!("{state} ({reason})"),
            None if state == "Ready" && !room.matchable() => room.server.ops_state().to_owned(),
            None => state.to_owned(),
        };
        let state = text.clone();
        let failing = filter.failing(room, now);
        if !failing.is_empty() {
            text = format!("{text}, fails {}", failing.join("; "));
        }
        let begun = match room.server.state() {
            "Creating" | "" => room.server.metadata.creation_timestamp.unwrap_or(now),
            _ => now,
        };
        let since = lacks.get(room.name()).filter(|lack| lack.text == text).map_or(begun, |lack| lack.since);
        present.insert(room.name().to_owned(), Lack { state, text, since });
    }
    *lacks = present;
}

fn explain_missing(diagnostic: Diagnostic, view: &SetView, concerned: usize, wanted: usize) -> Diagnostic {
    if !view.set.observed() {
        return diagnostic.why(format!(
            "OKG has not taken the set over: observedGeneration {} of {}",
            view.set.observed_generation(),
            view.set.metadata.generation
        ));
    }
    if concerned < wanted {
        return diagnostic.why(format!(
            "only {concerned} rooms are of that kind; the set has replicas {}, {} GameServers, {} pods",
            view.set.replicas(),
            view.rooms.len(),
            view.pods.len()
        ));
    }
    diagnostic
}

fn stop_if_hopeless(gss: &str, view: &SetView, filter: &Filter, now: Timestamp) -> ScriptResult<()> {
    for room in view.rooms.iter().filter(|room| filter.concerns(room, now)) {
        let trouble = room.pod.as_ref().and_then(|pod| pod.trouble()).filter(|trouble| trouble.hopeless());
        if let Some(trouble) = trouble {
            let what = format!("room `{}` of `{gss}` will not become what is waited for", room.name());
            let help = "correct the cause and run again; `fail_fast: false` waits on";
            return Err(throw(Diagnostic::new(Kind::Failed, what).why(trouble.to_string()).help(help)));
        }
    }
    Ok(())
}

fn passed(since: Timestamp, now: Timestamp) -> String {
    duration::format(Duration::try_from(now.duration_since(since)).unwrap_or_default())
}

fn retry_backoff(ctx: NativeCallContext, opts: Map, attempt: FnPtr) -> ScriptResult<Dynamic> {
    let host = host(&ctx)?;
    let opts = Options::read("retry_backoff", &opts, RETRY_KEYS)?;
    let (limit, timeout) = (opts.count("limit")?, opts.duration("timeout")?);
    if limit.is_none() && timeout.is_none() {
        let what = "retry_backoff needs a `limit` or a `timeout`";
        return Err(throw(
            Diagnostic::new(Kind::WrongArguments, what)
                .why("without one it would go on for ever")
                .help("retry_backoff(#{ limit: 10, timeout: \"10m\" }, || …)"),
        ));
    }
    let mut pauses = Pauses::new(&opts, &host)?;
    let begun = host.now();
    let deadline = timeout.map(|timeout| begun.checked_add(signed(timeout)).unwrap_or(Timestamp::MAX));
    let mut tried = 0u64;
    loop {
        tried += 1;
        let (reason, asked) = match attempt.call_within_context::<Dynamic>(&ctx, ()) {
            Ok(value) if truthy(&value) => return Ok(value),
            Ok(value) => (format!("it gave `{value}`"), None),
            Err(error) if is_interrupt(&error) || !kind_of(&error).passes() => return Err(error),
            Err(error) => {
                let diagnostic = diagnose(error, &host.sources, "");
                let asked = diagnostic.data.get("retry_after_seconds").and_then(serde_json::Value::as_u64);
                (diagnostic.what.clone(), asked.map(Duration::from_secs))
            }
        };
        let pause = pauses.next().max(asked.unwrap_or_default());
        let next = host.now().checked_add(signed(pause)).unwrap_or(Timestamp::MAX);
        if host.planning() {
            host.assume("a call that is tried again succeeds");
            return Ok(Dynamic::UNIT);
        }
        let over = limit.is_some_and(|limit| tried >= limit) || deadline.is_some_and(|deadline| next > deadline);
        if over {
            let spent = host.now().duration_since(begun);
            let spent = duration::format(Duration::try_from(spent).unwrap_or_default());
            let what = format!("gave up after {tried} attempts in {spent}");
            return Err(throw(
                Diagnostic::new(Kind::Timeout, what)
                    .why(format!("the last attempt: {reason}"))
                    .help("raise `limit` or `timeout`, or mend the cause")
                    .with("attempts", tried),
            ));
        }
        host.show(Event::Retrying { attempt: tried + 1, seconds: pause.as_secs_f64(), reason });
        host.call(async move {
            tokio::time::sleep(pause).await;
            Ok(())
        })?;
    }
}

/// The waits between attempts.
struct Pauses(Box<dyn Iterator<Item = Duration>>, Duration, f64, fastrand::Rng);

impl Pauses {
    fn new(opts: &Options, host: &Host) -> ScriptResult<Pauses> {
        let initial = opts.duration("initial")?.unwrap_or(Duration::from_secs(1));
        let longest = opts.duration("max")?.unwrap_or(Duration::from_secs(60)).max(initial);
        let factor = opts.number("factor")?.unwrap_or(2.0);
        let jitter = opts.number("jitter")?.unwrap_or(0.0);
        if !(1.0..=1000.0).contains(&factor) {
            return Err(throw(Diagnostic::new(Kind::Invalid, format!("`factor` is {factor}; it must be 1 or more"))));
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(throw(Diagnostic::new(Kind::Invalid, format!("`jitter` is {jitter}; it must be 0 to 1"))));
        }
        let waits = backon::ExponentialBuilder::new()
            .with_min_delay(initial)
            .with_max_delay(longest)
            .with_factor(factor as f32)
            .without_max_times();
        let waits = backon::BackoffBuilder::build(waits);
        Ok(Pauses(Box::new(waits), longest, jitter, host.rng("retry_backoff")))
    }

    fn next(&mut self) -> Duration {
        let pause = self.0.next().unwrap_or(self.1).min(self.1);
        pause.mul_f64(1.0 - self.2 * self.3.f64())
    }
}

fn sleep(ctx: NativeCallContext, time: &str) -> ScriptResult<()> {
    let pause = duration::parse(time).map_err(throw)?;
    let host = host(&ctx)?;
    if host.planning() {
        host.assume(&format!("{} pass", duration::exact(pause)));
        return Ok(());
    }
    let text = format!("sleeping {}", duration::exact(pause));
    host.show(Event::Waiting { text, have: None, want: None, slowest: None, seconds: 0.0 });
    host.call(async move {
        tokio::time::sleep(pause).await;
        Ok(())
    })?;
    host.show(Event::Waited);
    Ok(())
}
