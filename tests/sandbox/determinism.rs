//! One seed, one course of events: a day of 200 rooms with players and faults, byte for byte.

use std::time::Duration;

#[path = "../bench/course.rs"]
mod course;

#[test]
fn one_seed_is_one_course_of_events() {
    course::compare(1..=4, Duration::from_secs(2 * 3600));
}

/// The whole: twenty seeds, a day each, twice. `cargo test --release -- --ignored twenty_seeds`; `cargo bench --bench day`
/// plays it too.
#[test]
#[ignore = "minutes in a debug build"]
fn twenty_seeds_a_day_each_twice() {
    course::compare(1..=20, Duration::from_secs(24 * 3600));
}
