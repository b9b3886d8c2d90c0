//! The binary on a pseudo-terminal that answers like one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use expectrl::Session;
use expectrl::session::OsSession;

use super::command;

/// A program on a pseudo-terminal.
pub struct Terminal {
    pub session: OsSession,
    seen: String,
}

impl Terminal {
    /// Starts the binary in a folder, with nothing of the machine's own.
    pub fn start(folder: &Path, args: &[&str]) -> Terminal {
        let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
        for (name, value) in [("HOME", folder), ("XDG_STATE_HOME", folder), ("KUBECONFIG", &folder.join("kubeconfig"))]
        {
            env.insert(name.into(), value.as_os_str().to_owned());
        }
        for (name, value) in [("TERM", "xterm-256color"), ("USER", "ann"), ("HOSTNAME", "desk")] {
            env.insert(name.into(), value.into());
        }
        let mut program = command(folder, &env);
        program.args(args);
        let mut session = Session::spawn(program).unwrap();
        session.get_process_mut().set_window_size(100, 30).unwrap();
        Terminal { session, seen: String::new() }
    }

    /// Waits until `text` has been drawn since the last call.
    #[track_caller]
    pub fn shows(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        for _ in 0..1000 {
            let read = self.session.try_read(&mut buffer).unwrap_or(0);
            let part = String::from_utf8_lossy(&buffer[..read]).into_owned();
            // The editor asks where the cursor is.
            for _ in part.matches("\u{1b}[6n") {
                self.types("\u{1b}[1;1R");
            }
            self.seen.push_str(&part);
            if let Some(at) = plain(&self.seen).find(text) {
                let rest = plain(&self.seen)[at + text.len()..].to_owned();
                self.seen = rest;
                return;
            }
            if read == 0 {
                #[allow(clippy::disallowed_methods)]
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        panic!("never shown: {text}\n{}", plain(&self.seen));
    }

    /// Types.
    pub fn types(&mut self, text: &str) {
        self.session.write_all(text.as_bytes()).unwrap();
        self.session.flush().unwrap();
    }

    /// Waits for the end and returns it, as the system tells it.
    pub fn ended(&mut self) -> String {
        format!("{:?}", self.session.get_process().wait().unwrap())
    }
}

/// Takes colours and cursor movements out.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            plain.push(c);
        } else if chars.next_if_eq(&'[').is_some() {
            chars.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            chars.next();
        }
    }
    plain
}
