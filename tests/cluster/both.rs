//! The client and the rules that it builds on, on each server.

use std::collections::BTreeMap;
use std::time::Duration;

use okgscript::cluster::{
    Access, Cluster, Collection, DeleteOptions, Lock, LockRequest, Outcome, Patch, Selector, kind,
};
use okgscript::diagnostic::{Diagnostic, Kind};
use serde_json::{Value, json};

use crate::envtest::{Server, on_both_servers};

on_both_servers!(
    refusals_have_their_kinds,
    guards_hold_on_objects_and_their_versions,
    lists_are_read_in_pages_and_by_selectors,
    a_collection_follows_what_happens,
    a_collection_ends_and_begins_anew_without_a_loss,
    words_lead_to_kinds,
    definitions_that_are_applied_are_found,
    rights_are_those_of_who_asks,
    of_several_runs_one_holds_the_lease,
    a_lease_that_ran_out_is_taken_over,
    a_lease_that_another_took_is_not_given_back,
);

fn room(name: &str, ops_state: &str) -> Value {
    json!({
        "apiVersion": "game.kruise.io/v1alpha1", "kind": "GameServer", "metadata": { "name": name, "labels": { "state": ops_state } },
        "spec": { "opsState": ops_state },
    })
}

async fn create(cluster: &Cluster, object: &Value) -> Value {
    cluster.create(&kind::GAME_SERVER, cluster.namespace(), object).await.unwrap_or_else(|error| panic!("{error:?}"))
}

async fn patch(cluster: &Cluster, name: &str, patch: Patch) -> Result<Value, Diagnostic> {
    cluster.patch(&kind::GAME_SERVER, cluster.namespace(), name, None, &patch).await
}

fn merge(ops_state: &str) -> Patch {
    Patch::Merge(json!({ "spec": { "opsState": ops_state } }))
}

async fn refusals_have_their_kinds(server: Server) {
    let space = "refusals";
    let cluster = server.namespace(space).await;
    create(&cluster, &room("a", "None")).await;
    let absent = cluster.get::<Value>(&kind::GAME_SERVER, space, "b").await.unwrap_err();
    assert_eq!((absent.kind, &absent.data["reason"]), (Kind::NotFound, &json!("NotFound")));
    let twice = cluster.create::<Value>(&kind::GAME_SERVER, space, &room("a", "None")).await.unwrap_err();
    assert_eq!((twice.kind, &twice.data["reason"]), (Kind::Conflict, &json!("AlreadyExists")));
    let unknown = patch(&cluster, "a", Patch::Merge(json!({ "spec": { "networkDisabled": "x" } }))).await.unwrap_err();
    assert_eq!((unknown.kind, &unknown.data["reason"]), (Kind::Invalid, &json!("Invalid")));
    assert!(unknown.why.iter().any(|why| why.contains("spec.networkDisabled")), "{:?}", unknown.why);
    let other = okgscript::cluster::Kind { group: "no.such.group".into(), ..kind::GAME_SERVER };
    let error = cluster.get::<Value>(&other, space, "a").await.unwrap_err();
    assert_eq!(error.kind, Kind::NotInstalled);
    let nobody = server.cluster_of("nobody", space);
    let error = nobody.get::<Value>(&kind::GAME_SERVER, space, "a").await.unwrap_err();
    assert_eq!((error.kind, &error.data["code"]), (Kind::Forbidden, &json!(403)));
    assert!(error.why[0].contains("User \"nobody\" cannot get resource \"gameservers\""), "{:?}", error.why);
    let entries = cluster.journal().entries();
    assert!(entries.iter().all(|entry| entry.outcome == Outcome::Answered), "every answer was understood");
}

