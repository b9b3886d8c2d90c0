//! Scenarios: what a simulated cluster starts with, and what goes on in it.

mod built_in;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::world::World;
use super::{Options, autoscaler};
use crate::diagnostic::{Diagnostic, Kind};

pub use self::built_in::{BUILT_IN, is_built_in};

/// A scenario, read and judged.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Values for the parameters of scripts.
    pub params: BTreeMap<String, Value>,
    /// When simulated time begins; the caller's choice if none.
    pub start: Option<Timestamp>,
    /// Names of the nodes.
    pub nodes: Vec<String>,
    /// Delays, rates and troubles.
    pub world: World,
    /// Objects to create, in this order.
    pub objects: Vec<Value>,
    /// Whether the world comes to rest before the first request.
    pub settle: bool,
    /// How old the objects are at the first request; at least what coming to rest takes.
    pub age: Duration,
    /// What rooms are set to before the first request.
    pub rooms: Vec<Room>,
    /// How KEDA's loop goes.
    pub autoscaler: autoscaler::Settings,
}

/// What one room is set to before the first request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Room {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its opsState.
    pub ops_state: Option<String>,
    /// Its deletionPriority.
    pub deletion_priority: Option<Value>,
    /// Its updatePriority.
    pub update_priority: Option<Value>,
    /// It is `Allocated`, and its match ends this long after the first request.
    pub playing: Option<Duration>,
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario {
            name: String::new(),
            params: BTreeMap::new(),
            start: None,
            nodes: vec!["node-0".into()],
            world: World::conformance(0),
            objects: Vec::new(),
            settle: true,
            age: Duration::ZERO,
            rooms: Vec::new(),
            autoscaler: autoscaler::Settings::default(),
        }
    }
}

impl Scenario {
    /// Returns the scenario that a cluster is to be started with.
    pub fn of(options: &Options) -> Result<Scenario, Diagnostic> {
        match &options.scenario {
            None => Scenario::built_in("minecraft"),
            Some((name, _)) if is_built_in(name) => Scenario::built_in(name),
            Some((name, text)) => Scenario::parse(name, text),
        }
    }

    /// Reads a scenario.
    pub fn parse(name: &str, _text: &str) -> Result<Scenario, Diagnostic> {
        Ok(Scenario { name: name.to_owned(), ..Scenario::default() })
    }

    /// Returns the settings of its world.
    pub fn world(&self, seed: u64) -> World {
        World { seed, ..self.world.clone() }
    }
}

impl Scenario {
    fn built_in(name: &str) -> Result<Scenario, Diagnostic> {
        built_in::scenario(name).ok_or_else(|| {
            Diagnostic::new(Kind::Missing, format!("there is no built-in scenario `{name}`"))
                .help(format!("built-in scenarios: {}", BUILT_IN.join(", ")))
        })
    }
}
