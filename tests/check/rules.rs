//! One script a rule that must fail, and those that must pass.

use std::fs;

use okgscript::diagnostic::Kind;

use super::{check, check_as};

/// Holds a script's only mistake against kind, place, first line and what is said beside it.
#[track_caller]
fn wrong(text: &str, kind: Kind, place: (usize, usize), what: &str, beside: &str) {
    let found = check(text);
    let all: Vec<String> = found.iter().map(|diagnostic| diagnostic.draw(false)).collect();
    assert_eq!(found.len(), 1, "{text}\n{}", all.join("\n"));
    let first = &found[0];
    assert_eq!((first.kind, first.what.as_str()), (kind, what), "{}", all[0]);
    assert_eq!((first.places[0].line, first.places[0].column), place, "{}", all[0]);
    assert!(all[0].contains(beside), "{beside}\n{}", all[0]);
    assert!(first.done.iter().any(|done| done == "nothing was sent to the cluster"), "{}", all[0]);
}

#[track_caller]
fn right(text: &str) {
    let found: Vec<String> = check(text).iter().map(|diagnostic| diagnostic.draw(false)).collect();
    assert!(found.is_empty(), "{text}\n{}", found.join("\n"));
}

#[test]
fn unknown_functions_have_a_suggestion() {
    let meant = "did you mean `t_set_state(rooms, state)`?";
    wrong("t_set_stat([], \"None\");", Kind::UnknownFunction, (1, 1), "there is no function `t_set_stat`", meant);
    let what = "there is no function `retier`";
    wrong("fn retire(x) { x }\nretier(1);", Kind::UnknownFunction, (2, 1), what, "did you mean `retire(x)`?");
    let text = "let f = || {\n  `${zork(1)}`\n};\nf.call();";
    wrong(text, Kind::UnknownFunction, (2, 6), "there is no function `zork`", "`okgscript doc` lists");
    let what = "there is no method `filtr`";
    wrong("[1].filtr(|x| true);", Kind::UnknownFunction, (1, 5), what, "did you mean `filter`?");
    wrong("let f = Fn(\"t_gte\");", Kind::UnknownFunction, (1, 12), "there is no function `t_gte`", "t_get(name)");
}

#[test]
fn wrong_numbers_of_arguments_show_the_signature() {
    let what = "`t_get` is called with 2 arguments";
    wrong("t_get(\"a\", 1);", Kind::WrongArguments, (1, 1), what, "`t_get(name)`");
    let what = "`f` is called with 1 argument";
    wrong("fn f(a, b) { a + b }\nf(1);", Kind::WrongArguments, (2, 1), what, "`f(a, b)`");
    let what = "`t_select` is called with 0 arguments";
    wrong("t_select();", Kind::WrongArguments, (1, 1), what, "`t_select(set[, filter])`");
    wrong("\"a\".len(1);", Kind::WrongArguments, (1, 5), "`len` is called with 1 argument", "as a method it takes 0");
}

#[test]
fn literal_arguments_are_of_the_right_type() {
    let what = "an int does not fit here";
    wrong("t_get(1);", Kind::WrongArguments, (1, 7), what, "`t_get(name)`: name is a string");
    let what = "a bool does not fit here";
    wrong("t_set_state(true, \"None\");", Kind::WrongArguments, (1, 13), what, "rooms is a Rooms");
    let what = "`10` is not a duration: its unit is missing";
    wrong("t_sleep(10);", Kind::Invalid, (1, 9), what, "write \"10s\" for seconds");
    wrong("t_sleep(\"10\");", Kind::Invalid, (1, 9), what, "write \"10s\" for seconds");
    let what = "`10 parsecs` is not a duration";
    wrong("t_sleep(\"10 parsecs\");", Kind::Invalid, (1, 9), what, "there is no unit `parsecs`");
    wrong(
        "t_select(\"a\", #{ older_than: 5 });",
        Kind::Invalid,
        (1, 30),
        "`5` is not a duration: its unit is missing",
        "5s",
    );
    wrong("t_scale(\"a\", \"many\");", Kind::Invalid, (1, 14), "`many` is not a count", "\"25%\"");
    wrong("t_scale(\"a\", -1);", Kind::Invalid, (1, 14), "`-1` is not a count", "\"25%\"");
    right(
        "t_sleep(\"90s\"); t_scale(\"a\", 3); t_scale(\"a\", \"25%\"); t_select(\"a\", |x| true); let d = \"1s\"; t_sleep(d);",
    );
}

