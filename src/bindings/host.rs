//! What every host function stands on: the cluster, the one way to wait, the ledger of what was done.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use rhai::{EvalAltResult, FnPtr, NativeCallContext};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::binding::{Rule, rule};
use super::ledger::{Ledger, Note};
use super::reads::Reads;
use super::record::Record;
use super::stage::{Event, Stage};
use super::steps::Scope;
use crate::clock::Clock;
use crate::cluster::{Change, Cluster, Connect, Lock, LockRequest, Outcome, Overlay};
use crate::diagnostic::{Diagnostic, Kind};
use crate::script::{Interrupt, STACK_SIZE, Sources, interrupted, throw};

/// What a host function returns.
pub type ScriptResult<T> = Result<T, Box<EvalAltResult>>;

/// How long nothing may happen on a simulated cluster before a wait without a deadline of its own is given up.
const HORIZON: Duration = Duration::from_secs(7 * 24 * 3600);

/// The right to keep a second release out.
pub const LOCK: Rule = rule("coordination.k8s.io", "leases", &["get", "create", "update"]).comfort();

/// How long a write that was sent may take to become known after an interrupt.
const GRACE_FOR_WRITES: Duration = Duration::from_secs(5);

/// A boxed piece of work that a branch of `parallel` hands to the thread that owns the runtime.
type Errand = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    static BATON: RefCell<Option<Arc<Branch>>> = const { RefCell::new(None) };
    static READS: RefCell<Option<Arc<Reads>>> = const { RefCell::new(None) };
}

/// A branch of `parallel` on a simulated cluster: one thread runs at a time, and the clock moves only when all wait.
pub struct Branch {
    ask: Mutex<mpsc::Sender<Option<Errand>>>,
    go: Mutex<mpsc::Receiver<()>>,
}

/// Where the cluster comes from.
pub enum Source {
    /// Connected already: the embedded one.
    Ready(Cluster),
    /// Connected at the first call that needs it.
    Lazy(Connect),
}

/// Closures that run when the script has ended.
#[derive(Default)]
pub struct Closings {
    /// Run always, last declared first.
    pub finally: Vec<FnPtr>,
    /// Run when the script failed, last declared first.
    pub on_failure: Vec<FnPtr>,
}

/// Everything that host functions share during one run: what it is made of, and what has come of it so far.
pub struct Host {
    parts: Parts,
    planned: OnceLock<(Cluster, Overlay)>,
    confined: OnceLock<Cluster>,
    locks: Mutex<BTreeMap<String, Option<Lock>>>,
    connected: OnceLock<Cluster>,
    ledger: Mutex<Ledger>,
    closings: Mutex<Closings>,
    ops_states: Mutex<BTreeSet<String>>,
}

impl std::ops::Deref for Host {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// The host as the engine carries it.
#[derive(Clone)]
pub struct HostRef(pub Arc<Host>);

/// Returns the host of a call.
pub fn host(ctx: &NativeCallContext) -> ScriptResult<Arc<Host>> {
    let host = ctx.tag().and_then(|tag| tag.read_lock::<HostRef>().map(|host| host.0.clone()));
    host.ok_or_else(|| throw(Diagnostic::new(Kind::Internal, "the engine runs without its host")))
}

/// Locks a mutex; a panic elsewhere does not make what was written before worthless.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a host is made of.
pub struct Parts {
    /// The one clock.
    pub clock: Clock,
    /// Set by Ctrl-C.
    pub interrupt: Interrupt,
    /// Source texts, for positions.
    pub sources: Sources,
    /// Where progress and output go.
    pub stage: Arc<dyn Stage>,
    /// Values of the script's parameters.
    pub params: BTreeMap<String, Value>,
    /// Name of this run, used in values that are private to it.
    pub run: String,
    /// The run's journal, if it has one.
    pub record: Option<Record>,
    /// Where all chance comes from: one seed, one run.
    pub seed: u64,
    /// Whether the run keeps others from releasing the sets that it writes.
    pub exclusive: bool,
    /// Whether writes are only planned: they are answered here, and nothing that changes anything is sent.
    pub plan: bool,
    /// Runtime that drives all waits.
    pub runtime: Arc<Runtime>,
    /// Where the cluster comes from.
    pub source: Source,
}

impl Host {
    /// Returns a host for one run.
    pub fn new(parts: Parts) -> Arc<Host> {
        if let Source::Ready(cluster) = &parts.source {
            tell_requests(cluster, &parts.stage);
            // An embedded cluster ends with its run, so there is no earlier part that could disagree.
            let _ = parts.record.as_ref().map(|record| record.follow(cluster));
        }
        let ledger = parts.record.as_ref().map(|record| record.past().ledger.clone()).unwrap_or_default();
        Arc::new(Host {
            parts,
            planned: OnceLock::new(),
            confined: OnceLock::new(),
            locks: Mutex::default(),
            connected: OnceLock::new(),
            ledger: Mutex::new(ledger),
            closings: Mutex::default(),
            ops_states: Mutex::default(),
        })
    }

