//! What surrounds the controllers: how long pods take, how fast OKG may write, how far labels lag behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::controllers::Rate;
use super::faults::Faults;
use super::object;
use crate::okg::names;

/// The settings of one cluster's world.
#[derive(Clone, Debug)]
pub struct World {
    /// From which all random numbers come.
    pub seed: u64,
    /// Requests a second that OKG's manager may send, per kind.
    pub okg_rate: Rate,
    /// How long OKG takes to notice a change of a GameServer, on top of its work.
    pub label_lag: Duration,
    /// Shortest and longest time from a pod's node to its running containers.
    pub start: (Duration, Duration),
    /// The same for the rooms of single GameServerSets, by the set's name.
    pub start_of: BTreeMap<String, (Duration, Duration)>,
    /// How long a container takes to restart with another image.
    pub restart: Duration,
    /// How long a pod takes to end.
    pub end: Duration,
    /// How long a network plugin takes.
    pub network: Duration,
    /// Images that no node can pull.
    pub missing_images: BTreeSet<String>,
    /// Whether Kruise's alpha gate KruisePodReady is on every pod.
    pub kruise_pod_ready: bool,
    /// Whether kubelets leave out the messages of conditions.
    pub terse: bool,
    /// What goes wrong on request.
    pub faults: Faults,
}

impl World {
    /// The world that the recordings of the real controllers were made in.
    pub fn conformance(seed: u64) -> World {
        let second = Duration::from_secs(1);
        World {
            seed,
            okg_rate: Rate { qps: 300.0, burst: 600.0 },
            label_lag: Duration::ZERO,
            start: (second, second),
            start_of: BTreeMap::new(),
            restart: second,
            end: second,
            network: Duration::from_millis(20),
            missing_images: BTreeSet::new(),
            kruise_pod_ready: true,
            terse: true,
            faults: Faults::default(),
        }
    }

    /// A cluster with OKG as its manifest ships it.
    pub fn shipped(seed: u64) -> World {
        World {
            okg_rate: Rate { qps: 5.0, burst: 10.0 },
            start: (Duration::from_secs(4), Duration::from_secs(9)),
            restart: Duration::from_secs(3),
            end: Duration::from_secs(2),
            network: Duration::from_secs(2),
            kruise_pod_ready: false,
            terse: false,
            ..World::conformance(seed)
        }
    }

    /// Returns the random numbers of one actor.
    pub fn rng(&self, actor: &str) -> fastrand::Rng {
        let mut hash = 0xcbf2_9ce4_8422_2325 ^ self.seed;
        for byte in actor.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        fastrand::Rng::with_seed(hash)
    }

    /// Makes the world's own delays shorter by a factor.
    #[must_use]
    pub fn faster(mut self, speed: f64) -> World {
        if speed > 0.0 && speed != 1.0 {
            let shorter = |time: Duration| time.div_f64(speed);
            for (least, most) in self.start_of.values_mut().chain([&mut self.start]) {
                (*least, *most) = (shorter(*least), shorter(*most));
            }
            for time in [&mut self.restart, &mut self.end, &mut self.network, &mut self.label_lag] {
                *time = shorter(*time);
            }
        }
        self
    }

    /// Returns the longest of its delays.
    pub fn slowest(&self) -> Duration {
        let starts = self.start_of.values().map(|(_, most)| *most);
        let others = [self.start.1, self.restart, self.end, self.network, self.label_lag];
        others.into_iter().chain(starts).max().unwrap_or_default()
    }

    /// Returns how long a pod takes to start.
    pub fn start_time(&self, pod: &Value) -> Duration {
        let set = object::label(pod, names::OWNER_GSS).unwrap_or_default();
        let (least, most) = *self.start_of.get(set).unwrap_or(&self.start);
        if most <= least {
            return least;
        }
        least + (most - least).mul_f64(self.rng(object::meta(pod, "uid")).f64())
    }

    /// Returns whether an image of the pod cannot be pulled.
    pub fn cannot_pull(&self, pod: &Value) -> bool {
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        let mut images = containers.filter_map(|container| container["image"].as_str());
        !self.missing_images.is_empty() && images.any(|image| self.missing_images.contains(image))
    }

    /// Returns a condition's message as the kubelets of this world write it.
    pub fn message(&self, text: &str) -> String {
        if self.terse { String::new() } else { text.to_owned() }
    }
}
