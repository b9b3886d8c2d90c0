//! Ctrl-C: it ends whatever is under way, cannot be caught, and what was done is said.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Command;

use crate::support::served::{Running, Served, start};

/// Waits for a line on stderr that contains `sign`, interrupts, and returns the exit code, stdout, the rest of stderr.
fn interrupted_at(mut running: Running, sign: &str) -> (Option<i32>, String, String) {
    let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(sign) {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "ended before it said `{sign}`");
    }
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let (mut out, mut rest) = (String::new(), String::new());
    running.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    stderr.read_to_string(&mut rest).unwrap();
    (running.0.wait().unwrap().code(), out, rest)
}

fn script_ends(body: &str) {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "finally(|| output(\"closed\"));\nlog(\"ready\");\ntry {{ {body} }} catch {{ output(\"caught\"); }}\noutput(\"after\");"
    );
    std::fs::write(folder.path().join("a.rhai"), script).unwrap();
    let (code, out, rest) = interrupted_at(start(folder.path(), &["run", "a.rhai", "--sandbox"]), "ready");
    assert_eq!((code, out.as_str()), (Some(130), "closed\n"), "{body}\n{rest}");
    assert!(rest.contains("error[interrupted]"), "{rest}");
}

#[test]
fn a_loop_that_computes() {
    script_ends("let x = 0; while x >= 0 { x += 1; }");
}

#[test]
fn a_loop_that_sleeps() {
    script_ends("let x = 0; while x >= 0 { sleep(\"1h\"); }");
}

#[test]
fn a_wait_that_never_ends() {
    script_ends(
        "let x = 0; while x >= 0 { try { wait_until(#{ timeout: \"1h\" }, || gs_count(\"minecraft\") == 99); } catch (e) { } }",
    );
}

#[test]
fn branches_that_never_end() {
    script_ends("parallel([1, 2, 3, 4], |x| { while x > 0 { sleep(\"1h\"); } });");
}

#[test]
fn on_a_served_cluster_the_receipt_says_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let _served = Served::new(folder.path(), &[]);
    let script = r#"
        gss_patch("minecraft", #{ metadata: #{ labels: #{ season: "7" } } });
        log("ready");
        wait_until(#{ timeout: "10m" }, || gs_count("minecraft") == 99);
    "#;
    std::fs::write(folder.path().join("a.rhai"), script).unwrap();
    let (code, out, rest) = interrupted_at(start(folder.path(), &["run", "a.rhai"]), "ready");
    assert_eq!(code, Some(130), "{rest}");
    assert!(rest.contains("done: minecraft: metadata.labels.season - -> 7; no room was written"), "{rest}");
    assert!(out.contains("Allocated rooms touched: 0."), "{out}");
}
