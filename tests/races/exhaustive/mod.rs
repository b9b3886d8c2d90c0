//! The drain protocol in a small scope, exhaustively: 2 rooms, 4 actors, every interleaving.
//!
//! Actors: the run, a blind matchmaker, an autoscaler, and the controllers (OKG's two, Kruise's, garbage collection, the
//! kubelet). One step is one request or one controller pass; a read and the write that follows from it are two steps.
//! The search is breadth-first over states that are kept whole: what is printed is what there is, none is cut off.
//!
//! It is a model: the controllers of the embedded cluster cannot be set back to a state. But what decides is not
//! written again here: scale-ins are computed by `okg::scaling`, ordinals by `okg::ordinals`, the autoscaler's wish by
//! `okg::scaler`, and what the run writes is the JSON Patch that the bindings sent on an embedded cluster, applied to
//! objects as they would stand in the API server ([`patches`]). A guard that the bindings lose, the run here loses too.
//!
//! Assumed throughout (A0): whoever plays or is sent to a room has a GameServer that is not None. So a matchmaker's
//! write to a GameServer whose pod is gone sends nobody, and garbage collection takes no GameServer with players.

mod explore;
mod patches;
mod run;
mod world;

use explore::{Found, explore};
use patches::Patches;
use run::{Ending, Guards};
use world::{Assumed, Scope, World};

const RETIRE: Scope = Scope {
    ending: Some(Ending::Retire),
    guards: Guards::AsSent,
    assumed: Assumed { grace: true, settled_scaler: true, quiet: true, pods_stay: true },
    scaler: true,
    min: 0,
    deaths: 0,
    matches: 2,
    all_judged: true,
};
const MARK: Scope = Scope { ending: Some(Ending::Mark), ..RETIRE };

// Shown with `--nocapture`: how many states there are.
#[allow(clippy::print_stdout)]
fn look(name: &str, scope: &Scope) -> Found {
    let patches = Patches::sent();
    let found = explore(World::new(scope), scope, &patches);
    let verdict = found.violation.as_ref().map_or("safe".to_owned(), |(what, trace)| format!("{what}\n{trace}"));
    println!("{name}: {} states, {} steps deep: {verdict}", found.states, found.depth);
    found
}

#[track_caller]
fn safe(name: &str, scope: &Scope) {
    let found = look(name, scope);
    if let Some((what, trace)) = found.violation {
        panic!("{name}: {what}\n{trace}");
    }
    assert!(found.contested > 0, "{name}: nobody ever wrote over a hold");
}

#[track_caller]
fn lost(name: &str, scope: &Scope) {
    let found = look(name, scope);
    let (what, _) = found.violation.unwrap_or_else(|| panic!("{name}: no violation in {} states", found.states));
    assert!(what.contains("players"), "{name}: {what}");
}

fn without(scope: Scope, change: impl Fn(&mut Assumed)) -> Scope {
    let mut scope = scope;
    change(&mut scope.assumed);
    scope
}

#[test]
fn without_the_tool_nobody_loses_a_room() {
    let scope = Scope { ending: None, ..MARK };
    assert!(look("no tool", &scope).violation.is_none());
    for change in [
        (|a: &mut Assumed| a.grace = false) as fn(&mut Assumed),
        |a| a.settled_scaler = false,
        |a| a.quiet = false,
        |a| a.pods_stay = false,
    ] {
        assert!(look("no tool, one assumption off", &without(scope, change)).violation.is_none());
    }
}

#[test]
fn both_endings_are_safe_while_what_they_assume_holds() {
    safe("retire", &RETIRE);
    safe("mark", &MARK);
}

#[test]
fn a_run_that_dies_anywhere_is_taken_over_by_the_next() {
    safe("retire, killed once", &Scope { deaths: 1, matches: 1, ..RETIRE });
    safe("mark, killed once", &Scope { deaths: 1, matches: 1, ..MARK });
}

#[test]
fn a_guard_that_is_left_out_is_found() {
    for (name, scope) in [("retire", RETIRE), ("mark", MARK)] {
        lost(&format!("{name} without tests"), &Scope { guards: Guards::Dropped("/spec/opsState"), ..scope });
    }
    // Without the test of the generation, a number that an autoscaler has raised meanwhile is written over.
    let raised = Scope { min: 1, matches: 1, ..RETIRE };
    safe("retire, one room stays free", &raised);
    lost("retire without a test of the set", &Scope { guards: Guards::Dropped("of the set"), ..raised });
}

#[test]
fn without_the_grace_both_lose() {
    lost("retire without G", &without(RETIRE, |a| a.grace = false));
    lost("mark without G", &without(MARK, |a| a.grace = false));
}

#[test]
fn a_scaler_that_lowers_an_unsettled_set_harms_only_marks() {
    safe("retire without D", &without(RETIRE, |a| a.settled_scaler = false));
    lost("mark without D", &without(MARK, |a| a.settled_scaler = false));
}

#[test]
fn somebody_who_writes_over_the_hold_makes_both_lose() {
    lost("retire without Q", &without(RETIRE, |a| a.quiet = false));
    lost("mark without Q", &without(MARK, |a| a.quiet = false));
}

#[test]
fn a_pod_that_is_recreated_makes_both_lose() {
    for (name, scope) in [("retire", RETIRE), ("mark", MARK)] {
        let scope = without(Scope { matches: 1, ..scope }, |a| a.pods_stay = false);
        let (what, _) = look(&format!("{name} without C"), &scope).violation.unwrap();
        assert!(what.contains("nobody judged"), "{what}");
        lost(&format!("{name} without C"), &Scope { all_judged: false, ..scope });
    }
}

#[test]
fn what_the_drain_replaces_loses_although_everything_holds() {
    lost("a guarded mark", &Scope { ending: Some(Ending::FastMark), ..MARK });
    lost("a blind mark", &Scope { ending: Some(Ending::BlindMark), ..MARK });
}
