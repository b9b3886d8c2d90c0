//! Rooms that get players at the wrong moment.

use crate::support::Test;

fn on_minecraft(script: &str) -> Test {
    Test::new().script(script).args(["run", "a.rhai", "--sandbox"]).stderr_any()
}

#[test]
fn a_room_allocated_between_selection_and_marking_is_never_marked() {
    on_minecraft(
        r#"
        let idle = gs_select("minecraft", #{ ops_state: "None" });
        // The matchmaker, in exactly that window.
        gs_set_ops_state("minecraft-1", "Allocated");
        let outcome = gs_set_ops_state(idle, "WaitToBeDeleted");
        output(`changed ${outcome.changed}`);
        output(`skipped ${outcome.skipped[0].name}: ${outcome.skipped[0].reason}`);
        output(gs_get("minecraft-1").ops_state);
    "#,
    )
    .stdout_has("changed [\"minecraft-2\"]\n")
    .stdout_has("skipped minecraft-1: opsState became Allocated\n")
    .stdout_has("Allocated\n")
    .ok();
}

#[test]
fn skipped_rooms_do_not_change_the_exit_code() {
    on_minecraft(
        r#"
        let idle = gs_select("minecraft", #{ ops_state: "None" });
        gs_set_ops_state("minecraft-1", "Allocated");
        gs_set_ops_state(idle, "WaitToBeDeleted");
    "#,
    )
    .stdout_has("skipped: minecraft-1: opsState became Allocated")
    .stdout_has("Allocated rooms touched: 0.")
    .ok();
}

#[test]
fn a_room_taken_during_the_grace_is_spared() {
    // The matchmaker is blind: it writes over the hold, as OKG's own does.
    on_minecraft(
        r#"
        gs_hold(gs_select("minecraft", #{ ops_state: "None" }));
        gss_get("minecraft");
        sleep("2s");
        gs_set_ops_state("minecraft-2", "Allocated");
        let held = gs_held("minecraft");
        output(`held ${held.names}`);
        output(`marked ${gs_mark_held(held).changed}`);
        output(gs_get("minecraft-2").ops_state);
    "#,
    )
    .stdout_has("held [\"minecraft-1\"]\n")
    .stdout_has("marked [\"minecraft-1\"]\n")
    .stdout_has("Allocated\n")
    .stdout_has("skipped: minecraft-2: became Allocated during the grace")
    .ok();
}

#[test]
fn rooms_with_players_are_not_marked_even_when_they_are_handed_over() {
    on_minecraft(
        r#"
        let outcome = gs_set_ops_state(gs_list("minecraft"), "WaitToBeDeleted");
        output(`${outcome.changed} ${outcome.skipped.map(|s| s.name)}`);
    "#,
    )
    .stdout_has(r#"["minecraft-1", "minecraft-2"] ["minecraft-0"]"#)
    .ok();
}

#[test]
fn whatever_ends_a_drain_no_room_stays_held() {
    let test = Test::new()
        .script(
            r#"
            import "okg/drain" as drain;
            finally(|| output(gs_list("minecraft").map(|gs| gs.ops_state)));
            drain::retire("minecraft", #{ ops_state: "None" }, #{ occupied: |gs| { if gs.name == "minecraft-2" { throw "no" } else { false } } });
        "#,
        )
        .args(["run", "a.rhai", "--sandbox"])
        .stderr_has("no")
        .stdout_has(
            "[\n  \"Allocated\",\n  \"None\",\n  \"None\"\n]",
        );
    test.code(1);
    // After the hold: the run is adopted by the next one.
    Test::new()
        .script(
            r#"
            gs_hold(gs_select("minecraft", #{ ops_state: "None" }));
            on_failure(|| gs_release("minecraft"));
            finally(|| output(gs_list("minecraft").map(|gs| gs.ops_state)));
            fail("the end");
        "#,
        )
        .args(["run", "a.rhai", "--sandbox"])
        .stderr_has("error[failed]: the end")
        .stdout_has("[\n  \"Allocated\",\n  \"None\",\n  \"None\"\n]")
        .code(1);
}
