//! What okgscript relies on in Rhai, case by case: an upgrade is decided by this file. The cases that are wrong in the
//! version in use are pinned as such; `check` reports them.

use std::fs;

use ::rhai::{Dynamic, Engine, FnPtr, NativeCallContext, Scope};
use okgscript::diagnostic::Kind;
use okgscript::script::{STACK_SIZE, Script};

use super::Host;

/// A host with functions that call closures in the ways that bindings do.
fn host() -> Host {
    let mut host = Host::new();
    let engine = &mut host.engine;
    engine.register_fn("native", |ctx: NativeCallContext, f: FnPtr| f.call_within_context::<Dynamic>(&ctx, ()));
    engine.register_fn("native1", |ctx: NativeCallContext, f: FnPtr, x: i64| {
        f.call_within_context::<Dynamic>(&ctx, (x,))
    });
    engine.register_fn("threaded", |ctx: NativeCallContext, f: FnPtr| {
        std::thread::scope(|scope| {
            let work = || f.call_within_context::<Dynamic>(&ctx, ());
            let thread = std::thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, work);
            thread.expect("the system gives a thread").join().expect("the closure does not panic")
        })
    });
    host
}

const MODULE: &str = r#"
import "inner" as inner;
const K = 10;
fn call_it(f) { f.call() }
fn apply(f, x) { f.call(x) }
fn make() { |x| x + 1 }
fn make_private() { |x| secret(x) }
fn make_constant() { |x| x + global::K }
fn make_import() { |x| inner::twice(x) }
fn make_captured(n) { || n }
fn object() { #{ run: |x| x * 2 } }
fn named() { Fn("secret") }
private fn secret(x) { x + 100 }
fn fails(x) {
  throw `module ${x}`
}
"#;

#[track_caller]
fn gives(text: &str, value: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("module.rhai"), MODULE).unwrap();
    fs::write(folder.path().join("inner.rhai"), "fn twice(x) { 2 * x }").unwrap();
    fs::write(folder.path().join("other.rhai"), "fn call1(f, x) { f.call(x) }").unwrap();
    let main = folder.path().join("main.rhai").display().to_string();
    let text = format!("import \"module\" as m;\nimport \"other\" as other;\n{text}");
    match host().run_as(&main, &text) {
        Ok(result) => assert_eq!(result.to_string(), value, "{text}"),
        Err(error) => panic!("{text}\n{}", error.draw(false)),
    }
}

#[test]
fn closures_of_the_main_script_are_called_from_everywhere() {
    gives("let f = || 7; f.call()", "7");
    gives("native(|| 7)", "7");
    gives("threaded(|| 7)", "7");
    gives("m::call_it(|| 7)", "7");
    gives("let n = 5; native(|| n)", "5");
    gives("let n = 5; native(|| { n += 1; n }); n", "6");
}

#[test]
fn closures_reach_global_constants_through_modules_and_natives() {
    gives("const C = 3; native(|| global::C)", "3");
    gives("const C = 3; m::call_it(|| global::C)", "3");
    gives("const C = 3; fn f() { global::C } m::call_it(|| f())", "3");
}

#[test]
fn closures_made_by_a_module_are_called_from_everywhere() {
    gives("let f = m::make(); f.call(1)", "2");
    gives("native1(m::make(), 1)", "2");
    gives("native(m::make_captured(4))", "4");
    gives("threaded(m::make_captured(4))", "4");
    gives("other::call1(m::make(), 1)", "2");
    gives("[1, 2].map(m::make())", "[2, 3]");
    gives("let o = m::object(); o.run(4)", "8");
}

#[test]
fn closures_made_by_a_module_reach_what_the_module_has() {
    gives("m::make_private().call(1)", "101");
    gives("m::make_constant().call(1)", "11");
    gives("m::make_import().call(4)", "8");
}

#[test]
fn a_pointer_by_name_belongs_to_where_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("module.rhai"), "fn named() { Fn(\"secret\") }\nprivate fn secret(x) { x }").unwrap();
    let main = folder.path().join("main.rhai").display().to_string();
    let error = host().run_as(&main, "import \"module\" as m; m::named().call(1)").unwrap_err();
    assert_eq!(error.kind, Kind::UnknownFunction);
    let error = host().run_as(&main, "import \"module\" as m; let f = m::named; f.call(1)").unwrap_err();
    assert_eq!(error.kind, Kind::UnknownVariable);
}

#[test]
fn errors_in_closures_point_at_the_right_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("module.rhai"), MODULE).unwrap();
    fs::write(folder.path().join("inner.rhai"), "fn twice(x) { 2 * x }").unwrap();
    let main = folder.path().join("main.rhai").display().to_string();
    let module = folder.path().join("module.rhai").display().to_string();
    let at = |text: &str| {
        let error = host().run_as(&main, &format!("import \"module\" as m;\n{text}")).unwrap_err();
        let place = error.places[0].clone();
        (place.source, place.line)
    };
    assert_eq!(at("m::call_it(|| {\n  throw 1\n});"), (main.clone(), 3));
    assert_eq!(at("native(||\n m::fails(1));"), (module.clone(), 15));
    assert_eq!(at("m::apply(|x| m::fails(x), 1);"), (module, 15));
    assert_eq!(at("threaded(|| {\n\n  throw 1\n});"), (main, 4));
}

