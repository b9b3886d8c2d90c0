//! The binary as a server: an embedded cluster that other processes reach.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running binary that is ended when the test ends.
pub struct Running(pub Child);

impl Running {
    /// Waits for its end; returns stdout and stderr.
    pub fn output(mut self) -> (String, String) {
        let mut err = self.0.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        });
        let mut out = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (out, errors.join().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the binary in a folder whose `kubeconfig` it uses.
pub fn start(folder: &Path, args: &[&str]) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_okgscript"))
        .args(args)
        .current_dir(folder)
        .env("KUBECONFIG", folder.join("kubeconfig"))
        .env("XDG_STATE_HOME", folder.join("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Running(child)
}

/// An embedded cluster that is being served.
pub struct Served {
    _server: Running,
    address: String,
}

impl Served {
    /// Serves one whose kubeconfig is written into the folder.
    pub fn new(folder: &Path, args: &[&str]) -> Served {
        let config: PathBuf = folder.join("kubeconfig");
        let mut all = vec!["sandbox", "--kubeconfig", config.to_str().unwrap()];
        all.extend(args);
        let mut server = start(folder, &all);
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("export KUBECONFIG="), "{line}");
        let text = std::fs::read_to_string(config).unwrap();
        let address =
            text.split("http://").nth(1).unwrap().split_whitespace().next().unwrap().trim_matches(['"', '\'']);
        Served { address: address.to_owned(), _server: server }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request by hand and returns the status.
    pub fn send(&self, method: &str, path: &str, content: &str, body: &str) -> u16 {
        let answer = self.exchange(method, path, content, body);
        answer.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Sends a request without a body and returns what comes back behind the head, until the connection ends.
    pub fn body(&self, method: &str, path: &str) -> String {
        let answer = self.exchange(method, path, "application/json", "");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn exchange(&self, method: &str, path: &str, content: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {content}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}
