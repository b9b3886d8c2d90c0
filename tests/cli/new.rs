//! `okgscript new`

use okgscript::script::shipped;

use crate::support::Test;

const SCRIPT: &str = "//! Says hello.\nprint(\"hello\");\n";
const HASH: &str = "19f30462";

#[test]
fn a_fork_names_its_origin_and_its_hash() {
    let ran = Test::new()
        .script(SCRIPT)
        .args(["new", "mine", "--from", "a.rhai"])
        .stdout("mine.rhai: a copy of file `a.rhai`")
        .ok();
    let text = ran.file("mine.rhai");
    let (header, rest) = text.split_once('\n').unwrap();
    let start = format!("// Forked from file `a.rhai`, okgscript {}, sha256 {HASH}", env!("CARGO_PKG_VERSION"));
    assert!(header.starts_with(&start), "{header}");
    assert_eq!(rest, SCRIPT);
    Test::new().file("mine.rhai", &text).args(["doc", "mine.rhai"]).stdout_has("Says hello.").ok();
}

#[test]
fn nothing_is_written_over() {
    let ran = Test::new()
        .script(SCRIPT)
        .file("mine.rhai", "precious")
        .args(["new", "mine.rhai", "--from", "a.rhai"])
        .stderr_has("error[refused]: `mine.rhai` exists already")
        .code(4);
    assert_eq!(ran.file("mine.rhai"), "precious");
}

#[test]
fn an_unknown_origin_is_said() {
    Test::new().args(["new", "b.rhai", "--from", "zork"]).stderr_has("there is no script `zork`").code(2);
    Test::new().args(["new", "b.rhai"]).stderr_has("--from").code(2);
}

#[test]
fn every_shipped_text_can_be_forked_and_checks() {
    for (name, text) in shipped::SCRIPTS.iter().chain(shipped::STDLIB) {
        let ran = Test::new().args(["new", "fork.rhai", "--from", name]).stdout_any().ok();
        assert!(ran.file("fork.rhai").ends_with(text));
        Test::new().file("fork.rhai", &ran.file("fork.rhai")).args(["check", "fork.rhai"]).ok();
    }
}
