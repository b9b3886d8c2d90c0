//! Leases: two runs never work on one GameServerSet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use okgscript::clock::Clock;
use okgscript::cluster::{Cluster, Lock, LockRequest, Patch, kind};
use okgscript::diagnostic::{Diagnostic, Kind};
use okgscript::sandbox::api::Api;
use okgscript::sandbox::object::{Actor, Patch as ApiPatch};
use okgscript::sandbox::routes::{HttpOptions, router};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::ServiceExt as _;

const LEASES: &str = "leases.coordination.k8s.io";

/// An API server, and the way to it, which can be cut.
#[derive(Clone)]
struct World {
    api: Api,
    cut: Arc<AtomicBool>,
}

impl World {
    fn new() -> World {
        let api = Api::new(clock("2026-01-01T00:00:00Z"), 0);
        let set = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "probe", "namespace": "default" }, "data": {},
        });
        api.create(&Actor::controller("test"), "configmaps", set).unwrap();
        World { api, cut: Arc::default() }
    }

    /// Returns a client whose clock shows this time now.
    fn cluster_at(&self, now: &str) -> Cluster {
        let (routes, cut) = (router(self.api.clone(), HttpOptions::default()), self.cut.clone());
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (routes, cut) = (routes.clone(), cut.clone());
            async move {
                sleep(Duration::from_millis(2)).await;
                if cut.load(Ordering::Relaxed) {
                    return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
                }
                let answer: Response<Body> = routes.oneshot(request.map(Body::new)).await.unwrap();
                Ok(answer)
            }
        });
        Cluster::in_process(service, "default", "test", clock(now))
    }

    fn cluster(&self) -> Cluster {
        self.cluster_at(&self.api.clock().now().to_string())
    }

    fn lease(&self) -> Value {
        (*self.api.get(LEASES, "default", "okgscript-minecraft").unwrap()).clone()
    }
}

fn clock(now: &str) -> Clock {
    Clock::simulated(now.parse().unwrap())
}

fn request(run: &str) -> LockRequest {
    LockRequest { namespace: "default".into(), set: "minecraft".into(), run: run.into(), who: format!("{run}@build-7") }
}

async fn write(cluster: &Cluster) -> Result<Value, Diagnostic> {
    cluster.patch(&kind::CONFIG_MAP, "default", "probe", None, &Patch::Merge(json!({ "data": { "a": "b" } }))).await
}

#[tokio::test(start_paused = true)]
async fn a_second_run_is_told_who_is_at_work_and_gets_its_turn() {
    let world = World::new();
    let (one, two) = (world.cluster(), world.cluster());
    let lock = Lock::acquire(&one, request("run-1")).await.unwrap();
    let error = Lock::acquire(&two, request("run-2")).await.unwrap_err();
    assert_eq!((error.kind, error.kind.exit_code() as u8), (Kind::Refused, 4));
    assert_eq!(error.what, "another run is at work on GameServerSet `default/minecraft`");
    assert!(error.why[0].contains("run `run-1` of `run-1@build-7`"), "{:?}", error.why);
    assert!(error.why[0].contains("until 00:00:30 UTC, 29s from now"), "{:?}", error.why);

    // However long the first one works.
    sleep(Duration::from_secs(3600)).await;
    assert!(Lock::acquire(&two, request("run-2")).await.is_err());
    assert!(write(&one).await.is_ok());
    assert_eq!(world.lease()["spec"]["holderIdentity"], "run-1");

    lock.release().await.unwrap();
    let lock = Lock::acquire(&two, request("run-2")).await.unwrap();
    assert_eq!(world.lease()["spec"]["holderIdentity"], "run-2");
    assert_eq!(world.lease()["spec"]["leaseTransitions"], 1);
    assert!(write(&one).await.is_ok(), "without a lock, the gate asks for none");
    drop(lock);
}

#[tokio::test(start_paused = true)]
async fn of_several_runs_at_once_one_wins() {
    let world = World::new();
    let clusters: Vec<Cluster> = (0..5).map(|_| world.cluster()).collect();
    let tries = clusters.iter().enumerate().map(|(n, cluster)| Lock::acquire(cluster, request(&format!("run-{n}"))));
    let results = futures::future::join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().filter_map(|result| result.as_ref().err()).all(|error| error.kind == Kind::Refused));
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_dead_run_is_taken_over_when_it_has_expired() {
    let world = World::new();
    let two = world.cluster();
    drop(Lock::acquire(&world.cluster(), request("run-1")).await.unwrap());
    sleep(Duration::from_secs(25)).await;
    assert_eq!(Lock::acquire(&two, request("run-2")).await.unwrap_err().kind, Kind::Refused);
    // Its own run gets it back at once.
    drop(Lock::acquire(&two, request("run-1")).await.unwrap());
    sleep(Duration::from_secs(31)).await;
    let _lock = Lock::acquire(&two, request("run-2")).await.unwrap();
    assert_eq!(world.lease()["spec"]["holderIdentity"], "run-2");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_takes_no_living_lease() {
    let world = World::new();
    let (one, ahead) = (world.cluster(), world.cluster_at("2026-01-01T00:02:00Z"));
    let _lock = Lock::acquire(&one, request("run-1")).await.unwrap();
    assert_eq!(Lock::acquire(&ahead, request("run-2")).await.unwrap_err().kind, Kind::Refused);
    assert_eq!(world.lease()["spec"]["holderIdentity"], "run-1");
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_stops_the_next_write() {
    let world = World::new();
    let one = world.cluster();
    let lock = Lock::acquire(&one, request("run-1")).await.unwrap();
    let thief = ApiPatch::Merge(json!({ "spec": { "holderIdentity": "run-9" } }));
    world.api.patch(&Actor::controller("thief"), LEASES, "", "default", "okgscript-minecraft", &thief).unwrap();
    sleep(Duration::from_secs(11)).await;
    let before = one.journal().writes().len();
    let error = write(&one).await.unwrap_err();
    assert_eq!(error.kind, Kind::Refused);
    assert!(error.why[0].contains("run `run-9`"), "{:?}", error.why);
    assert_eq!(one.journal().writes().len(), before, "nothing was sent");
    assert!(lock.lost().is_some());
    lock.release().await.unwrap();
    assert_eq!(world.lease()["spec"]["holderIdentity"], "run-9", "it is not ours to give back");
}

#[tokio::test(start_paused = true)]
async fn no_write_leaves_while_the_lease_cannot_be_renewed() {
    let world = World::new();
    let one = world.cluster();
    let _lock = Lock::acquire(&one, request("run-1")).await.unwrap();
    world.cut.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(write(&one).await.unwrap_err().kind, Kind::Unknown, "it holds still, so the write was tried");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(write(&one).await.unwrap_err().kind, Kind::Refused);
    // Nobody has taken it meanwhile: the run goes on.
    world.cut.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(11)).await;
    assert!(write(&one).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_comes_back_after_another_took_over_writes_nothing() {
    let world = World::new();
    let (one, two) = (world.cluster(), world.cluster());
    let _lock = Lock::acquire(&one, request("run-1")).await.unwrap();
    world.cut.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(400)).await;
    world.cut.store(false, Ordering::Relaxed);
    let _other = Lock::acquire(&two, request("run-2")).await.unwrap();
    sleep(Duration::from_secs(11)).await;
    assert_eq!(write(&one).await.unwrap_err().kind, Kind::Refused);
    assert!(write(&two).await.is_ok());
}
