//! `okgscript policy`: its form here, what it does on a real API server where there is one.

use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::envtest::{Server, TOKEN};
use crate::support::Test;

fn policy(args: &[&str]) -> (Value, Value) {
    let mut all = vec!["policy", "-o", "json"];
    all.extend(args);
    let ran = Test::new().args(all).stdout_any().ok();
    let list: Value = serde_json::from_str(&ran.stdout).unwrap();
    (list["items"][0].clone(), list["items"][1].clone())
}

#[test]
fn it_names_who_may_leave_holds_and_marks() {
    let (policy, binding) = policy(&["--user", "o'neil", "--group", "release", "--service-account", "games/okgscript"]);
    assert_eq!(
        policy["spec"]["matchConditions"][0]["expression"],
        r"!(request.userInfo.username in ['o\'neil', 'system:serviceaccount:games:okgscript'] || request.userInfo.groups.exists(group, group in ['release']))"
    );
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    let spec = json!({"policyName": "okgscript-hold-and-mark", "validationActions": ["Deny"]});
    assert_eq!((&binding["kind"], &binding["spec"]), (&json!("ValidatingAdmissionPolicyBinding"), &spec));
}

#[test]
fn its_reach_and_its_strictness_can_be_chosen() {
    let args = ["--user", "a", "--failure-policy", "ignore", "--action", "warn", "--action", "audit", "--name", "x"];
    let selector = ["--namespace-selector", "team=games, tier in (a,b),!old", "-n", "prod"];
    let (policy, binding) = policy(&[&args[..], &selector[..]].concat());
    assert_eq!((&policy["spec"]["failurePolicy"], &policy["metadata"]["name"]), (&json!("Ignore"), &json!("x")));
    assert_eq!(
        binding["spec"],
        json!({
            "policyName": "x",
            "validationActions": ["Warn", "Audit"],
            "matchResources": {"namespaceSelector": {"matchExpressions": [
                {"key": "team", "operator": "In", "values": ["games"]},
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["prod"]},
            ]}},
        })
    );
    let ran = Test::new().args(["policy", "--user", "a"]).stdout_any().ok();
    let documents: Vec<Value> = ran.stdout.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap()).collect();
    let kinds: Vec<&Value> = documents.iter().map(|it| &it["kind"]).collect();
    assert_eq!(kinds, ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    Test::new().args(["policy"]).stderr_has("nobody is named who may take a room out").code(2);
    Test::new().args(["policy", "--service-account", "okgscript"]).stderr_has("is no service account").code(2);
    Test::new()
        .args(["policy", "--user", "a", "--action", "deny", "--action", "warn"])
        .stderr_has("cannot be refused and warned about")
        .code(2);
    Test::new()
        .args(["policy", "--user", "a", "--namespace-selector", "a in b"])
        .stderr_has("`a in b` is no part of a label selector")
        .code(2);
}

const OKG: &str = "system:serviceaccount:kruise-game-system:kruise-game-controller-manager";
const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";

/// A namespace with rooms on a real API server, and users who may do anything that the policy lets them.
struct Rooms {
    server: Server,
    namespace: String,
}

