//! Limits, interrupts, errors, parameters and imports.

use std::fs;
use std::time::Duration;

use ::rhai::{FnPtr, NativeCallContext};
use okgscript::diagnostic::{Diagnostic, Kind};
use okgscript::script::{Limits, contain, snapshot, throw};
use serde_json::json;

use super::Host;

/// Places as `source:line:column`, innermost first.
fn places(diagnostic: &Diagnostic) -> Vec<String> {
    diagnostic.places.iter().map(|place| format!("{}:{}:{}", place.source, place.line, place.column)).collect()
}

#[test]
fn an_interrupt_ends_a_loop_and_cannot_be_caught() {
    let host = Host::new();
    let interrupt = host.interrupt.clone();
    let killer = std::thread::spawn(move || {
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(Duration::from_millis(30));
        interrupt.trigger();
    });
    let error = host.fails("let x = 0; try { loop { x += 1; } } catch (e) { 1 }");
    killer.join().unwrap();
    assert_eq!(error.kind, Kind::Interrupted);
    host.interrupt.reset();
    assert_eq!(host.run("1 + 1").unwrap().as_int(), Ok(2));
}

#[test]
fn operations_are_counted_inside_callbacks() {
    let host = Host::with(&Limits { operations: 10_000, ..Limits::default() });
    let error = host.fails("let a = []; a.pad(5000, 0); a.map(|x| { for i in 0..1000 {} x })");
    assert_eq!((error.kind, error.what.as_str()), (Kind::Limit, "the script ran for more than 10000 operations"));
}

#[test]
fn depth_and_sizes_are_limited() {
    let host = Host::with(&Limits { array: 1000, string: 1000, ..Limits::default() });
    assert_eq!(host.fails("fn f(n) { f(n + 1) } f(0)").kind, Kind::Limit);
    assert_eq!(host.fails("let a = [1]; loop { a += a; }").kind, Kind::Limit);
    assert_eq!(host.fails("let a = \"x\"; loop { a += a; }").kind, Kind::Limit);
}

#[test]
fn memory_is_limited() {
    let host = Host::with(&Limits { memory: 64 << 20, ..Limits::default() });
    let error =
        host.fails("let kept = []; loop { let s = `x`; s.pad(100000, `y`); kept.push(s); for i in 0..1000 {} }");
    assert_eq!((error.kind, error.what.as_str()), (Kind::Limit, "the script uses more than 64 MiB of memory"));
}

#[test]
fn eval_is_switched_off() {
    let error = host_syntax("let x = eval(\"1\");");
    assert!(error.help[0].contains("`eval` is switched off"), "{error:?}");
}

#[test]
fn rhais_own_sleep_is_replaced() {
    let error = Host::new().fails("sleep(10)");
    assert_eq!((error.kind, error.what.as_str()), (Kind::Invalid, "`10` is not a duration: its unit is missing"));
    assert_eq!(places(&error), ["main.rhai:1:1"]);
}

#[test]
fn a_diagnostic_thrown_by_the_host_is_a_map_to_the_script_and_comes_back_whole() {
    let mut host = Host::new();
    host.engine.register_fn("deny", || -> Result<(), Box<::rhai::EvalAltResult>> {
        let denied = Diagnostic::new(Kind::Forbidden, "not allowed").why("403").help("ask").done("nothing");
        Err(throw(denied.with("code", 403)))
    });
    let caught = "let seen = (); try { deny(); } catch (e) { seen = [e.kind, e.message, e.code, e.why[0]]; } seen";
    let caught = okgscript::script::value::to_json(&host.run(caught).unwrap()).unwrap();
    assert_eq!(caught, json!(["forbidden", "not allowed", 403, "403"]));
    let error = host.fails("fn f() {\n  deny()\n}\nf();");
    assert_eq!((error.kind, error.what.as_str()), (Kind::Forbidden, "not allowed"));
    assert_eq!((error.why.as_slice(), error.help.as_slice()), (&["403".to_owned()][..], &["ask".to_owned()][..]));
    assert_eq!(error.data["code"], json!(403));
    assert_eq!(places(&error), ["main.rhai:2:3", "main.rhai:4:1"]);
    let again = host.fails("try { deny(); } catch (e) { e.message = `still ${e.message}`; throw e }");
    assert_eq!((again.kind, again.what.as_str()), (Kind::Forbidden, "still not allowed"));
}

#[test]
fn thrown_values_keep_their_words() {
    let host = Host::new();
    let error = host.fails("throw \"no room left\"");
    assert_eq!((error.kind, error.what.as_str()), (Kind::Failed, "no room left"));
    let error = host.fails("throw #{ kind: \"refused\", message: \"not today\", room: 7 }");
    assert_eq!((error.kind, error.what.as_str(), &error.data["room"]), (Kind::Refused, "not today", &json!(7)));
}

