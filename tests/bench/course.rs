//! Courses of events of a day of 200 rooms with players and faults: what one seed makes of them, byte for byte.

use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use okgscript::clock::Clock;
use okgscript::sandbox::{Options, Sandbox};

const DAY: &str = include_str!("day.yaml");

/// What goes wrong in that day.
const FAULTS: &str = "faults:
- {kind: unavailable, client: matchmaker, verb: patch, resource: gameservers, probability: 0.05}
- {kind: timeout, applied: true, client: matchmaker, verb: patch, resource: gameservers, probability: 0.02}
- {kind: conflict, client: okg-manager, verb: patch, resource: gameservers, probability: 0.01}
- {kind: labelLag, lag: 20s, from: 20m, until: 50m}
- {kind: staleList, lag: 10s, client: matchmaker, from: 55m, until: 65m}
- {kind: down, controller: [gameserver, scaler], from: 70m, until: 75m}
- {kind: down, controller: kruise, from: 80m, until: 82m}
";

/// The end of a course of events: everything that was written, and what became of the players, in one number.
#[derive(Debug, PartialEq)]
pub struct Course {
    pub digest: u64,
    pub writes: u64,
    pub matches: usize,
    pub lost: usize,
}

fn live(seed: u64, time: Duration) -> Course {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let clock = Clock::simulated("2026-06-01T08:00:00Z".parse().expect("a time"));
        let text = DAY.replacen("disturbances:", &format!("{FAULTS}disturbances:"), 1);
        let options = Options { scenario: Some(("day".to_owned(), text)), seed, ..Options::default() };
        let sandbox = Sandbox::start(&options, clock).await.unwrap_or_else(|error| panic!("{error:?}"));
        let mut follower = sandbox.api().follow(0);
        let follow = async {
            let (mut digest, mut writes) = (DefaultHasher::new(), 0);
            let end = tokio::time::sleep(time);
            tokio::pin!(end);
            loop {
                tokio::select! {
                    biased;
                    changes = follower.next() => {
                        for change in changes {
                            let head = format!("{} {} {:?} ", change.version, change.resource, change.kind);
                            digest.write(head.as_bytes());
                            digest.write(change.object.to_string().as_bytes());
                            writes += 1;
                        }
                    }
                    () = &mut end => return (digest, writes),
                }
            }
        };
        let (mut digest, writes) = follow.await;
        let ledger = sandbox.players().ledger();
        digest.write(format!("{:?}", ledger.matches()).as_bytes());
        let (matches, lost) = (ledger.matches().len(), ledger.lost().len());
        Course { digest: digest.finish(), writes, matches, lost }
    })
}

/// Lives the day of each seed twice, on two threads at once, and holds the courses against each other.
pub fn compare(seeds: std::ops::RangeInclusive<u64>, time: Duration) -> Vec<Course> {
    let twice = |seed| {
        std::thread::scope(|scope| {
            let again = scope.spawn(move || live(seed, time));
            (live(seed, time), again.join().expect("it ends"))
        })
    };
    let mut courses: Vec<Course> = Vec::new();
    for seed in seeds {
        let (once, again) = twice(seed);
        assert_eq!(once, again, "seed {seed}");
        assert!(courses.iter().all(|other| other.digest != once.digest), "seed {seed} is like another");
        courses.push(once);
    }
    assert!(courses.iter().any(|course| course.lost > 0), "nothing went wrong: {courses:?}");
    assert!(courses.iter().all(|course| course.matches > 0), "nobody played: {courses:?}");
    courses
}
