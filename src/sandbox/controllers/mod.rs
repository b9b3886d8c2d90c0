//! The controllers of the simulated cluster: one file a controller, one place a rule.
//!
//! Each reads what the shared watch has seen and writes through the API, as the real one does, a few milliseconds
//! late and with a queue of its own; so races between them are real. None of them knows HTTP.
//!
//! ```text
//! write -> Api -> one watch -> Cache, and the queues of those it concerns -> pass -> write …
//! ```

mod cache;
mod client;
mod disruption;
mod game_server;
mod game_server_conditions;
mod game_server_set;
mod garbage;
mod kubelet;
mod lifecycle;
mod namespaces;
mod networks;
mod pod_probe_marker;
mod queue;
mod recorder;
mod revisions;
mod room;
mod scheduler;
mod service_qualities;
mod stateful_set;
mod stateful_set_pods;
mod stateful_set_status;
mod stateful_set_update;
mod volumes;
mod workload;

use std::future::Future;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use client::Rate;

use self::cache::Cache;
use self::client::Client;
use self::queue::{Key, Queue};
use super::api::{Api, Follower};
use super::faults::Faults;
use super::object::Change;
use super::status::Status;
use super::world::World;
use crate::clock::Clock;

/// What the controllers of one cluster share.
pub(super) struct Hub {
    pub api: Api,
    pub clock: Clock,
    pub world: World,
    pub cache: Cache,
    /// OpenKruiseGame's manager.
    pub okg: Client,
    /// OpenKruise's manager.
    pub kruise: Client,
    /// Kubernetes' own controllers, scheduler and kubelets.
    pub kubernetes: Client,
}

/// One controller.
trait Controller: Send + Sync + 'static {
    /// Its name, from which its random numbers are seeded.
    const NAME: &'static str;
    /// Passes at a time.
    const WORKERS: usize;

    /// Milliseconds between the wish for a pass and the pass.
    fn latency(&self) -> Range<u64>;

    /// Puts into the queue what a change concerns.
    fn wake(&self, change: &Change, queue: &Queue<Key>);

    /// Makes one pass. `Some` asks for another after a while, an error for one after a pause that grows.
    fn reconcile(&self, key: &Key) -> impl Future<Output = Result<Option<Duration>, Status>> + Send;
}

/// The running controllers; dropped, they stop.
pub struct Controllers {
    tasks: Vec<AbortHandle>,
    okg: watch::Sender<bool>,
}

impl std::fmt::Debug for Controllers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controllers").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

type Route = Box<dyn Fn(&Change) + Send>;

impl Controllers {
    /// Starts all controllers. Call inside a runtime.
    pub(super) fn start(api: &Api, clock: Clock, world: World) -> Controllers {
        let unlimited = Rate { qps: 10_000.0, burst: 10_000.0 };
        let client = |manager: &str, rate| Client::new(api, clock, manager, rate, &world.faults);
        let hub = Arc::new(Hub {
            api: api.clone(),
            clock,
            cache: Cache::default(),
            okg: client("okg-manager", world.okg_rate),
            kruise: client("kruise-manager", unlimited),
            kubernetes: client("kube-controller-manager", unlimited),
            world,
        });
        let mut started = Controllers { tasks: Vec::new(), okg: watch::channel(true).0 };
        let (okg, always) = (started.okg.subscribe(), watch::channel(true).1);
        let mut routes = Vec::new();
        started.add(&hub, &okg, &mut routes, game_server_set::GameServerSets(hub.clone()));
        started.add(&hub, &okg, &mut routes, game_server::GameServers(hub.clone()));
        started.add(&hub, &always, &mut routes, stateful_set::StatefulSets(hub.clone()));
        started.add(&hub, &always, &mut routes, pod_probe_marker::PodProbeMarkers(hub.clone()));
        started.add(&hub, &always, &mut routes, scheduler::Scheduler(hub.clone()));
        started.add(&hub, &always, &mut routes, kubelet::Kubelet::new(hub.clone()));
        started.add(&hub, &okg, &mut routes, networks::Networks(hub.clone()));
        started.add(&hub, &always, &mut routes, volumes::Volumes(hub.clone()));
        started.add(&hub, &always, &mut routes, disruption::Disruption(hub.clone()));
        started.add(&hub, &always, &mut routes, namespaces::Namespaces(hub.clone()));
        started.add(&hub, &always, &mut routes, garbage::Collector(hub.clone()));
        started.tasks.push(tokio::spawn(watch_all(hub, api.follow(0), routes)).abort_handle());
        started
    }

    /// Stops or continues OKG's manager, as a stopped process would.
    pub fn set_okg_running(&self, running: bool) {
        self.okg.send_replace(running);
    }

    fn add<C: Controller>(
        &mut self,
        hub: &Arc<Hub>,
        running: &watch::Receiver<bool>,
        routes: &mut Vec<Route>,
        controller: C,
    ) {
        let (controller, queue) = (Arc::new(controller), Queue::new());
        for index in 0..C::WORKERS {
            let rng = hub.world.rng(&format!("{}-{index}", C::NAME));
            let worker = work(controller.clone(), queue.clone(), running.clone(), hub.world.faults.clone(), rng);
            self.tasks.push(tokio::spawn(worker).abort_handle());
        }
        routes.push(Box::new(move |change| controller.wake(change, &queue)));
    }
}

/// Lets a pass over many objects take its time; what takes less than a millisecond takes none.
async fn take(each: Duration, count: usize) {
    let whole = each * u32::try_from(count).unwrap_or(u32::MAX);
    if whole >= Duration::from_millis(1) {
        tokio::time::sleep(whole).await;
    }
}

/// Follows the cluster's changes and tells everybody whom they concern.
async fn watch_all(hub: Arc<Hub>, mut follower: Follower, routes: Vec<Route>) {
    loop {
        for change in follower.next().await {
            hub.cache.apply(&change);
            for route in &routes {
                route(&change);
            }
        }
    }
}

/// Makes passes for ever, one after the other.
async fn work<C: Controller>(
    controller: Arc<C>,
    queue: Queue<Key>,
    mut running: watch::Receiver<bool>,
    faults: Faults,
    mut rng: fastrand::Rng,
) {
    loop {
        let key = queue.next().await;
        tokio::time::sleep(Duration::from_millis(rng.u64(controller.latency()))).await;
        if running.wait_for(|running| *running).await.is_err() {
            return;
        }
        faults.wait_up(C::NAME).await;
        let outcome = AssertUnwindSafe(controller.reconcile(&key)).catch_unwind().await;
        match outcome {
            Ok(Ok(None)) => queue.forget(&key),
            Ok(Ok(Some(delay))) => {
                queue.forget(&key);
                queue.add_after(key.clone(), delay);
            }
            Ok(Err(status)) => {
                tracing::debug!("{} {}/{}: {}", C::NAME, key.namespace, key.name, status.message);
                queue.retry(key.clone());
            }
            Err(_) => {
                tracing::error!("{} panicked at {}/{}", C::NAME, key.namespace, key.name);
                queue.retry(key.clone());
            }
        }
        queue.done(&key);
    }
}
