//! Scenarios: what a simulated cluster starts with, and what goes on in it.

mod built_in;
mod containers;
mod faults;
mod fields;
mod places;
mod read;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::containers::Containers;
use super::faults::Fault;
use super::players::{Crowd, Disturbance};
use super::world::World;
use super::{Options, autoscaler};
use crate::diagnostic::Diagnostic;

pub use self::built_in::{BUILT_IN, is_built_in};

/// What a scenario file may hold, for people.
pub const REFERENCE: &str = include_str!("reference.txt");

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
    /// Who comes to play.
    pub players: Vec<Crowd>,
    /// What goes wrong now and then.
    pub disturbances: Vec<Disturbance>,
    /// What goes wrong on request.
    pub faults: Vec<Fault>,
    /// What goes on in containers.
    pub containers: Containers,
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
            players: Vec::new(),
            disturbances: Vec::new(),
            faults: Vec::new(),
            containers: Containers::default(),
            autoscaler: autoscaler::Settings::default(),
        }
    }
}

impl Scenario {
    /// Returns the scenario that a cluster is to be started with.
    pub fn of(options: &Options) -> Result<Scenario, Diagnostic> {
        match &options.scenario {
            None => built_in::scenario("minecraft"),
            Some((name, _)) if is_built_in(name) => built_in::scenario(name),
            Some((name, text)) => Scenario::parse(name, text),
        }
    }

    /// Reads a scenario from a file; [`REFERENCE`] says what may stand in one.
    pub fn parse(name: &str, text: &str) -> Result<Scenario, Diagnostic> {
        read::read(name, text)
    }

    /// Returns the settings of its world.
    pub fn world(&self, seed: u64) -> World {
        World { seed, ..self.world.clone() }
    }
}
