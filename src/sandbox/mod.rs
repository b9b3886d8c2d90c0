//! The simulated cluster: an API server as real as clients can tell, and what acts behind it.
//!
//! Reached over HTTP only, through the router; controllers call [`api::Api`], the same that the routes call. The room
//! must not know scripts, bindings or the client side.

pub mod api;
mod authorize;
pub mod autoscaler;
mod builtin_crds;
pub mod containers;
mod controllers;
mod convert;
pub mod coverage;
mod crd;
mod decode;
mod delete;
pub mod faults;
mod fields;
mod history;
pub mod kinds;
mod names;
pub mod object;
mod patch;
pub mod players;
mod quantity;
pub mod requests;
pub mod routes;
mod rules;
pub mod scaler;
pub mod scenario;
mod schema;
pub mod selector;
pub mod status;
mod store;
mod strategic;
mod webhooks;
mod wire;
pub mod witness;
pub mod world;
mod write;

use std::collections::BTreeMap;

use axum::Router;
use serde_json::{Value, json};

use self::api::Api;
use self::autoscaler::Autoscaler;
use self::controllers::Controllers;
use self::faults::Faults;
use self::object::Actor;
use self::players::Players;
use self::requests::Requests;
use self::routes::HttpOptions;
use self::scenario::Scenario;
use self::webhooks::Webhooks;
use self::world::World;
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
    /// Where requests are written down, if anywhere.
    pub requests: Option<Requests>,
}

impl Default for Options {
    fn default() -> Options {
        Options { scenario: None, seed: 1, empty: false, controllers: true, token: None, speed: 1.0, requests: None }
    }
}

/// A running cluster; dropped, its controllers stop.
#[derive(Debug)]
pub struct Sandbox {
    api: Api,
    http: HttpOptions,
    params: BTreeMap<String, Value>,
    controllers: Option<Controllers>,
    _autoscaler: Option<Autoscaler>,
    players: Players,
}

impl Sandbox {
    /// Starts a cluster; a scenario that settles has come to rest when this returns. Call inside the runtime that
    /// `clock` belongs to.
    pub async fn start(options: &Options, clock: Clock) -> Result<Sandbox, Diagnostic> {
        let scenario = Scenario::of(options)?;
        let api = Api::new(clock, options.seed);
        if options.controllers || !options.empty {
            autoscaler::define(&api)?;
        }
        let faults = Faults::started(&scenario.faults, clock, options.seed, options.speed);
        let (token, requests) = (options.token.clone(), options.requests.clone());
        let http = HttpOptions { token, seed: options.seed, faults, requests, ..HttpOptions::default() };
        let params = scenario.params.clone();
        api.set_containers(scenario.containers.clone());
        let mut sandbox =
            Sandbox { api, http, params, controllers: None, _autoscaler: None, players: Players::default() };
        let api = &sandbox.api;
        if !options.controllers {
            if !options.empty {
                declare(api, &scenario, false)?;
            }
            return Ok(sandbox);
        }
        let world = World { faults: sandbox.http.faults.clone(), ..scenario.world(options.seed).faster(options.speed) };
        api.set_webhooks(Webhooks::new());
        let past = if scenario.settle && !options.empty {
            Some(history::play(&scenario, options.seed, clock.now())?)
        } else {
            None
        };
        let played = past.is_some();
        if let Some(past) = past {
            past.take_over(api);
        }
        sandbox.controllers = Some(Controllers::start(api, clock, world.clone()));
        if options.empty {
            declare(api, &Scenario { objects: Vec::new(), ..scenario.clone() }, true)?;
        } else if !played {
            declare(api, &scenario, true)?;
        }
        let settings = autoscaler::Settings { speed: options.speed, ..scenario.autoscaler };
        sandbox._autoscaler = Some(autoscaler::start(api, clock, &world, settings));
        if !options.empty {
            sandbox.players = Players::start(api, clock, &world, &scenario, options.speed);
        }
        api.begin();
        Ok(sandbox)
    }

    /// Creates the objects of a file of Kubernetes YAML.
    pub fn load_yaml(&self, name: &str, text: &str) -> Result<(), Diagnostic> {
        declare(&self.api, &Scenario::parse(name, text)?, false)
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

    /// Returns what goes wrong on request; a test can add to it.
    pub fn faults(&self) -> &Faults {
        &self.http.faults
    }

    /// Returns the players, as nobody on the cluster can see them.
    pub fn players(&self) -> &Players {
        &self.players
    }

    /// Stops or continues OKG's manager, as a stopped process would.
    pub fn set_okg_running(&self, running: bool) {
        if let Some(controllers) = &self.controllers {
            controllers.set_okg_running(running);
        }
    }
}

/// Creates what a scenario lists.
fn declare(api: &Api, scenario: &Scenario, nodes: bool) -> Result<(), Diagnostic> {
    let actor = Actor::controller("okgscript-scenario");
    if nodes {
        for name in &scenario.nodes {
            create(api, &actor, "nodes", node(name))?;
        }
    }
    for object in &scenario.objects {
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        let (version, kind) = (text("apiVersion"), text("kind"));
        let resource = api.resource_of(version, kind).ok_or_else(|| {
            Diagnostic::new(Kind::Invalid, format!("the embedded cluster serves no `{kind}` of `{version}`"))
                .help("declare it first, by a CustomResourceDefinition")
        })?;
        let mut object = object.clone();
        if object::namespace(&object).is_empty() && api.kind(&resource).is_some_and(|kind| kind.namespaced) {
            object::meta_mut(&mut object).insert("namespace".into(), "default".into());
        }
        create(api, &actor, &resource, object)?;
    }
    Ok(())
}

fn create(api: &Api, actor: &Actor, resource: &str, object: Value) -> Result<(), Diagnostic> {
    let name = object::name(&object).to_owned();
    api.create(actor, resource, object).map(|_| ()).map_err(|status| {
        Diagnostic::new(Kind::Invalid, format!("the scenario's `{resource}/{name}` was refused")).why(status.message)
    })
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