    /// Returns the cluster, connecting to it if this is the first call. In a plan it shows the planned writes.
    pub fn cluster(&self) -> ScriptResult<Cluster> {
        let laid_over = self.planned.get().map(|(planned, _)| planned).or_else(|| self.confined.get());
        if let Some(laid_over) = laid_over {
            return Ok(laid_over.clone());
        }
        let cluster = self.connected()?;
        if !self.plan {
            return Ok(cluster);
        }
        let _inside = self.runtime.enter();
        Ok(self.planned.get_or_init(|| cluster.plan()).0.clone())
    }

    /// Returns whether writes are only planned.
    pub fn planning(&self) -> bool {
        self.plan
    }

    /// Returns what the plan would change, object by object.
    pub fn planned(&self) -> Vec<Change> {
        self.planned.get().map(|(_, overlay)| overlay.changes()).unwrap_or_default()
    }

    /// Supposes something of every object that the plan reads: what would it do then?
    pub fn suppose(&self, suppose: impl Fn(&mut Value) + Send + Sync + 'static) -> ScriptResult<()> {
        self.cluster()?;
        if let Some((_, overlay)) = self.planned.get() {
            overlay.suppose(suppose);
        }
        Ok(())
    }

    /// Sends every request through this cluster from now on, which lets only some writes pass.
    pub fn confine(&self, confined: Cluster) {
        let _ = self.confined.set(confined);
    }

    /// Notes what a plan takes for granted.
    pub fn assume(&self, what: &str) {
        self.show(Event::Note { text: format!("assumed: {what}") });
        let mut ledger = self.ledger();
        if !ledger.assumptions.iter().any(|known| known == what) {
            ledger.assumptions.push(what.to_owned());
        }
    }

    fn connected(&self) -> ScriptResult<Cluster> {
        match &self.source {
            Source::Ready(cluster) => Ok(cluster.clone()),
            Source::Lazy(options) => {
                if let Some(cluster) = self.connected.get() {
                    return Ok(cluster.clone());
                }
                let (options, clock) = (options.clone(), self.clock);
                let cluster = self.call(async move { Cluster::connect(&options, clock).await })?;
                let mut moved = None;
                let connect = || {
                    moved = self.record.as_ref().and_then(|record| record.follow(&cluster).err());
                    if let Some(moved) = moved.clone() {
                        cluster.gate().close_with(moved);
                    }
                    tell_requests(&cluster, &self.stage);
                    cluster
                };
                let cluster = self.connected.get_or_init(connect).clone();
                moved.map_or(Ok(cluster), |moved| Err(throw(moved)))
            }
        }
    }

    /// Returns the cluster if a call has needed it already.
    pub fn known_cluster(&self) -> Option<&Cluster> {
        match &self.source {
            Source::Ready(cluster) => Some(cluster),
            Source::Lazy(_) => self.connected.get(),
        }
    }

    /// Waits for a future: the only wait. An interrupt ends it at once, and so does a simulated cluster on which
    /// nothing happens any more.
    pub fn call<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, Diagnostic>> + Send + 'static,
    ) -> ScriptResult<T> {
        let (token, jumps) = (self.interrupt.token(), self.clock.jumps());
        let outcome = self.drive(async move {
            tokio::select! {
                biased;
                () = token.cancelled() => None,
                result = future => Some(result),
                () = tokio::time::sleep(HORIZON), if jumps => Some(Err(nothing_happens())),
            }
        });
        match outcome {
            None => Err(interrupted()),
            Some(result) => result.map_err(throw),
        }
    }