#[test]
fn errors_of_rhai_that_are_thrown_again_keep_kind_and_place() {
    let host = Host::new();
    let error = host.fails("fn f(x) {\n  nowhere(x)\n}\ntry {\n  f(1);\n} catch (e) {\n  throw e;\n}");
    assert_eq!((error.kind, error.what.as_str()), (Kind::UnknownFunction, "there is no function `nowhere(int)`"));
    assert_eq!(places(&error), ["main.rhai:2:3", "main.rhai:7:3"]);
    let error = host.fails("try {\n  [1][7];\n} catch {\n  throw;\n}");
    assert_eq!(error.kind, Kind::Invalid, "{error:?}");
    let error = host.fails("try { 1 / 0 } catch (e) { throw e }");
    assert_eq!((error.kind, error.what.as_str()), (Kind::Invalid, "division by zero: 1 / 0"));
}

#[test]
fn each_frame_is_in_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("lib.rhai"),
        "fn outer(f) {\n  inner(f)\n}\nprivate fn inner(f) {\n\n  f.call(1)\n}\n",
    )
    .unwrap();
    let mut host = Host::new();
    host.engine.register_fn("twice", |ctx: NativeCallContext, f: FnPtr| {
        let _ = f.call_within_context::<::rhai::Dynamic>(&ctx, ())?;
        f.call_within_context::<::rhai::Dynamic>(&ctx, ())
    });
    let main = folder.path().join("main.rhai").display().to_string();
    let text = "import \"lib\" as lib;\n\nfn boom(x) {\n  throw `boom ${x}`;\n}\nfor i in 0..1 {\n  twice(|| lib::outer(|x| boom(x)));\n}\n";
    let error = host.run_as(&main, text).unwrap_err();
    let lib = folder.path().join("lib.rhai").display().to_string();
    assert_eq!(error.what, "boom 1");
    let expected = [
        format!("{main}:4:3"),
        format!("{main}:7:27"),
        format!("{lib}:6:5"),
        format!("{lib}:2:3"),
        format!("{main}:7:17"),
    ];
    assert_eq!(places(&error)[..5], expected, "{:#?}", places(&error));
}

#[test]
fn an_import_never_leaves_the_project() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.rhai"), "fn f() { 1 }").unwrap();
    let project = outside.path().join("project");
    fs::create_dir_all(project.join("lib")).unwrap();
    fs::write(project.join("lib/a.rhai"), "import \"../b\" as b; fn f() { b::f() }").unwrap();
    fs::write(project.join("b.rhai"), "fn f() { 7 }").unwrap();
    let main = project.join("main.rhai").display().to_string();
    let host = Host::new();
    assert_eq!(host.run_as(&main, "import \"lib/a\" as a; a::f()").unwrap().as_int(), Ok(7));
    for path in ["../secret", &outside.path().join("secret").display().to_string()] {
        let error = host.run_as(&main, &format!("import \"{path}\" as s; s::f()")).unwrap_err();
        assert_eq!((error.kind, error.what.clone()), (Kind::UnknownModule, format!("there is no module `{path}`")));
    }
}

#[test]
fn a_module_that_does_not_parse_shows_its_own_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lib.rhai"), "\nlet x = ;\n").unwrap();
    let main = folder.path().join("main.rhai").display().to_string();
    let error = Host::new().run_as(&main, "import \"lib\" as lib;").unwrap_err();
    assert_eq!(error.kind, Kind::Syntax);
    let lib = folder.path().join("lib.rhai").display().to_string();
    assert_eq!(places(&error), [format!("{lib}:2:9"), format!("{main}:1:8")]);
}

#[test]
fn a_module_that_imports_itself_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.rhai"), "import \"b\" as b;").unwrap();
    fs::write(folder.path().join("b.rhai"), "import \"a\" as a;").unwrap();
    let main = folder.path().join("main.rhai").display().to_string();
    let error = Host::new().run_as(&main, "import \"a\" as a;").unwrap_err();
    assert!(error.what.contains("imports itself"), "{}", error.what);
}

