//! A session on a fresh embedded cluster, in this process: for tests that look behind the API or into the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use okgscript::bindings::host::{Parts, Source};
use okgscript::bindings::stage::{Event, Stage};
use okgscript::clock::Clock;
use okgscript::cluster::Cluster;
use okgscript::sandbox::{Options, Sandbox};
use okgscript::script::{Interrupt, STACK_SIZE};
use okgscript::session::{Desk, Session, simulated_runtime};
use serde_json::Value;

struct Silent;

impl Stage for Silent {
    fn show(&self, _: &Event) {}
}

/// Runs `work` in a session on a fresh cluster. `prepare` is shown the engine first and returns the script's parameters.
pub fn on_cluster<T: Send>(
    options: &Options,
    prepare: impl FnOnce(&mut Desk) -> BTreeMap<String, Value> + Send,
    work: impl FnOnce(&Session, &Sandbox) -> T + Send,
) -> T {
    let run = || {
        let runtime = simulated_runtime().unwrap();
        let _inside = runtime.enter();
        let clock = Clock::simulated("2026-01-05T04:00:00Z".parse().unwrap());
        let sandbox = runtime.block_on(Sandbox::start(options, clock));
        let sandbox = sandbox.unwrap_or_else(|error| panic!("{}", error.draw(false)));
        let cluster = Cluster::in_process(sandbox.router(), "default", "sandbox", clock);
        let interrupt = Interrupt::new();
        let mut desk = Desk::new(&interrupt);
        let params = prepare(&mut desk);
        let parts = Parts {
            clock,
            interrupt,
            sources: desk.sources.clone(),
            stage: Arc::new(Silent),
            params,
            run: "test".to_owned(),
            record: None,
            seed: options.seed,
            exclusive: true,
            plan: false,
            runtime: runtime.clone(),
            source: Source::Ready(cluster),
        };
        work(&desk.open(parts), &sandbox)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, run);
        thread.unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
