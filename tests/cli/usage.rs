//! A command line that cannot be read.

use crate::support::Test;

#[test]
fn faults_are_in_the_house_style() {
    Test::new()
        .args(["check", "--zork", "a"])
        .stderr(
            "
            error[usage]: there is no flag `--zork`
              help: usage: okgscript check [OPTIONS] <SCRIPT>...
                    `--help` says more
            ",
        )
        .code(2);
    Test::new()
        .args(["run", "lossless_release", "--sandbo"])
        .stderr_has("error[usage]: there is no flag `--sandbo`")
        .stderr_has("did you mean `--sandbox`?")
        .code(2);
    Test::new().args(["zork"]).stderr_has("error[usage]: there is no command `zork`").code(2);
    Test::new().args(["list", "extra"]).stderr_has("error[usage]: `extra` is one argument too many").code(2);
    Test::new().args(["eval"]).stderr_has("error[usage]: an argument is missing").stderr_has("<EXPR>").code(2);
    Test::new()
        .args(["list", "-o", "zork"])
        .stderr_has("error[usage]: invalid value `zork` for `--output <FORM>`")
        .stderr_has("possible values: table, json")
        .code(2);
}

#[test]
fn help_goes_to_stdout_and_runs_nothing() {
    Test::new().args(["--help"]).stdout_has("Commands:").ok();
    Test::new().args(["--version"]).stdout_has(env!("CARGO_PKG_VERSION")).ok();
    let script = "//! Says a thing.\nlet n = param(\"times\", 3, \"how often\");\nprint(\"it ran\");";
    let ran = Test::new().script(script).args(["run", "a.rhai", "--help"]).stdout_has("--times <TIMES>").ok();
    assert!(ran.stdout.contains("Says a thing.") && ran.stdout.contains("how often"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("it ran"), "{}", ran.stdout);
}
