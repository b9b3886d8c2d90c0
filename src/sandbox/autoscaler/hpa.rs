//! The arithmetic of a HorizontalPodAutoscaler over time: stabilization windows and rate limits
//! (`pkg/controller/podautoscaler/horizontal.go`, behaviors of `autoscaling/v2`).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

/// How fast and how soon replicas may change.
#[derive(Clone, Debug, PartialEq)]
pub struct Behavior {
    /// Window whose lowest wish counts when scaling out.
    pub up_window: Duration,
    /// Window whose highest wish counts when scaling in.
    pub down_window: Duration,
    /// Limits of scaling out; `None` if it is disabled.
    pub up: Option<Rules>,
    /// Limits of scaling in; `None` if it is disabled.
    pub down: Option<Rules>,
}

/// The policies of one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Whether the policy that allows least counts.
    pub least: bool,
    /// The policies.
    pub policies: Vec<Policy>,
}

/// How much may change in a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Per cent of the replicas there were, or a number.
    pub percent: bool,
    /// The value.
    pub value: i32,
    /// The period.
    pub period: Duration,
}

impl Default for Behavior {
    fn default() -> Behavior {
        Behavior::read(&Value::Null)
    }
}

impl Behavior {
    /// Reads `behavior` of an HPA; what is absent has Kubernetes' defaults.
    pub fn read(behavior: &Value) -> Behavior {
        let quarter = Duration::from_secs(15);
        let policy = |percent: bool, value: i32| Policy { percent, value, period: quarter };
        let window = |part: &Value, default: u64| {
            Duration::from_secs(part["stabilizationWindowSeconds"].as_u64().unwrap_or(default))
        };
        let (up, down) = (&behavior["scaleUp"], &behavior["scaleDown"]);
        Behavior {
            up_window: window(up, 0),
            down_window: window(down, 300),
            up: rules(up, vec![policy(true, 100), policy(false, 4)]),
            down: rules(down, vec![policy(true, 100)]),
        }
    }

    /// Makes windows and periods shorter.
    pub fn faster(&self, speed: f64) -> Behavior {
        let mut next = self.clone();
        next.up_window = next.up_window.div_f64(speed);
        next.down_window = next.down_window.div_f64(speed);
        for rules in [&mut next.up, &mut next.down].into_iter().flatten() {
            for policy in &mut rules.policies {
                policy.period = policy.period.div_f64(speed);
            }
        }
        next
    }
}

fn rules(part: &Value, default: Vec<Policy>) -> Option<Rules> {
    let select = part["selectPolicy"].as_str().unwrap_or("Max");
    if select == "Disabled" {
        return None;
    }
    let listed = part["policies"].as_array().filter(|policies| !policies.is_empty());
    let read = |policy: &Value| Policy {
        percent: policy["type"] == "Percent",
        value: policy["value"].as_i64().and_then(|value| i32::try_from(value).ok()).unwrap_or(0),
        period: Duration::from_secs(policy["periodSeconds"].as_u64().unwrap_or(15)),
    };
    let policies = listed.map_or(default, |policies| policies.iter().map(read).collect());
    Some(Rules { least: select == "Min", policies })
}

/// What an HPA remembers.
#[derive(Clone, Debug)]
pub struct Memory {
    wishes: Vec<(Timestamp, i32)>,
    changes: Vec<(Timestamp, i32)>,
    active: Timestamp,
}

fn within(now: Timestamp, then: Timestamp, window: Duration) -> bool {
    now.duration_since(then).unsigned_abs() < window
}

impl Memory {
    /// The memory of an HPA that sees its target for the first time: what there is counts as a wish.
    pub fn new(now: Timestamp, replicas: i32) -> Memory {
        Memory { wishes: vec![(now, replicas)], changes: Vec::new(), active: now }
    }

    /// Takes a wish in and returns what the windows leave of it.
    pub fn stabilize(&mut self, now: Timestamp, current: i32, wish: i32, behavior: &Behavior) -> i32 {
        let in_window = |window: Duration| {
            let past = self.wishes.iter().filter(move |(then, _)| within(now, *then, window));
            past.map(|(_, wish)| *wish)
        };
        let up = in_window(behavior.up_window).fold(wish, i32::min);
        let down = in_window(behavior.down_window).fold(wish, i32::max);
        let longest = behavior.up_window.max(behavior.down_window);
        self.wishes.retain(|(then, _)| within(now, *then, longest));
        self.wishes.push((now, wish));
        current.max(up).min(down)
    }