#[test]
fn every_source_that_ran_is_recorded_with_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lib.rhai"), "abc").unwrap();
    fs::write(folder.path().join("lib.rhai"), "fn f() { 1 }").unwrap();
    let main = folder.path().join("main.rhai").display().to_string();
    let host = Host::new();
    let _ = host.run_as(&main, "import \"lib\" as lib; lib::f()").unwrap();
    let names: Vec<String> = host.sources.all().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [folder.path().join("lib.rhai").display().to_string(), main]);
    let empty = host.sources.add("empty", "", false).hash;
    assert_eq!(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn parameters_are_read_without_running() {
    let host = Host::new();
    let params = host
        .params("let a = param(\"gss\", \"the set\");\nprint(`${param(\"surge\", \"3\", \"new rooms\")}`);\nlet n = param(\"n\", -4, \"n\") + 1; let l = param(\"l\", [1, 2], \"l\");\nthrow \"it ran\"")
        .unwrap();
    let found: Vec<_> = params.iter().map(|p| (p.name.as_str(), p.default.clone(), p.line, p.column)).collect();
    assert_eq!(
        found,
        [
            ("gss", None, 1, 9),
            ("surge", Some(json!("3")), 2, 10),
            ("n", Some(json!(-4)), 3, 9),
            ("l", Some(json!([1, 2])), 3, 42)
        ]
    );
    assert_eq!(params[0].help, "the set");
}

#[test]
fn parameters_elsewhere_or_not_literal_are_errors() {
    let cases = [
        ("fn f() { param(\"a\", \"b\") }", "`param` stands at the top level"),
        ("let f = || param(\"a\", \"b\");", "`param` stands at the top level"),
        ("if true { let x = param(\"a\", \"b\"); }", "`param` stands at the top level"),
        ("let x = if true { param(\"a\", \"b\") } else { 1 };", "`param` stands at the top level"),
        ("let x = false && param(\"a\", true, \"b\");", "`param` stands at the top level"),
        ("let n = \"a\"; param(n, \"b\")", "the name of a `param` is a literal"),
        ("param(\"a\", 1 + 1, \"b\")", "the default of a `param` is a literal"),
        ("param(\"a\", #{}, \"b\")", "the default of a `param` is a string, a number"),
        ("param(\"a\")", "`param` takes 2 or 3 arguments, not 1"),
        ("param(\"A b\", \"c\")", "`A b` is no name for a parameter"),
        ("param(\"a\", \"b\"); param(\"a\", \"c\")", "parameter `a` is declared twice"),
    ];
    for (text, what) in cases {
        let error = Host::new().params(text).unwrap_err();
        assert_eq!(error.kind, Kind::Parameter, "{text}");
        assert!(error.what.starts_with(what), "{text}: {}", error.what);
        assert_eq!(error.places.len(), 1, "{text}");
    }
}

#[test]
fn a_panic_becomes_a_report() {
    let error = contain(|| -> i64 { panic!("out of luck") }).unwrap_err();
    assert_eq!(error.kind, Kind::Internal);
    assert!(error.why[0].starts_with("out of luck (tests/script/host.rs:"), "{:?}", error.why);
}

#[test]
fn a_snapshot_shares_no_variable() {
    let mut host = Host::new();
    host.engine
        .register_fn("apart", |ctx: NativeCallContext, f: FnPtr| snapshot(&f).call_within_context::<i64>(&ctx, ()));
    let sum = host
        .run("let n = 1; let list = [[1]]; let x = apart(|| { n += 41; list[0].push(2); n }); [n, x, list[0].len()]");
    assert_eq!(sum.unwrap().to_string(), "[1, 42, 1]");
}

/// Parses a text that must not parse.
#[track_caller]
fn host_syntax(text: &str) -> Diagnostic {
    let error = Host::new().fails(text);
    assert_eq!(error.kind, Kind::Syntax, "{error:?}");
    error
}

#[test]
fn parse_errors_say_what_to_write() {
    let cases = [
        ("sleep(10s)", "write \"10s\""),
        ("let m = { a: 1 };", "`#{ key: value }`"),
        ("let f = x => x + 1;", "a closure is `|x| …`"),
        ("var x = 1;", "declared with `let`"),
        ("def f() { 1 }", "declared with `fn`"),
        ("if true { 1 } elif false { 2 }", "`else if`"),
        ("for (i in 0..3) { }", "without parentheses"),
        ("let m = #{ a: 1, b: 2\nprint(m);", "separated by `,`"),
        ("if x = 3 { print(x); }", "equality is `==`"),
        ("let x = true; step(\"a\", || { f(\"a\"); );", "`{` of line 1, column 28 is still open"),
        ("let f = fn(x) { x };", "a closure: `|x| …`"),
        ("print('hello');", "single character"),
        ("import \"a\" as a; x === 2;", "equality is `==`"),
        ("step \"check\" { 1 }", "in parentheses: `step(…)`"),
        ("x -> 3;", "no declared result type"),
        ("if true {\n  f(\n", "`(` of line 2, column 4 is still open"),
        ("let s = \"abc", "back-ticks"),
        ("if true { fn f() { 1 } }", "top level"),
        ("f(1 2)", "separated by `,`"),
        ("let x = 1 let y = 2;", "ends with `;`"),
        ("match x { 1 => 2 }", "switch"),
        ("while true { 1 ", "is still open"),
        ("x++;", "x += 1"),
    ];
    let mut wrong = Vec::new();
    for (text, hint) in cases.into_iter() {
        let error = host_syntax(text);
        assert!(!error.places.is_empty(), "{text}");
        if !error.help.iter().any(|help| help.contains(hint)) {
            wrong.push(format!("{text}: {} {:?}", error.what, error.help));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_missing_semicolon_is_shown_where_it_belongs() {
    let error = host_syntax("let x = 5  \n\n  let y = 6;");
    let expected = "error[syntax]: expecting `;` to terminate this statement\n  --> main.rhai:1:10\n  |\n1 | let x = 5  \n  \
                    |          ^ `;` belongs here\n  help: a statement ends with `;`\n";
    assert_eq!(error.draw(false), expected);
}