#[test]
fn unknown_keys_have_a_suggestion() {
    let what = "`t_select` knows no key `opsState` in its filter";
    wrong("t_select(\"a\", #{ opsState: \"None\" });", Kind::UnknownKey, (1, 18), what, "did you mean `ops_state`?");
    let what = "`t_select` knows no key `zone` in its filter";
    wrong(
        "t_select(\"a\", #{ zone: 1 });",
        Kind::UnknownKey,
        (1, 18),
        what,
        "keys: ops_state, image, version, older_than",
    );
    right("t_select(\"a\", #{ not_ops_state: \"None\" });");
    right("t_select(\"a\", #{ image: #{ anything: \"x\" } });");
}

#[test]
fn words_are_spelt_as_okg_spells_them() {
    let what = "`kill` is not a known opsState";
    wrong("t_set_state([], \"kill\");", Kind::Invalid, (1, 17), what, "did you mean \"Kill\"?");
    let what = "`Alocated` is not a known opsState";
    let text = "t_select(\"a\", #{ ops_state: [\"None\", \"Alocated\"] });";
    wrong(text, Kind::Invalid, (1, 38), what, "custom_ops_states([\"Alocated\"])");
    right("custom_ops_states([\"Draining\"]); t_set_state([], \"Draining\"); t_set_state([], \"Kill\");");
    right("let mine = [\"x\"]; custom_ops_states(mine); t_set_state([], \"y\");");
    let what = "`new` is not a known version";
    wrong("t_select(\"a\", #{ not_version: \"new\" });", Kind::Invalid, (1, 31), what, "known: old, current");
}

#[test]
fn unknown_variables_say_where_they_might_come_from() {
    let what = "there is no variable `conut`";
    wrong("let count = 1;\nprint(conut);", Kind::UnknownVariable, (2, 7), what, "did you mean `count`?");
    let what = "there is no variable `MAX`";
    wrong("const MAX = 3;\nfn f() { MAX }", Kind::UnknownVariable, (2, 10), what, "write `global::MAX`");
    let what = "there is no variable `gss`";
    wrong("let gss = 3;\nfn f() { gss }", Kind::UnknownVariable, (2, 10), what, "give it `gss` as a parameter");
    wrong("print(late); let late = 1;", Kind::UnknownVariable, (1, 7), "there is no variable `late`", "further down");
    wrong("let x = None;", Kind::UnknownVariable, (1, 9), "there is no variable `None`", "`()`");
    let what = "there is no variable `nowhere`";
    wrong("let f = |x| x + nowhere;", Kind::UnknownVariable, (1, 17), what, "declare it");
    right(
        "const MAX = 3; fn f() { global::MAX }\nlet g = |x| { let y = x; y + f() }; for i in 0..3 { print(g.call(i)); }",
    );
    right("try { f(); } catch (e) { print(e.message); } fn f() { throw \"x\" }");
    right("let a = 1; let f = || { a += 1; let g = || a; g.call() }; print(f.call() + a);")
}

