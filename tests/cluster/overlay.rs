//! Plans: what they would do is seen, and nothing is sent.

use okgscript::cluster::{Change, Cluster, DeleteOptions, Patch, Selector, kind};
use okgscript::diagnostic::Kind;
use serde_json::{Value, json};

use crate::envtest::{Server, on_both_servers};

on_both_servers!(
    a_plan_shows_what_it_would_do_and_sends_nothing,
    rights_are_asked_of_the_cluster,
    what_a_plan_cannot_foresee_is_refused,
    a_plan_foresees_what_the_same_writes_do,
);

/// A namespace with a few objects, and a client in it.
async fn world(server: &Server, namespace: &str) -> Cluster {
    let cluster = server.namespace(namespace).await;
    for name in ["a", "b"] {
        let _: Value = cluster.create(&kind::CONFIG_MAP, namespace, &config(name, "1")).await.unwrap();
    }
    let set = json!({
        "apiVersion": "game.kruise.io/v1alpha1",
        "kind": "GameServerSet",
        "metadata": { "name": "minecraft" },
        "spec": { "replicas": 3, "gameServerTemplate": { "spec": { "containers": [{ "name": "minecraft", "image": "minecraft:1" }] } } },
    });
    let _: Value = cluster.create(&kind::GAME_SERVER_SET, namespace, &set).await.unwrap();
    // A client that has written nothing yet.
    server.cluster(namespace)
}

/// Returns names and versions of what there is.
async fn versions(cluster: &Cluster) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for kind in [&kind::CONFIG_MAP, &kind::GAME_SERVER_SET] {
        let list = cluster.list::<Value>(kind, cluster.namespace(), &Selector::all()).await.unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        all.extend(
            list.items.iter().map(|it| (text(&it["metadata"]["name"]), text(&it["metadata"]["resourceVersion"]))),
        );
    }
    all
}

fn config(name: &str, value: &str) -> Value {
    let metadata = json!({ "name": name, "labels": { "value": value } });
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "value": value } })
}

