//! A day of a set of 200 rooms on virtual time: matches come and go, KEDA keeps rooms free, labels follow.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod course;
#[allow(dead_code, reason = "no benchmark needs all of it")]
mod figure;

use std::time::Duration;

use okgscript::clock::Clock;
use okgscript::sandbox::{Options, Sandbox};

const SCENARIO: &str = include_str!("day.yaml");

/// What went on in a day.
struct Course {
    matches: usize,
    writes: u64,
    busy: f64,
    rooms: (u64, u64),
}

fn live(seed: u64) -> Course {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let clock = Clock::simulated("2026-06-01T08:00:00Z".parse().expect("a time"));
        let scenario = Some(("day".to_owned(), SCENARIO.to_owned()));
        let sandbox = Sandbox::start(&Options { scenario, seed, ..Options::default() }, clock).await;
        let sandbox = sandbox.unwrap_or_else(|error| panic!("{error:?}"));
        let api = sandbox.api();
        let begun = api.version();
        let (mut busy, mut rooms) = (0, (u64::MAX, 0));
        const LOOKS: u32 = 96;
        for _ in 0..LOOKS {
            tokio::time::sleep(Duration::from_secs(24 * 3600) / LOOKS).await;
            let count = |key: &str| {
                api.get("gameserversets.game.kruise.io", "default", "arena")
                    .and_then(|set| set["status"][key].as_u64())
                    .unwrap_or(0)
            };
            rooms = (rooms.0.min(count("currentReplicas")), rooms.1.max(count("currentReplicas")));
            busy += sandbox.players().ledger().open();
        }
        let matches = sandbox.players().ledger().matches().len();
        Course { matches, writes: api.version() - begun, busy: busy as f64 / f64::from(LOOKS), rooms }
    })
}

fn main() {
    let (took, course) = figure::best(3, || live(1));
    let Course { matches, writes, busy, rooms } = course;
    println!(
        "a day of {} to {} rooms: {matches} matches, {busy:.0} at a time; {writes} writes of {:.1} µs",
        rooms.0,
        rooms.1,
        took.wall.as_secs_f64() * 1e6 / writes as f64
    );
    figure::show_time(took, 5.0);
    let (took, courses) = figure::best(1, || course::compare(1..=20, Duration::from_secs(24 * 3600)));
    let writes: u64 = courses.iter().map(|course| course.writes).sum();
    println!(
        "the same with faults, {} seeds twice: same seed, same bytes; {writes} writes, all courses differ; {:.0} s",
        courses.len(),
        took.wall.as_secs_f64(),
    );
}
