//! Single requests: answers as diagnostics, the journal, the gate.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use okgscript::cluster::{Access, DeleteOptions, Outcome, Patch, Selector, kind};
use okgscript::diagnostic::{Diagnostic, Kind};
use serde_json::{Value, json};

use super::scripted::{Answer, Server, Step, list, object, status};

/// How often a request is sent at most.
const SENT: usize = 4;

async fn read(answer: Answer) -> Diagnostic {
    let cluster = Server::new(vec![answer; SENT]).cluster();
    cluster.get::<Value>(&kind::GAME_SERVER, "prod", "demo-3").await.unwrap_err()
}

async fn write(answer: Answer) -> Diagnostic {
    let cluster = Server::new(vec![answer; SENT]).cluster();
    let patch = Patch::Merge(json!({ "spec": { "opsState": "Maintaining" } }));
    cluster.patch::<Value>(&kind::GAME_SERVER, "prod", "demo-3", None, &patch).await.unwrap_err()
}

fn failed(code: u16, reason: &str, message: &str) -> Answer {
    Answer::Json(code, status(code, reason, message))
}

#[tokio::test(start_paused = true)]
async fn every_refusal_has_its_kind() {
    let details = json!({ "name": "demo-3", "kind": "gameservers", "group": "game.kruise.io" });
    let mut absent = status(404, "NotFound", "gameservers.game.kruise.io \"demo-3\" not found");
    absent["details"] = details;
    let cases = [
        (failed(401, "Unauthorized", "Unauthorized"), Kind::Unauthorized),
        (failed(403, "Forbidden", "no"), Kind::Forbidden),
        (Answer::Json(404, absent), Kind::NotFound),
        (failed(404, "NotFound", "the server could not find the requested resource"), Kind::NotInstalled),
        (Answer::Json(404, json!("404 page not found")), Kind::NotInstalled),
        (failed(409, "Conflict", "the object has been modified"), Kind::Conflict),
        (failed(409, "AlreadyExists", "already exists"), Kind::Conflict),
        (failed(422, "Invalid", "spec.opsState: Unsupported value"), Kind::Invalid),
        (failed(400, "BadRequest", "bad"), Kind::Invalid),
        (failed(429, "TooManyRequests", "slow down"), Kind::TooManyRequests),
        (failed(500, "InternalError", "failed calling webhook \"x\""), Kind::Unavailable),
        (failed(503, "ServiceUnavailable", "starting"), Kind::Unavailable),
        (failed(504, "Timeout", "timeout"), Kind::Unknown),
        (failed(500, "ServerTimeout", "later"), Kind::Unknown),
        (failed(500, "InternalError", "etcdserver: request timed out"), Kind::Unknown),
        (Answer::Json(502, json!("<html>bad gateway</html>")), Kind::Unknown),
        (Answer::Reset, Kind::Unknown),
        (Answer::Never, Kind::Unknown),
        (Answer::Watch(vec![Step::Raw("{\"meta"), Step::Break]), Kind::Unknown),
    ];
    for (answer, expected) in cases {
        let error = write(answer).await;
        assert_eq!(error.kind, expected, "{}", error.draw(false));
        assert_eq!(error.context.as_deref(), Some("context `test`"));
        assert!(!error.why.is_empty());
    }
    for answer in [failed(504, "Timeout", "timeout"), Answer::Reset, Answer::Never] {
        let error = read(answer).await;
        assert_eq!(error.kind, Kind::Unavailable, "a read can be repeated: {}", error.draw(false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_diagnostic_reads_as_the_house_style_wants() {
    let error =
        write(failed(403, "Forbidden", "gameservers.game.kruise.io \"demo-3\" is forbidden: User \"ci\" cannot patch"))
            .await;
    let expected = "error[forbidden]: not allowed to patch GameServer `prod/demo-3`\n  --> context `test`\n  \
                    why:  403 from the API server: `gameservers.game.kruise.io \"demo-3\" is forbidden: User \"ci\" cannot patch`\n  \
                    help: `okgscript rbac SCRIPT` prints the Role that a script needs\n";
    assert_eq!(error.draw(false), expected);
    assert_eq!((&error.data["code"], &error.data["reason"]), (&json!(403), &json!("Forbidden")));
}

#[tokio::test(start_paused = true)]
async fn a_failed_guard_is_a_conflict_that_says_so() {
    let patch = Patch::Json(json!([{ "op": "test", "path": "/spec/opsState", "value": "None" }]));
    let bare = status(422, "Invalid", "the server rejected our request due to an error in our request");
    let mut with_causes = bare.clone();
    with_causes["details"] = json!({ "causes": [{ "field": "spec.opsState", "message": "Unsupported value" }] });
    let cluster = Server::new([Answer::Json(422, bare), Answer::Json(422, with_causes)]).cluster();
    let error = cluster.patch::<Value>(&kind::GAME_SERVER, "prod", "demo-3", None, &patch).await.unwrap_err();
    assert_eq!((error.kind, &error.data["guard"]), (Kind::Conflict, &json!(true)));
    let error = cluster.patch::<Value>(&kind::GAME_SERVER, "prod", "demo-3", None, &patch).await.unwrap_err();
    assert_eq!(error.kind, Kind::Invalid);
    assert!(error.why[1].contains("`spec.opsState`: Unsupported value"), "{:?}", error.why);
}

#[tokio::test(start_paused = true)]
async fn the_server_may_say_when_to_come_back() {
    let mut busy = status(429, "TooManyRequests", "slow down");
    busy["details"] = json!({ "retryAfterSeconds": 7 });
    let begun = tokio::time::Instant::now();
    let error = read(Answer::Json(429, busy)).await;
    assert_eq!((&error.data["retry_after_seconds"], begun.elapsed().as_secs()), (&json!(7), 21));
}

#[tokio::test(start_paused = true)]
async fn what_was_surely_not_done_is_sent_again_and_nothing_else() {
    let patch = Patch::Json(json!([{ "op": "replace", "path": "/state", "value": "two" }]));
    let done = || Answer::Json(200, object("demo-3", 3, "one"));
    let busy = || failed(503, "ServiceUnavailable", "starting");
    let cases = [
        (vec![busy(), busy(), done()], (3, 3)),
        (vec![failed(429, "TooManyRequests", "slow down"), done()], (2, 2)),
        (vec![failed(500, "InternalError", "failed calling webhook"), done()], (2, 2)),
        // Reads may be repeated whatever became of them; of a write nobody knows then.
        (vec![Answer::Reset, done()], (2, 1)),
        (vec![failed(504, "Timeout", "timeout"), done()], (2, 1)),
        (vec![Answer::Never, done()], (2, 1)),
        // What will be answered the same again is asked once.
        (vec![failed(409, "Conflict", "changed"), done()], (1, 1)),
        (vec![failed(410, "Expired", "too old"), done()], (1, 1)),
        (vec![failed(403, "Forbidden", "no"), done()], (1, 1)),
        (vec![busy(); 9], (SENT, SENT)),
        (vec![Answer::Never; 9], (2, 1)),
    ];
    for (index, (answers, expected)) in cases.into_iter().enumerate() {
        let (reading, writing) = (Server::new(answers.clone()), Server::new(answers));
        let _ = reading.cluster().get::<Value>(&kind::GAME_SERVER, "prod", "demo-3").await;
        let _ = writing.cluster().patch::<Value>(&kind::GAME_SERVER, "prod", "demo-3", None, &patch).await;
        assert_eq!((reading.asked().len(), writing.asked().len()), expected, "case {index}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_would_mean_something_else_are_not_sent() {
    let server = Server::new([]);
    let cluster = server.cluster();
    for name in ["", ".", "..", "a/b"] {
        let error = cluster.delete(&kind::POD, "default", name, &DeleteOptions::default()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Invalid, "{name}");
    }
    let error = cluster.get::<Value>(&kind::POD, "", "a").await.unwrap_err();
    assert_eq!(error.kind, Kind::Invalid);
    assert!(server.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_list_is_read_in_pages_that_show_one_moment() {
    let page = |token: &str, name: &str| {
        let metadata = json!({ "resourceVersion": "10", "continue": token });
        Answer::Json(200, json!({ "metadata": metadata, "items": [object(name, 3, "one")] }))
    };
    let server = Server::new([page("x", "a"), page("y", "b"), page("", "c")]);
    let cluster = server.cluster();
    let all = cluster.list::<Value>(&kind::POD, "default", &Selector::all()).await.unwrap();
    assert_eq!(all.version, "10");
    assert_eq!(
        all.items.iter().map(|it| it["metadata"]["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    let paths: Vec<String> = cluster.journal().entries().into_iter().map(|entry| entry.path).collect();
    assert_eq!(paths[1], "/api/v1/namespaces/default/pods?limit=500&continue=x");

    // A page that came too late: the whole list is read again.
    let gone = failed(410, "Expired", "the provided continue parameter is too old");
    let server = Server::new([page("x", "a"), gone, page("x", "a"), page("", "b")]);
    let all = server.cluster().list::<Value>(&kind::POD, "default", &Selector::all()).await.unwrap();
    assert_eq!(all.items.len(), 2);
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn selectors_are_written_so_that_they_mean_themselves() {
    let cluster = Server::new([list(1, &[])]).cluster();
    let selector = Selector::all().labels("game.kruise.io/owner-gss in (a, b)").fields("metadata.name!=x&y");
    cluster.list::<Value>(&kind::POD, "default", &selector).await.unwrap();
    let path = cluster.journal().entries().remove(0).path;
    assert!(
        path.ends_with(
            "labelSelector=game.kruise.io%2Fowner-gss%20in%20%28a%2C%20b%29&fieldSelector=metadata.name%21%3Dx%26y"
        ),
        "{path}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_journal_knows_every_request_and_its_end() {
    let server = Server::new([
        Answer::Json(200, object("a", 7, "one")),
        Answer::Json(200, object("a", 8, "two")),
        failed(409, "Conflict", "modified"),
        Answer::Reset,
        Answer::Never,
    ]);
    let cluster = server.cluster();
    let seen: Arc<Mutex<Vec<(u64, Outcome)>>> = Arc::default();
    let log = seen.clone();
    cluster.journal().observe(move |entry| {
        log.lock().unwrap().push((entry.id, entry.outcome.clone()));
        Ok(())
    });
    let _: Value = cluster.get(&kind::GAME_SERVER, "default", "a").await.unwrap();
    let patch = Patch::Merge(json!({ "spec": { "opsState": "None" } }));
    for _ in 0..4 {
        let _ = cluster.patch::<Value>(&kind::GAME_SERVER, "default", "a", None, &patch).await;
    }
    let entries = cluster.journal().entries();
    assert_eq!(entries.len(), 5);
    let (get, first) = (&entries[0], &entries[1]);
    assert_eq!((get.method.as_str(), get.status, get.version.as_deref()), ("GET", Some(200), Some("7")));
    assert_eq!(get.received as usize, object("a", 7, "one").to_string().len());
    assert!(!get.write && get.body.is_none());
    assert_eq!((first.version.as_deref(), first.uid.as_deref()), (Some("8"), Some("a")));
    assert_eq!(first.body.as_deref(), Some(&json!({ "spec": { "opsState": "None" } })));
    assert_eq!(first.path, "/apis/game.kruise.io/v1alpha1/namespaces/default/gameservers/a?fieldManager=okgscript");
    assert_eq!((first.sent, first.outcome.clone()), (28, Outcome::Answered));
    assert!(first.ended.unwrap() > first.started);
    assert_eq!((entries[2].status, entries[2].outcome.clone()), (Some(409), Outcome::Answered));
    assert!(matches!(entries[3].outcome, Outcome::Failed(_)));
    assert_eq!(entries[4].outcome, Outcome::Unknown);
    let totals = cluster.journal().totals();
    assert_eq!((totals.requests, totals.writes, totals.sent), (5, 4, 4 * 28));
    assert_eq!(totals.received, entries.iter().map(|entry| entry.received).sum::<u64>());
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 10, "each once before it is sent and once at its end");
    assert_eq!(seen[2..4], [(2, Outcome::Pending), (2, Outcome::Answered)]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_nobody_waits_for_any_more_becomes_known() {
    let slow = Answer::Watch(vec![Step::Wait(Duration::from_secs(3)), Step::Event(object("a", 8, "two"))]);
    let server = Server::new([slow]);
    let cluster = server.cluster();
    let patch = Patch::Merge(json!({}));
    let given_up = async { cluster.patch::<Value>(&kind::GAME_SERVER, "default", "a", None, &patch).await };
    assert!(tokio::time::timeout(Duration::from_secs(1), given_up).await.is_err());
    assert_eq!(cluster.journal().writes()[0].outcome, Outcome::Pending);
    tokio::time::timeout(Duration::from_secs(5), cluster.journal().settled()).await.unwrap();
    let write = cluster.journal().writes().remove(0);
    assert_eq!((write.outcome, write.status), (Outcome::Answered, Some(200)));
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_lets_reads_and_questions_through_and_no_write() {
    let allowed = Answer::Json(201, json!({ "status": { "allowed": true } }));
    let server = Server::new([Answer::Json(200, object("a", 7, "one")), allowed]);
    let cluster = server.cluster();
    cluster.gate().close("this command only reads");
    let _: Value = cluster.get(&kind::GAME_SERVER, "default", "a").await.unwrap();
    let access = Access { verb: "patch".into(), resource: "gameservers".into(), ..Access::default() };
    assert!(cluster.allowed(&[access]).await.unwrap()[0].allowed);
    let body = object("a", 0, "one");
    let errors = [
        cluster.create::<Value>(&kind::GAME_SERVER, "default", &body).await.unwrap_err(),
        cluster.replace::<Value>(&kind::GAME_SERVER, "default", "a", None, &body).await.unwrap_err(),
        cluster.patch::<Value>(&kind::GAME_SERVER, "default", "a", None, &Patch::Merge(body)).await.unwrap_err(),
        cluster.delete(&kind::GAME_SERVER, "default", "a", &DeleteOptions::default()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind, error.kind.exit_code() as u8), (Kind::Refused, 4));
        assert_eq!(error.why, ["this command only reads"]);
    }
    assert_eq!(server.asked().len(), 2);
    assert!(cluster.journal().writes().is_empty(), "what was not sent is no request");
    cluster.gate().open();
    let _ = tokio::time::timeout(
        Duration::from_secs(1),
        cluster.delete(&kind::POD, "default", "a", &DeleteOptions::default()),
    )
    .await;
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_fails_stops_a_write_and_no_read() {
    let server = Server::new([Answer::Json(200, object("a", 7, "one"))]);
    let cluster = server.cluster();
    cluster.journal().observe(|_| Err(Diagnostic::new(Kind::Failed, "the disk is full")));
    let _: Value = cluster.get(&kind::GAME_SERVER, "default", "a").await.unwrap();
    let patch = Patch::Merge(json!({}));
    let error = cluster.patch::<Value>(&kind::GAME_SERVER, "default", "a", None, &patch).await.unwrap_err();
    assert_eq!(error.what, "the disk is full");
    assert_eq!(server.asked(), ["GET a"]);
    assert_eq!(cluster.journal().writes()[0].outcome, Outcome::Failed("not sent: the disk is full".into()));
    cluster.journal().settled().await;
}

#[tokio::test(start_paused = true)]
async fn rights_are_asked_for_in_one_go_and_answered_in_order() {
    let verdict = |allowed: bool| Answer::Json(201, json!({ "status": { "allowed": allowed, "reason": "RBAC" } }));
    let server = Server::new([verdict(true), verdict(false), verdict(true)]);
    let cluster = server.cluster();
    let access = |verb: &str| Access {
        verb: verb.into(),
        group: "game.kruise.io".into(),
        resource: "gameservers".into(),
        namespace: "default".into(),
        name: "minecraft-0".into(),
        ..Access::default()
    };
    let verdicts = cluster.allowed(&[access("get"), access("patch"), access("list")]).await.unwrap();
    let said: Vec<(&str, bool)> = verdicts.iter().map(|it| (it.access.verb.as_str(), it.allowed)).collect();
    assert_eq!(said, [("get", true), ("patch", false), ("list", true)]);
    let entries = cluster.journal().entries();
    assert_eq!(entries.len(), 3);
    assert!(entries[2].started < entries[0].ended.unwrap(), "they are open at the same time");
    assert_eq!(entries[0].path, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews");
}

#[tokio::test(start_paused = true)]
async fn deletions_may_be_bound_to_one_object() {
    let server = Server::new([
        Answer::Json(200, json!({ "kind": "Status", "status": "Success" })),
        Answer::Json(200, object("a", 3, "")),
    ]);
    let cluster = server.cluster();
    let options = DeleteOptions { uid: Some("u-1".into()), grace_seconds: Some(0), ..DeleteOptions::default() };
    assert!(cluster.delete(&kind::POD, "default", "a", &options).await.unwrap().is_none());
    let body = cluster.journal().writes()[0].body.clone().unwrap();
    assert_eq!(body["preconditions"], json!({ "uid": "u-1" }));
    assert_eq!(body["gracePeriodSeconds"], 0);
    let still_there = cluster.delete(&kind::POD, "default", "a", &DeleteOptions::default()).await.unwrap();
    assert_eq!(still_there.unwrap()["metadata"]["name"], "a");
}
