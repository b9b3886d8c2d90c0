//! From flags to a session: the runtime, the cluster (embedded or real) and what a run is called.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::global::Global;
use crate::bindings::host::{Parts, Source};
use crate::bindings::stage::Stage;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::diagnostic::{Diagnostic, Kind};
use crate::sandbox::Sandbox;
use crate::sandbox::scenario::Scenario;
use crate::script::{Interrupt, Sources};
use crate::session::{real_runtime, simulated_runtime};

/// When simulated time begins, unless the scenario says otherwise: one seed, one journal.
const EPOCH: &str = "2026-01-05T04:00:00Z";

/// A cluster that a session can be opened on.
pub struct Launch {
    /// The clock of the run.
    pub clock: Clock,
    /// Where the cluster comes from.
    pub source: Source,
    /// Parameters that the scenario supplies.
    pub params: BTreeMap<String, Value>,
    /// Where it is, for people: `context prod-eu`, `sandbox minecraft`.
    pub place: String,
    runtime: Arc<tokio::runtime::Runtime>,
    seed: u64,
    /// Kept so that its controllers go on.
    _sandbox: Option<Sandbox>,
}

impl Launch {
    /// Prepares what the flags ask for. A real cluster is not contacted yet.
    pub fn new(global: &Global) -> Result<Launch, Diagnostic> {
        if global.embedded() { Launch::embedded(global) } else { Launch::real(global) }
    }

    fn embedded(global: &Global) -> Result<Launch, Diagnostic> {
        let runtime = simulated_runtime()?;
        let seed = global.seed.unwrap_or(1);
        let options = sandbox_options(global)?;
        let (clock, sandbox) = {
            let _inside = runtime.enter();
            let epoch = match Scenario::of(&options)?.start {
                Some(start) => start,
                None => EPOCH.parse().map_err(|_| Diagnostic::new(Kind::Internal, "the epoch is no time"))?,
            };
            let clock = Clock::simulated(epoch);
            (clock, runtime.block_on(Sandbox::start(&options, clock))?)
        };
        let router = sandbox.router();
        let name = global.scenario.clone().unwrap_or_else(|| "minecraft".to_owned());
        let namespace = global.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let place = format!("sandbox {name}");
        let cluster = {
            let _inside = runtime.enter();
            Cluster::in_process(router, &namespace, &place, clock)
        };
        let params = sandbox.params().clone();
        Ok(Launch { clock, source: Source::Ready(cluster), params, place, runtime, seed, _sandbox: Some(sandbox) })
    }

    fn real(global: &Global) -> Result<Launch, Diagnostic> {
        if global.seed.is_some() {
            let what = "`--seed` is for the embedded cluster";
            return Err(Diagnostic::new(Kind::Usage, what).help("add `--sandbox`, or leave it out"));
        }
        let runtime = real_runtime()?;
        let clock = {
            let _inside = runtime.enter();
            Clock::wall()
        };
        let source = Source::Lazy(global.connect()?);
        let place = global.context.as_ref().map_or_else(String::new, |context| format!("context {context}"));
        let params = BTreeMap::new();
        Ok(Launch { clock, source, params, place, runtime, seed: fastrand::u64(..), _sandbox: None })
    }

    /// Returns names for the run, the first of which nobody else has is its own: four letters or digits and the day.
    /// Call inside the runtime.
    pub fn run_names(&self) -> impl Iterator<Item = String> {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ 0x006f_6b67_7363_7269);
        let letters = b"23456789abcdefghijkmnpqrstuvwxyz";
        let day = self.clock.now().strftime("%Y%m%d").to_string();
        std::iter::repeat_with(move || {
            let name: String = (0..4).map(|_| char::from(letters[rng.usize(..letters.len())])).collect();
            format!("{name}-{day}")
        })
    }

    /// Returns what a host is made of. The launch must outlive the session: the embedded cluster lives in it.
    pub fn parts(
        &self,
        interrupt: &Interrupt,
        sources: &Sources,
        stage: Arc<dyn Stage>,
        params: BTreeMap<String, Value>,
    ) -> Parts {
        let source = match &self.source {
            Source::Ready(cluster) => Source::Ready(cluster.clone()),
            Source::Lazy(connect) => Source::Lazy(connect.clone()),
        };
        Parts {
            clock: self.clock,
            interrupt: interrupt.clone(),
            sources: sources.clone(),
            stage,
            params,
            run: self.run_names().next().unwrap_or_default(),
            record: None,
            seed: self.seed,
            exclusive: true,
            plan: false,
            runtime: self.runtime.clone(),
            source,
        }
    }

    /// Enters the runtime: the clock tells its time only inside.
    pub fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.runtime.enter()
    }
}

/// Returns how the embedded cluster is started.
pub fn sandbox_options(global: &Global) -> Result<crate::sandbox::Options, Diagnostic> {
    let scenario = match &global.scenario {
        None => None,
        Some(name) if crate::sandbox::scenario::is_built_in(name) => Some((name.clone(), String::new())),
        Some(name) => {
            let text = std::fs::read_to_string(Path::new(name)).map_err(|error| {
                Diagnostic::new(Kind::Missing, format!("the scenario `{name}` cannot be read"))
                    .why(error.to_string())
                    .help(format!("built-in scenarios: {}", crate::sandbox::scenario::BUILT_IN.join(", ")))
            })?;
            Some((name.clone(), text))
        }
    };
    Ok(crate::sandbox::Options { scenario, seed: global.seed.unwrap_or(1), ..crate::sandbox::Options::default() })
}