async fn a_plan_shows_what_it_would_do_and_sends_nothing(server: Server) {
    let space = "plan";
    let cluster = world(&server, space).await;
    let untouched = versions(&cluster).await;
    let (plan, overlay) = cluster.plan();
    let guarded = Patch::Json(json!([
        { "op": "test", "path": "/spec/replicas", "value": 3 },
        { "op": "replace", "path": "/spec/replicas", "value": 6 },
    ]));
    let set: Value = plan.patch(&kind::GAME_SERVER_SET, space, "minecraft", None, &guarded).await.unwrap();
    assert_eq!((&set["spec"]["replicas"], &set["metadata"]["generation"]), (&json!(6), &json!(2)));
    let again = plan.patch::<Value>(&kind::GAME_SERVER_SET, space, "minecraft", None, &guarded).await.unwrap_err();
    assert_eq!((again.kind, &again.data["guard"]), (Kind::Conflict, &json!(true)), "the plan is what is guarded");
    let read: Value = plan.get(&kind::GAME_SERVER_SET, space, "minecraft").await.unwrap();
    assert_eq!(read, set);

    let new: Value = plan.create(&kind::CONFIG_MAP, space, &config("c", "1")).await.unwrap();
    assert_eq!(new["metadata"]["uid"], "planned-2");
    let twice = plan.create::<Value>(&kind::CONFIG_MAP, space, &config("a", "1")).await.unwrap_err();
    assert_eq!((twice.kind, twice.data["reason"].as_str()), (Kind::Conflict, Some("AlreadyExists")));
    plan.delete(&kind::CONFIG_MAP, space, "b", &DeleteOptions::default()).await.unwrap();
    assert_eq!(plan.find::<Value>(&kind::CONFIG_MAP, space, "b").await.unwrap(), None);
    let gone = plan.patch::<Value>(&kind::CONFIG_MAP, space, "b", None, &Patch::Merge(json!({}))).await.unwrap_err();
    assert_eq!(gone.kind, Kind::NotFound);

    let names = async |selector: &Selector, namespace: &str| {
        let all = plan.list::<Value>(&kind::CONFIG_MAP, namespace, selector).await.unwrap();
        let mut names: Vec<String> =
            all.items.iter().map(|it| it["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&Selector::all(), space).await, ["a", "c"]);
    if !server.is_real() {
        // On the other one, other tests have left theirs.
        assert_eq!(names(&Selector::all(), "").await, ["a", "c"]);
    }
    assert_eq!(names(&Selector::all().labels("value=2"), space).await, [""; 0]);
    assert_eq!(names(&Selector::all().fields("metadata.name=c"), space).await, ["c"]);

    let changes = overlay.changes();
    let told: Vec<(&str, bool, bool, usize)> = changes
        .iter()
        .map(|it| (it.path.rsplit('/').next().unwrap(), it.before.is_some(), it.after.is_some(), it.writes))
        .collect();
    assert_eq!(told, [("minecraft", true, true, 1), ("c", false, true, 1), ("b", true, false, 1)]);
    let Change { before, after, .. } = &changes[0];
    assert_eq!(before.as_ref().unwrap()["spec"]["replicas"], 3);
    assert_eq!(after.as_ref().unwrap()["spec"]["replicas"], 6);

    assert_eq!(versions(&cluster).await, untouched, "the cluster has not changed");
    assert!(cluster.journal().writes().is_empty());
    assert!(cluster.journal().entries().iter().all(|entry| entry.method == "GET"));
    // The way past the plan is shut.
    let past = cluster.patch::<Value>(&kind::CONFIG_MAP, space, "a", None, &Patch::Merge(json!({}))).await;
    assert_eq!(past.unwrap_err().kind, Kind::Refused);
}

async fn rights_are_asked_of_the_cluster(server: Server) {
    let space = "plan-rights";
    let cluster = world(&server, space).await;
    let (plan, overlay) = cluster.plan();
    let access = okgscript::cluster::Access { verb: "get".into(), resource: "pods".into(), ..Default::default() };
    assert!(plan.allowed(&[access]).await.unwrap()[0].allowed);
    assert!(overlay.changes().is_empty());
}

async fn what_a_plan_cannot_foresee_is_refused(server: Server) {
    let space = "plan-refused";
    let cluster = world(&server, space).await;
    let (plan, overlay) = cluster.plan();
    let unknown = okgscript::cluster::Kind { group: "no.such.group".into(), ..kind::CONFIG_MAP };
    let error = plan.patch::<Value>(&unknown, space, "a", None, &Patch::Merge(json!({}))).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotInstalled);
    let old = json!({ "metadata": { "name": "a", "namespace": space, "resourceVersion": "1" } });
    let error = plan.replace::<Value>(&kind::CONFIG_MAP, space, "a", None, &old).await.unwrap_err();
    assert_eq!(error.kind, Kind::Conflict);
    let other = DeleteOptions { uid: Some("other".into()), ..DeleteOptions::default() };
    let error = plan.delete(&kind::CONFIG_MAP, space, "a", &other).await.unwrap_err();
    assert_eq!(error.kind, Kind::Conflict);
    assert!(overlay.changes().is_empty());
}

/// One write, drawn by chance; returns what became of it, without what only a server gives.
async fn act(cluster: &Cluster, rng: &mut fastrand::Rng) -> String {
    let space = cluster.namespace();
    let name = ["a", "b", "c", "d"][rng.usize(0..4)];
    let value = rng.u8(0..4).to_string();
    let map = &kind::CONFIG_MAP;
    let result: Result<Value, _> = match rng.u8(0..7) {
        0 => cluster.create(map, space, &config(name, &value)).await,
        1 => match cluster.delete(map, space, name, &DeleteOptions::default()).await {
            Ok(_) => Ok(json!("deleted")),
            Err(error) => Err(error),
        },
        2 => cluster.replace(map, space, name, None, &config(name, &value)).await,
        3 => {
            let patch =
                Patch::Merge(json!({ "data": { "value": value }, "metadata": { "labels": { "extra": null } } }));
            cluster.patch(map, space, name, None, &patch).await
        }
        4 => {
            let patch = Patch::Json(json!([
                { "op": "test", "path": "/data/value", "value": value },
                { "op": "add", "path": "/metadata/labels/extra", "value": "x" },
            ]));
            cluster.patch(map, space, name, None, &patch).await
        }
        5 => cluster.get(map, space, name).await,
        _ => {
            let selector =
                if rng.bool() { Selector::all() } else { Selector::all().fields(format!("metadata.name={name}")) };
            let all = cluster.list::<Value>(map, space, &selector).await;
            all.map(|mut all| {
                all.items.sort_by_key(|item| item["metadata"]["name"].to_string());
                Value::Array(all.items)
            })
        }
    };
    match result {
        Ok(value) => bare(value).to_string(),
        Err(error) => format!("{} {}", error.kind.name(), error.data["reason"]),
    }
}

/// Takes away what only a server gives.
fn bare(mut value: Value) -> Value {
    match &mut value {
        Value::Array(items) => return Value::Array(items.drain(..).map(bare).collect()),
        Value::Object(fields) => {
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
                    metadata.remove(field);
                }
                if metadata.get("labels").is_some_and(|labels| labels == &json!({})) {
                    metadata.remove("labels");
                }
            }
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        _ => {}
    }
    value
}

async fn a_plan_foresees_what_the_same_writes_do(server: Server) {
    for seed in 0..if server.is_real() { 6 } else { 60 } {
        let real = world(&server, &format!("plan-{seed}-done")).await;
        let base = world(&server, &format!("plan-{seed}-foreseen")).await;
        let before = versions(&base).await;
        let (plan, overlay) = base.plan();
        let (mut one, mut other) = (fastrand::Rng::with_seed(seed), fastrand::Rng::with_seed(seed));
        for step in 0..40 {
            let (done, foreseen) = (act(&real, &mut one).await, act(&plan, &mut other).await);
            let foreseen = foreseen.replace("-foreseen", "-done");
            assert_eq!(done, foreseen, "seed {seed}, step {step}");
        }
        assert_eq!(versions(&base).await, before, "seed {seed}: nothing was written");
        assert!(base.journal().entries().iter().all(|entry| entry.method == "GET"), "seed {seed}");
        // What the plan says in the end is what there is.
        for change in overlay.changes() {
            let name = change.path.rsplit('/').next().unwrap();
            let there: Option<Value> = real.find(&kind::CONFIG_MAP, real.namespace(), name).await.unwrap();
            let after = change.after.map(bare).map(|after| after.to_string().replace("-foreseen", "-done"));
            assert_eq!(after, there.map(|object| bare(object).to_string()), "seed {seed}: {name}");
        }
    }
}
