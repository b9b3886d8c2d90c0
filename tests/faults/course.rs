//! One release on a cluster that fails on request, and everything that can be known of it afterwards.

use std::collections::BTreeMap;

use okgscript::cli::preflight;
use okgscript::cli::receipt::Receipt;
use okgscript::diagnostic::Diagnostic;
use okgscript::exit_code::ExitCode;
use okgscript::sandbox::requests::Requests;
use okgscript::sandbox::{Options, Sandbox};
use okgscript::script::shipped;
use serde_json::{Value, json};

use crate::runs::proxy::Exchange;
use crate::support::fresh::{Fresh, fresh};

/// Five rooms on the old image; players are in two. KEDA with OKG's scaler lowers replicas.
const WORLD: &str = r#"
world: { podStart: { from: 5s, to: 7s } }
age: 2m
rooms:
- { names: [minecraft-0, minecraft-3], playing: 48h }
---
apiVersion: game.kruise.io/v1alpha1
kind: GameServerSet
metadata: { name: minecraft, namespace: default }
spec:
  replicas: 5
  updateStrategy: { type: OnDelete }
  gameServerTemplate:
    spec:
      containers: [{ name: minecraft, image: "minecraft:1" }]
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: { name: minecraft, namespace: default }
spec:
  scaleTargetRef: { apiVersion: game.kruise.io/v1alpha1, kind: GameServerSet, name: minecraft }
  minReplicaCount: 1
  maxReplicaCount: 20
  triggers: [{ type: external, metadata: { minAvailable: "1" } }]
"#;

/// Seconds after a run until nothing moves any more: what is down is up again, what is marked is gone.
const REST: u64 = 540;

/// The rooms with players, by name and pod.
type Playing = BTreeMap<String, String>;

/// What a release came to.
#[derive(Debug)]
pub struct Course {
    pub failure: Option<Diagnostic>,
    pub code: ExitCode,
    pub receipt: Value,
    /// The server's own log.
    pub log: Vec<Exchange>,
    /// The cluster when all has come to rest.
    pub rest: Rest,
    /// What the run warned of.
    pub warnings: Vec<String>,
    /// What another run came to without faults, and the cluster then; only after a run that did not end as without faults.
    pub again: Option<(ExitCode, Rest)>,
}

/// A cluster that has come to rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Rest {
    /// What a release comes to, and nothing that differs from run to run.
    pub state: Value,
    /// Rooms that say they are held, with nobody who would let them go.
    pub held: Vec<String>,
    /// Rooms with players whose pod is not what it was.
    pub disturbed: Vec<String>,
    /// Whether somebody still has the release's Lease.
    pub leased: bool,
}