#[test]
fn a_closure_stored_in_a_loop_sees_the_last_value() {
    gives("let fs = []; for i in 0..3 { fs.push(|| i); } fs.map(|f| f.call())", "[2, 2, 2]");
    gives("let out = []; for name in [\"a\", \"b\"] { native(|| { out.push(name); }); } out", "[\"a\", \"b\"]");
}

#[test]
fn switch_on_a_bare_captured_variable_is_wrong_and_checked() {
    gives("let s = \"a\"; native(|| switch s { \"a\" => 1, _ => 2 })", "2");
    for right in ["switch s + \"\"", "let t = s; switch t"] {
        gives(&format!("let s = \"a\"; native(|| {{ {right} {{ \"a\" => 1, _ => 2 }} }})"), "1");
    }
    gives("let m = #{ s: \"a\" }; native(|| switch m.s { \"a\" => 1, _ => 2 })", "1");
    gives("fn f(s) { switch s { \"a\" => 1, _ => 2 } } f(\"a\")", "1");
    gives("let r = 0; for s in [\"a\"] { r = switch s { \"a\" => 1, _ => 2 }; } r", "1");
}

#[test]
fn a_range_after_a_failed_if_is_wrong_and_checked() {
    gives("let n = 5; switch n { 5 if false => 1, 0..9 => 2, _ => 3 }", "3");
    gives("let n = 5; switch n { 0..9 => 2, _ => 3 }", "2");
}

#[test]
fn constants_and_unknown_names_are_errors_and_never_panics() {
    let constant = host().fails("const M = #{ a: 1 }; M.a = 2; M.a");
    assert!(constant.what.contains("`M`") || constant.what.contains("constant"), "{}", constant.what);
    let unknown = host().fails("undefined_name; 7");
    assert_eq!((unknown.kind, unknown.what.as_str()), (Kind::UnknownVariable, "there is no variable `undefined_name`"));
}

#[test]
fn a_missing_key_is_unit_on_a_map_and_an_error_on_nothing_else() {
    gives("let m = #{ a: 1 }; [m.b, m[\"b\"], m?.b, m.b ?? 7]", "[(), (), (), 7]");
}

#[test]
fn the_deepest_recursion_fits_the_stack() {
    // In the worst shape: operators, indexing, a closure and a native call at every level.
    let text =
        "fn f(n) { let m = #{ a: [n] }; if n > 60 { n } else { 0 + (1 * native1(|x| [f(x + 1)][0], m.a[0])) } }\nf(0)";
    let run = move || host().run(text).map(|value| value.to_string()).map_err(|error| error.kind);
    let thread = std::thread::Builder::new().stack_size(STACK_SIZE).spawn(run).unwrap();
    assert_eq!(thread.join().unwrap(), Err(Kind::Limit));
}

#[test]
fn a_tree_walks_as_it_was_written() {
    let engine: Engine = Host::new().engine;
    let sources = okgscript::script::Sources::new();
    let script = Script::compile(&engine, &sources, "a.rhai", "if false { nowhere(1 + 1); }").unwrap();
    let calls = okgscript::script::calls::calls(&script.ast);
    assert_eq!(calls.iter().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["nowhere"]);
}

#[test]
fn numbers_and_comparisons_do_not_convert() {
    gives("[1 / 2, 1 == \"1\", 1 < \"1\"]", "[0, false, false]");
    assert_eq!(host().fails("9223372036854775807 + 1").kind, Kind::Invalid);
}

#[test]
fn names_of_blocks_stay_free() {
    gives("let step = 1; let m = #{ step: step, param: 2 }; m.step + m.param", "3");
}

#[test]
fn a_thread_may_run_the_engine() {
    fn shared<T: Send + Sync>() {}
    shared::<Engine>();
    shared::<::rhai::AST>();
    shared::<Dynamic>();
    shared::<FnPtr>();
    shared::<Scope>();
    shared::<::rhai::EvalAltResult>();
}

#[test]
fn two_branches_on_one_variable_do_not_fail() {
    let mut host = host();
    host.engine.register_fn("both", |ctx: NativeCallContext, f: FnPtr, g: FnPtr| {
        std::thread::scope(|scope| {
            let start = |f| {
                let ctx = &ctx;
                let work = move || FnPtr::call_within_context::<i64>(f, ctx, ());
                std::thread::Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, work).expect("a thread")
            };
            let (one, two) = (start(&f), start(&g));
            let (one, two) = (one.join().expect("no panic"), two.join().expect("no panic"));
            Ok::<i64, Box<::rhai::EvalAltResult>>(one? + two?)
        })
    });
    let sum = host.run("let n = 20; both(|| { for i in 0..500 { n; } n }, || { for i in 0..500 { n; } n })").unwrap();
    assert_eq!(sum.as_int(), Ok(40));
}
