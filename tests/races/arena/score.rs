//! What runs came to, and what so many runs can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Sums over runs.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// Worlds played.
    pub worlds: usize,
    /// Matches that began.
    pub matches: usize,
    /// Drains that began: rooms that the tool tried to hold, or to mark without a hold.
    pub drains: usize,
    /// Of these, those whose opsState somebody else wrote or tried to write until their end.
    pub contested: usize,
    /// Who contested them, by how many writes and tries.
    pub by: BTreeMap<String, usize>,
    /// Rooms that the tool marked or retired.
    pub ended: usize,
    /// Rooms whose players were lost by the tool's doing.
    pub lost: usize,
    /// Rooms whose players were lost without it.
    pub lost_without: usize,
    /// The same, by cause.
    pub causes: BTreeMap<String, usize>,
    /// Rooms that were marked or retired in another state or on another pod than judged.
    pub unjudged: usize,
    /// Rooms that a run holds after its end.
    pub still_held: usize,
    /// Drains that ended with an error.
    pub aborts: usize,
    /// What the errors said.
    pub why: BTreeSet<String>,
    /// Lines of receipts that the change log does not bear out, and writes that no line tells of.
    pub lies: usize,
    /// Requests of the tool.
    pub requests: u64,
    /// The cluster's time.
    pub seconds: f64,
}

impl Score {
    /// Returns the upper end of the 95 % interval of losses a contested drain.
    pub fn bound(&self) -> f64 {
        upper_bound(self.lost, self.contested)
    }
}

impl std::ops::AddAssign for Score {
    fn add_assign(&mut self, other: Score) {
        self.worlds += other.worlds;
        self.matches += other.matches;
        self.drains += other.drains;
        self.contested += other.contested;
        self.ended += other.ended;
        self.lost += other.lost;
        self.lost_without += other.lost_without;
        self.unjudged += other.unjudged;
        self.still_held += other.still_held;
        self.aborts += other.aborts;
        self.lies += other.lies;
        self.requests += other.requests;
        self.seconds += other.seconds;
        self.why.extend(other.why);
        for (mine, theirs) in [(&mut self.by, other.by), (&mut self.causes, other.causes)] {
            theirs.into_iter().for_each(|(key, count)| *mine.entry(key).or_default() += count);
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by: Vec<String> = self.by.iter().map(|(who, count)| format!("{who} {count}")).collect();
        write!(
            f,
            "lost {} of {} contested (of {} drains; at most {:.2e}, 95 %), without the tool {}; ended {}, unjudged {}, \
             still held {}, aborts {}, lies {}; {} matches, {} requests, {:.0}s in {} worlds; tries by {}",
            self.lost,
            self.contested,
            self.drains,
            self.bound(),
            self.lost_without,
            self.ended,
            self.unjudged,
            self.still_held,
            self.aborts,
            self.lies,
            self.matches,
            self.requests,
            self.seconds,
            self.worlds,
            by.join(", "),
        )
    }
}

/// Returns the upper end of the one-sided 95 % interval (Clopper and Pearson) of a rate of which `lost` of `of` were seen.
/// Without a loss that is about 3 / `of`.
fn upper_bound(lost: usize, of: usize) -> f64 {
    if of == 0 || lost >= of {
        return 1.0;
    }
    // The rate at which so few losses would be seen with a probability of 5 % only.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if at_most(lost, of, middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

/// The probability of at most `lost` losses of `of` at a rate.
fn at_most(lost: usize, of: usize, rate: f64) -> f64 {
    let count = of as f64;
    let mut term = count * (-rate).ln_1p();
    let mut sum = term.exp();
    for k in 1..=lost {
        term += ((count - k as f64 + 1.0) / k as f64).ln() + rate.ln() - (-rate).ln_1p();
        sum += term.exp();
    }
    sum
}

#[cfg(test)]
#[test]
fn bounds_are_those_of_clopper_and_pearson() {
    // Tables: 0 of 10 0.2589, 1 of 20 0.2161, 3 of 100 0.0757 (one-sided, 95 %).
    for (lost, of, bound) in [(0, 10, 0.2589), (1, 20, 0.2161), (3, 100, 0.0757), (0, 3000, 0.000_998)] {
        assert!((upper_bound(lost, of) - bound).abs() < bound / 100.0, "{lost} of {of}: {}", upper_bound(lost, of));
    }
}
