//! Collections: one list and one watch, whatever happens to the watch.

use std::collections::BTreeMap;
use std::time::Duration;

use okgscript::cluster::{Collection, Selector, kind};
use okgscript::diagnostic::Kind;
use serde::Deserialize;

use super::scripted::{Answer, Server, Step, bookmark, event, list, object, status};

#[derive(Deserialize)]
struct Lite {
    state: String,
}

fn collection(server: &Server) -> Collection<Lite> {
    server.cluster().collection(&kind::GAME_SERVER, "default", &Selector::all())
}

fn states(collection: &Collection<Lite>) -> BTreeMap<String, String> {
    collection.items().iter().map(|(name, it)| (name.clone(), it.state.clone())).collect()
}

/// Waits until the object has the state, at most the given time; returns whether it came to that.
async fn reaches(collection: &mut Collection<Lite>, name: &str, state: &str, limit: Duration) -> bool {
    let wait = async {
        while states(collection).get(name).map(String::as_str) != Some(state) {
            collection.changed().await.unwrap();
        }
    };
    tokio::time::timeout(limit, wait).await.is_ok()
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn events_reach_the_items() {
    let server = Server::new([
        list(5, &[object("a", 3, "one"), object("b", 5, "one")]),
        Answer::Watch(vec![
            event("MODIFIED", object("a", 6, "two")),
            event("ADDED", object("c", 7, "new")),
            event("DELETED", object("b", 8, "one")),
            Step::Hang,
        ]),
    ]);
    let mut collection = collection(&server);
    collection.start().await.unwrap();
    assert_eq!(collection.version(), "5");
    assert!(reaches(&mut collection, "c", "new", HOUR).await);
    while collection.version() != "8" {
        collection.changed().await.unwrap();
    }
    let expected: BTreeMap<String, String> =
        [("a", "two"), ("c", "new")].map(|(name, state)| (name.to_owned(), state.to_owned())).into();
    assert_eq!(states(&collection), expected);
    assert_eq!(server.asked(), ["LIST", "WATCH 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_is_resumed_from_its_bookmark_without_a_list() {
    let server = Server::new([
        list(5, &[object("a", 3, "one")]),
        Answer::Watch(vec![Step::Wait(Duration::from_secs(60)), bookmark(40), Step::Wait(Duration::from_secs(230))]),
        Answer::Watch(vec![Step::Wait(Duration::from_secs(10)), event("MODIFIED", object("a", 41, "two")), Step::Hang]),
    ]);
    let mut collection = collection(&server);
    collection.start().await.unwrap();
    assert!(reaches(&mut collection, "a", "two", HOUR).await);
    assert_eq!(server.asked(), ["LIST", "WATCH 5", "WATCH 40"]);
}

#[tokio::test(start_paused = true)]
async fn errors_that_never_heal_reach_the_waiter() {
    let server = Server::new([
        list(5, &[]),
        Answer::Json(403, status(403, "Forbidden", "user \"ci\" cannot watch gameservers")),
    ]);
    let mut collection = collection(&server);
    collection.start().await.unwrap();
    let error = loop {
        if let Err(error) = collection.changed().await {
            break error;
        }
    };
    assert_eq!(error.kind, Kind::Forbidden);
    assert!(error.why[0].contains("cannot watch gameservers"), "{:?}", error.why);
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_is_resumed_without_a_list_and_loses_nothing() {
    let server = Server::new([
        list(5, &[object("a", 3, "one")]),
        Answer::Watch(vec![event("MODIFIED", object("a", 6, "two")), Step::Raw("{\"type\":\"MOD"), Step::Break]),
        Answer::Reset,
        Answer::Json(503, status(503, "ServiceUnavailable", "the server is shutting down")),
        Answer::Never,
        Answer::Json(429, status(429, "TooManyRequests", "slow down")),
        Answer::Watch(vec![event("MODIFIED", object("a", 7, "three")), Step::Hang]),
    ]);
    let mut collection = collection(&server);
    collection.start().await.unwrap();
    assert!(reaches(&mut collection, "a", "two", HOUR).await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (since, why) = collection.trouble().unwrap();
    assert!(since.to_string().starts_with("2026-01-01T00:00:00"), "{since}");
    assert_eq!(why.kind, Kind::Unavailable);
    assert!(reaches(&mut collection, "a", "three", HOUR).await);
    assert!(collection.trouble().is_none());
    assert_eq!(server.asked(), ["LIST", "WATCH 5", "WATCH 6", "WATCH 6", "WATCH 6", "WATCH 6", "WATCH 6"]);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_version_leads_to_one_list() {
    let expired = || event("ERROR", status(410, "Expired", "too old resource version: 5 (90)"));
    let server = Server::new([
        list(5, &[object("a", 3, "one"), object("b", 4, "one")]),
        Answer::Watch(vec![Step::Wait(Duration::from_secs(5)), expired()]),
        list(90, &[object("a", 80, "two")]),
        Answer::Json(410, status(410, "Expired", "too old resource version: 90 (200)")),
        list(200, &[object("a", 80, "two")]),
        Answer::Watch(vec![event("MODIFIED", object("a", 201, "three")), Step::Hang]),
    ]);
    let mut collection = collection(&server);
    collection.start().await.unwrap();
    assert!(reaches(&mut collection, "a", "two", HOUR).await);
    assert!(!collection.items().contains_key("b"), "an object that vanished while nothing was heard stays away");
    assert!(reaches(&mut collection, "a", "three", HOUR).await);
    assert_eq!(server.asked(), ["LIST", "WATCH 5", "LIST", "WATCH 90", "LIST", "WATCH 200"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_forgets_everything_at_once_is_not_hammered() {
    let forgets = (0..4000).map(|turn| match turn % 2 {
        0 => list(turn, &[]),
        _ => Answer::Json(410, status(410, "Expired", "too old resource version")),
    });
    let server = Server::new(forgets);
    let collection = collection(&server);
    collection.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(server.asked().len() < 100, "{} requests in ten minutes", server.asked().len());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_watch_at_once_is_not_hammered() {
    let ends = (0..4000).map(|_| Answer::Watch(vec![]));
    let server = Server::new(std::iter::once(list(5, &[])).chain(ends));
    let collection = collection(&server);
    collection.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = server.asked();
    assert!(asked.len() < 100, "{} requests in ten minutes", asked.len());
    assert!(asked.iter().skip(1).all(|it| it == "WATCH 5"), "only the first request is a list");
}

#[tokio::test(start_paused = true)]
async fn silence_leads_to_a_list() {
    let server = Server::new([
        list(5, &[object("a", 3, "one")]),
        Answer::Watch(vec![Step::Hang]),
        list(9, &[object("a", 8, "two")]),
        Answer::Watch(vec![Step::Hang]),
    ]);
    let mut collection = collection(&server);
    collection.start().await.unwrap();
    let began = tokio::time::Instant::now();
    assert!(reaches(&mut collection, "a", "two", HOUR).await);
    let heard = began.elapsed().as_secs();
    assert!((295..297).contains(&heard), "after {heard} s");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.asked(), ["LIST", "WATCH 5", "LIST", "WATCH 9"]);
}

#[tokio::test(start_paused = true)]
async fn the_requests_of_a_wait_do_not_grow_with_what_happens() {
    let mut steps = vec![];
    for version in 6..1006 {
        steps.push(Step::Wait(Duration::from_millis(100)));
        steps.push(event("MODIFIED", object("a", version, if version == 1005 { "done" } else { "busy" })));
    }
    steps.push(Step::Hang);
    let server = Server::new([list(5, &[object("a", 3, "one")]), Answer::Watch(steps)]);
    let mut collection = collection(&server);
    collection.start().await.unwrap();
    assert!(reaches(&mut collection, "a", "done", HOUR).await);
    assert_eq!(server.asked(), ["LIST", "WATCH 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_shows_what_a_silent_watch_did_not_tell_and_begins_it_anew() {
    let server = Server::new([
        list(5, &[object("a", 3, "one")]),
        Answer::Watch(vec![event("MODIFIED", object("a", 6, "ready")), Step::Hang]),
        // A second later the object is broken again, and the watch does not say so.
        list(7, &[object("a", 7, "broken")]),
        Answer::Watch(vec![Step::Wait(Duration::from_secs(1)), event("MODIFIED", object("a", 8, "ready")), Step::Hang]),
        list(8, &[object("a", 8, "ready")]),
    ]);
    let mut collection = collection(&server);
    collection.start().await.unwrap();
    assert!(reaches(&mut collection, "a", "ready", HOUR).await);
    assert!(collection.refresh().await.unwrap(), "the list differs from the cache");
    assert_eq!(states(&collection)["a"], "broken");
    assert!(reaches(&mut collection, "a", "ready", HOUR).await);
    assert!(!collection.refresh().await.unwrap(), "nothing new");
    assert_eq!(collection.version(), "8");
    assert_eq!(server.asked(), ["LIST", "WATCH 5", "LIST", "WATCH 7", "LIST"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_clone_takes_the_watch_with_it() {
    let server = Server::new([list(5, &[]), Answer::Watch(vec![Step::Wait(Duration::from_secs(3))])]);
    let cluster = server.cluster();
    let first: Collection<Lite> = cluster.collection(&kind::POD, "default", &Selector::all());
    first.start().await.unwrap();
    first.start().await.unwrap();
    let second = first.clone();
    drop(first);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(server.asked(), ["LIST", "WATCH 5", "WATCH 5"], "the second clone keeps it going");
    drop(second);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(server.asked().len(), 3);
    assert!(cluster.journal().entries().iter().all(|entry| entry.ended.is_some()), "no watch is open");
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_course() {
    let course = || async {
        let resets = (0..20).map(|_| Answer::Reset);
        let server = Server::new(std::iter::once(list(5, &[])).chain(resets));
        let cluster = server.cluster();
        let collection: Collection<Lite> = cluster.collection(&kind::POD, "default", &Selector::all());
        collection.start().await.unwrap();
        tokio::time::sleep(Duration::from_secs(300)).await;
        cluster.journal().entries().iter().map(|entry| entry.started.to_string()).collect::<Vec<_>>()
    };
    let first = course().await;
    assert!(first.len() > 10);
    assert_eq!(first, course().await);
}

#[tokio::test(start_paused = true)]
async fn the_first_list_survives_trouble_but_not_for_ever() {
    let trouble = || Answer::Json(500, status(500, "InternalError", "no leader"));
    let server = Server::new([trouble(), Answer::Reset, list(5, &[object("a", 3, "one")])]);
    let it = collection(&server);
    it.start().await.unwrap();
    assert_eq!(states(&it)["a"], "one");

    let server = Server::new((0..1000).map(|_| trouble()));
    let error = collection(&server).start().await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
}