impl Rooms {
    async fn send(&self, user: &str, method: &str, path: &str, content: &str, body: &Value) -> (u16, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", content);
        if let Some((user, group)) = user.split_once('@') {
            request = request.header("impersonate-user", user).header("impersonate-group", group);
        } else if !user.is_empty() {
            request = request.header("impersonate-user", user);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = self.server.send(request.body(body).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn make(&self, path: &str, body: &Value) {
        let (status, answer) = self.send("", "POST", path, "application/json", body).await;
        assert!(status == 201 || status == 409, "{path}: {status} {answer}");
    }

    fn path(&self, room: &str) -> String {
        format!("/apis/game.kruise.io/v1alpha1/namespaces/{}/gameservers/{room}", self.namespace)
    }

    /// Writes an opsState as a user and returns the status.
    async fn writes(&self, user: &str, room: &str, state: &str) -> u16 {
        let body = json!({"spec": {"opsState": state}});
        self.send(user, "PATCH", &self.path(room), "application/merge-patch+json", &body).await.0
    }

    async fn state(&self, room: &str) -> Value {
        self.send("", "GET", &self.path(room), "", &Value::Null).await.1["spec"]["opsState"].clone()
    }

    /// Makes rooms: held, marked, with players, idle.
    async fn new(server: Server, namespace: &str) -> Rooms {
        let rooms = Rooms { server, namespace: namespace.to_owned() };
        rooms.server.namespace(namespace).await;
        let subject = |name| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name});
        let subjects = ["matchmaker", "release", "bot", OKG, COLLECTOR].map(subject);
        let everybody = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "policy-test"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": subjects,
        });
        rooms.make("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &everybody).await;
        for (name, state) in [
            ("m-0", "Allocated"),
            ("m-1", "Draining-8zaq-20260105"),
            ("m-2", "WaitToBeDeleted"),
            ("m-3", "None"),
            ("m-4", "Draining-x"),
        ] {
            let room = json!({
                "apiVersion": "game.kruise.io/v1alpha1",
                "kind": "GameServer",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"opsState": state},
            });
            let collection = rooms.path("").trim_end_matches('/').to_owned();
            let (status, answer) = rooms.send("", "POST", &collection, "application/json", &room).await;
            assert_eq!(status, 201, "{answer}");
        }
        rooms
    }

    /// Puts a policy into force and waits until it acts.
    async fn enforce(&self, args: &[&str]) {
        let mut all = vec!["--user", "release", "--group", "bots", "-n", &self.namespace, "--name", &self.namespace];
        all.extend(args);
        let (policy, binding) = policy(&all);
        for (path, object) in [(POLICIES.to_owned(), policy), (POLICIES.replace("policies", "policybindings"), binding)]
        {
            let name = object["metadata"]["name"].as_str().unwrap();
            let path = format!("{path}/{name}?fieldManager=test&force=true");
            let (status, answer) = self.send("", "PATCH", &path, "application/apply-patch+yaml", &object).await;
            assert!(status == 200 || status == 201, "{status} {answer}");
        }
    }

    /// Waits until a write that changes nothing has this status: a policy acts a moment after it was stored.
    async fn until(&self, user: &str, room: &str, state: &str, wanted: u16) {
        let path = format!("{}?dryRun=All", self.path(room));
        for _ in 0..400 {
            let body = json!({"spec": {"opsState": state}});
            if self.send(user, "PATCH", &path, "application/merge-patch+json", &body).await.0 == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{user} never gets {wanted} for {room}");
    }
}

