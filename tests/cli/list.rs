//! `okgscript list`

use okgscript::script::shipped;

use crate::support::Test;

#[test]
fn scripts_and_modules_are_named_with_what_they_do() {
    let ran = Test::new().args(["list"]).stdout_any().ok();
    for (name, text) in shipped::SCRIPTS.iter().chain(shipped::STDLIB) {
        let line = ran.stdout.lines().find(|line| line.split_whitespace().nth(1) == Some(name));
        let doc = shipped::doc(text);
        let first = doc.split_whitespace().next().unwrap_or_else(|| panic!("{name} has no `//!` line"));
        assert!(line.is_some_and(|line| line.contains(first)), "{name}: {line:?}");
    }
}

#[test]
fn json_is_for_programs() {
    let ran = Test::new().args(["list", "-o", "json"]).stdout_any().ok();
    let list: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), shipped::SCRIPTS.len() + shipped::STDLIB.len());
}
