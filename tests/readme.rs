//! The README is true: its commands are run, its scripts are used, what it shows is what they print.
//!
//! `UPDATE_README=1 cargo test readme` writes what the commands print into it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A fenced block: language, text, and where its text lies in the README.
struct Block {
    language: String,
    text: String,
    from: usize,
    to: usize,
}

fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, usize)> = None;
    let mut at = 0;
    for line in readme.split_inclusive('\n') {
        let begin = at;
        at += line.len();
        let Some(fence) = line.trim_end().strip_prefix("```") else { continue };
        open = match open {
            None => Some((fence.to_owned(), at)),
            Some((language, from)) => {
                blocks.push(Block { language, text: readme[from..begin].to_owned(), from, to: begin });
                None
            }
        };
    }
    blocks
}

/// Runs a shell line as a reader would, with `okgscript` being the binary under test.
fn run(line: &str, stdin: &str, folder: &Path) -> String {
    let line = line.replace("cargo run --quiet --", "okgscript");
    let bin = Path::new(env!("CARGO_BIN_EXE_okgscript")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
    env.insert("PATH".into(), path.into());
    env.insert("HOME".into(), folder.into());
    env.insert("XDG_STATE_HOME".into(), folder.join("state").into());
    let mut child = Command::new("sh")
        .args(["-c", &format!("{{ {line}\n}} 2>&1")])
        .current_dir(folder)
        .env_clear()
        .envs(env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Returns what a console block shows when it is true now.
fn played(text: &str, folder: &Path) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("$ ")).collect();
    // What follows a `repl` command is a conversation: what is typed stands behind the prompt.
    let typed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("> ")).collect();
    let mut shown = String::new();
    for line in lines {
        let command = &line[2..];
        shown.push_str(line);
        shown.push('\n');
        if command.contains(" repl") {
            shown.push_str(&conversation(command, &typed, folder));
        } else if !command.starts_with("cargo test") {
            shown.push_str(run(command, "", folder).trim_start_matches('\n'));
        }
    }
    shown
}

/// Types line after line into the REPL and shows what each gives. The REPL's state carries over, so that each answer is
/// what is new in the output.
fn conversation(command: &str, typed: &[&str], folder: &Path) -> String {
    let mut before = run(command, "", folder);
    let mut shown = before.clone();
    for count in 1..=typed.len() {
        let all = run(command, &format!("{}\n", typed[..count].join("\n")), folder);
        let new = all.strip_prefix(before.as_str()).unwrap_or(&all).to_owned();
        shown.push_str(&format!("> {}\n{}", typed[count - 1], new));
        before = all;
    }
    shown
}

#[test]
fn commands_and_scripts_do_what_the_readme_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut new = String::new();
    let mut at = 0;
    for block in blocks(&readme) {
        new.push_str(&readme[at..block.from]);
        at = block.to;
        match block.language.as_str() {
            "rhai" => {
                let name = block.text.lines().next().and_then(|line| line.strip_prefix("// file: "));
                let name = name.expect("a script of the README says its file: `// file: NAME`");
                fs::write(folder.path().join(name), &block.text).unwrap();
                new.push_str(&block.text);
            }
            "console" => new.push_str(&played(&block.text, folder.path())),
            _ => new.push_str(&block.text),
        }
    }
    new.push_str(&readme[at..]);
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(&path, &new).unwrap();
        return;
    }
    let differs = readme.lines().zip(new.lines()).find(|(is, now)| is != now);
    assert!(readme == new, "the README shows other output than its commands give, first: {differs:#?}");
}

#[test]
fn the_two_commands_are_where_ci_reads_them() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let after = |marker: &str| {
        let rest = readme.split_once(marker).expect(marker).1;
        rest.lines().find_map(|line| line.strip_prefix("$ ")).unwrap().to_owned()
    };
    assert_eq!(after("<!-- first-command -->"), "cargo run --quiet -- run lossless_release.rhai --sandbox");
    assert_eq!(after("<!-- second-command -->"), "cargo test --quiet");
}
