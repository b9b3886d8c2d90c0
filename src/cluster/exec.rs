//! Commands in containers, over a websocket: the first byte of each message names its channel.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::HeaderMap;
use serde_json::{Value, json};

use super::client::{self, Cluster};
use super::door::Held;
use super::errors::Call;
use super::kind::{POD, Query};
use crate::diagnostic::{Diagnostic, Kind};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
/// Closes the channel that the next byte names.
const CLOSE: u8 = 255;
/// Bytes of input in one message.
const CHUNK: usize = 32 << 10;
/// Most bytes of output that are kept.
const MOST: usize = 16 << 20;

/// A command and how it is run.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// The program and its arguments; no shell reads them.
    pub words: Vec<String>,
    /// Container; may be left out if the pod has only one.
    pub container: Option<String>,
    /// What the command reads.
    pub stdin: Option<String>,
    /// Longest wait for its end.
    pub timeout: Duration,
}

/// What a command did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// What it wrote to its output.
    pub stdout: String,
    /// What it wrote to its error output.
    pub stderr: String,
    /// How it ended.
    pub exit_code: i64,
}

impl Cluster {
    /// Runs a command in a container and returns when it has ended; an exit code other than 0 is no error.
    ///
    /// Whoever gives up waiting closes the stream; the command may go on in its container.
    pub async fn exec(&self, namespace: &str, pod: &str, command: &Command) -> Result<Ran, Diagnostic> {
        let call = client::call("run a command in", &POD, namespace, pod);
        let mut query = Query::default();
        for word in &command.words {
            query.add("command", word);
        }
        if let Some(container) = &command.container {
            query.add("container", container);
        }
        query.add("stdin", if command.stdin.is_some() { "true" } else { "false" });
        query.add("stdout", "true");
        query.add("stderr", "true");
        let mut request = http::Request::new(Vec::new());
        let path = query.on(&POD.object_path(namespace, pod, Some("exec"))?);
        *request.uri_mut() = path.parse().expect("every segment and parameter is encoded");
        let held = Held::default();
        request.extensions_mut().insert(held.clone());
        self.ready().await?;
        match tokio::time::timeout(command.timeout, self.run(&call, request, command, &held)).await {
            Ok(result) => result,
            Err(_) => {
                let what =
                    format!("`{}` in {} did not end in {:?}", command.words.join(" "), call.object(), command.timeout);
                Err(self.origin().place(Diagnostic::new(Kind::Timeout, what)).help(
                    "it may still run in its container; give it a longer `timeout`, or a command that ends by itself",
                ))
            }
        }
    }

    async fn run(
        &self,
        call: &Call,
        request: http::Request<Vec<u8>>,
        command: &Command,
        held: &Held,
    ) -> Result<Ran, Diagnostic> {
        let connection = match self.client().connect(request).await {
            Ok(connection) => connection,
            Err(kube::Error::Api(status)) => {
                let mut body = serde_json::to_value(&status).unwrap_or_default();
                body["kind"] = "Status".into();
                return Err(self.origin().refusal(call, status.code, &HeaderMap::new(), body.to_string().as_bytes()));
            }
            Err(error) => return Err(self.origin().failure(call, error)),
        };
        let closes = connection.supports_stream_close();
        let (mut sink, mut stream) = connection.into_stream().split();
        let input = async {
            for chunk in command.stdin.as_deref().unwrap_or_default().as_bytes().chunks(CHUNK) {
                sink.send([&[STDIN], chunk].concat().into()).await?;
            }
            if command.stdin.is_some() && closes {
                sink.send(vec![CLOSE, STDIN].into()).await?;
            }
            Ok::<(), Broken>(())
        };
        let (mut stdout, mut stderr, mut status) = (Vec::new(), Vec::new(), None);
        let output = async {
            while let Some(message) = stream.next().await {
                let data = message?.into_data();
                held.hear(&data);
                match data.split_first() {
                    Some((&STDOUT, data)) => stdout.extend_from_slice(data),
                    Some((&STDERR, data)) => stderr.extend_from_slice(data),
                    Some((&ERROR, data)) if !data.is_empty() => status = serde_json::from_slice::<Value>(data).ok(),
                    _ => {}
                }
                if stdout.len() + stderr.len() > MOST || status.is_some() {
                    break;
                }
            }
            Ok::<(), Broken>(())
        };
        // The server says how the command ended, whether or not it has read all of its input.
        let broken = {
            let (mut input, mut output) = (std::pin::pin!(input), std::pin::pin!(output));
            tokio::select! {
                biased;
                ended = &mut output => ended.err(),
                _ = &mut input => output.await.err(),
            }
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let ran = Ran { stdout: text(stdout), stderr: text(stderr), exit_code: 0 };
        match status {
            Some(status) => {
                held.ended();
                self.judged(call, command, ran, &status)
            }
            None if ran.stdout.len() + ran.stderr.len() > MOST => {
                let what = format!("`{}` wrote more than {} MiB", command.words.join(" "), MOST >> 20);
                Err(self.origin().place(Diagnostic::new(Kind::Limit, what)).help("let it write less, or to a file"))
            }
            None => {
                let why =
                    broken.map_or_else(|| "the stream ended without a word".to_owned(), |e: Broken| e.to_string());
                Err(self.origin().unknown(call, why))
            }
        }
    }

    /// Returns what the last word on the error channel makes of it.
    fn judged(&self, call: &Call, command: &Command, ran: Ran, status: &Value) -> Result<Ran, Diagnostic> {
        if status["status"] == "Success" {
            return Ok(ran);
        }
        let causes = status["details"]["causes"].as_array().into_iter().flatten();
        let mut codes = causes.filter(|cause| cause["reason"] == "ExitCode");
        let code = codes.find_map(|cause| cause["message"].as_str()?.parse().ok());
        if let Some(exit_code) = code.filter(|_| status["reason"] == "NonZeroExitCode") {
            return Ok(Ran { exit_code, ..ran });
        }
        let why = status["message"].as_str().unwrap_or("no further words");
        let kind = if why.contains("container not found") { Kind::NotFound } else { Kind::Invalid };
        let what = format!("`{}` was not run in {}", command.words.join(" "), call.object());
        Err(self
            .origin()
            .place(Diagnostic::new(kind, what).why(format!("`{why}`")))
            .with("reason", json!(status["reason"])))
    }
}

/// What breaks a stream.
type Broken = Box<dyn std::error::Error + Send + Sync>;
