//! What an earlier run left behind is taken over by the next.

use std::collections::BTreeMap;
use std::time::Duration;

use okgscript::sandbox::Options;
use okgscript::sandbox::api::Api;
use okgscript::sandbox::object::{Actor, Patch};
use serde_json::{Value, json};

use crate::support::fresh::{Fresh, fresh};

fn run(fresh: &Fresh, name: &str, script: &str) {
    let session = fresh.session(name, |_| BTreeMap::new());
    let script = session.desk().compile("adopt.rhai", script).unwrap_or_else(|error| panic!("{}", error.draw(false)));
    if let Err(error) = session.run(&script) {
        panic!("{}", error.draw(false));
    }
}

/// Keeps a pod while it is terminating, or does not any more.
fn keep(api: &Api, pod: &str, finalizers: Value) {
    let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    api.patch(&Actor::controller("test"), "pods", "", "default", pod, &patch).unwrap();
}

#[test]
fn ids_of_rooms_that_go_while_the_next_run_works_are_freed() {
    fresh(&Options::default(), |fresh| {
        let api = fresh.sandbox.api().clone();
        keep(&api, "minecraft-1", json!(["test/hold"]));
        let retires = r#"gs_hold(["minecraft-1", "minecraft-2"]); gss_retire("minecraft", gs_held("minecraft"));"#;
        run(fresh, "one", retires);
        // One of its two rooms is gone, the other takes its time: until after the next run has looked for the first time.
        fresh.pass(60);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            keep(&api, "minecraft-1", Value::Null);
        });
        let drains = r#"
            import "okg/drain" as drain;
            drain::retire("minecraft", #{ names: "minecraft-0" }, #{ end: "retire" });
        "#;
        run(fresh, "two", drains);
        let set = fresh.sandbox.api().get("gameserversets.game.kruise.io", "default", "minecraft").unwrap();
        let reserved = set["spec"]["reserveGameServerIds"].as_array().is_some_and(|ids| !ids.is_empty());
        assert!(!reserved, "{}", set["spec"]["reserveGameServerIds"]);
        assert!(set["metadata"]["annotations"].get("okgscript.io/drain").is_none(), "{}", set["metadata"]);
    });
}
