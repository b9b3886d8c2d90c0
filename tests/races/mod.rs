//! Releases while players come and go: what the drain protocol loses and what it does not, by the cluster's own book of
//! who played where.

mod drain;

use std::collections::BTreeMap;
use std::sync::Arc;

use okgscript::bindings::host::{Parts, Source};
use okgscript::bindings::stage::{Event, Stage};
use okgscript::clock::Clock;
use okgscript::cluster::Cluster;
use okgscript::diagnostic::Diagnostic;
use okgscript::sandbox::{Options, Sandbox};
use okgscript::script::Interrupt;
use okgscript::session::{Desk, simulated_runtime};
use serde_json::Value;

struct Silent;

impl Stage for Silent {
    fn show(&self, _: &Event) {}
}

/// What a run under players came to.
#[derive(Debug, Default, PartialEq)]
pub struct Score {
    /// Matches that began.
    pub matches: usize,
    /// Matches whose room was taken away under their players.
    pub lost: usize,
    /// Rooms that somebody took between the judgement and the end of their drain.
    pub contested: usize,
    /// Old rooms that are left.
    pub old_rooms: usize,
    /// How the script failed, if it did.
    pub failure: Option<String>,
}

impl std::ops::AddAssign for Score {
    fn add_assign(&mut self, other: Score) {
        self.matches += other.matches;
        self.lost += other.lost;
        self.contested += other.contested;
        self.old_rooms += other.old_rooms;
        self.failure = self.failure.take().or(other.failure);
    }
}

/// Runs a script on a scenario and reads the cluster's own book afterwards.
pub fn play(scenario: &str, seed: u64, script: &str, params: &[(&str, Value)]) -> Score {
    let work = || {
        let runtime = simulated_runtime().unwrap();
        let _inside = runtime.enter();
        let clock = Clock::simulated("2026-01-05T04:00:00Z".parse().unwrap());
        let options =
            Options { scenario: Some(("races.yaml".to_owned(), scenario.to_owned())), seed, ..Options::default() };
        let sandbox =
            runtime.block_on(Sandbox::start(&options, clock)).unwrap_or_else(|error| panic!("{}", error.draw(false)));
        let cluster = Cluster::in_process(sandbox.router(), "default", "races", clock);
        let interrupt = Interrupt::new();
        let desk = Desk::new(&interrupt);
        let compiled = desk.compile("race.rhai", script).unwrap_or_else(|error| panic!("{}", error.draw(false)));
        let mut settled: BTreeMap<String, Value> =
            compiled.params.iter().filter_map(|param| Some((param.name.clone(), param.default.clone()?))).collect();
        settled.extend(params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let parts = Parts {
            clock,
            interrupt,
            sources: desk.sources.clone(),
            stage: Arc::new(Silent),
            params: settled,
            run: "race".to_owned(),
            seed,
            exclusive: true,
            plan: false,
            record: None,
            runtime: runtime.clone(),
            source: Source::Ready(cluster),
        };
        let session = desk.open(parts);
        let result = session.run(&compiled);
        let ledger = session.host().ledger();
        let contested = ledger.skipped.iter().filter(|remark| remark.reason.contains("became Allocated")).count();
        let old = result.as_ref().ok().and_then(|value| value.as_int().ok()).unwrap_or(0);
        let books = sandbox.players().ledger();
        Score {
            matches: books.matches().len(),
            lost: books.lost().len(),
            contested,
            old_rooms: usize::try_from(old).unwrap_or(0),
            failure: result.err().map(|error: Diagnostic| error.draw(false)),
        }
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(okgscript::script::STACK_SIZE).spawn_scoped(scope, work);
        thread.unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
