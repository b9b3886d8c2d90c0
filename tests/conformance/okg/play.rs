//! Plays one recording on a paused clock.

use std::time::Duration;

use okgscript::clock::Clock;
use okgscript::sandbox::api::Api;
use okgscript::sandbox::object::{Actor, Change, DeleteOptions, Patch};
use okgscript::sandbox::status::Status;
use okgscript::sandbox::{Options, Sandbox, scaler};
use serde_json::{Value, json};

use super::compare;
use super::seen;
use super::view::{self, Tokens, text};

/// The namespace of the played recording; short, and nowhere else in what is compared.
const NAMESPACE: &str = "okg-recording";
/// Longest that a step may take to settle.
const PATIENCE: Duration = Duration::from_secs(900);

/// Plays a recording; returns the differences of each step.
pub fn play(recording: &Value) -> Vec<Vec<String>> {
    // In wall time controllers run on threads, as behind `okgscript sandbox`; slow, so only on demand.
    let wall = std::env::var_os("OKGSCRIPT_WALL").is_some();
    let runtime = if wall {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    };
    runtime.block_on(async {
        let clock = if wall { Clock::wall() } else { Clock::simulated("2026-06-01T08:00:00Z".parse().unwrap()) };
        let scenario = Some(("conformance".to_owned(), String::new()));
        let seed = std::env::var("OKGSCRIPT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        let options = Options { scenario, seed, empty: true, ..Options::default() };
        let sandbox = Sandbox::start(&options, clock).await.unwrap();
        Player { sandbox, tokens: Tokens::default(), actor: Actor::controller("kubectl") }.play(recording).await
    })
}

struct Player {
    sandbox: Sandbox,
    tokens: Tokens,
    actor: Actor,
}

impl Player {
    fn api(&self) -> &Api {
        self.sandbox.api()
    }

    async fn play(mut self, recording: &Value) -> Vec<Vec<String>> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        self.api().create(&self.actor, "namespaces", namespace).unwrap();
        let quiet = Duration::from_secs_f64(recording["quiet"].as_f64().unwrap_or(3.2));
        self.settle(quiet).await;
        let (mut steps, mut loose) = (Vec::new(), std::collections::BTreeSet::new());
        for step in recording["steps"].as_array().unwrap() {
            let before = self.api().version();
            let mut differences = Vec::new();
            for (index, action) in step["do"].as_array().unwrap().iter().enumerate() {
                let answer = self.act(action, &recording["given"]).await;
                let varies = &step["varies_answers"];
                differences.extend(compare::answer(index, action, answer, varies));
            }
            if !self.settle(quiet).await {
                differences.push("does not settle".to_owned());
            }
            let api = self.api().clone();
            self.tokens.observe(&api, NAMESPACE);
            let settled = view::settled(self.api(), NAMESPACE, &self.tokens);
            let changes = self.changes(before);
            let seen = seen::Seen::read(self.api(), &changes, NAMESPACE, &self.tokens);
            loose.extend(compare::loose(step));
            differences.extend(compare::settled(&step["settled"], &settled, &step["varies_settled"]));
            differences.extend(compare::order(step, &seen, recording));
            differences.extend(compare::seen(step, &seen, &loose));
            differences.extend(compare::events(step, &seen, &loose));
            steps.push(differences);
        }
        steps
    }

    fn changes(&self, before: u64) -> Vec<Change> {
        let changes = self.api().changes(before);
        changes.into_iter().filter(|change| change.object["metadata"]["namespace"] == NAMESPACE).collect()
    }

    /// Waits until nothing but events has changed for a while.
    async fn settle(&self, quiet: Duration) -> bool {
        let mut seen = self.api().version();
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut deadline = tokio::time::Instant::now() + quiet;
        loop {
            let api = self.api();
            if tokio::time::timeout_at(deadline, api.changed(seen)).await.is_err() {
                return true;
            }
            let changes = api.changes(seen);
            seen = api.version();
            if changes.iter().any(|change| &*change.resource != "events") {
                deadline = tokio::time::Instant::now() + quiet;
            }
            if tokio::time::Instant::now() > end {
                return false;
            }
        }
    }

    async fn act(&self, action: &Value, given: &Value) -> Result<Value, Status> {
        let action: Value = serde_json::from_str(&action.to_string().replace("$NS", NAMESPACE)).unwrap();
        let (word, body) = action.as_object().unwrap().iter().find(|(key, _)| *key != "answer").unwrap();
        // A client's request is under way for a moment.
        tokio::time::sleep(Duration::from_millis(5)).await;
        match word.as_str() {
            "create" if body == "given" => {
                for object in given.as_array().unwrap() {
                    self.create(object.clone())?;
                }
                Ok(Value::Null)
            }
            "create" => self.create(body.clone()),
            "patch" => self.patch(body),
            "scale" => {
                let (resource, namespace, name) = target(&body["target"]);
                let patch = Patch::Merge(json!({"spec": {"replicas": body["replicas"]}}));
                self.api().patch(&self.actor, resource, "", namespace, &name, &patch).map(|_| Value::Null)
            }
            "delete" | "evict" => {
                let (resource, namespace, name) = target(&body["target"]);
                let options = DeleteOptions {
                    propagation_policy: body["propagationPolicy"].as_str().map(str::to_owned),
                    grace_period_seconds: body["gracePeriodSeconds"].as_i64(),
                    ..DeleteOptions::default()
                };
                self.api().delete(&self.actor, resource, namespace, &name, &options).map(|_| Value::Null)
            }
            "world" => {
                let patch = Patch::Merge(json!({"status": body["status"]}));
                let pod = text(&body["pod"]);
                self.api().patch(&self.actor, "pods", "status", NAMESPACE, &pod, &patch).map(|_| Value::Null)
            }
            "condition" => self.condition(&text(&body["pod"]), body["set"].clone()),
            "probe" => self.condition(
                &text(&body["pod"]),
                json!({
                    "type": format!("game.kruise.io/{}", text(&body["name"])),
                    "status": if body["state"] == "Succeeded" { "True" } else { "False" },
                    "message": body["message"],
                    "lastProbeTime": self.api().clock().now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                }),
            ),
            "scaler" => {
                let metadata = scaler::Metadata::read(&body["metadata"]);
                let name = text(&body["name"]);
                let answer = match body["call"].as_str().unwrap() {
                    "GetMetrics" => {
                        scaler::metric(self.api(), NAMESPACE, &name, &metadata).map(|n| json!({"gssReplicas": n}))
                    }
                    "IsActive" => {
                        scaler::active(self.api(), NAMESPACE, &name, &metadata).map(|active| json!({"result": active}))
                    }
                    "GetMetricSpec" => return Ok(json!("unchecked")),
                    other => panic!("unknown call {other}"),
                };
                Ok(answer.unwrap_or_else(|error| json!({"error": error.replace(NAMESPACE, "NS")})))
            }
            "pause" | "resume" => {
                self.sandbox.set_okg_running(word == "resume");
                Ok(Value::Null)
            }
            "sleep" => {
                tokio::time::sleep(Duration::from_secs_f64(body.as_f64().unwrap())).await;
                Ok(Value::Null)
            }
            other => panic!("unknown action {other}"),
        }
    }

    fn create(&self, mut object: Value) -> Result<Value, Status> {
        let resource = self.api().resource_of(&text(&object["apiVersion"]), &text(&object["kind"])).unwrap();
        if self.api().kind(&resource).unwrap().namespaced {
            object["metadata"]["namespace"] = NAMESPACE.into();
        }
        self.api().create(&self.actor, &resource, object).map(|_| Value::Null)
    }

    fn patch(&self, body: &Value) -> Result<Value, Status> {
        let (resource, namespace, name) = target(&body["target"]);
        let content = body["body"].clone();
        let patch = match body["type"].as_str().unwrap() {
            "merge" => Patch::Merge(content),
            "json" => Patch::Json(content),
            "strategic" => Patch::Strategic(content),
            other => panic!("unknown patch {other}"),
        };
        let subresource = body["subresource"].as_str().unwrap_or_default();
        self.api().patch(&self.actor, resource, subresource, namespace, &name, &patch).map(|_| Value::Null)
    }

    fn condition(&self, pod: &str, condition: Value) -> Result<Value, Status> {
        let found = self.api().get("pods", NAMESPACE, pod).unwrap();
        let mut conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        match conditions.iter_mut().find(|found| found["type"] == condition["type"]) {
            Some(found) => *found = condition,
            None => conditions.push(condition),
        }
        let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
        self.api().patch(&self.actor, "pods", "status", NAMESPACE, pod, &patch).map(|_| Value::Null)
    }
}

fn target(target: &Value) -> (&'static str, &'static str, String) {
    let (kind, name) = target.as_str().unwrap().split_once('/').unwrap();
    let (resource, namespace) = match kind {
        "gss" => (view::GSS, NAMESPACE),
        "gs" => (view::GS, NAMESPACE),
        "asts" => (view::ASTS, NAMESPACE),
        "ppm" => (view::PPM, NAMESPACE),
        "pod" => ("pods", NAMESPACE),
        "pvc" => ("persistentvolumeclaims", NAMESPACE),
        "svc" => ("services", NAMESPACE),
        "quota" => ("resourcequotas", NAMESPACE),
        "node" => ("nodes", ""),
        "pv" => ("persistentvolumes", ""),
        other => panic!("unknown kind {other}"),
    };
    (resource, namespace, name.to_owned())
}
