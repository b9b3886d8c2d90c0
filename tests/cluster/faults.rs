//! Collections on the embedded API server while the way to it breaks in every manner, by seed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response};
use okgscript::clock::Clock;
use okgscript::cluster::{Cluster, Collection, Entry, Selector, kind};
use okgscript::sandbox::api::Api;
use okgscript::sandbox::object::{Actor, DeleteOptions, Patch};
use okgscript::sandbox::routes::{HttpOptions, router};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tower::ServiceExt as _;

use super::scripted::status;

const RESOURCE: &str = "configmaps";

#[derive(Deserialize)]
struct Lite {
    data: BTreeMap<String, String>,
}

/// What the way to the server does to requests, and what it saw of them.
struct Way {
    rng: Mutex<fastrand::Rng>,
    broken: std::sync::atomic::AtomicBool,
    reasons_to_list: AtomicUsize,
    open: Mutex<BTreeMap<&'static str, i64>>,
}

/// Counts a request as open until it is dropped.
struct Open(Arc<Way>, &'static str);

impl Open {
    fn new(way: &Arc<Way>, what: &'static str) -> Open {
        let mut open = way.open.lock().unwrap();
        let count = open.entry(what).or_default();
        *count += 1;
        assert!(*count <= 1, "two of `{what}` at a time");
        Open(way.clone(), what)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        *self.0.open.lock().unwrap().get_mut(self.1).unwrap() -= 1;
    }
}

impl Way {
    fn draw(&self, range: std::ops::Range<u64>) -> u64 {
        self.rng.lock().unwrap().u64(range)
    }

    async fn carry(
        self: Arc<Way>,
        router: axum::Router,
        request: Request<kube::client::Body>,
    ) -> Result<Response<Body>, std::io::Error> {
        let watch = request.uri().query().is_some_and(|query| query.contains("watch=1"));
        let open = Open::new(&self, if watch { "watch" } else { "list" });
        sleep(Duration::from_millis(self.draw(1..4))).await;
        let broken = self.broken.load(Ordering::Relaxed);
        let answer = |code: u16, reason| {
            let body = Body::from(status(code, reason, "a fault").to_string());
            Ok(Response::builder().status(code).body(body).unwrap())
        };
        match if broken { self.draw(0..10) } else { 9 } {
            0 => return Err(std::io::ErrorKind::ConnectionReset.into()),
            1 => return answer(503, "ServiceUnavailable"),
            2 => return answer(429, "TooManyRequests"),
            3 if watch => {
                self.reasons_to_list.fetch_add(1, Ordering::Relaxed);
                return answer(410, "Expired");
            }
            4 => std::future::pending::<()>().await,
            _ => {}
        }
        let answer = router.oneshot(request.map(Body::new)).await.unwrap();
        if !watch {
            return Ok(answer);
        }
        let until = Instant::now() + Duration::from_millis(self.draw(1..120_000));
        let end = if broken { self.draw(0..6) } else { 5 };
        Ok(answer.map(|body| Body::from_stream(cut(self, open, body, until, end))))
    }
}

/// Passes a watch on until its time has come, then ends it in one manner.
fn cut(
    way: Arc<Way>,
    open: Open,
    body: Body,
    until: Instant,
    end: u64,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    let passed = body.into_data_stream().map(|frame| frame.map_err(std::io::Error::other));
    stream::unfold((passed.boxed(), false, open), move |(mut body, ended, open)| {
        let way = way.clone();
        async move {
            if ended {
                return None;
            }
            let next = tokio::select! {
                biased;
                () = tokio::time::sleep_until(until), if end < 5 => None,
                next = body.next() => Some(next),
            };
            let last: Result<Bytes, std::io::Error> = match (next, end) {
                (Some(next), _) => return Some((next?, (body, false, open))),
                (None, 0) => return None,
                (None, 1) => Err(std::io::ErrorKind::ConnectionReset.into()),
                (None, 2) => Ok(Bytes::from_static(b"{\"type\":\"MODIFIED\",\"obj")),
                (None, 3) => {
                    way.reasons_to_list.fetch_add(1, Ordering::Relaxed);
                    let gone = status(410, "Expired", "too old resource version");
                    Ok(format!("{}\n", json!({ "type": "ERROR", "object": gone })).into())
                }
                (None, _) => {
                    way.reasons_to_list.fetch_add(1, Ordering::Relaxed);
                    std::future::pending().await
                }
            };
            Some((last, (body, true, open)))
        }
    })
}

struct World {
    api: Api,
    way: Arc<Way>,
    cluster: Cluster,
}

fn world(seed: u64) -> World {
    let clock = Clock::simulated("2026-01-01T00:00:00Z".parse().unwrap());
    let api = Api::new(clock, seed);
    let way = Arc::new(Way {
        rng: Mutex::new(fastrand::Rng::with_seed(seed)),
        broken: true.into(),
        reasons_to_list: AtomicUsize::new(0),
        open: Mutex::default(),
    });
    let (routes, carrier) = (router(api.clone(), HttpOptions::default()), way.clone());
    let service = tower::service_fn(move |request| carrier.clone().carry(routes.clone(), request));
    World { api, way, cluster: Cluster::in_process(service, "default", "test", clock) }
}

/// Creates, changes or deletes one of a few objects.
fn write(api: &Api, rng: &mut fastrand::Rng) {
    let actor = Actor::controller("test");
    let name = format!("room-{}", rng.u8(0..8));
    let value = rng.u32(..).to_string();
    if api.get(RESOURCE, "default", &name).is_none() {
        let metadata = json!({ "name": name, "namespace": "default" });
        let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "value": value } });
        api.create(&actor, RESOURCE, body).unwrap();
    } else if rng.u8(0..4) == 0 {
        api.delete(&actor, RESOURCE, "default", &name, &DeleteOptions::default()).unwrap();
    } else {
        let patch = Patch::Merge(json!({ "data": { "value": value } }));
        api.patch(&actor, RESOURCE, "", "default", &name, &patch).unwrap();
    }
}