    /// Remembers a change of replicas.
    pub fn wrote(&mut self, now: Timestamp, before: i32, after: i32) {
        self.changes.retain(|(then, _)| within(now, *then, Duration::from_secs(1800)));
        self.changes.push((now, after - before));
    }

    /// Remembers that the set is wanted.
    pub fn was_active(&mut self, now: Timestamp) {
        self.active = now;
    }

    /// Returns for how long the set has not been wanted.
    pub fn idle_for(&self, now: Timestamp) -> Duration {
        now.duration_since(self.active).unsigned_abs()
    }

    /// Returns how much was added (`sign` 1) or taken away (`sign` -1) in a period.
    fn moved(&self, now: Timestamp, period: Duration, sign: i32) -> i32 {
        let lately = self.changes.iter().filter(|(then, _)| within(now, *then, period));
        lately.map(|(_, change)| (change * sign).max(0)).sum()
    }
}

/// Returns what the rate limits leave of a wish.
pub fn limit(memory: &Memory, now: Timestamp, current: i32, wish: i32, behavior: &Behavior) -> i32 {
    let (sign, rules) = if wish > current { (1, &behavior.up) } else { (-1, &behavior.down) };
    if wish == current {
        return current;
    }
    let Some(rules) = rules else { return current };
    let bound = |policy: &Policy| {
        let start = current - sign * memory.moved(now, policy.period, sign);
        if !policy.percent {
            return start + sign * policy.value;
        }
        let changed = f64::from(start) * (1.0 + f64::from(sign) * f64::from(policy.value) / 100.0);
        // Kubernetes rounds scaling out up and cuts scaling in off.
        whole(if sign > 0 { changed.ceil() } else { changed.trunc() })
    };
    let bounds = rules.policies.iter().map(bound);
    // The policy that allows most is the highest bound on the way up and the lowest on the way down.
    let bound = if (sign > 0) == rules.least { bounds.min() } else { bounds.max() };
    let bound = bound.unwrap_or(wish);
    if sign > 0 { wish.min(bound.max(current)) } else { wish.max(bound.min(current)) }
}

#[allow(clippy::cast_possible_truncation)]
fn whole(number: f64) -> i32 {
    number as i32
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + (1_000_000 + seconds).seconds()
    }

    #[test]
    fn replicas_fall_only_to_the_highest_wish_of_the_window() {
        let behavior = Behavior::default();
        let mut memory = Memory::new(at(0), 6);
        assert_eq!(memory.stabilize(at(15), 6, 4, &behavior), 6);
        assert_eq!(memory.stabilize(at(285), 6, 4, &behavior), 6);
        assert_eq!(memory.stabilize(at(300), 6, 4, &behavior), 4);
    }

    #[test]
    fn replicas_rise_at_once() {
        let mut memory = Memory::new(at(0), 3);
        assert_eq!(memory.stabilize(at(15), 3, 5, &Behavior::default()), 5);
        let slow = Behavior::read(&json!({"scaleUp": {"stabilizationWindowSeconds": 60}}));
        assert_eq!(memory.stabilize(at(30), 3, 7, &slow), 3);
    }

    #[test]
    fn rates_limit_both_ways() {
        let behavior = Behavior::default();
        let memory = Memory::new(at(0), 3);
        assert_eq!(limit(&memory, at(1), 3, 100, &behavior), 7);
        assert_eq!(limit(&memory, at(1), 10, 100, &behavior), 20);
        assert_eq!(limit(&memory, at(1), 10, 1, &behavior), 1);
        let careful = Behavior::read(&json!({"scaleDown": {"selectPolicy": "Min", "policies": [
            {"type": "Pods", "value": 2, "periodSeconds": 60}, {"type": "Percent", "value": 50, "periodSeconds": 60}]}}));
        assert_eq!(limit(&memory, at(1), 10, 1, &careful), 8);
        let mut memory = memory;
        memory.wrote(at(1), 10, 8);
        assert_eq!(limit(&memory, at(16), 8, 1, &careful), 8);
        assert_eq!(limit(&memory, at(61), 8, 1, &careful), 6);
        let never = Behavior::read(&json!({"scaleDown": {"selectPolicy": "Disabled"}}));
        assert_eq!(limit(&memory, at(16), 8, 1, &never), 8);
    }
}
