//! The one clock, shared by `cluster` and `sandbox`: wall time, or simulated time that jumps from event to event.
//!
//! All delays go through [`tokio::time`]. In a simulation the runtime is paused, so that time moves only when every
//! task waits; the clock turns tokio's instants into the timestamps that objects and journals carry.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Where a run's timestamps come from.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    epoch: Timestamp,
    jumps: bool,
}

impl Clock {
    /// A clock that follows the machine's own. Call inside a runtime.
    pub fn wall() -> Clock {
        #[allow(clippy::disallowed_methods)]
        Clock { start: Instant::now(), epoch: Timestamp::now(), jumps: false }
    }

    /// A clock for a paused runtime, which starts at `epoch`. Call inside that runtime: outside, tokio's instants
    /// are wall time.
    pub fn simulated(epoch: Timestamp) -> Clock {
        Clock { start: Instant::now(), epoch, jumps: true }
    }

    /// Returns the present time. Call inside the runtime the clock was made in.
    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.start.elapsed()).unwrap_or(SignedDuration::MAX);
        self.epoch.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// Returns whether time jumps over waits instead of passing.
    pub fn jumps(&self) -> bool {
        self.jumps
    }
}