fn truth(api: &Api) -> BTreeMap<String, String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let all = api.list(RESOURCE, Some("default"));
    all.iter().map(|it| (text(&it["metadata"]["name"]), text(&it["data"]["value"]))).collect()
}

fn shown(collection: &Collection<Lite>) -> BTreeMap<String, String> {
    collection.items().iter().map(|(name, it)| (name.clone(), it.data["value"].clone())).collect()
}

/// Plays one course and returns its journal.
async fn course(seed: u64) -> Vec<String> {
    let World { api, way, cluster } = world(seed);
    let mut rng = fastrand::Rng::with_seed(seed ^ 1);
    let collection: Collection<Lite> = cluster.collection(&kind::CONFIG_MAP, "default", &Selector::all());
    while let Err(error) = collection.start().await {
        assert!(error.kind.passes(), "{}", error.draw(false));
    }
    let mut refreshed = 0;
    for _ in 0..200 {
        write(&api, &mut rng);
        sleep(Duration::from_millis(rng.u64(1..20_000))).await;
        if rng.u8(0..10) == 0 {
            refreshed += 1;
            // Nobody writes meanwhile.
            if collection.refresh().await.is_ok() {
                assert_eq!(shown(&collection), truth(&api), "seed {seed}: a fresh list shows the present");
            }
        }
    }
    way.broken.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(900)).await;
    assert_eq!(shown(&collection), truth(&api), "seed {seed}");
    // Failed lists are tried again: what is bounded is the lists that succeeded.
    let lists =
        cluster.journal().entries().iter().filter(|it| !it.path.contains("watch=") && it.status == Some(200)).count();
    let reasons = way.reasons_to_list.load(Ordering::Relaxed);
    assert!(lists <= 1 + reasons + refreshed, "seed {seed}: {lists} lists, {reasons} reasons, {refreshed} asked for");
    let line = |it: &Entry| format!("{} {} {:?} {:?}", it.started, it.path, it.status, it.outcome);
    cluster.journal().entries().iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn the_cache_becomes_the_truth_whatever_happened_on_the_way() {
    let mut requests = 0;
    for seed in 0..40 {
        requests += course(seed).await.len();
    }
    assert!(requests > 1000, "the way did break: {requests} requests");
}

#[test]
fn one_seed_gives_one_journal_whatever_breaks() {
    let alone = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(course(seed))
    };
    let first = alone(7);
    assert_eq!(first, alone(7));
    assert_ne!(first, alone(8));
}
