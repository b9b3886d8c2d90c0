//! `okgscript repl`

use crate::support::Test;
#[cfg(unix)]
use crate::support::terminal::Terminal;

#[test]
fn variables_functions_and_imports_stay() {
    Test::new()
        .stdin("let n = 20\nfn twice(x) {\n  x * 2\n}\ntwice(n) + 2\nimport \"m\" as m\nm::one() +\n1\n\"a\"\n")
        .file("m.rhai", "fn one() { 1 }")
        .args(["repl"])
        .stdout("42\n2\n\"a\"\n")
        .ok();
    Test::new()
        .stdin("import \"m\" as m\nlet f = |x| x + m::one()\nf.call(\n  41\n)\n")
        .file("m.rhai", "fn one() { 1 }")
        .args(["repl"])
        .stdout("42")
        .ok();
}

#[test]
fn errors_point_at_the_line_that_was_typed_and_the_next_input_goes_on() {
    Test::new()
        .stdin("fn f(x) {\n  throw `no ${x}`\n}\nlet a = 1\nf(a)\nconut\na + 1\n")
        .args(["repl"])
        .stdout("2")
        .stderr(
            "
            error[failed]: no 1
              --> repl:2:3
              |
            2 |   throw `no ${x}`
              |   ^^^^^
              from repl:5:1
              |
            5 | f(a)
              | ^ in `f`
            error[unknown-variable]: there is no variable `conut`
              --> repl:6:1
              |
            6 | conut
              | ^^^^^
              done: nothing was sent to the cluster
              help: declare it: `let conut = …;`
            ",
        )
        .code(2);
}

#[test]
fn writes_are_off_until_they_are_switched_on() {
    Test::new()
        .stdin("gss_scale(\"minecraft\", 4).replicas\n:writes\n")
        .args(["repl", "--sandbox"])
        .stdout("off")
        .stderr_has("error[refused]: writes are off")
        .stderr_has("`:writes on` lets them go out")
        .code(4);
    Test::new()
        .stdin(":writes on\ngss_scale(\"minecraft\", 4).replicas\n:writes off\ngss_scale(\"minecraft\", 5)\n")
        .args(["repl", "--sandbox"])
        .stdout_has("4\n")
        .stdout_has("Allocated rooms touched: 0.")
        .stderr_has("error[refused]: writes are off")
        .code(4);
}

#[test]
fn commands_are_there() {
    Test::new().stdin(":help\n").args(["repl"]).stdout_has(":writes").ok();
    Test::new().stdin(":doc gs_get\n").args(["repl"]).stdout_has("gs_get(name: string) -> GameServer").ok();
    Test::new().stdin(":quit\n1\n").args(["repl"]).ok();
    Test::new().stdin(":zork\n").args(["repl"]).stderr_has("there is no command `:zork`").code(2);
}

#[test]
fn what_is_not_finished_is_an_error() {
    Test::new().stdin("f(1,\n").args(["repl"]).stderr_has("the script ends in the middle of something").code(2);
}

/// On a terminal.
#[cfg(unix)]
#[test]
fn a_person_edits_completes_interrupts_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(folder.path(), &["repl", "--sandbox"]);
    terminal.shows("read only");
    terminal.types("40 + 2\r");
    terminal.shows("42\r\n");
    // Several lines: the bracket is open.
    terminal.types("[1,\r");
    terminal.shows("... ");
    terminal.types("2].len()\r");
    terminal.shows("2\r\n");
    // Tab completes a function of ours.
    terminal.types("gss_vic\t");
    terminal.shows("gss_victims");
    terminal.types("\u{15}");
    // Ctrl-C ends the expression, not the REPL.
    terminal.types("let x = 0; while x >= 0 { x += 1; }\r");
    #[allow(clippy::disallowed_methods)]
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.types("\u{3}");
    terminal.shows("interrupted");
    terminal.types("x > 0\r");
    terminal.shows("true\r\n");
    terminal.types(":writes on\r");
    terminal.shows("writes go out");
    terminal.types(":quit\r");
    let status = terminal.ended();
    assert!(status.contains("Exited"), "{status}");
    let history = std::fs::read_to_string(folder.path().join("okgscript/history")).unwrap();
    assert!(history.contains("40 + 2") && !history.contains("gss_vic"), "{history}");
}
