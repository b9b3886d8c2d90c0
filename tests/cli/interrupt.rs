//! Ctrl-C ends whatever a script does, soon, and cannot be caught.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::command;

/// Longest time from the signal to the end of the process: 50 ms are promised, a busy machine gets more.
const SOON: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 });

/// Starts an expression, interrupts it once it says `go`, and returns how long it went on, stderr and exit code.
pub fn interrupted(flags: &[&str], expression: &str) -> (Duration, String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    let env = BTreeMap::from([("HOME".into(), folder.path().as_os_str().to_owned())]);
    let mut eval = command(folder.path(), &env);
    eval.arg("eval").args(flags).arg(format!("print(\"go\"); {expression}"));
    let mut child = eval.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "go\n");
    #[allow(clippy::disallowed_methods)]
    std::thread::sleep(Duration::from_millis(100));
    #[allow(clippy::disallowed_methods)]
    let begun = std::time::Instant::now();
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let status = child.wait().unwrap();
    let took = begun.elapsed();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (took, stderr, status.code())
}

#[test]
fn loops_waits_and_retries_end_at_once() {
    let cases: [(&[&str], &str); 7] = [
        (&[], "let x = 0; while x >= 0 { x += 1; }"),
        (&[], "let x = 0; while x >= 0 { try { while x >= 0 { x += 1; } } catch (e) { x = 1; } }"),
        (&[], "sleep(\"1h\");"),
        (&[], "try { sleep(\"1h\"); } catch (e) { } sleep(\"1h\");"),
        (&[], "retry_backoff(#{ initial: \"1h\", timeout: \"2h\" }, || false);"),
        (&[], "parallel([1, 2, 3], |n| sleep(\"1h\"));"),
        (&["--sandbox"], "parallel([1, 2, 3], |n| { let x = n; while x >= 0 { x += 1; } });"),
    ];
    for (flags, expression) in cases {
        let (took, stderr, code) = interrupted(flags, expression);
        assert_eq!(code, Some(130), "{expression}\n{stderr}");
        assert!(stderr.contains("error[interrupted]"), "{expression}\n{stderr}");
        assert!(took < SOON, "{expression}: {took:?}");
    }
}
