//! `okgscript doc`

use crate::support::Test;

#[test]
fn every_function_family_module_and_script_has_a_text() {
    for record in okgscript::bindings::records() {
        Test::new().args(["doc", record.name]).stdout_has(record.name).stdout_has(record.example.trim()).ok();
    }
    for family in okgscript::bindings::ALL.iter() {
        Test::new().args(["doc", family.family]).stdout_has(family.doc).ok();
    }
    for (name, _) in okgscript::script::shipped::STDLIB {
        Test::new().args(["doc", name]).stdout_has(&format!("import \"{name}\"")).ok();
    }
    for (name, _) in okgscript::script::shipped::SCRIPTS {
        Test::new().args(["doc", name]).stdout_has(&format!("okgscript run {name}")).ok();
    }
}

#[test]
fn without_a_name_everything_is_listed() {
    let ran = Test::new().args(["doc"]).stdout_has("`okgscript doc NAME`").ok();
    for record in okgscript::bindings::records() {
        assert!(ran.stdout.contains(record.name), "{}", record.name);
    }
}

#[test]
fn a_script_of_the_user_shows_its_parameters() {
    Test::new()
        .file(
            "mine.rhai",
            r#"
            //! Does a thing.
            //!
            //! Carefully.
            let set = param("game_set", "the set");
            let n = param("n", 3, "how many");
            "#,
        )
        .args(["doc", "mine.rhai"])
        .stdout(
            "
            okgscript run mine

            Does a thing.

            Carefully.

            Parameters:
              --game-set  required   the set
              --n         default 3  how many
            ",
        )
        .ok();
}

#[test]
fn a_module_and_a_family_of_one_name_are_both_shown() {
    Test::new().args(["doc", "drain"]).stdout_has("import \"okg/drain\" as drain;").stdout_has("gs_hold").ok();
    Test::new().args(["doc", "--definitions"]).stdout_has("fn gs_get(name: String) -> GameServer;").ok();
}

#[test]
fn what_is_not_there_is_said() {
    Test::new().args(["doc", "qqqqqq"]).stderr_has("there is no documentation of `qqqqqq`").code(2);
}