    /// Waits for a future that writes: after an interrupt, what was sent gets a little time to become known; after a
    /// second one, none.
    pub fn call_write<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> ScriptResult<T> {
        let (token, urgent) = (self.interrupt.token(), self.interrupt.urgency());
        let outcome = self.drive(async move {
            let mut future = std::pin::pin!(future);
            tokio::select! {
                biased;
                result = &mut future => Some(result),
                () = token.cancelled() => tokio::select! {
                    biased;
                    () = urgent.cancelled() => None,
                    result = tokio::time::timeout(GRACE_FOR_WRITES, future) => result.ok(),
                },
            }
        });
        outcome.ok_or_else(interrupted)
    }

    /// Drives a future on the runtime: on the thread that owns it, or by handing it there.
    fn drive<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        match BATON.with_borrow(Clone::clone) {
            None => self.runtime.block_on(future),
            Some(branch) => branch.hand_over(future),
        }
    }

    /// Runs `work` for each index, at most `limit` at a time, each on a thread of its own; results keep their order.
    pub fn branches<T: Send>(
        &self,
        count: usize,
        limit: usize,
        work: impl Fn(usize) -> ScriptResult<T> + Sync,
    ) -> ScriptResult<Vec<T>> {
        let reads = current_reads();
        let branching = Scope::current().branching();
        let results: Vec<Mutex<Option<ScriptResult<T>>>> = (0..count).map(|_| Mutex::new(None)).collect();
        let start = |index: usize| {
            let _inside = self.runtime.enter();
            READS.set(reads.clone());
            Scope::branch(&branching, index);
            let result = work(index);
            if let Some(slot) = results.get(index) {
                *lock(slot) = Some(result);
            }
        };
        if self.clock.jumps() {
            self.branches_in_turn(count, limit, &start)?;
        } else {
            let next = std::sync::atomic::AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..limit.min(count) {
                    let run = || {
                        loop {
                            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            if index >= count {
                                break;
                            }
                            start(index);
                        }
                    };
                    spawn_script_thread(scope, run);
                }
            });
        }
        results
            .into_iter()
            .map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(|| Err(interrupted())))
            .collect()
    }

    /// The simulated form of [`Host::branches`]: a branch runs only while the runtime's thread waits for it.
    fn branches_in_turn(&self, count: usize, limit: usize, start: &(impl Fn(usize) + Sync)) -> ScriptResult<()> {
        std::thread::scope(|scope| {
            let mut turns = Vec::new();
            for index in 0..count {
                let (ask, asked) = mpsc::channel::<Option<Errand>>();
                let (go, gone) = mpsc::channel::<()>();
                let branch = Arc::new(Branch { ask: Mutex::new(ask), go: Mutex::new(gone) });
                spawn_script_thread(scope, move || {
                    if lock(&branch.go).recv().is_err() {
                        return;
                    }
                    BATON.set(Some(branch.clone()));
                    start(index);
                    let _ = lock(&branch.ask).send(None);
                });
                turns.push(async move {
                    // Blocks on purpose: while a branch computes, the clock must stand still.
                    while go.send(()).is_ok() {
                        match asked.recv() {
                            Ok(Some(errand)) => errand.await,
                            Ok(None) | Err(_) => break,
                        }
                    }
                });
            }
            self.drive(async move {
                use futures::StreamExt as _;
                futures::stream::iter(turns).buffer_unordered(limit.max(1)).collect::<Vec<()>>().await;
            });
        });
        if self.interrupt.is_set() { Err(interrupted()) } else { Ok(()) }
    }

    /// Takes the Lease of a GameServerSet before the first write to it, so that two releases never meet. Where Leases
    /// may not be written, a warning says that nothing keeps a second release out.
    pub fn hold(&self, set: &str) -> ScriptResult<()> {
        if !self.exclusive || self.plan || lock(&self.locks).contains_key(set) {
            return Ok(());
        }
        let cluster = self.cluster()?;
        let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
        let machine = std::env::var("HOSTNAME").unwrap_or_else(|_| "somewhere".to_owned());
        let request = LockRequest {
            namespace: cluster.namespace().to_owned(),
            set: set.to_owned(),
            run: self.run.clone(),
            who: format!("{user}@{machine}"),
        };
        let held = match self.call_write(async move { Lock::acquire(&cluster, request).await })? {
            Ok(held) => Some(held),
            Err(error) if error.kind == Kind::Forbidden => {
                let text = format!("no Lease may be taken for {set}: nothing keeps a second release out");
                self.show(Event::Warning { text });
                None
            }
            Err(error) => return Err(throw(error)),
        };
        lock(&self.locks).insert(set.to_owned(), held);
        Ok(())
    }

    /// Gives every Lease back.
    pub fn let_go(&self) {
        let locks = std::mem::take(&mut *lock(&self.locks));
        for (set, held) in locks {
            let Some(held) = held else { continue };
            if let Ok(Err(error)) = self.call_write(async move { held.release().await }) {
                self.show(Event::Warning { text: format!("the Lease of {set} was not given back: {error}") });
            }
        }
    }

    /// Shows an event to the user.
    pub fn show(&self, event: Event) {
        self.stage.show(&event);
    }

    /// Notes something that was done, in the journal first.
    pub fn note(&self, note: Note) {
        if let Some(record) = &self.record {
            record.note(&note);
        }
        self.ledger().apply(note);
    }

    /// Returns what was done so far.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Returns the closures that run at the end.
    pub fn closings(&self) -> MutexGuard<'_, Closings> {
        lock(&self.closings)
    }

    /// Returns the opsStates that the script declared beside OKG's own.
    pub fn custom_ops_states(&self) -> MutexGuard<'_, BTreeSet<String>> {
        lock(&self.ops_states)
    }

    /// Returns the chance of one purpose: drawn from the run's seed, so that a rehearsal repeats.
    pub fn rng(&self, purpose: &str) -> fastrand::Rng {
        let mixed = purpose
            .bytes()
            .fold(self.seed, |seed, byte| seed.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte)));
        fastrand::Rng::with_seed(mixed)
    }

    /// Returns the present time of the run.
    pub fn now(&self) -> jiff::Timestamp {
        let _inside = self.runtime.enter();
        self.clock.now()
    }

    /// Enters the runtime, so that tasks can be spawned and instants taken.
    pub fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.runtime.enter()
    }
}