async fn guards_hold_on_objects_and_their_versions(server: Server) {
    let space = "guards";
    let cluster = server.namespace(space).await;
    let made = create(&cluster, &room("a", "None")).await;
    let guarded = |state: &str| {
        Patch::Json(json!([
            { "op": "test", "path": "/metadata/uid", "value": made["metadata"]["uid"] },
            { "op": "test", "path": "/spec/opsState", "value": state },
            { "op": "replace", "path": "/spec/opsState", "value": "Maintaining" },
        ]))
    };
    let changed = patch(&cluster, "a", guarded("None")).await.unwrap();
    assert_eq!((&changed["spec"]["opsState"], &changed["metadata"]["generation"]), (&json!("Maintaining"), &json!(2)));
    let late = patch(&cluster, "a", guarded("None")).await.unwrap_err();
    assert_eq!((late.kind, &late.data["guard"]), (Kind::Conflict, &json!(true)));
    // A change that changes nothing is none.
    let same = patch(&cluster, "a", merge("Maintaining")).await.unwrap();
    assert_eq!(same["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"]);

    let stale = cluster.replace::<Value>(&kind::GAME_SERVER, space, "a", None, &made).await.unwrap_err();
    assert_eq!((stale.kind, &stale.data["reason"]), (Kind::Conflict, &json!("Conflict")));
    let mut next = changed.clone();
    next["spec"]["opsState"] = "None".into();
    let written: Value = cluster.replace(&kind::GAME_SERVER, space, "a", None, &next).await.unwrap();
    assert_eq!(written["metadata"]["generation"], 3);

    let other = DeleteOptions { uid: Some("other".into()), ..DeleteOptions::default() };
    let error = cluster.delete(&kind::GAME_SERVER, space, "a", &other).await.unwrap_err();
    assert_eq!(error.kind, Kind::Conflict);
    let right = DeleteOptions { uid: made["metadata"]["uid"].as_str().map(str::to_owned), ..DeleteOptions::default() };
    assert!(cluster.delete(&kind::GAME_SERVER, space, "a", &right).await.unwrap().is_none());
    assert!(cluster.find::<Value>(&kind::GAME_SERVER, space, "a").await.unwrap().is_none());
}

async fn lists_are_read_in_pages_and_by_selectors(server: Server) {
    let cluster = server.namespace("pages").await;
    let map = |n: usize| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("m-{n:04}"), "labels": { "odd": (n % 2).to_string() } } });
    let maps: Vec<Value> = (0..520).map(map).collect();
    for some in maps.chunks(40) {
        let made = some.iter().map(async |map| cluster.create::<Value>(&kind::CONFIG_MAP, "pages", map).await);
        futures::future::try_join_all(made).await.unwrap();
    }
    let all = cluster.list::<Value>(&kind::CONFIG_MAP, "pages", &Selector::all()).await.unwrap();
    let names: Vec<&str> = all.items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect();
    assert!(names.len() == 520 && names.is_sorted());
    let pages = cluster.journal().entries().iter().filter(|entry| entry.path.contains("limit=")).count();
    assert_eq!(pages, 2);
    for (selector, count) in [
        (Selector::all().labels("odd=1"), 260),
        (Selector::all().labels("odd notin (0), odd"), 260),
        (Selector::all().labels("even"), 0),
        (Selector::all().fields("metadata.name!=m-0003"), 519),
        (Selector::all().labels("odd=1").fields("metadata.name=m-0003"), 1),
    ] {
        let list = cluster.list::<Value>(&kind::CONFIG_MAP, "pages", &selector).await.unwrap();
        assert_eq!(list.items.len(), count, "{selector:?}");
    }
    let error =
        cluster.list::<Value>(&kind::CONFIG_MAP, "pages", &Selector::all().fields("data=x")).await.err().unwrap();
    assert_eq!((error.kind, &error.data["code"]), (Kind::Invalid, &json!(400)));
}

fn states(collection: &Collection<Value>) -> BTreeMap<String, String> {
    let state = |room: &Value| room["spec"]["opsState"].as_str().unwrap().to_owned();
    collection.items().iter().map(|(name, room)| (name.clone(), state(room))).collect()
}

