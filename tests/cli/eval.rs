//! `okgscript eval`

use crate::support::Test;

#[test]
fn values_are_printed_as_people_read_them() {
    Test::new().args(["eval", "1 + 1"]).stdout("2").ok();
    Test::new().args(["eval", "`a ${1 + 1}`"]).stdout("a 2").ok();
    Test::new().args(["eval", "()"]).ok();
    Test::new().args(["eval", "let x = [1]; x.push(2); x", "-o", "json"]).stdout("[\n  1,\n  2\n]").ok();
    Test::new().args(["eval", "#{ a: 1 }", "-o", "yaml"]).stdout("a: 1").ok();
}

#[test]
fn mistakes_are_found_before_anything_is_sent() {
    Test::new()
        .args(["eval", "gs_gte(\"a\")"])
        .stderr(
            "
            error[unknown-function]: there is no function `gs_gte`
              --> eval:1:1
              |
            1 | gs_gte(\"a\")
              | ^^^^^^ did you mean `gs_get(name)`?
              done: nothing was sent to the cluster
              help: `okgscript doc gs` lists the family
            ",
        )
        .code(2);
    Test::new().args(["eval", "let x = ;"]).stderr_has("error[syntax]").code(2);
}

#[test]
fn without_a_cluster_it_says_so_and_only_when_one_is_needed() {
    Test::new().args(["eval", "gs_list(\"a\")"]).stderr_has("error[no-cluster]").stderr_has("`--sandbox`").code(6);
    Test::new().args(["eval", "throw \"no\""]).stderr_has("error[failed]: no").code(1);
}

#[test]
fn the_embedded_cluster_answers() {
    Test::new().args(["eval", "--sandbox", "gss_list().map(|gss| gss.name)[0]"]).stdout("minecraft").ok();
    Test::new().args(["eval", "--sandbox", "gss_list()"]).stdout_has("NAME").stdout_has("minecraft   3").ok();
}

#[test]
fn what_it_wrote_is_said() {
    Test::new()
        .args(["eval", "--sandbox", "gss_scale(\"minecraft\", 4).replicas"])
        .stdout_has("4\n")
        .stdout_has("Allocated rooms touched: 0.")
        .stderr_any()
        .ok();
    let ran = Test::new()
        .args(["eval", "--sandbox", "-o", "json", "gss_scale(\"minecraft\", 4).replicas"])
        .stdout("4")
        .stderr_has("minecraft: replicas 3 -> 4")
        .ok();
    assert_eq!(ran.stdout.trim(), "4");
}