#[tokio::test]
#[cfg_attr(not(real_server), ignore = "no real API server: KUBEBUILDER_ASSETS is not set, see tests/envtest")]
async fn on_a_real_server_nobody_else_leaves_a_hold_or_a_mark() {
    let rooms = Rooms::new(Server::real().await, "policy").await;
    // Without the policy a blind matchmaker gets through.
    assert_eq!(rooms.writes("matchmaker", "m-4", "None").await, 200);
    assert_eq!(rooms.writes("matchmaker", "m-4", "Draining-x").await, 200);
    rooms.enforce(&[]).await;
    rooms.until("matchmaker", "m-1", "Allocated", 403).await;

    // The API server has found nothing wrong with the expressions.
    let (_, stored) = rooms.send("", "GET", &format!("{POLICIES}/policy"), "", &Value::Null).await;
    assert_eq!(stored["status"]["typeChecking"]["expressionWarnings"], Value::Null, "{stored}");

    for user in ["matchmaker", OKG] {
        for room in ["m-1", "m-2"] {
            for state in ["Allocated", "None", "Kill"] {
                assert_eq!(rooms.writes(user, room, state).await, 403, "{user} {room} {state}");
            }
        }
    }
    let body = json!({"spec": {"opsState": "Allocated"}});
    let (_, said) = rooms.send("matchmaker", "PATCH", &rooms.path("m-1"), "application/merge-patch+json", &body).await;
    let said = said["message"].as_str().unwrap();
    assert!(said.contains("this room is Draining-8zaq-20260105"), "{said}");
    assert!(said.contains("only its run may make it Allocated"), "{said}");
    // By any sort of write: a list of operations, a whole object, the field taken out, the object deleted.
    let operations = json!([{"op": "replace", "path": "/spec/opsState", "value": "Allocated"}]);
    let path = rooms.path("m-2");
    assert_eq!(rooms.send("matchmaker", "PATCH", &path, "application/json-patch+json", &operations).await.0, 403);
    let (_, mut whole) = rooms.send("matchmaker", "GET", &path, "", &Value::Null).await;
    whole["spec"]["opsState"] = json!("Allocated");
    assert_eq!(rooms.send("matchmaker", "PUT", &path, "application/json", &whole).await.0, 403);
    let out = json!({"spec": {"opsState": null}});
    assert_eq!(rooms.send("matchmaker", "PATCH", &path, "application/merge-patch+json", &out).await.0, 403);
    assert_eq!(rooms.send("matchmaker", "DELETE", &path, "", &Value::Null).await.0, 403);
    assert_eq!(
        (rooms.state("m-1").await, rooms.state("m-2").await),
        ("Draining-8zaq-20260105".into(), "WaitToBeDeleted".into())
    );

    // What leaves opsState alone passes, and so do rooms that nobody holds.
    let label = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"deletionPriority": 3}});
    for user in ["matchmaker", OKG] {
        assert_eq!(rooms.send(user, "PATCH", &rooms.path("m-1"), "application/merge-patch+json", &label).await.0, 200);
    }
    let status = json!({"status": {"currentState": "Ready"}});
    let path = format!("{}/status", rooms.path("m-1"));
    assert_eq!(rooms.send(OKG, "PATCH", &path, "application/merge-patch+json", &status).await.0, 200);
    assert_eq!(rooms.writes("matchmaker", "m-3", "Allocated").await, 200);
    assert_eq!(rooms.writes("matchmaker", "m-3", "None").await, 200);
    assert_eq!(rooms.writes("matchmaker", "m-0", "Maintaining").await, 200);

    // The run's own writes go through: hold, mark, release; by its user and by its group.
    let guarded = json!([
        {"op": "test", "path": "/spec/opsState", "value": "Draining-8zaq-20260105"},
        {"op": "add", "path": "/spec/opsState", "value": "WaitToBeDeleted"},
    ]);
    assert_eq!(
        rooms.send("release", "PATCH", &rooms.path("m-1"), "application/json-patch+json", &guarded).await.0,
        200
    );
    assert_eq!(rooms.writes("bot@bots", "m-1", "Draining-y").await, 200);
    assert_eq!(rooms.writes("release", "m-1", "None").await, 200);
    assert_eq!(rooms.writes("matchmaker", "m-1", "Allocated").await, 200);
    // Garbage collection and OKG delete what is gone.
    assert_eq!(rooms.send(COLLECTOR, "DELETE", &rooms.path("m-2"), "", &Value::Null).await.0, 200);
    assert_eq!(rooms.send(OKG, "DELETE", &rooms.path("m-4"), "", &Value::Null).await.0, 200);

    // Titles whose service qualities mark by themselves.
    assert_eq!(rooms.writes("release", "m-3", "WaitToBeDeleted").await, 200);
    rooms.enforce(&["--service-qualities"]).await;
    rooms.until(OKG, "m-3", "None", 200).await;
    assert_eq!(rooms.writes("matchmaker", "m-3", "Allocated").await, 403);
    assert_eq!(rooms.writes(OKG, "m-3", "None").await, 200);
    // Warned about, it passes.
    assert_eq!(rooms.writes("release", "m-3", "WaitToBeDeleted").await, 200);
    rooms.enforce(&["--action", "warn"]).await;
    rooms.until("matchmaker", "m-3", "Allocated", 200).await;
}
