//! The rules on the records of the real bindings: what an engineer mistypes.

use okgscript::bindings;
use okgscript::check::Checker;
use okgscript::diagnostic::{Diagnostic, Kind};
use okgscript::script::{Interrupt, Limits, Script, Sources, engine};

fn check(text: &str) -> Vec<Diagnostic> {
    let sources = Sources::new();
    let mut engine = engine(&Limits::default(), &Interrupt::new(), &sources);
    bindings::register(&mut engine);
    let script =
        Script::compile(&engine, &sources, "main.rhai", text).unwrap_or_else(|error| panic!("{}", error.draw(false)));
    Checker::new(&engine, &sources).check(&script)
}

#[track_caller]
fn wrong(text: &str, kind: Kind, beside: &str) {
    let found = check(text);
    let all: Vec<String> = found.iter().map(|diagnostic| diagnostic.draw(false)).collect();
    assert_eq!(found.len(), 1, "{text}\n{}", all.join("\n"));
    assert_eq!(found[0].kind, kind, "{}", all[0]);
    assert!(all[0].contains(beside), "{beside}\n{}", all[0]);
}

#[test]
fn what_is_often_mistyped() {
    wrong(
        "gs_set_opstate(\"a\", \"None\");",
        Kind::UnknownFunction,
        "did you mean `gs_set_ops_state(rooms, state[, opts])`?",
    );
    wrong("gs_set_ops_state(\"a\", \"kill\");", Kind::Invalid, "did you mean \"Kill\"?");
    wrong("gs_select(\"a\", #{ opsState: \"None\" });", Kind::UnknownKey, "did you mean `ops_state`?");
    wrong("gs_select(\"a\", #{ version: \"new\" });", Kind::Invalid, "known: old, current, unknown");
    wrong("gs_select(\"a\", #{ older_than: 10 });", Kind::Invalid, "write \"10s\" for seconds");
    wrong("gs_wait(\"a\", #{}, 3, 600);", Kind::Invalid, "its unit is missing");
    wrong("gs_wait(\"a\", #{}, 3);", Kind::WrongArguments, "`gs_wait(gss, filter, count, timeout[, opts])`");
    wrong("gss_scale_up(\"a\", \"lots\");", Kind::Invalid, "\"25%\"");
    wrong("gss_scale(\"a\", \"3\");", Kind::WrongArguments, "replicas is an int");
    wrong("sleep(10);", Kind::Invalid, "write \"10s\"");
    wrong("wait_until(#{ every: \"1s\" }, || true);", Kind::Invalid, "may wait for ever");
    wrong("retry_backoff(#{ initial: \"1s\" }, || true);", Kind::Invalid, "may wait for ever");
    wrong("retry_backoff(#{ attempts: 3, limit: 3 }, || true);", Kind::UnknownKey, "keys: initial");
}

#[test]
fn misspelt_properties_are_found_where_the_type_is_known() {
    let meant = "did you mean `ops_state`?";
    wrong("let gs = gs_get(\"a-0\"); print(gs.opsState);", Kind::UnknownProperty, meant);
    wrong("print(gs_get(\"a-0\").opsState);", Kind::UnknownProperty, meant);
    wrong("for gs in gs_list(\"a\") { print(gs.opsState); }", Kind::UnknownProperty, meant);
    wrong("gs_select(\"a\", |gs| gs.opsState == \"None\");", Kind::UnknownProperty, meant);
    wrong("let rooms = gs_list(\"a\"); rooms.filter(|gs| gs.opsState == \"None\");", Kind::UnknownProperty, meant);
    wrong(
        "let rooms = step(\"x\", || gs_list(\"a\")); step(\"y\", || rooms[0].opsState);",
        Kind::UnknownProperty,
        meant,
    );
    wrong("print(gs_list(\"a\").filter(|gs| gs.matchable)[0].opsState.len);", Kind::UnknownProperty, meant);
    let out = "did you mean `changed`?";
    wrong("let out = gs_set_ops_state(\"a-0\", \"None\"); print(out.chnged);", Kind::UnknownProperty, out);
    wrong("print(gss_get(\"a\").replicsa);", Kind::UnknownProperty, "`okgscript doc GameServerSet`");
}