fn playing(sandbox: &Sandbox) -> Playing {
    let names = ["minecraft-0", "minecraft-3"];
    let uid = |name: &str| {
        let pod = sandbox.api().get("pods", "default", name);
        pod.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .map_or_else(String::new, |pod| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
    };
    names.iter().map(|name| ((*name).to_owned(), uid(name))).collect()
}

/// Plays the shipped release with an ending while the faults are there.
/// Whatever does not end as `clean` is run again without faults.
pub fn play(end: &str, faults: &[&str], clean: Option<&Rest>) -> Course {
    let list: String = faults.iter().map(|fault| format!("- {fault}\n")).collect();
    let list = if list.is_empty() { "[]".to_owned() } else { format!("\n{list}") };
    let text = format!("apiVersion: okgscript.io/v1\nkind: Scenario\nfaults: {list}{WORLD}");
    let requests = Requests::default();
    let scenario = Some(("faults.yaml".to_owned(), text));
    let options = Options { scenario, requests: Some(requests.clone()), ..Options::default() };
    fresh(&options, |fresh| {
        let before = playing(&fresh.sandbox);
        let (failure, receipt) = release(fresh, "first", end);
        let code = match &failure {
            None if receipt.failed() => ExitCode::Partial,
            None => ExitCode::Done,
            Some(failure) => failure.kind.exit_code(),
        };
        let log = requests.all().into_iter().map(exchange).collect();
        fresh.pass(REST);
        let rest = at_rest(&fresh.sandbox, &before);
        let warnings = fresh.warnings();
        let again = (code != ExitCode::Done || clean.is_some_and(|clean| *clean != rest)).then(|| {
            fresh.sandbox.faults().clear();
            let (failure, _) = release(fresh, "second", end);
            fresh.pass(REST);
            let code = failure.map_or(ExitCode::Done, |failure| failure.kind.exit_code());
            (code, at_rest(&fresh.sandbox, &before))
        });
        let mut told = receipt.to_json();
        told["error"] = failure.as_ref().map(|failure| failure.draw(false)).into();
        Course { failure, code, receipt: told, log, rest, warnings, again }
    })
}

/// Runs the release as the command line does; returns why it failed, and its receipt.
fn release(fresh: &Fresh, run: &str, end: &str) -> (Option<Diagnostic>, Receipt) {
    let source = shipped::script("lossless_release").unwrap();
    let given =
        [("gss", json!("minecraft")), ("image", json!("minecraft:2")), ("end", json!(end)), ("batch", json!(2))];
    let session = fresh.session(run, |desk| {
        let script = desk.compile("lossless_release", source).unwrap();
        let defaults = script.params.into_iter().filter_map(|param| Some((param.name, param.default?)));
        defaults.chain(given.into_iter().map(|(name, value)| (name.to_owned(), value))).collect()
    });
    let script = session.desk().compile("lossless_release", source).unwrap();
    let host = session.host();
    let (begun, params) = (host.now(), host.params.clone());
    let result = preflight::check(&session, &script, &params).and_then(|()| session.run(&script));
    let failure = result.err();
    let receipt = Receipt::take(host, &script, &params, begun, failure.as_ref());
    (failure, receipt)
}

/// The log's entry in the form of the proxy's.
fn exchange(from: okgscript::sandbox::requests::Exchange) -> Exchange {
    Exchange {
        method: from.method,
        path: from.path,
        body: from.body,
        forwarded: from.status.is_some(),
        lost: !from.told,
        status: from.status.unwrap_or_default(),
        answer: from.answer,
    }
}

fn at_rest(sandbox: &Sandbox, before: &Playing) -> Rest {
    let set = sandbox.api().get("gameserversets.game.kruise.io", "default", "minecraft").unwrap();
    let rooms = sandbox.api().list("gameservers.game.kruise.io", Some("default"));
    let row = |room: &Value| {
        let name = &room["metadata"]["name"];
        let pod = sandbox.api().get("pods", "default", name.as_str().unwrap());
        let image = pod.map_or(Value::Null, |pod| pod["spec"]["containers"][0]["image"].clone());
        json!([name, image, room["spec"]["opsState"], room["status"]["currentState"]])
    };
    let held = |room: &&Value| room["spec"]["opsState"].as_str().is_some_and(|state| state.starts_with("Draining"));
    let name = |room: &Value| room["metadata"]["name"].as_str().unwrap().to_owned();
    let after = playing(sandbox);
    let lease = sandbox.api().get("leases.coordination.k8s.io", "default", "okgscript-minecraft");
    let state = json!({
        "image": set.pointer("/spec/gameServerTemplate/spec/containers/0/image"),
        "replicas": set["spec"]["replicas"],
        "reserved": set["spec"]["reserveGameServerIds"].as_array().cloned().unwrap_or_default(),
        "note": set["metadata"]["annotations"]["okgscript.io/drain"],
        "rooms": rooms.iter().map(|room| row(room)).collect::<Vec<_>>(),
    });
    Rest {
        state,
        held: rooms.iter().map(|room| &**room).filter(held).map(name).collect(),
        disturbed: before.iter().filter(|(name, uid)| after.get(*name) != Some(uid)).map(|it| it.0.clone()).collect(),
        leased: lease.is_some_and(|it| it["spec"]["holderIdentity"].as_str().is_some_and(|holder| !holder.is_empty())),
    }
}
