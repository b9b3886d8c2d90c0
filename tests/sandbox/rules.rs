//! Rules of the API that the recordings of a real server do not show, over HTTP with the controllers behind it: budgets and
//! evictions, quotas, leases, claims and volumes, garbage, reviews of service accounts.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use okgscript::clock::Clock;
use okgscript::sandbox::{Options, Sandbox};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A cluster on simulated time; call inside a paused runtime.
struct World(Sandbox);

impl World {
    async fn new() -> World {
        let clock = Clock::simulated("2026-01-05T04:00:00Z".parse().unwrap());
        World(Sandbox::start(&Options::default(), clock).await.unwrap())
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.send_as("", method, path, body).await
    }

    async fn send_as(&self, user: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let mut request = http::Request::builder().method(method).uri(path).header("content-type", content);
        if !user.is_empty() {
            request = request.header("impersonate-user", user);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = self.0.router().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn create(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send("POST", path, body).await;
        assert_eq!(status, 201, "{answer:#}");
        answer
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, Value::Null).await
    }

    /// Lets the controllers work.
    async fn rest(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

const CORE: &str = "/api/v1/namespaces/default";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
const OWNER: &str = "game.kruise.io/owner-gss";

#[tokio::test(start_paused = true)]
async fn a_budget_allows_evictions_until_it_is_used_up() {
    let world = World::new().await;
    let rooms = json!({"matchLabels": {OWNER: "minecraft"}});
    for (name, limit) in [("number", json!({"minAvailable": 2})), ("share", json!({"maxUnavailable": "34%"}))] {
        let mut spec = limit;
        spec["selector"] = rooms.clone();
        world.create(BUDGETS, json!({"metadata": {"name": name}, "spec": spec})).await;
        world.rest(1).await;
        let status = world.get(&format!("{BUDGETS}/{name}")).await.1["status"].clone();
        let counts = ["expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed", "observedGeneration"];
        let found: Vec<i64> = counts.iter().map(|count| status[*count].as_i64().unwrap()).collect();
        let allowed = if name == "number" { [3, 3, 2, 1, 1] } else { [3, 3, 1, 2, 1] };
        assert_eq!(found, allowed, "{name}");
        assert_eq!(status["conditions"][0]["reason"], "SufficientPods");
        if name == "share" {
            world.send("DELETE", &format!("{BUDGETS}/share"), Value::Null).await;
        }
    }
    let evict = async |pod: &str| {
        let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}});
        world.send("POST", &format!("{CORE}/pods/{pod}/eviction"), body).await
    };
    let (status, answer) = evict("minecraft-1").await;
    assert_eq!((status, &answer["status"]), (201, &json!("Success")));
    let (status, answer) = evict("minecraft-2").await;
    assert_eq!(
        (status, answer["reason"].as_str().unwrap(), answer["message"].as_str().unwrap()),
        (429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
    );
    let cause = &answer["details"]["causes"][0];
    assert_eq!(cause["reason"], "DisruptionBudget");
    assert!(cause["message"].as_str().unwrap().starts_with("The disruption budget number needs 2 healthy pods"));
    // Another pod takes the place of the one that went, and the next may go.
    world.rest(30).await;
    assert_eq!(evict("minecraft-2").await.0, 201);
    // Two budgets over one pod are more than the API knows what to do with.
    world
        .create(BUDGETS, json!({"metadata": {"name": "second"}, "spec": {"minAvailable": 0, "selector": rooms}}))
        .await;
    world.rest(30).await;
    assert_eq!(evict("minecraft-0").await.0, 500);
}

#[tokio::test(start_paused = true)]
async fn a_quota_of_pods_refuses_the_next_one() {
    let world = World::new().await;
    world
        .create(
            &format!("{CORE}/resourcequotas"),
            json!({"metadata": {"name": "most"}, "spec": {"hard": {"pods": "4"}}}),
        )
        .await;
    let pod = |name: &str| json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.create(&format!("{CORE}/pods"), pod("a")).await;
    let (status, answer) = world.send("POST", &format!("{CORE}/pods"), pod("b")).await;
    let why = "pods \"b\" is forbidden: exceeded quota: most, requested: pods=1, used: pods=4, limited: pods=4";
    assert_eq!((status, answer["message"].as_str().unwrap()), (403, why));
    let negative = json!({"metadata": {"name": "no"}, "spec": {"hard": {"pods": "-1"}}});
    assert_eq!(world.send("POST", &format!("{CORE}/resourcequotas"), negative).await.0, 422);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_held_by_who_writes_its_version_first() {
    let world = World::new().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = |holder: &str| {
        json!({"metadata": {"name": "release"}, "spec": {
            "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-01-05T04:00:00.000000Z",
        }})
    };
    let made = world.create(path, lease("a")).await;
    assert_eq!(world.send("POST", path, lease("b")).await.0, 409);
    let mut next = made.clone();
    next["spec"]["holderIdentity"] = "a2".into();
    let one = format!("{path}/release");
    assert_eq!(world.send("PUT", &one, next).await.0, 200);
    let mut stale = made;
    stale["spec"]["holderIdentity"] = "b".into();
    let (status, answer) = world.send("PUT", &one, stale).await;
    assert_eq!((status, answer["reason"].as_str().unwrap()), (409, "Conflict"));
    let short = json!({"metadata": {"name": "short"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 0}});
    assert_eq!(world.send("POST", path, short).await.0, 422);
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_bound_to_a_volume_that_is_large_enough() {
    let world = World::new().await;
    let claims = format!("{CORE}/persistentvolumeclaims");
    let claim = json!({"metadata": {"name": "saves"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}},
    }});
    world.create(&claims, claim).await;
    world.rest(1).await;
    let state = async || world.get(&format!("{claims}/saves")).await.1["status"]["phase"].clone();
    assert_eq!(state().await, "Pending");
    for (name, size) in [("small", "1Gi"), ("large", "5Gi")] {
        let volume = json!({"metadata": {"name": name}, "spec": {
            "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "hostPath": {"path": "/saves"},
        }});
        world.create("/api/v1/persistentvolumes", volume).await;
    }
    world.rest(2).await;
    assert_eq!(state().await, "Bound");
    let volume = async |name: &str| world.get(&format!("/api/v1/persistentvolumes/{name}")).await.1;
    assert_eq!(volume("large").await["spec"]["claimRef"]["name"], "saves");
    assert_eq!(volume("large").await["status"]["phase"], "Bound");
    assert!(volume("small").await["spec"]["claimRef"].is_null());
}

/// An owner and a dependent of it, then the owner is deleted.
async fn deleted(policy: &str) -> (World, String) {
    let world = World::new().await;
    let maps = format!("{CORE}/configmaps");
    let owner = world.create(&maps, json!({"metadata": {"name": "owner"}})).await;
    let reference = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true,
    }]);
    let finalizers = json!(["example.com/wait"]);
    let metadata = json!({"name": "dependent", "ownerReferences": reference, "finalizers": finalizers});
    world.create(&maps, json!({"metadata": metadata})).await;
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
    let (status, _) = world.send("DELETE", &format!("{maps}/owner"), options).await;
    assert_eq!(status, 200);
    world.rest(2).await;
    (world, maps)
}

