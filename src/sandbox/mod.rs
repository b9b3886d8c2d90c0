//! The simulated cluster: an API server as real as clients can tell, and what acts behind it.
//!
//! Reached over HTTP only, through the router; controllers call [`api::Api`], the same that the routes call. The room
//! must not know scripts, bindings or the client side.

pub mod api;
mod builtin_crds;
mod controllers;
pub mod kinds;
mod names;
pub mod object;
mod patch;
pub mod routes;
mod rules;
pub mod scaler;
pub mod scenario;
pub mod selector;
pub mod status;
mod store;
mod webhooks;
mod wire;
pub mod world;
mod write;

use std::collections::BTreeMap;

use axum::Router;
use serde_json::{Value, json};

use self::api::Api;
use self::controllers::Controllers;
use self::object::Actor;
use self::routes::HttpOptions;
use self::scenario::Scenario;
use self::webhooks::Webhooks;
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, Kind};

pub use self::controllers::Rate;

/// How a cluster is to be started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name and text of a scenario; `None` is the built-in `minecraft`.
    pub scenario: Option<(String, String)>,
    /// From which all random numbers come.
    pub seed: u64,
    /// Leaves the scenario's objects out; its world stays.
    pub empty: bool,
    /// Whether controllers run behind the API.
    pub controllers: bool,
    /// The administrator's token.
    pub token: Option<String>,
    /// By how much the world's own delays are shorter.
    pub speed: f64,
}

impl Default for Options {
    fn default() -> Options {
        Options { scenario: None, seed: 1, empty: false, controllers: true, token: None, speed: 1.0 }
    }
}

/// A running cluster; dropped, its controllers stop.
#[derive(Debug)]
pub struct Sandbox {
    api: Api,
    http: HttpOptions,
    controllers: Option<Controllers>,
    params: BTreeMap<String, Value>,
}

impl Sandbox {
    /// Starts a cluster and lets it settle. Call inside the runtime that `clock` belongs to.
    pub async fn start(options: &Options, clock: Clock) -> Result<Sandbox, Diagnostic> {
        let scenario = match &options.scenario {
            Some((name, _)) if scenario::is_built_in(name) => Scenario::built_in(name, options.seed)
                .ok_or_else(|| Diagnostic::new(Kind::Internal, "the built-in scenario is missing"))??,
            Some((name, text)) => Scenario::parse(name, text)?,
            None => Scenario::built_in("minecraft", options.seed)
                .ok_or_else(|| Diagnostic::new(Kind::Internal, "the built-in scenario is missing"))??,
        };
        let api = Api::new(clock, options.seed);
        let http = HttpOptions { token: options.token.clone() };
        let mut sandbox = Sandbox { api, http, controllers: None, params: scenario.params.clone() };
        if options.controllers {
            let world = scenario.world(options.seed).faster(options.speed);
            sandbox.api.set_webhooks(Webhooks::new());
            sandbox.controllers = Some(Controllers::start(&sandbox.api, clock, world));
        }
        sandbox.load(&scenario, options)?;
        Ok(sandbox)
    }

    fn load(&self, scenario: &Scenario, options: &Options) -> Result<(), Diagnostic> {
        let actor = Actor::controller("okgscript-scenario");
        if options.controllers {
            for name in &scenario.nodes {
                self.create(&actor, "nodes", node(name))?;
            }
        }
        if !options.empty {
            for (resource, object) in &scenario.objects {
                self.create(&actor, resource, object.clone())?;
            }
        }
        Ok(())
    }

    /// Creates the objects of a file of Kubernetes YAML.
    pub fn load_yaml(&self, name: &str, text: &str) -> Result<(), Diagnostic> {
        let actor = Actor::controller("okgscript-scenario");
        for (resource, object) in &Scenario::parse(name, text)?.objects {
            self.create(&actor, resource, object.clone())?;
        }
        Ok(())
    }

    fn create(&self, actor: &Actor, resource: &str, object: Value) -> Result<(), Diagnostic> {
        let name = object::name(&object).to_owned();
        self.api.create(actor, resource, object).map(|_| ()).map_err(|status| {
            Diagnostic::new(Kind::Invalid, format!("the scenario's `{resource}/{name}` was refused"))
                .why(status.message)
        })
    }

    /// Returns the cluster's API.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Returns the HTTP server in front of it.
    pub fn router(&self) -> Router {
        routes::router(self.api.clone(), self.http.clone())
    }

    /// Returns the values that the scenario gives to a script's parameters.
    pub fn params(&self) -> &BTreeMap<String, Value> {
        &self.params
    }

    /// Stops or continues OKG's manager, as a stopped process would.
    pub fn set_okg_running(&self, running: bool) {
        if let Some(controllers) = &self.controllers {
            controllers.set_okg_running(running);
        }
    }
}

fn node(name: &str) -> Value {
    let room = json!({"cpu": "4000", "memory": "16Ti", "pods": "100000"});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ok"}],
            "addresses": [{"type": "InternalIP", "address": "172.18.0.2"}],
        },
    })
}
