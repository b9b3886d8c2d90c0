//! How a figure is measured and shown: best of some runs, as a ratio to what it has to reach.

use std::time::Duration;

/// How long a run took.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Took {
    /// On the wall.
    pub wall: Duration,
    /// On the processors; on a machine that does other things as well this says more.
    pub cpu: Option<Duration>,
}

/// Returns the shortest of some runs, and what the last one returned.
pub fn best<T>(runs: usize, mut run: impl FnMut() -> T) -> (Took, T) {
    let mut timed = || {
        #[allow(clippy::disallowed_methods, reason = "a benchmark measures wall time")]
        let begun = std::time::Instant::now();
        let before = processor_time();
        let result = run();
        let cpu = processor_time().zip(before).map(|(after, before)| after.saturating_sub(before));
        (Took { wall: begun.elapsed(), cpu }, result)
    };
    let (mut shortest, mut result) = timed();
    for _ in 1..runs {
        let (took, next) = timed();
        shortest.wall = shortest.wall.min(took.wall);
        shortest.cpu = shortest.cpu.min(took.cpu);
        result = next;
    }
    (shortest, result)
}

/// Returns the processor time of this process so far; `None` where the system does not tell.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold blanks. Linux counts in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// Returns the most memory that this process has used at once, in bytes; `None` where the system does not tell.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Prints a time with its bound: `3.21 s of 10.00 s allowed (ratio 0.32); 3.10 s on processors`.
pub fn show_time(took: Took, bound: f64) {
    show("  time", took.wall.as_secs_f64(), bound, "s");
    if let Some(cpu) = took.cpu {
        println!("    of it on processors: {:.2} s (ratio {:.2})", cpu.as_secs_f64(), cpu.as_secs_f64() / bound);
    }
}

/// Prints a figure with its bound: `what: 3.21 s of 10 s allowed (ratio 0.32)`.
pub fn show(what: &str, value: f64, bound: f64, unit: &str) {
    println!("{what}: {value:.2} {unit} of {bound:.2} {unit} allowed (ratio {:.2})", value / bound);
}
