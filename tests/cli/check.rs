//! `okgscript check`

use crate::support::Test;

#[test]
fn a_right_script_is_silent() {
    Test::new().script("let x = 1; print(x);").args(["check", "a.rhai"]).ok();
    Test::new().stdin("print(1);").args(["check", "-"]).ok();
}

#[test]
fn mistakes_are_drawn_in_the_house_style() {
    Test::new()
        .script(
            "
            let count = 1;
            prnt(cuont);
            ",
        )
        .args(["check", "a.rhai"])
        .stderr(
            "
            error[unknown-function]: there is no function `prnt`
              --> a.rhai:2:1
              |
            2 | prnt(cuont);
              | ^^^^ did you mean `print`?
              done: nothing was sent to the cluster
              help: `okgscript doc` lists every function

            error[unknown-variable]: there is no variable `cuont`
              --> a.rhai:2:6
              |
            2 | prnt(cuont);
              |      ^^^^^ did you mean `count`?
              done: nothing was sent to the cluster
            ",
        )
        .code(2);
}

#[test]
fn every_script_is_checked_and_json_is_for_programs() {
    let ran = Test::new()
        .script("f();")
        .file("b.rhai", "let x = ;")
        .args(["check", "a.rhai", "b.rhai", "-o", "json"])
        .stdout_any()
        .code(2);
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let kinds: Vec<&str> = found.as_array().unwrap().iter().map(|wrong| wrong["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["unknown-function", "syntax"]);
    assert_eq!((found[1]["source"].as_str(), found[1]["line"].as_i64()), (Some("b.rhai"), Some(1)));
}

#[test]
fn a_script_that_is_not_there_is_said() {
    Test::new()
        .args(["check", "nowhere.rhai"])
        .stderr(
            "
            error[missing]: there is no script `nowhere.rhai`
              why:  it is neither a file here nor the name of a shipped script
              help: `okgscript list` names the shipped scripts
            ",
        )
        .code(2);
    Test::new().args(["check"]).stderr_has("<SCRIPT>").code(2);
}

#[test]
fn shipped_scripts_are_right() {
    for (name, _) in okgscript::script::shipped::SCRIPTS {
        Test::new().args(["check", name]).ok();
    }
}

#[test]
fn shipped_modules_are_right() {
    for (name, _) in okgscript::script::shipped::STDLIB {
        let import = format!("import \"{name}\" as shipped;");
        Test::new().script(&import).args(["check", "a.rhai"]).ok();
    }
}

#[test]
fn no_parameter_takes_a_flag_of_our_own() {
    let help = Test::new().args(["run", "--help"]).stdout_any().ok().stdout;
    let flags = help.split_whitespace().filter_map(|word| word.trim_end_matches(',').strip_prefix("--"));
    for flag in flags.filter(|flag| flag.chars().all(|c| c.is_ascii_lowercase() || c == '-')) {
        assert!(okgscript::check::RESERVED_FLAGS.contains(&flag), "`--{flag}` is not reserved");
    }
    for command in [["check", "a.rhai"], ["run", "a.rhai"]] {
        Test::new()
            .script("let x = param(\"sandbox\", \"no\", \"collides\");")
            .args(command)
            .stderr_has("error[parameter]: parameter `sandbox` collides with okgscript's own flag `--sandbox`")
            .stderr_has("a.rhai:1:9")
            .code(2);
    }
}