#[tokio::test(start_paused = true)]
async fn an_owner_goes_before_its_dependents_or_after_them_or_alone() {
    let (world, maps) = deleted("Background").await;
    assert_eq!(world.get(&format!("{maps}/owner")).await.0, 404);
    let left = world.get(&format!("{maps}/dependent")).await.1;
    assert!(left["metadata"]["deletionTimestamp"].is_string(), "collected, and held by its finalizer");

    let (world, maps) = deleted("Foreground").await;
    let owner = world.get(&format!("{maps}/owner")).await.1;
    assert_eq!(owner["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert!(world.get(&format!("{maps}/dependent")).await.1["metadata"]["deletionTimestamp"].is_string());
    let free = json!({"metadata": {"finalizers": null}});
    assert_eq!(world.send("PATCH", &format!("{maps}/dependent"), free).await.0, 200);
    world.rest(2).await;
    assert_eq!(world.get(&format!("{maps}/dependent")).await.0, 404);
    assert_eq!(world.get(&format!("{maps}/owner")).await.0, 404);

    let (world, maps) = deleted("Orphan").await;
    assert_eq!(world.get(&format!("{maps}/owner")).await.0, 404);
    let left = world.get(&format!("{maps}/dependent")).await.1;
    assert!(left["metadata"]["deletionTimestamp"].is_null());
    assert!(left["metadata"]["ownerReferences"].is_null(), "{left:#}");
}

#[tokio::test(start_paused = true)]
async fn a_service_account_has_the_rights_of_its_groups() {
    let world = World::new().await;
    let group = "rbac.authorization.k8s.io";
    let roles = format!("/apis/{group}/v1/namespaces/default");
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]);
    world.create(&format!("{roles}/roles"), json!({"metadata": {"name": "lists"}, "rules": rules})).await;
    let subject = json!([{"kind": "Group", "apiGroup": group, "name": "system:serviceaccounts:default"}]);
    let role = json!({"apiGroup": group, "kind": "Role", "name": "lists"});
    let binding = json!({"metadata": {"name": "lists"}, "roleRef": role, "subjects": subject});
    world.create(&format!("{roles}/rolebindings"), binding).await;
    let mut codes = Vec::new();
    for user in ["system:serviceaccount:default:ops", "system:serviceaccount:arena:ops", "bob"] {
        let pods = world.send_as(user, "GET", &format!("{CORE}/pods"), Value::Null).await.0;
        let one = world.send_as(user, "GET", &format!("{CORE}/pods/minecraft-0"), Value::Null).await.0;
        codes.push((pods, one));
    }
    assert_eq!(codes, [(200, 403), (403, 403), (403, 403)]);
    let review = json!({"spec": {
        "user": "x", "groups": ["system:serviceaccounts:default"],
        "resourceAttributes": {"namespace": "default", "verb": "list", "resource": "pods"},
    }});
    let answer = world.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review).await;
    assert_eq!(answer["status"]["allowed"], true, "{answer:#}");
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (status, answer) = world.send_as("system:serviceaccount:default:ops", "POST", who, json!({})).await;
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!((status, &answer["status"]["userInfo"]["groups"]), (201, &groups));
}
