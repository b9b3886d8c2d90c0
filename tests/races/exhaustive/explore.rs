//! Breadth-first search over all interleavings.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::patches::Patches;
use super::world::{Scope, Step, World};

/// What a search came to.
pub struct Found {
    /// States that were reached.
    pub states: usize,
    /// Longest shortest way to one of them.
    pub depth: usize,
    /// States in which somebody has written over a hold.
    pub contested: usize,
    /// The first state that breaks a promise: which, and the steps that lead there.
    pub violation: Option<(String, String)>,
}

/// Visits every state that can be reached, until one breaks a promise.
pub fn explore(first: World, scope: &Scope, patches: &Patches) -> Found {
    let mut seen: HashMap<World, usize> = HashMap::from([(first.clone(), 0)]);
    // Of each state: its predecessor, the step from there, and its distance.
    let mut ways: Vec<(usize, Step, usize)> = vec![(0, Step("start", 0), 0)];
    let mut queue = std::collections::VecDeque::from([(0, first)]);
    let mut found = Found { states: 1, depth: 0, contested: 0, violation: None };
    while let Some((at, world)) = queue.pop_front() {
        let distance = ways[at].2;
        found.depth = found.depth.max(distance);
        found.contested += usize::from(world.contested());
        let next = world.steps(scope, patches);
        let broken = world.broken.clone().or_else(|| world.at_rest(&next));
        if let Some(what) = broken {
            found.violation = Some((what, trace(&ways, at)));
            break;
        }
        for (step, world) in next {
            let number = ways.len();
            if let Entry::Vacant(place) = seen.entry(world) {
                queue.push_back((number, place.key().clone()));
                place.insert(number);
                ways.push((at, step, distance + 1));
            }
        }
    }
    found.states = seen.len();
    found
}

fn trace(ways: &[(usize, Step, usize)], mut at: usize) -> String {
    let mut steps = Vec::new();
    while at != 0 {
        steps.push(format!("  {}", ways[at].1));
        at = ways[at].0;
    }
    steps.reverse();
    steps.join("\n")
}