/// Shows each request of a cluster when its outcome is known.
fn tell_requests(cluster: &Cluster, stage: &Arc<dyn Stage>) {
    let stage = stage.clone();
    cluster.journal().observe(move |entry| {
        let outcome = match entry.outcome {
            Outcome::Pending => return Ok(()),
            Outcome::Answered => "answered",
            Outcome::Cut => "cut",
            Outcome::Failed(_) => "failed",
            Outcome::Unknown => "unknown",
        };
        stage.show(&Event::Request {
            method: entry.method.clone(),
            path: entry.path.clone(),
            status: entry.status,
            outcome,
            seconds: entry.ended.map_or(0.0, |ended| ended.duration_since(entry.started).as_secs_f64()),
            bytes: entry.sent + entry.received,
        });
        Ok(())
    });
}

/// Starts a thread with the stack that deep scripts need.
fn spawn_script_thread<'scope>(scope: &'scope std::thread::Scope<'scope, '_>, work: impl FnOnce() + Send + 'scope) {
    let built = std::thread::Builder::new().name("script".into()).stack_size(STACK_SIZE).spawn_scoped(scope, work);
    if let Err(error) = built {
        tracing::error!("no thread for a branch of parallel: {error}");
    }
}

/// Notes what is read through `reads` while `work` runs.
pub fn with_reads<T>(reads: &Arc<Reads>, work: impl FnOnce() -> T) -> T {
    let before = READS.replace(Some(reads.clone()));
    let result = work();
    READS.set(before);
    result
}

/// Returns the reads of the wait whose condition is being evaluated.
pub fn current_reads() -> Option<Arc<Reads>> {
    READS.with_borrow(Clone::clone)
}

impl Branch {
    fn hand_over<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (answer, answered) = mpsc::channel();
        let errand: Errand = Box::pin(async move {
            let _ = answer.send(future.await);
        });
        let _ = lock(&self.ask).send(Some(errand));
        let _ = lock(&self.go).recv();
        answered.recv().expect("the runtime's thread finishes an errand before it says go")
    }
}

fn nothing_happens() -> Diagnostic {
    Diagnostic::new(Kind::Timeout, "nothing will happen on the embedded cluster any more")
        .why(format!("nothing happened for {} of its time", crate::script::duration::format(HORIZON)))
        .help("give the wait a `timeout`, or check that its condition can become true")
}
