//! Approvals: on a terminal, beforehand, by an annotation; refused otherwise, and remembered.

use serde_json::Value;

use super::waits;
use crate::runs::proxy::ask;
use crate::runs::world::World;
use crate::support::Test;
#[cfg(unix)]
use crate::support::terminal::Terminal;

const SCRIPT: &str = r#"
    let gss = param("gss", "minecraft", "the set");
    step("scale", || gss_scale(gss, 4));
    let yes = approve(`take ${gss} to 5`, #{ timeout: "60s" });
    gss_scale(gss, 5);
    output(`${yes.by} | ${yes.how}`);
"#;

#[cfg(unix)]
fn asked(answer: &str) -> (Terminal, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.rhai"), SCRIPT).unwrap();
    let mut terminal = Terminal::start(folder.path(), &["run", "a.rhai", "--sandbox"]);
    terminal.shows("about to happen: take minecraft to 5");
    terminal.shows("minecraft: replicas 3 -> 4");
    terminal.shows("go on? [y/N]");
    terminal.types(answer);
    (terminal, folder)
}

#[cfg(unix)]
#[test]
fn a_person_is_asked_on_a_terminal() {
    let (mut terminal, _folder) = asked("y\r");
    terminal.shows("ann@desk | on a terminal");
    terminal.shows("approved: “take minecraft to 5” by ann@desk (on a terminal)");
    assert!(terminal.ended().contains(", 0)"));

    for no in ["n\r", "\r", "yess\r"] {
        let (mut terminal, _folder) = asked(no);
        terminal.shows("error[refused]: “take minecraft to 5” was not approved");
        terminal.shows("ann@desk said no");
        assert!(terminal.ended().contains(", 4)"), "{no}");
    }
    let (mut terminal, _folder) = asked("\u{3}");
    terminal.shows("error[interrupted]");
    assert!(terminal.ended().contains(", 130)"));
}

#[test]
fn yes_is_said_beforehand_and_stands_in_receipt_and_journal() {
    let call = |args: &[&str]| {
        let mut all = vec!["run", "a.rhai", "--sandbox", "--journal", "journal"];
        all.extend(args);
        Test::new().script(SCRIPT).args(all).stderr_any().stdout_any()
    };
    call(&["--approve"]).stdout_has("somebody@this machine | beforehand, --approve\n").ok();
    let ran = call(&["--approve=Ann, CHG-12"])
        .stdout_has("Ann, CHG-12 | beforehand, --approve\n")
        .stdout_has("approved: “take minecraft to 5” by Ann, CHG-12 (beforehand, --approve) at 2026-01-05T04:00:")
        .ok();
    let journal = std::fs::read_dir(ran.folder.path().join("journal")).unwrap().next().unwrap().unwrap().path();
    let records = std::fs::read_to_string(journal).unwrap();
    let notes: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let note = notes.iter().find(|record| record["note"] == "approved").expect("the journal has it");
    assert_eq!((&note["by"], &note["what"]), (&"Ann, CHG-12".into(), &"take minecraft to 5".into()));
    let ran = call(&["--approve=Ann", "-o", "json"]).ok();
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["receipt"]["changes"]["approvals"][0]["by"], "Ann");
}

#[test]
fn where_nobody_can_be_asked_it_is_refused() {
    Test::new()
        .script("step(\"a\", || approve(\"this\"));")
        .args(["run", "a.rhai", "--sandbox"])
        .stdout_any()
        .stderr_has("error[refused]: “this” needs an approval, and nobody can be asked")
        .stderr_has("`--approve` or `--approve=\"WHO, WHY\"` says yes beforehand")
        .code(4);
    Test::new()
        .script("approve(\" \");")
        .args(["run", "a.rhai", "--sandbox", "--approve"])
        .stdout_any()
        .stderr_has("approve needs words")
        .code(1);
}

#[test]
fn a_plan_takes_it_for_granted() {
    Test::new()
        .script(SCRIPT)
        .args(["plan", "a.rhai", "--sandbox"])
        .stdout_has("  spec.replicas: 3 -> 5\n")
        .stdout_has("  - approval of “take minecraft to 5”\n")
        .stderr_any()
        .ok();
}

#[test]
fn the_set_is_annotated_and_the_run_goes_on_and_does_not_ask_again() {
    let world = World::new();
    std::fs::write(world.path("a.rhai"), format!("{SCRIPT}\nfail(\"after\");")).unwrap();
    let set = "/apis/game.kruise.io/v1alpha1/namespaces/default/gameserversets/minecraft";
    let annotate = |value: &str| {
        let body = serde_json::json!({"metadata": {"annotations": {"okgscript.io/approve": value}}});
        let path = format!("{set}?fieldManager=kubectl-annotate");
        let answer = ask(world.server, "PATCH", &path, "application/merge-patch+json", &body.to_string());
        assert_eq!(answer["metadata"]["annotations"]["okgscript.io/approve"], value, "{answer}");
    };
    // The approval of another run is none.
    annotate("x7y2-20260101 Bob");
    world.proxy.clear();
    let ended = std::thread::scope(|scope| {
        let run = scope.spawn(|| world.run(&["run", "a.rhai"]));
        waits(&world);
        let id = world.journal().file_stem().unwrap().to_string_lossy().into_owned();
        annotate(&format!("{id} Ann Smith"));
        run.join().unwrap()
    });
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("Ann Smith | annotation, written by client kubectl-annotate, 20"), "{}", ended.out);
    assert!(ended.err.contains("kubectl -n default annotate gss minecraft --overwrite 'okgscript.io/approve="));
    annotate("nobody");
    let again = world.run(&["resume"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("approve: take minecraft to 5 remembered"), "{}", again.err);
    assert!(again.out.contains("Ann Smith | annotation"), "{}", again.out);
    assert!(again.out.contains("approved: “take minecraft to 5” by Ann Smith (annotation"), "{}", again.out);
}

#[test]
fn without_the_annotation_the_run_is_refused_when_the_time_is_over() {
    let world = World::new();
    std::fs::write(world.path("a.rhai"), SCRIPT.replace("60s", "300ms")).unwrap();
    let ended = world.run(&["run", "a.rhai"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.err.contains("“take minecraft to 5” was not approved within 300ms"), "{}", ended.err);
    assert_eq!(world.end_state()["replicas"], 4);
}
