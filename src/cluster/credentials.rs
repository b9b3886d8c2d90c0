//! Credentials that change while we run: a token in a file, or what a plugin of the kubeconfig gives.

use std::fmt;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::errors::chain;
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, Kind};

/// A token file is read again after this time; a pod's token is replaced long before it expires.
const FILE_AGE: Duration = Duration::from_secs(10);

/// Credentials are renewed this long before they expire.
const MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// Where credentials that change come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// They do not change, and lie in the client's configuration.
    Fixed,
    /// A file with a token.
    File(PathBuf),
    /// A program that prints an `ExecCredential`.
    Plugin(Box<ExecConfig>),
}

impl Source {
    /// Takes what changes out of a user's entry.
    pub(super) fn take(user: &mut AuthInfo) -> Source {
        let (file, plugin) = (user.token_file.take(), user.exec.take());
        match (file, plugin) {
            (Some(file), _) => {
                user.token = None;
                Source::File(PathBuf::from(file))
            }
            (None, Some(plugin)) if user.token.is_none() && user.username.is_none() => Source::Plugin(Box::new(plugin)),
            _ => Source::Fixed,
        }
    }
}

/// What a source gave.
#[derive(Clone)]
pub(super) struct Credentials {
    /// The `Authorization` header.
    pub(super) header: Option<HeaderValue>,
    /// Certificate chain and key, in PEM.
    pub(super) identity: Option<(String, String)>,
    expires: Option<Timestamp>,
    read: Instant,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Whether they should be fetched again before they are used.
    pub(super) fn stale(&self, source: &Source, clock: Clock) -> bool {
        match source {
            Source::Fixed => false,
            Source::File(_) => self.read.elapsed() > FILE_AGE,
            Source::Plugin(_) => self.expires.is_some_and(|expires| clock.now() + MARGIN >= expires),
        }
    }

    /// Whether nothing but the time of reading differs.
    pub(super) fn same(&self, other: &Credentials) -> bool {
        self.header == other.header && self.identity == other.identity
    }
}

/// Fetches credentials; a file that has vanished leaves the former token in force.
pub(super) async fn fetch(source: &Source, former: Option<&Credentials>) -> Result<Credentials, Diagnostic> {
    let mut fresh = Credentials { header: None, identity: None, expires: None, read: Instant::now() };
    match source {
        Source::Fixed => {}
        Source::File(path) => match (std::fs::read_to_string(path), former) {
            (Ok(token), _) => fresh.header = Some(bearer(token.trim())?),
            (Err(_), Some(former)) => fresh.header.clone_from(&former.header),
            (Err(error), None) => {
                return Err(Diagnostic::new(
                    Kind::Unavailable,
                    format!("the token file `{}` cannot be read", path.display()),
                )
                .why(error.to_string())
                .help("correct `tokenFile` of this user in the kubeconfig"));
            }
        },
        Source::Plugin(plugin) => {
            let status = run(plugin).await?;
            let text = |key: &str| status[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            fresh.expires = match text("expirationTimestamp") {
                Some(time) => Some(time.parse().map_err(|error: jiff::Error| {
                    refused(plugin, format!("`expirationTimestamp` is `{time}`: {error}"))
                })?),
                None => None,
            };
            fresh.header = text("token").map(|token| bearer(&token)).transpose()?;
            fresh.identity = text("clientCertificateData").zip(text("clientKeyData"));
            if fresh.header.is_none() && fresh.identity.is_none() {
                return Err(refused(plugin, "its answer has neither a token nor a client certificate".to_owned()));
            }
        }
    }
    Ok(fresh)
}

fn bearer(token: &str) -> Result<HeaderValue, Diagnostic> {
    let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
        Diagnostic::new(Kind::Unavailable, "the token for this cluster holds characters that no token can hold")
            .help("correct the user's token, or what writes it")
    })?;
    header.set_sensitive(true);
    Ok(header)
}

fn name(plugin: &ExecConfig) -> &str {
    plugin.command.as_deref().unwrap_or_default()
}

