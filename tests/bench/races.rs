//! Drains in dense worlds, many of them: what each ending loses with its assumptions kept, and with each off alone.
//!
//! ```text
//! cargo bench --bench races                          each ending, 3,000 contested drains
//! cargo bench --bench races -- --n 300000 mark       one ending, more of them
//! cargo bench --bench races -- --n 3000 subjects     beside what it replaces
//! cargo bench --bench races -- --n 3000 table        each assumption off alone; prints the published table
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, dead_code)]

#[path = "../races/arena/mod.rs"]
mod arena;
mod assumptions;
#[path = "../support"]
mod support {
    pub mod fresh;
}

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use arena::{Score, Subject, World};
use assumptions::{ALL, Assumption, ENDINGS};

/// Plays seeds on all cores until so many drains were contested; each core takes the next seed.
fn play(world: &World, subject: Subject, contested: usize) -> Score {
    let progress = (contested / 2000).clamp(1, 200);
    let (all, next) = (Mutex::new(Score::default()), AtomicU64::new(1));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while all.lock().unwrap().contested < contested {
                    let score = world.play(subject, next.fetch_add(1, Ordering::Relaxed));
                    let mut all = all.lock().unwrap();
                    *all += score;
                    if all.worlds % progress == 0 {
                        eprintln!("{} {all} {:?}", subject.name(), all.causes);
                    }
                }
            });
        }
    });
    all.into_inner().unwrap()
}

fn subjects(n: usize, subjects: &[Subject]) {
    println!(
        "| with all assumptions kept | worlds | drains | contested | lost by the tool | at most (95 %) | lost without it | unjudged | aborts | receipt lies | requests | virtual time |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for subject in subjects {
        let s = play(&World::kept(*subject), *subject, n);
        println!(
            "| {} | {} | {} | {} | {} | {:.1e} | {} | {} | {} | {} | {} | {:.0} h |",
            subject.name(),
            s.worlds,
            s.drains,
            s.contested,
            s.lost,
            s.bound(),
            s.lost_without,
            s.unjudged,
            s.aborts,
            s.lies,
            s.requests,
            s.seconds / 3600.0
        );
        eprintln!("{}: {s}\n  {:?} {:?}", subject.name(), s.causes, s.why);
    }
}

fn table(n: usize, only: &[Assumption]) {
    println!("| off alone | broken by | {} |", ENDINGS.map(Subject::name).join(" | "));
    println!("|---|---|---|---|---|");
    for assumption in only {
        let (words, how) = assumption.words();
        let cells = ENDINGS.map(|ending| {
            let score = play(&assumption.off(ending), ending, n);
            eprintln!("{assumption:?} {}: {score}\n  {:?} {:?}", ending.name(), score.causes, score.why);
            let model = if assumption.model_loses(ending) { "lost" } else { "safe" };
            format!("{model} / lost {} of {}", score.lost, score.contested)
        });
        println!("| **{assumption:?}** {words} | {how} | {} |", cells.join(" | "));
    }
}

fn main() {
    let mut n = 3000;
    let mut what = Vec::new();
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        if argument == "--n" {
            n = arguments.next().and_then(|number| number.parse().ok()).expect("--n takes a number");
        } else {
            what.push(argument);
        }
    }
    let named = |name: &str| what.iter().any(|word| word == name);
    let endings: Vec<Subject> =
        ENDINGS.into_iter().filter(|ending| named(&format!("{ending:?}").to_lowercase())).collect();
    if named("table") {
        let only: Vec<Assumption> = ALL.into_iter().filter(|it| named(&format!("{it:?}"))).collect();
        table(n, if only.is_empty() { &ALL } else { &only });
    } else if named("subjects") {
        let others = [Subject::Fast, Subject::Updater, Subject::Blind];
        subjects(n, &[&ENDINGS[..], &others[..]].concat());
    } else {
        subjects(n, if endings.is_empty() { &ENDINGS } else { &endings });
    }
}
