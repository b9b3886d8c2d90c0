//! Bad input: each a diagnostic with its kind and the design's exit code, before anything was written.

use crate::support::Test;

fn release(args: &[&str]) -> Test {
    Test::new().args(["run", "lossless_release.rhai", "--sandbox"]).args(args.iter().copied()).stdout_any()
}

#[test]
fn an_unknown_flag() {
    release(&["--imag", "x"])
        .stderr_has("error[usage]: there is no flag `--imag`")
        .stderr_has("did you mean `--image`?")
        .code(2);
}

#[test]
fn a_script_that_is_not_there() {
    Test::new()
        .args(["run", "losless_release"])
        .stderr_has("error[missing]: there is no script `losless_release`")
        .stderr_has("did you mean `lossless_release`?")
        .code(2);
}

#[test]
fn a_script_that_does_not_parse() {
    Test::new()
        .script("let a = ;")
        .args(["run", "a.rhai", "--sandbox"])
        .stderr_has("error[syntax]")
        .stderr_has("a.rhai:1:9")
        .code(2);
}

#[test]
fn an_unknown_function() {
    Test::new()
        .script(r#"gs_set_opstate("minecraft-0", "Maintaining");"#)
        .args(["run", "a.rhai", "--sandbox"])
        .stderr_has("error[unknown-function]: there is no function `gs_set_opstate`")
        .stderr_has("did you mean `gs_set_ops_state(rooms, state[, opts])`?")
        .code(2);
}

#[test]
fn a_wrong_type_of_argument() {
    Test::new()
        .script("let name = 1; gs_get(name);")
        .args(["run", "a.rhai", "--sandbox"])
        .stdout_any()
        .stderr_has("error[wrong-arguments]")
        .stderr_has("gs_get(name")
        .code(2);
}

#[test]
fn an_unknown_filter_key_that_only_shows_when_the_script_runs() {
    Test::new()
        .script(r#"let filter = #{}; filter["opsstate"] = "None"; gs_select("minecraft", filter);"#)
        .args(["run", "a.rhai", "--sandbox"])
        .stdout_any()
        .stderr_has("error[unknown-key]: gs_select knows no filter `opsstate`")
        .stderr_has("did you mean `ops_state`?")
        .code(2);
}

#[test]
fn an_unknown_container() {
    release(&["--container", "mincraft"])
        .stderr_has("error[refused]: the template of GameServerSet `minecraft` has no container `mincraft`")
        .stderr_has("did you mean `minecraft`?")
        .stderr_has("nothing was changed")
        .code(4);
}

#[test]
fn a_mistyped_ops_state() {
    Test::new()
        .script(r#"let state = "ki" + "ll"; gs_set_ops_state("minecraft-1", state);"#)
        .args(["run", "a.rhai", "--sandbox"])
        .stdout_any()
        .stderr_has("error[invalid]: OKG knows no opsState `kill`")
        .stderr_has("did you mean `Kill`?")
        .code(1);
}

#[test]
fn a_missing_parameter() {
    Test::new()
        .args(["run", "lossless_release.rhai", "--gss", "minecraft"])
        .stderr_has("error[parameter]: lossless_release.rhai needs the parameter --image")
        .stderr_has("Nothing was sent.")
        .code(2);
}

#[test]
fn bad_durations_and_counts_are_known_before_anything_is_written() {
    for (flag, value, says) in [
        ("--timeout", "10", "its unit is missing"),
        ("--grace", "10 parsecs", "cannot be `10 parsecs`"),
        ("--surge", "many", "cannot be `many`"),
        ("--surge", "-1", "cannot be `-1`"),
    ] {
        release(&[flag, value]).stderr_has("error[parameter]").stderr_has(says).stderr_has("Nothing was sent.").code(2);
    }
    release(&["--batch", "many"]).stderr_has("error[usage]: invalid value `many` for `--batch <BATCH>`").code(2);
}

#[test]
fn a_set_that_is_not_there() {
    release(&["--gss", "mincraft"])
        .stderr_has("error[not-found]: there is no GameServerSet `default/mincraft`")
        .stderr_has("did you mean `minecraft`?")
        .stderr_has("nothing was changed")
        .code(1);
}

#[test]
fn no_cluster_configured() {
    Test::new()
        .args(["run", "lossless_release.rhai", "--gss", "a", "--image", "b"])
        .stderr_has("error[no-cluster]: no cluster is configured")
        .stderr_has("--sandbox")
        .code(6);
}

#[test]
fn wrong_words_for_the_drain_are_known_before_anything_is_written() {
    for (flag, value, says) in [
        ("--drain", "fsat", "error[invalid]: okg/drain: mode is 'fsat'"),
        ("--batch", "0", "error[invalid]: okg/drain: batch is 0"),
        ("--end", "retir", "error[invalid]: there is no ending `retir` of a drain"),
    ] {
        release(&[flag, value]).stderr_has(says).stderr_has("done: nothing was changed").code(1);
    }
}
