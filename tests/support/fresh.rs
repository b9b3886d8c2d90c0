//! A session on a fresh embedded cluster, in this process: for tests that look behind the API or into the engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use okgscript::bindings::host::{Parts, Source};
use okgscript::bindings::stage::{Event, Stage};
use okgscript::clock::Clock;
use okgscript::cluster::Cluster;
use okgscript::sandbox::{Options, Sandbox};
use okgscript::script::{Interrupt, STACK_SIZE};
use okgscript::session::{Desk, Session, simulated_runtime};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Keeps the warnings, shows nothing.
#[derive(Clone, Default)]
struct Silent(Arc<Mutex<Vec<String>>>);

impl Stage for Silent {
    fn show(&self, event: &Event) {
        if let Event::Warning { text } = event {
            self.0.lock().unwrap().push(text.clone());
        }
    }
}

/// An embedded cluster in this process.
pub struct Fresh {
    pub sandbox: Sandbox,
    runtime: Arc<Runtime>,
    clock: Clock,
    seed: u64,
    stage: Silent,
}

impl Fresh {
    /// Opens a session for a run. `prepare` is shown the engine first and returns the script's parameters.
    pub fn session(&self, run: &str, prepare: impl FnOnce(&mut Desk) -> BTreeMap<String, Value>) -> Session {
        let cluster = Cluster::in_process(self.sandbox.router(), "default", "sandbox", self.clock);
        let interrupt = Interrupt::new();
        let mut desk = Desk::new(&interrupt);
        let params = prepare(&mut desk);
        let parts = Parts {
            clock: self.clock,
            interrupt,
            sources: desk.sources.clone(),
            stage: Arc::new(self.stage.clone()),
            params,
            run: run.to_owned(),
            record: None,
            seed: self.seed,
            exclusive: true,
            plan: false,
            runtime: self.runtime.clone(),
            source: Source::Ready(cluster),
        };
        desk.open(parts)
    }

    /// Returns what sessions have warned of so far.
    pub fn warnings(&self) -> Vec<String> {
        self.stage.0.lock().unwrap().clone()
    }

    /// Lets time pass.
    pub fn pass(&self, seconds: u64) {
        self.runtime.block_on(tokio::time::sleep(Duration::from_secs(seconds)));
    }
}

/// Starts a cluster on simulated time and works with it, on a thread that scripts can run on.
pub fn fresh<T: Send>(options: &Options, work: impl FnOnce(&Fresh) -> T + Send) -> T {
    let run = || {
        let runtime = simulated_runtime().unwrap();
        let _inside = runtime.enter();
        let clock = Clock::simulated("2026-01-05T04:00:00Z".parse().unwrap());
        let sandbox = runtime.block_on(Sandbox::start(options, clock));
        let sandbox = sandbox.unwrap_or_else(|error| panic!("{}", error.draw(false)));
        work(&Fresh { sandbox, runtime: runtime.clone(), clock, seed: options.seed, stage: Silent::default() })
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, run);
        thread.unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs `work` in a session on a fresh cluster. `prepare` is shown the engine first and returns the script's parameters.
pub fn on_cluster<T: Send>(
    options: &Options,
    prepare: impl FnOnce(&mut Desk) -> BTreeMap<String, Value> + Send,
    work: impl FnOnce(&Session, &Sandbox) -> T + Send,
) -> T {
    fresh(options, |fresh| work(&fresh.session("test", prepare), &fresh.sandbox))
}