#[test]
fn modules_and_their_functions_exist() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("lib.rhai", "fn open(a) { a }\nprivate fn hidden() { 1 }\nconst N = 3;\nexport N;\n");
    write("bad.rhai", "fn f() {\n  t_gte(1)\n}\n");
    write("broken.rhai", "fn f( {");
    let main = folder.path().join("main.rhai").display().to_string();
    let cases = [
        ("import \"lib\" as l;\nl::opne(1);", Kind::UnknownFunction, "module `l` has no function `opne`", "`open(a)`"),
        ("import \"lib\" as l;\nl::open();", Kind::WrongArguments, "`open` is called with 0 arguments", "`open(a)`"),
        ("import \"lib\" as l;\nl::hidden();", Kind::UnknownFunction, "function `hidden` of module `l` is private", ""),
        (
            "import \"lib\" as l;\nlet f = l::open;",
            Kind::UnknownVariable,
            "module `l` exports no value `open`",
            "wrap it",
        ),
        ("import \"lbi\" as l;\nl::open(1);", Kind::UnknownModule, "there is no module `lbi`", "beside the script"),
        ("drain::retire(1);", Kind::UnknownModule, "there is no module `drain` here", "import \"okg/drain\" as drain;"),
        ("import \"bad\" as b;\nb::f();", Kind::UnknownFunction, "there is no function `t_gte`", "bad.rhai:2:3"),
        ("import \"broken\" as b;\nb::f();", Kind::Syntax, "", "broken.rhai:1:"),
    ];
    for (text, kind, what, beside) in cases {
        let found = check_as(&main, text);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        let drawn = found[0].draw(false);
        assert_eq!(found[0].kind, kind, "{drawn}");
        assert!(found[0].what.starts_with(what) && drawn.contains(beside), "{text}: {beside}\n{drawn}");
    }
    assert!(check_as(&main, "import \"lib\" as l; print(l::open(l::N));").is_empty());
}

#[test]
fn waits_and_loops_have_an_end() {
    wrong("t_wait(#{}, || true);", Kind::Invalid, (1, 1), "this `t_wait` may wait for ever", "#{ timeout: \"10m\"");
    wrong("let x = 0;\nloop { x += 1; }", Kind::Invalid, (2, 1), "nothing ends this loop", "`break`");
    right(
        "t_wait(#{ timeout: \"1m\" }, || true); let x = 0; loop { x += 1; if x > 3 { break; } } while x < 9 { x += 1; }",
    );
    right("loop { try { return 1; } catch { } }");
}

#[test]
fn errors_are_compared_with_kinds_that_there_are() {
    let what = "no error is ever of kind `time-out`";
    let text = "try { t_get(\"a\"); } catch (e) {\n  if e.kind == \"time-out\" { print(1); }\n}";
    wrong(text, Kind::Invalid, (2, 16), what, "did you mean \"timeout\"?");
    let what = "no error is ever of kind `zork`";
    wrong("try { t_get(\"a\"); } catch (e) { \"zork\" != e.kind }", Kind::Invalid, (1, 33), what, "kinds: usage");
    right("try { t_get(\"a\"); } catch (e) { if e.kind == \"timeout\" || e.kind != \"not-found\" { throw e; } }");
    right(
        "try { throw #{ kind: \"mine\" }; } catch (e) { e.kind == \"mine\" } let m = #{ kind: \"a\" }; m.kind == \"b\"",
    );
}

#[test]
fn what_rhai_gets_wrong_is_refused() {
    let what = "`switch` does not work on `s`, which a closure shares";
    let text = "let s = \"a\";\nlet f = || {\n  switch s { \"a\" => 1, _ => 2 }\n};\nf.call();";
    wrong(text, Kind::Invalid, (3, 10), what, "copy it first");
    let text = "let s = \"a\";\nlet f = || s;\nlet x = switch s { \"a\" => 1, _ => 2 };";
    wrong(text, Kind::Invalid, (3, 16), what, "copy it first");
    let what = "`switch` with both `if` cases and ranges does not try every case";
    wrong("let n = 5;\nswitch n { 5 if false => 1, 0..9 => 2, _ => 3 }", Kind::Invalid, (2, 1), what, "else if");
    right("let s = \"a\"; let f = || { let t = s; switch t { \"a\" => 1, _ => 2 } }; f.call();");
    right("let s = \"a\"; let x = switch s { \"a\" => 1, _ => 2 }; let f = || s; f.call();");
}

#[test]
fn a_parameter_is_not_a_flag_of_our_own() {
    let what = "parameter `request_timeout` collides with okgscript's own flag `--request-timeout`";
    wrong("param(\"request_timeout\", \"x\");", Kind::Parameter, (1, 1), what, "choose another name");
}

#[test]
fn every_mistake_is_reported_in_the_order_of_the_text() {
    let found = check("t_gte(1);\nprint(nope);\nt_get(\"a\", 2);\nt_sleep(3);");
    let places: Vec<usize> = found.iter().map(|diagnostic| diagnostic.places[0].line).collect();
    assert_eq!(places, [1, 2, 3, 4]);
}
