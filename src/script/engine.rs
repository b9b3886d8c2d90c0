//! The engine: limits that hold inside callbacks too, and an interrupt that ends any loop.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use rhai::{Dynamic, Engine, OptimizationLevel};
use tokio_util::sync::CancellationToken;

use super::{ScriptResult, Sources, duration, error, resolver, throw};
use crate::diagnostic::{Diagnostic, Kind};

/// Stack that a thread needs to run script code: the deepest call of a debug build fits four times over.
pub const STACK_SIZE: usize = 32 << 20;

/// How often the memory in use is looked at, in operations.
const MEMORY_EVERY: u64 = 1 << 11;

/// What a script may use up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Operations of one run, those in closures included.
    pub operations: u64,
    /// Nested function calls.
    pub depth: usize,
    /// Bytes that the process may grow by while the script runs; looked at where the system tells (Linux).
    pub memory: u64,
    /// Characters of one string.
    pub string: usize,
    /// Elements of one array, those of arrays within it included.
    pub array: usize,
    /// Entries of one map, those of maps within it included.
    pub map: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            operations: 1_000_000_000,
            depth: 64,
            memory: 4 << 30,
            string: 256 << 20,
            array: 10_000_000,
            map: 10_000_000,
        }
    }
}

/// Ends a running script from outside: loops at the next operation, waits through [`Interrupt::token`].
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    set: AtomicBool,
    heard: AtomicU64,
    token: Mutex<CancellationToken>,
    urgent: Mutex<CancellationToken>,
    operations: AtomicU64,
    resident: AtomicU64,
}

impl Interrupt {
    /// Returns an interrupt that nobody has triggered.
    pub fn new() -> Interrupt {
        Interrupt::default()
    }

    /// Stops the script; the second time, also what it leaves time for: writes under way, closings, a last look.
    pub fn trigger(&self) {
        if self.0.heard.fetch_add(1, Ordering::SeqCst) > 0 {
            self.urgency().cancel();
        }
        self.0.set.store(true, Ordering::SeqCst);
        self.token().cancel();
    }

    /// Returns whether it was triggered a second time: everything ends at once.
    pub fn is_urgent(&self) -> bool {
        self.urgency().is_cancelled()
    }

    /// Returns the token that a second trigger cancels.
    pub fn urgency(&self) -> CancellationToken {
        self.0.urgent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether it was triggered.
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Relaxed)
    }

    /// Returns the token that waits watch; it is a new one after [`Interrupt::reset`].
    pub fn token(&self) -> CancellationToken {
        self.0.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes ready for the next run on the same engine: nothing triggered, nothing counted.
    pub fn reset(&self) {
        self.0.heard.store(0, Ordering::SeqCst);
        *self.0.urgent.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
        self.calm();
    }

    /// Lets what belongs to a script's end run after an interrupt; a second one still counts as the second.
    pub fn calm(&self) {
        *self.0.token.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
        self.0.operations.store(0, Ordering::SeqCst);
        self.0.resident.store(0, Ordering::SeqCst);
        self.0.set.store(false, Ordering::SeqCst);
    }

    /// Returns the operations counted since the start or the last reset.
    pub fn operations(&self) -> u64 {
        self.0.operations.load(Ordering::Relaxed)
    }

    /// Counts one operation; returns why the script has to end.
    fn tick(&self, limits: &Limits) -> Option<Dynamic> {
        if self.is_set() {
            return Some(error::interrupt_token());
        }
        let count = self.0.operations.fetch_add(1, Ordering::Relaxed);
        if count >= limits.operations {
            return Some(error::limit_token(&format!("the script ran for more than {} operations", limits.operations)));
        }
        if count.is_multiple_of(MEMORY_EVERY) {
            return self.look_at_memory(limits);
        }
        None
    }

    fn look_at_memory(&self, limits: &Limits) -> Option<Dynamic> {
        let now = resident_bytes()?;
        let at_start = self.0.resident.load(Ordering::Relaxed);
        if at_start == 0 {
            self.0.resident.store(now, Ordering::Relaxed);
            return None;
        }
        let grown = now.saturating_sub(at_start);
        (grown > limits.memory)
            .then(|| error::limit_token(&format!("the script uses more than {} MiB of memory", limits.memory >> 20)))
    }
}

/// Returns the memory in use by this process, where the system tells.
fn resident_bytes() -> Option<u64> {
    const PAGE: u64 = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    text.split_whitespace().nth(1)?.parse::<u64>().ok().map(|pages| pages * PAGE)
}

/// Returns an engine with nothing but Rhai's own packages, under `limits`. `print` and `debug` say nothing until the
/// caller sets [`Engine::on_print`] and [`Engine::on_debug`].
pub fn engine(limits: &Limits, interrupt: &Interrupt, sources: &Sources) -> Engine {
    let mut engine = Engine::new();
    // The other levels panic on an assignment to a constant's field, and hide undefined names.
    engine.set_optimization_level(OptimizationLevel::None);
    // Explicit, since the defaults of debug builds refuse ordinary code.
    engine.set_max_call_levels(limits.depth);
    engine.set_max_expr_depths(128, 64);
    engine.set_max_string_size(limits.string);
    engine.set_max_array_size(limits.array);
    engine.set_max_map_size(limits.map);
    engine.set_max_variables(10_000);
    engine.set_max_functions(10_000);
    engine.set_max_modules(1_000);
    // With `eval`, nothing could be said of a script before it runs.
    engine.disable_symbol("eval");
    engine.on_print(|_| {});
    engine.on_debug(|_, _, _| {});
    // Not `set_max_operations`: that counter is not carried into callbacks.
    let (limits, interrupt) = (limits.clone(), interrupt.clone());
    engine.on_progress(move |_| interrupt.tick(&limits));
    engine.set_module_resolver(resolver::Resolver::new(sources));
    // Rhai's own block the thread, deaf to interrupts.
    engine.register_fn("sleep", |seconds: i64| -> ScriptResult<()> { Err(throw(duration::unitless(&seconds))) });
    engine.register_fn("sleep", |seconds: f64| -> ScriptResult<()> { Err(throw(duration::unitless(&seconds))) });
    engine
}

thread_local! {
    /// Whether a panic on this thread is turned into a diagnostic, and where the last one happened.
    static CONTAINED: RefCell<(usize, Option<String>)> = const { RefCell::new((0, None)) };
}

/// Runs `work` and turns a panic into a diagnostic, which alone is shown.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, Diagnostic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let contained = CONTAINED.with_borrow_mut(|(depth, place)| {
                *place = panic.location().map(ToString::to_string);
                *depth > 0
            });
            if !contained {
                others(panic);
            }
        }));
    });
    CONTAINED.with_borrow_mut(|(depth, _)| *depth += 1);
    let result = catch_unwind(AssertUnwindSafe(work));
    let place = CONTAINED.with_borrow_mut(|(depth, place)| {
        *depth -= 1;
        place.take()
    });
    result.map_err(|payload| {
        let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
        Diagnostic::new(Kind::Internal, "okgscript itself failed")
            .why(format!("{}{place}", panic_text(payload.as_ref())))
            .help("this is a fault of okgscript: please report it with the script that led here")
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}
