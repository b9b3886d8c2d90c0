//! Runs the real binary in a fresh folder and compares all that it did at once.

// Not every test file needs all of it.
#![allow(dead_code)]

pub mod fresh;
pub mod served;
#[cfg(unix)]
pub mod terminal;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, thread};

use tempfile::TempDir;

/// A call of the binary; silence and exit code 0 are expected unless told otherwise.
///
/// ```ignore
/// Test::new().script("gs_gett(1)").args(["check", "a.rhai"]).stderr_has("did you mean").code(2);
/// ```
#[must_use = "nothing runs before `ok`, `code` or `run`"]
pub struct Test {
    folder: TempDir,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    stdin: String,
    stdout: Expected,
    stderr: Expected,
}

/// What a stream shall hold.
enum Expected {
    Text(String),
    Parts(Vec<String>),
    Anything,
}

/// What a call did.
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
    pub folder: TempDir,
}

impl Test {
    pub fn new() -> Test {
        let folder = tempfile::tempdir().unwrap();
        let mut env = BTreeMap::new();
        // Nothing of the machine's own: no cluster, no history, no colours.
        for (name, path) in [("HOME", "home"), ("XDG_STATE_HOME", "state"), ("KUBECONFIG", "no-such-kubeconfig")] {
            env.insert(name.into(), folder.path().join(path).into_os_string());
        }
        env.insert("PATH".into(), std::env::var_os("PATH").unwrap_or_default());
        let silence = || Expected::Text(String::new());
        Test { folder, args: Vec::new(), env, stdin: String::new(), stdout: silence(), stderr: silence() }
    }

    /// Writes the script `a.rhai`.
    pub fn script(self, text: &str) -> Test {
        self.file("a.rhai", text)
    }

    /// Writes a file, its folders included.
    pub fn file(self, name: &str, text: &str) -> Test {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, dedent(text)).unwrap();
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Test {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Test {
        self.env.insert(name.into(), value.into());
        self
    }

    /// What is typed.
    pub fn stdin(mut self, text: &str) -> Test {
        self.stdin = text.to_owned();
        self
    }

    /// Expects this on stdout, all of it; common indentation does not count.
    pub fn stdout(mut self, text: &str) -> Test {
        self.stdout = Expected::Text(dedent(text));
        self
    }

    /// Expects this on stderr, all of it; common indentation does not count.
    pub fn stderr(mut self, text: &str) -> Test {
        self.stderr = Expected::Text(dedent(text));
        self
    }

    /// Expects this somewhere on stdout; may be repeated.
    pub fn stdout_has(mut self, part: &str) -> Test {
        self.stdout.part(part);
        self
    }

    /// Expects this somewhere on stderr; may be repeated.
    pub fn stderr_has(mut self, part: &str) -> Test {
        self.stderr.part(part);
        self
    }

    /// Expects nothing particular of stdout.
    pub fn stdout_any(mut self) -> Test {
        self.stdout = Expected::Anything;
        self
    }

    /// Expects nothing particular of stderr.
    pub fn stderr_any(mut self) -> Test {
        self.stderr = Expected::Anything;
        self
    }

    /// Path of a file in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs, and expects exit code 0.
    #[track_caller]
    pub fn ok(self) -> Ran {
        self.code(0)
    }

    /// Runs, and compares stdout, stderr and exit code at once.
    #[track_caller]
    pub fn code(self, code: i32) -> Ran {
        let called: Vec<String> = self.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let Test { folder, args, env, stdin, stdout, stderr } = self;
        let ran = start(folder, &args, &env, stdin);
        let right = ran.code == Some(code) && stdout.holds(&ran.stdout) && stderr.holds(&ran.stderr);
        assert!(
            right,
            "okgscript {}\n--- exit code {:?}, expected {code}\n--- stdout\n{}--- expected\n{}\n--- stderr\n{}--- expected\n{}",
            called.join(" "),
            ran.code,
            ran.stdout,
            stdout.shown(),
            ran.stderr,
            stderr.shown(),
        );
        ran
    }

    /// Runs without comparing.
    pub fn run(self) -> Ran {
        start(self.folder, &self.args, &self.env, self.stdin)
    }
}

/// The binary under test, as a command in a folder with an environment of its own.
pub fn command(folder: &Path, env: &BTreeMap<OsString, OsString>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_okgscript"));
    command.current_dir(folder).env_clear().envs(env);
    command
}

fn start(folder: TempDir, args: &[OsString], env: &BTreeMap<OsString, OsString>, stdin: String) -> Ran {
    let mut command = command(folder.path(), env);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // The binary may end without having read everything.
    let typing = thread::spawn(move || drop(input.write_all(stdin.as_bytes())));
    let output = child.wait_with_output().unwrap();
    typing.join().unwrap();
    let here = folder.path().display().to_string();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&here, "[folder]");
    Ran { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code(), folder }
}

impl Ran {
    /// Text of a file in the test's folder.
    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

impl Expected {
    fn part(&mut self, part: &str) {
        match self {
            Expected::Parts(parts) => parts.push(part.to_owned()),
            _ => *self = Expected::Parts(vec![part.to_owned()]),
        }
    }

    fn holds(&self, text: &str) -> bool {
        match self {
            Expected::Text(expected) => text.trim_end() == expected.trim_end(),
            Expected::Parts(parts) => parts.iter().all(|part| text.contains(part)),
            Expected::Anything => true,
        }
    }

    fn shown(&self) -> String {
        match self {
            Expected::Text(text) => text.clone(),
            Expected::Parts(parts) => parts.iter().map(|part| format!("… {part} …\n")).collect(),
            Expected::Anything => "anything\n".to_owned(),
        }
    }
}

/// Takes the common indentation away, and a leading line break.
pub fn dedent(text: &str) -> String {
    let text = text.strip_prefix('\n').unwrap_or(text);
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &&&str| line.len() - line.trim_start_matches(' ').len();
    let margin = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(&line)).min().unwrap_or(0);
    let mut dedented: String = lines.iter().map(|line| format!("{}\n", line.get(margin..).unwrap_or(""))).collect();
    if !text.ends_with('\n') && !text.ends_with(' ') {
        dedented.pop();
    }
    dedented
}
