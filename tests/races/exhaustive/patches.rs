//! The patches that the bindings send, taken from requests to an embedded cluster and filled in anew.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use okgscript::sandbox::Options;
use serde_json::{Value, json};

use crate::support::fresh::on_cluster;

/// One patch as it was sent, with the values that belong to the room or set of that moment.
#[derive(Clone, Debug)]
pub struct Template {
    operations: Vec<Value>,
}

impl Template {
    /// Returns the patch with the values of certain operations replaced, named `op path`.
    pub fn fill(&self, values: &[(&str, Value)]) -> Vec<Value> {
        let mut operations = self.operations.clone();
        for (at, value) in values {
            let (op, path) = at.split_once(' ').unwrap();
            let found = operations.iter_mut().find(|found| found["op"] == op && found["path"] == path);
            // A guard that is not sent cannot be filled in.
            if let Some(found) = found {
                found["value"] = value.clone();
            } else {
                assert_eq!(op, "test", "the bindings do not send `{at}`");
            }
        }
        operations
    }
}

/// What the bindings send, by what it is for.
#[derive(Clone, Debug)]
pub struct Patches {
    /// None → hold.
    pub hold: Template,
    /// Hold → WaitToBeDeleted.
    pub mark: Template,
    /// Hold → None.
    pub release: Template,
    /// None → WaitToBeDeleted, without a hold.
    pub fast: Template,
    /// The set: ids reserved, replicas lowered.
    pub retire: Template,
    /// The set: ids freed.
    pub free: Template,
}

impl Patches {
    /// Returns the patches that a run sends.
    pub fn sent() -> Patches {
        static SENT: OnceLock<Patches> = OnceLock::new();
        SENT.get_or_init(record).clone()
    }
}

/// Lets the bindings do everything once on the embedded cluster `minecraft`.
fn record() -> Patches {
    let script = r#"
        gs_hold("minecraft-1");
        gss_retire("minecraft", gs_held("minecraft"));
        wait_until(#{ timeout: "1m" }, || gs_lingering("minecraft").is_empty);
        gss_free_ids("minecraft");
        gs_hold("minecraft-2");
        gs_release("minecraft");
        gs_set_ops_state("minecraft-2", "WaitToBeDeleted");
        gs_set_ops_state("minecraft-2", "None");
        gs_hold("minecraft-2");
        gs_mark_held(gs_held("minecraft"));
    "#;
    let writes = on_cluster(
        &Options::default(),
        |_| BTreeMap::new(),
        |session, _| {
            let script = session.desk().compile("patches.rhai", script).unwrap_or_else(|e| panic!("{}", e.draw(false)));
            let _ = session.run(&script).unwrap_or_else(|error| panic!("{}", error.draw(false)));
            session.host().cluster().unwrap().journal().writes()
        },
    );
    let patches: Vec<Vec<Value>> = writes
        .iter()
        .filter(|write| write.method == "PATCH" && write.path.contains("game.kruise.io"))
        .filter_map(|write| Some(write.body.as_ref()?.as_array()?.clone()))
        .collect();
    let find = |path: &str, from: Option<&str>, to: &str| {
        let operation = |patch: &[Value], op: &str| patch.iter().find(|o| o["op"] == op && o["path"] == path).cloned();
        let starts = |value: &Value, text: &str| value.as_str().is_some_and(|value| value.starts_with(text));
        let found = patches.iter().find(|patch| {
            let written = operation(patch, "add").is_some_and(|o| starts(&o["value"], to));
            let judged = from.is_none_or(|from| operation(patch, "test").is_some_and(|o| starts(&o["value"], from)));
            written && judged
        });
        let operations = found.unwrap_or_else(|| panic!("no patch of {path} from {from:?} to {to}")).clone();
        Template { operations }
    };
    let of_set = |lowers: bool| {
        let reserve = json!("/spec/reserveGameServerIds");
        let found = patches.iter().find(|patch| {
            patch.iter().any(|o| o["path"] == reserve)
                && patch.iter().any(|o| o["op"] == "replace" && o["path"] == "/spec/replicas") == lowers
        });
        Template { operations: found.expect("a patch of the reserved ids").clone() }
    };
    let state = "/spec/opsState";
    Patches {
        hold: find(state, None, "Draining-"),
        release: find(state, Some("Draining-"), "None"),
        mark: find(state, Some("Draining-"), "WaitToBeDeleted"),
        fast: find(state, Some("None"), "WaitToBeDeleted"),
        retire: of_set(true),
        free: of_set(false),
    }
}