#[test]
fn properties_of_values_of_unknown_type_are_left_alone() {
    for text in [
        "let gs = gs_get(\"a-0\"); gs = #{ opsState: 1 }; print(gs.opsState);",
        "let m = #{ a: gs_get(\"a-0\") }; print(m.anything.at_all);",
        "fn f(gs) { gs.opsState } f(#{ opsState: 1 });",
        "let x = step(\"x\", || { if true { return #{ a: 1 }; } gs_get(\"a-0\") }); print(x.a);",
        "let set = gss_get(\"a\").to_map(); print(set.spec.replicas);",
        "let names = gs_list(\"a\").map(|gs| #{ n: gs.name }); print(names[0].n);",
        "try { gs_get(\"a\"); } catch (gs) { print(gs.kind); }",
    ] {
        let found: Vec<String> = check(text).iter().map(|diagnostic| diagnostic.draw(false)).collect();
        assert!(found.is_empty(), "{text}\n{}", found.join("\n"));
    }
}

#[test]
fn what_is_right_passes() {
    let right = [
        "gs_select(\"a\", #{ not_image: \"x\", not_ops_state: [\"None\", \"Kill\"], ids: [1, \"3-7\"], older_than: \"1h\" });",
        "gs_select(\"a\", |gs| gs.matchable && gs.ops_state == \"None\");",
        "let rooms = gs_select(\"a\", #{ version: \"old\" }); gs_set_ops_state(rooms, \"WaitToBeDeleted\");",
        "custom_ops_states([\"Draining\"]); gs_set_ops_state(\"a\", \"Draining\");",
        "let gss = param(\"gss\", \"the set\"); step(\"look\", || table(gs_list(gss)));",
        "retry_backoff(#{ initial: \"10s\", factor: 2, max: \"2m\", jitter: 0.1, limit: 10, timeout: \"10m\" }, || true);",
        "for gs in gs_list(\"a\") { print(gs.name); } let r = gs_list(\"a\").filter(|gs| gs.age > 3).map(|gs| gs.name);",
        "try { gss_get(\"a\"); } catch (e) { if e.kind == \"not-found\" { fail(`no set: ${e.message}`); } }",
        "parallel([1, 2], |n| n + 1, #{ limit: 2 }); on_failure(|e| log(e.kind)); finally(|| log(\"over\"));",
    ];
    for text in right {
        let found: Vec<String> = check(text).iter().map(|diagnostic| diagnostic.draw(false)).collect();
        assert!(found.is_empty(), "{text}\n{}", found.join("\n"));
    }
}

#[test]
fn every_example_checks() {
    for record in bindings::records() {
        let found: Vec<String> = check(record.example).iter().map(|diagnostic| diagnostic.draw(false)).collect();
        assert!(found.is_empty(), "{}\n{}", record.name, found.join("\n"));
    }
}

#[test]
fn records_are_complete() {
    for record in bindings::records() {
        let name = record.name;
        assert!(record.doc.ends_with(['.', '…', '`']), "{name}: the text is a sentence");
        assert!(!record.example.is_empty(), "{name} has no example");
        for kind in record.errors {
            assert!(Kind::from_name(kind).is_some(), "{name}: there is no kind `{kind}`");
        }
        for param in record.params {
            assert!(!param.doc.is_empty(), "{name}: parameter `{}` says nothing", param.name);
            assert!(param.keys.iter().all(|key| !key.doc.is_empty()), "{name}: a key of `{}` says nothing", param.name);
        }
    }
}

/// Much of the language in one script: nothing in it is a mistake, and it runs.
#[test]
fn the_language_itself_passes() {
    let text = include_str!("language.rhai");
    crate::support::Test::new().script(text).args(["check", "a.rhai"]).ok();
    crate::support::Test::new()
        .script(text)
        .args(["run", "a.rhai", "--sandbox"])
        .stdout_has("multi 3 line 1")
        .stderr_any()
        .ok();
}
