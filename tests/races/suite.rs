//! Each ending with its assumptions kept, in worlds where drains are contested as a rule, beside the plain guarded mark.

use super::arena::{Score, Subject, World};

/// Contested drains of one ending; `cargo bench --bench races -- --n N` plays as many as there is time for.
const CONTESTED: usize = 100;

/// Plays seeds until so many drains were contested, or, where a loss is looked for, until there is one.
fn play(world: &World, ending: Subject, contested: usize, until_lost: bool) -> Score {
    let mut all = Score::default();
    for seed in 1.. {
        all += world.play(ending, seed);
        if all.contested >= contested || (until_lost && all.lost > 0) {
            break;
        }
    }
    all
}

fn loses_nobody(subject: Subject) {
    let score = play(&World::kept(subject), subject, CONTESTED, false);
    assert!(score.contested >= CONTESTED, "{score}");
    assert!(score.contested * 2 > score.drains, "contests are not the norm: {score}");
    assert_eq!((score.lost, score.unjudged, score.lies, score.still_held), (0, 0, 0, 0), "{score}\n{:?}", score.causes);
    assert!(score.ended > CONTESTED / 10, "hardly a drain came to its end: {score}");
}

#[test]
fn retire_loses_nobody_in_contested_drains() {
    loses_nobody(Subject::Retire);
}

#[test]
fn retire_with_block_loses_nobody_in_contested_drains() {
    loses_nobody(Subject::Block);
}

#[test]
fn mark_loses_nobody_in_contested_drains() {
    loses_nobody(Subject::Mark);
}

#[test]
fn the_guarded_mark_alone_loses_players_in_the_same_worlds() {
    let score = play(&World::kept(Subject::Fast), Subject::Fast, 300, true);
    assert!(score.lost > 0, "{score}");
}

#[test]
fn without_a_tool_nobody_is_lost_in_them() {
    let mut score = Score::default();
    (1..3).for_each(|seed| score += World::kept(Subject::Mark).play(Subject::Nothing, seed));
    assert!(score.matches > 100, "nobody played: {score}");
    assert_eq!((score.lost, score.lost_without), (0, 0), "{score}\n{:?}", score.causes);
}