fn refused(plugin: &ExecConfig, why: String) -> Diagnostic {
    Diagnostic::new(Kind::Unavailable, format!("the credential plugin `{}` gave no credentials", name(plugin)))
        .why(why)
        .help("run it by hand; log in again if it asks for that")
}

/// Runs a plugin on a thread of its own, so that a person who logs in with its help blocks nothing, and returns the
/// status it prints.
async fn run(plugin: &ExecConfig) -> Result<Value, Diagnostic> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let (command, asks) = prepare(plugin, std::io::stdin().is_terminal())?;
    std::thread::spawn(move || {
        let _ = tell.send(spawn(command, asks));
    });
    let output = told.await.map_err(|_| refused(plugin, "it could not be waited for".to_owned()))?;
    let output = output.map_err(|error| {
        let diagnostic =
            Diagnostic::new(Kind::Unavailable, format!("the credential plugin `{}` does not start", name(plugin)))
                .why(chain(&error));
        match plugin.install_hint.as_deref().map(str::trim).filter(|hint| !hint.is_empty()) {
            Some(hint) => diagnostic.help(hint),
            None => diagnostic.help("install it, or correct `exec.command` of this user in the kubeconfig"),
        }
    })?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = words.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        let said = if last.is_empty() { String::new() } else { format!(": `{}`", last.join(" / ")) };
        return Err(refused(plugin, format!("it ended with {}{said}", output.status)));
    }
    let answer: Value = serde_json::from_slice(&output.stdout)
        .or_else(|_| serde_saphyr::from_str(&String::from_utf8_lossy(&output.stdout)))
        .map_err(|error| refused(plugin, format!("its answer is no ExecCredential: {error}")))?;
    if answer["kind"] != "ExecCredential" {
        return Err(refused(plugin, "its answer is no ExecCredential".to_owned()));
    }
    let wanted = plugin.api_version.as_deref().unwrap_or_default();
    let version = answer["apiVersion"].as_str().unwrap_or_default();
    if version != wanted {
        return Err(refused(
            plugin,
            format!("its answer has `apiVersion` `{version}`, the kubeconfig wants `{wanted}`"),
        ));
    }
    Ok(answer["status"].clone())
}

fn spawn(mut command: Command, asks: bool) -> std::io::Result<std::process::Output> {
    if asks {
        // What it says to the person must reach the terminal.
        command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    } else {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
    }
    command.stdout(Stdio::piped()).spawn()?.wait_with_output()
}

fn prepare(plugin: &ExecConfig, terminal: bool) -> Result<(Command, bool), Diagnostic> {
    let Some(program) = &plugin.command else {
        return Err(refused(plugin, "`exec.command` is not set in the kubeconfig".to_owned()));
    };
    let asks = match plugin.interactive_mode {
        Some(ExecInteractiveMode::Never) => false,
        Some(ExecInteractiveMode::Always) if !terminal => {
            return Err(refused(plugin, "it must ask somebody, and standard input is no terminal".to_owned()));
        }
        _ => terminal,
    };
    let mut command = Command::new(program);
    command.args(plugin.args.iter().flatten());
    for variable in plugin.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let mut info = json!({
        "apiVersion": plugin.api_version,
        "kind": "ExecCredential",
        "spec": { "interactive": asks },
    });
    if let Some(cluster) = plugin.cluster.as_ref().filter(|_| plugin.provide_cluster_info) {
        info["spec"]["cluster"] = cluster_info(serde_json::to_value(cluster).unwrap_or_default());
    }
    command.env("KUBERNETES_EXEC_INFO", info.to_string());
    Ok((command, asks))
}

/// Writes the cluster's facts under the names that plugins expect.
fn cluster_info(fields: Value) -> Value {
    let mut renamed = serde_json::Map::new();
    for (key, value) in fields.as_object().into_iter().flatten() {
        renamed.insert(key.replace('_', "-"), value.clone());
    }
    Value::Object(renamed)
}