async fn until(collection: &mut Collection<Value>, expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let wait = async {
        while states(collection) != expected {
            collection.changed().await.unwrap();
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(10), wait).await;
    assert!(came.is_ok(), "expected {expected:?}, seen {:?}", states(collection));
}

async fn a_collection_follows_what_happens(server: Server) {
    let space = "follow";
    let cluster = server.namespace(space).await;
    create(&cluster, &room("a", "None")).await;
    create(&cluster, &room("b", "Allocated")).await;
    let mut all: Collection<Value> = cluster.collection(&kind::GAME_SERVER, space, &Selector::all());
    let mut some: Collection<Value> =
        cluster.collection(&kind::GAME_SERVER, space, &Selector::all().labels("state=None"));
    all.start().await.unwrap();
    some.start().await.unwrap();
    assert_eq!(states(&all).len(), 2);
    until(&mut some, &[("a", "None")]).await;
    create(&cluster, &room("c", "None")).await;
    until(&mut some, &[("a", "None"), ("c", "None")]).await;
    // Out of what the selector chooses, and into it.
    let leave = Patch::Merge(json!({ "metadata": { "labels": { "state": "Kill" } }, "spec": { "opsState": "Kill" } }));
    patch(&cluster, "a", leave).await.unwrap();
    let enter = Patch::Merge(json!({ "metadata": { "labels": { "state": "None" } } }));
    patch(&cluster, "b", enter).await.unwrap();
    until(&mut some, &[("b", "Allocated"), ("c", "None")]).await;
    cluster.delete(&kind::GAME_SERVER, space, "c", &DeleteOptions::default()).await.unwrap();
    until(&mut some, &[("b", "Allocated")]).await;
    until(&mut all, &[("a", "Kill"), ("b", "Allocated")]).await;
    let read = cluster.journal().entries();
    let lists = read.iter().filter(|entry| entry.path.contains("limit=")).count();
    assert_eq!(lists, 2, "one list for each collection");
    assert!(!all.refresh().await.unwrap(), "the list says what the watch said");
}

/// Versions that time has made unusable lead to a new list.
async fn a_collection_ends_and_begins_anew_without_a_loss(server: Server) {
    let space = "anew";
    let cluster = server.namespace(space).await;
    let made = create(&cluster, &room("a", "None")).await;
    server.compact().await;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    let path = kind::GAME_SERVER.collection_path(space);
    let gone = cluster.raw(&format!("{path}?resourceVersion=1&resourceVersionMatch=Exact")).await.unwrap_err();
    assert_eq!((gone.data["code"].as_u64(), gone.data["reason"].as_str()), (Some(410), Some("Expired")));
    let there = cluster.raw(&format!("{path}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(there.unwrap()["items"].as_array().map(Vec::len), Some(1));
    let mut all: Collection<Value> = cluster.collection(&kind::GAME_SERVER, space, &Selector::all());
    all.start().await.unwrap();
    for state in ["Maintaining", "Allocated", "WaitToBeDeleted", "None"] {
        patch(&cluster, "a", merge(state)).await.unwrap();
    }
    until(&mut all, &[("a", "None")]).await;
}

async fn words_lead_to_kinds(server: Server) {
    let cluster = server.cluster("default");
    for (word, version, plural, namespaced) in [
        ("endpoints", "v1", "endpoints", true),
        ("cm", "v1", "configmaps", true),
        ("clusterrole", "rbac.authorization.k8s.io/v1", "clusterroles", false),
        ("hpa", "autoscaling/v2", "horizontalpodautoscalers", true),
        ("gss", "game.kruise.io/v1alpha1", "gameserversets", true),
        ("CustomResourceDefinition", "apiextensions.k8s.io/v1", "customresourcedefinitions", false),
    ] {
        let kind = cluster.resolve(word).await.unwrap_or_else(|error| panic!("{word}: {error:?}"));
        assert_eq!(
            (kind.api_version().as_str(), &*kind.plural, kind.namespaced),
            (version, plural, namespaced),
            "{word}"
        );
    }
    let error = cluster.resolve("gameservrs").await.unwrap_err();
    assert_eq!(error.kind, Kind::NotInstalled);
    assert!(error.help[0].contains("did you mean `gameservers`?"), "{:?}", error.help);
}

async fn definitions_that_are_applied_are_found(server: Server) {
    let space = "definitions";
    let cluster = server.namespace(space).await;
    let schema = json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": {
        "size": { "type": "integer", "minimum": 1, "default": 3 } } } } });
    let names = json!({ "plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wdg"] });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "widgets.acme.example" },
        "spec": { "group": "acme.example", "scope": "Namespaced", "names": names,
                  "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }] },
    });
    let crd = cluster.resolve("crd").await.unwrap();
    let _: Value = cluster.create(&crd, "", &definition).await.unwrap();
    let mut found = None;
    for _ in 0..100 {
        // Each client asks once.
        let fresh = server.cluster(space);
        if let Ok(kind) = fresh.resolve("wdg").await
            && fresh.raw(&kind.collection_path(space)).await.is_ok()
        {
            found = Some(kind);
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let widget = found.expect("the kind is served");
    let body = json!({ "apiVersion": "acme.example/v1", "kind": "Widget", "metadata": { "name": "w" }, "spec": { "colour": 1 } });
    let made: Value = cluster.create(&widget, space, &body).await.unwrap();
    assert_eq!(made["spec"], json!({ "size": 3 }), "defaulted and pruned");
    let error =
        cluster.patch::<Value>(&widget, space, "w", None, &Patch::Merge(json!({ "spec": { "size": 0 } }))).await;
    assert!(error.unwrap_err().why[0].contains("spec.size in body should be greater than or equal to 1"));
    cluster.delete(&crd, "", "widgets.acme.example", &DeleteOptions::default()).await.unwrap();
}

async fn rights_are_those_of_who_asks(server: Server) {
    let space = "rights";
    let cluster = server.namespace(space).await;
    let rbac = |plural: &str, name: &str, rest: Value| {
        let (api, kind) = ("rbac.authorization.k8s.io/v1", if plural == "roles" { "Role" } else { "RoleBinding" });
        let mut object = json!({ "apiVersion": api, "kind": kind, "metadata": { "name": name } });
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        object
    };
    let rules = json!({ "rules": [
        { "apiGroups": ["game.kruise.io"], "resources": ["gameservers"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": ["game.kruise.io"], "resources": ["gameservers"], "resourceNames": ["a"], "verbs": ["patch"] },
    ]});
    let binding = json!({
        "subjects": [{ "kind": "User", "name": "ops", "apiGroup": "rbac.authorization.k8s.io" }],
        "roleRef": { "kind": "Role", "name": "ops", "apiGroup": "rbac.authorization.k8s.io" },
    });
    for (plural, rest) in [("roles", rules), ("rolebindings", binding)] {
        let kind = cluster.resolve(&format!("{plural}.rbac.authorization.k8s.io")).await.unwrap();
        let _: Value = cluster.create(&kind, space, &rbac(plural, "ops", rest)).await.unwrap();
    }
    for name in ["a", "b"] {
        create(&cluster, &room(name, "None")).await;
    }
    let ops = server.cluster_of("ops", space);
    let access = |verb: &str, name: &str| Access {
        verb: verb.into(),
        group: "game.kruise.io".into(),
        resource: "gameservers".into(),
        namespace: space.into(),
        name: name.into(),
        ..Access::default()
    };
    let asked = [access("get", ""), access("patch", "a"), access("patch", "b"), access("delete", "a")];
    let mut said = Vec::new();
    // A binding takes effect a moment later.
    for _ in 0..50 {
        said = ops.allowed(&asked).await.unwrap().iter().map(|verdict| verdict.allowed).collect();
        if said[0] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(said, [true, true, false, false]);
    assert!(patch(&ops, "a", merge("Maintaining")).await.is_ok());
    assert_eq!(patch(&ops, "b", merge("Maintaining")).await.unwrap_err().kind, Kind::Forbidden);
    let elsewhere = ops.list::<Value>(&kind::GAME_SERVER, "default", &Selector::all()).await;
    assert_eq!(elsewhere.err().unwrap().kind, Kind::Forbidden);
}

fn request(space: &str, run: &str) -> LockRequest {
    LockRequest { namespace: space.into(), set: "minecraft".into(), run: run.into(), who: format!("{run}@build-7") }
}

async fn lease(cluster: &Cluster) -> Value {
    let kind = cluster.resolve("leases").await.unwrap();
    cluster.get(&kind, cluster.namespace(), "okgscript-minecraft").await.unwrap()
}

async fn of_several_runs_one_holds_the_lease(server: Server) {
    let space = "lease";
    server.namespace(space).await;
    let clusters: Vec<Cluster> = (0..5).map(|_| server.cluster(space)).collect();
    let runs: Vec<String> = (0..5).map(|n| format!("run-{n}")).collect();
    let tries = clusters.iter().zip(&runs).map(|(cluster, run)| Lock::acquire(cluster, request(space, run)));
    let results = futures::future::join_all(tries).await;
    let holds: Vec<usize> = (0..5).filter(|n| results[*n].is_ok()).collect();
    assert_eq!(holds.len(), 1);
    let refused: Vec<&Diagnostic> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(refused.iter().all(|error| error.kind == Kind::Refused), "{refused:?}");
    let held = lease(&clusters[0]).await;
    assert_eq!(held["spec"]["holderIdentity"], runs[holds[0]].as_str());
    for lock in results.into_iter().flatten() {
        lock.release().await.unwrap();
    }
    let next = Lock::acquire(&clusters[0], request(space, "run-9")).await.unwrap();
    let held = lease(&clusters[0]).await;
    assert_eq!((&held["spec"]["holderIdentity"], &held["spec"]["leaseTransitions"]), (&json!("run-9"), &json!(1)));
    next.release().await.unwrap();
}

async fn a_lease_that_ran_out_is_taken_over(server: Server) {
    let space = "lease-old";
    let cluster = server.namespace(space).await;
    let kind = cluster.resolve("leases").await.unwrap();
    let long_ago = "2026-01-05T04:00:00.000000Z";
    let old = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "okgscript-minecraft" },
        "spec": { "holderIdentity": "run-1", "leaseDurationSeconds": 30, "leaseTransitions": 4, "acquireTime": long_ago, "renewTime": long_ago },
    });
    let _: Value = cluster.create(&kind, space, &old).await.unwrap();
    let lock = Lock::acquire(&cluster, request(space, "run-2")).await.unwrap();
    let held = lease(&cluster).await;
    assert_eq!((&held["spec"]["holderIdentity"], &held["spec"]["leaseTransitions"]), (&json!("run-2"), &json!(5)));
    lock.release().await.unwrap();
}

async fn a_lease_that_another_took_is_not_given_back(server: Server) {
    let space = "lease-lost";
    let cluster = server.namespace(space).await;
    let lock = Lock::acquire(&cluster, request(space, "run-1")).await.unwrap();
    let kind = cluster.resolve("leases").await.unwrap();
    let thief = Patch::Merge(json!({ "spec": { "holderIdentity": "run-9" } }));
    let stolen: Value = server.cluster(space).patch(&kind, space, "okgscript-minecraft", None, &thief).await.unwrap();
    let _ = lock.release().await;
    assert_eq!(lease(&cluster).await["metadata"]["resourceVersion"], stolen["metadata"]["resourceVersion"]);
}
