//! Streams to containers over websockets: exec and attach, as kube-apiserver and kubelet speak them.
//!
//! The first byte of a message names its channel. With `v5.channel.k8s.io` kube-apiserver itself takes the connection
//! and tells every later trouble on the error channel; with an older protocol the kubelet does, and refuses by HTTP.

use std::time::Duration;

use axum::extract::FromRequestParts as _;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use base64::Engine as _;
use http::{Method, header};
use serde_json::json;

use super::answer;
use super::dispatch::{Target, not_allowed};
use super::request::Request;
use super::subresources::{container, find, node_of};
use crate::sandbox::api::Api;
use crate::sandbox::containers::{Container, fill};
use crate::sandbox::object::{self, Object};
use crate::sandbox::status::Status;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
/// Says that the client closes the channel named by the next byte.
const CLOSE: u8 = 255;
/// Bytes of output in one message.
const CHUNK: usize = 32 << 10;
/// How often a log that somebody is attached to is looked at.
const POLL: Duration = Duration::from_millis(100);

/// How the two sides speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Protocol {
    name: &'static str,
    /// Messages are texts: the channel as a digit, the rest in base64.
    base64: bool,
    /// The error channel carries a Status, not a plain text.
    status: bool,
    /// The client can close its input.
    close: bool,
}

const PROTOCOLS: [Protocol; 5] = [
    Protocol { name: "v5.channel.k8s.io", base64: false, status: true, close: true },
    Protocol { name: "v4.channel.k8s.io", base64: false, status: true, close: false },
    Protocol { name: "v4.base64.channel.k8s.io", base64: true, status: true, close: false },
    Protocol { name: "channel.k8s.io", base64: false, status: false, close: false },
    Protocol { name: "base64.channel.k8s.io", base64: true, status: false, close: false },
];

/// Which streams are wanted.
#[derive(Clone, Copy, Debug)]
struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

/// What is to be done in the container.
struct Call {
    api: Api,
    pod: Object,
    container: String,
    words: Vec<String>,
    attach: bool,
    streams: Streams,
}

/// Answers a request for exec, attach or port-forward.
pub async fn answer(api: &Api, request: &Request, target: &Target) -> Result<Response, Status> {
    let pod = find(api, target)?;
    let forward = target.subresource == "portforward";
    let name = if forward { String::new() } else { container(request, &pod)?.to_owned() };
    let node = object::text_at(&pod, &["spec", "nodeName"]);
    if node.is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", target.name)));
    }
    node_of(api, node)?;
    if !matches!(request.method, Method::GET | Method::POST) {
        return Err(not_allowed());
    }
    let upgrade = request.header(header::UPGRADE).to_ascii_lowercase();
    if upgrade.is_empty() || forward || upgrade.starts_with("spdy/") {
        let why = match (upgrade.is_empty(), forward) {
            (true, _) => "Upgrade request required",
            (false, true) => "the embedded cluster forwards no ports: nothing listens in its pods",
            (false, false) => "the embedded cluster speaks websockets here, not SPDY",
        };
        return Err(Status::bad_request(why));
    }
    let streams = streams(request, target)?;
    let words: Vec<String> = request.options("command").map(str::to_owned).collect();
    let attach = target.subresource == "attach";
    let asked = request.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let asked: Vec<&str> = asked.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
    let asked = asked.into_iter().map(str::trim).filter(|name| !name.is_empty());
    let known: Vec<Protocol> =
        asked.clone().filter_map(|name| PROTOCOLS.into_iter().find(|protocol| protocol.name == name)).collect();
    let newest = known.iter().find(|protocol| protocol.close).or(known.first());
    let protocol = match newest {
        Some(protocol) => *protocol,
        // Without a word about it, the oldest one is spoken.
        None if asked.count() == 0 => PROTOCOLS[3],
        None => return Ok(answer::typed(403, "text/plain; charset=utf-8", "")),
    };
    let call = Call { api: api.clone(), pod, container: name, words, attach, streams };
    if !protocol.close
        && let Err(why) = call.ready()
    {
        return Ok(answer::typed(500, "text/plain; charset=utf-8", why));
    }
    let mut socket = upgraded(request).await?;
    if newest.is_some() {
        socket.set_selected_protocol(header::HeaderValue::from_static(protocol.name));
    }
    Ok(socket.on_upgrade(move |socket| Wire { socket, protocol, open: true }.serve(call)))
}

/// Returns the request as one that changes to a websocket.
async fn upgraded(request: &Request) -> Result<WebSocketUpgrade, Status> {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = request.method.clone();
    parts.headers = request.headers.clone();
    if let Some(upgrade) = &request.upgrade {
        parts.extensions.insert(upgrade.clone());
    }
    let socket = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    socket.map_err(|rejection| Status::bad_request(rejection.body_text()))
}

fn streams(request: &Request, target: &Target) -> Result<Streams, Status> {
    let flag = |name: &str, usual: bool| if request.option(name).is_some() { request.flag(name) } else { usual };
    let tty = flag("tty", false);
    let streams = Streams {
        stdin: flag("stdin", false),
        stdout: flag("stdout", true),
        // A terminal has one output.
        stderr: flag("stderr", true) && !tty,
    };
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    if target.subresource == "exec" && request.option("command").is_none() {
        return Err(Status::bad_request("you must specify at least 1 command for the pod"));
    }
    Ok(streams)
}

/// How a stream ended.
enum End {
    Exit(u8),
    Broken(String),
}

impl End {
    /// Returns what the error channel says of it.
    fn said(&self, protocol: Protocol) -> Vec<u8> {
        if !protocol.status {
            return match self {
                End::Exit(0) => Vec::new(),
                End::Exit(code) => format!("command terminated with exit code {code}").into_bytes(),
                End::Broken(why) => why.clone().into_bytes(),
            };
        }
        let status = match self {
            End::Exit(0) => json!({"metadata": {}, "status": "Success"}),
            End::Exit(code) => json!({
                "metadata": {},
                "status": "Failure",
                "message": format!(
                    "command terminated with non-zero exit code: command terminated with exit code {code}"
                ),
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            End::Broken(why) => {
                let Status { code, reason, message, details, .. } = Status::internal(why);
                json!({
                    "metadata": {},
                    "status": "Failure",
                    "message": message,
                    "reason": reason,
                    "details": details,
                    "code": code,
                })
            }
        };
        status.to_string().into_bytes()
    }
}

/// A websocket and the protocol on it.
struct Wire {
    socket: WebSocket,
    protocol: Protocol,
    /// Whether the client is still there.
    open: bool,
}

impl Wire {
    async fn send(&mut self, channel: u8, data: &[u8]) {
        for chunk in data.chunks(CHUNK).chain(data.is_empty().then_some(data)) {
            let message = if self.protocol.base64 {
                let text = base64::engine::general_purpose::STANDARD.encode(chunk);
                Message::text(format!("{channel}{text}"))
            } else {
                Message::binary([&[channel], chunk].concat())
            };
            self.open = self.open && self.socket.send(message).await.is_ok();
        }
    }

    /// Returns the next message of the client: its channel and data; nothing when it has gone.
    async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let message = match self.socket.recv().await {
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    self.open = false;
                    return None;
                }
                Some(Ok(message)) => message.into_data(),
            };
            let Some((channel, data)) = message.split_first() else { continue };
            if !self.protocol.base64 {
                return Some((*channel, data.to_vec()));
            }
            let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap_or_default();
            return Some((channel.wrapping_sub(b'0'), data));
        }
    }

    /// Reads the client's input to its end, as far as it can be seen: older protocols cannot say where it is.
    async fn input(&mut self) -> String {
        let mut input = Vec::new();
        while let Some((channel, data)) = self.receive().await {
            match (channel, data.first()) {
                (STDIN, _) if !data.is_empty() => {
                    input.extend_from_slice(&data);
                    if !self.protocol.close {
                        break;
                    }
                }
                (CLOSE, Some(&STDIN)) => break,
                _ => {}
            }
        }
        String::from_utf8_lossy(&input).into_owned()
    }

    /// Waits; returns false when the client went away meanwhile.
    async fn wait(&mut self, time: Duration) -> bool {
        let sleep = tokio::time::sleep(time);
        tokio::pin!(sleep);
        while self.open {
            tokio::select! {
                biased;
                () = &mut sleep => return true,
                _ = self.receive() => {}
            }
        }
        false
    }

    async fn serve(mut self, call: Call) {
        // An empty message on the first output tells the client that all stands.
        let first = match call.streams {
            Streams { stdout: true, .. } => STDOUT,
            Streams { stderr: true, .. } => STDERR,
            _ => ERROR,
        };
        self.send(first, &[]).await;
        let end = match call.ready() {
            Err(why) => Some(End::Broken(format!("unable to upgrade connection: {why}"))),
            Ok(()) if call.attach => self.attach(&call).await,
            Ok(()) => self.exec(&call).await,
        };
        if let Some(end) = end {
            let said = end.said(self.protocol);
            if self.protocol.status || !said.is_empty() {
                self.send(ERROR, &said).await;
            }
            let close = CloseFrame { code: close_code::NORMAL, reason: "".into() };
            let _ = self.socket.send(Message::Close(Some(close))).await;
            // The client answers; who ends the connection before may take its last words with it.
            while self.receive().await.is_some() {}
        }
    }

    /// Plays the answer that the scenario has for a command.
    async fn exec(&mut self, call: &Call) -> Option<End> {
        let containers = call.api.containers();
        let here = call.place();
        let Some(command) = containers.answer(&here, &call.words) else {
            return Some(End::Broken(format!(
                "error executing command in container: no container runs on the embedded cluster, and its scenario has \
                 no answer for `{}` in container {:?} of pod {:?}; `commands` of a scenario declares one \
                 (okgscript doc scenario)",
                call.words.join(" "),
                call.container,
                object::name(&call.pod)
            )));
        };
        let reads = [&command.stdout, &command.stderr].iter().any(|text| text.contains("$(STDIN)"));
        let input = if call.streams.stdin && reads { self.input().await } else { String::new() };
        if !self.wait(command.takes).await {
            return None;
        }
        for (wanted, channel, text) in
            [(call.streams.stdout, STDOUT, &command.stdout), (call.streams.stderr, STDERR, &command.stderr)]
        {
            let text = fill(text, &here, "", &input);
            if wanted && !text.is_empty() {
                self.send(channel, text.as_bytes()).await;
            }
        }
        Some(End::Exit(command.exit_code))
    }

    /// Shows what the container writes from now on, until it ends.
    async fn attach(&mut self, call: &Call) -> Option<End> {
        let (api, uid) = (&call.api, object::meta(&call.pod, "uid"));
        let mut seen = api.containers().log(&call.place(), api.clock().now()).len();
        loop {
            let pod = api.get("pods", object::namespace(&call.pod), object::name(&call.pod));
            let Some(pod) = pod.filter(|pod| object::meta(pod, "uid") == uid) else { return Some(End::Exit(0)) };
            let here = Container { pod: &pod, name: &call.container };
            let lines = api.containers().log(&here, api.clock().now());
            for line in lines.get(seen..).unwrap_or_default() {
                if call.streams.stdout {
                    self.send(STDOUT, format!("{}\n", line.text).as_bytes()).await;
                }
            }
            if lines.len() < seen || !here.runs() {
                return Some(End::Exit(0));
            }
            seen = lines.len();
            if !self.wait(POLL).await {
                return None;
            }
        }
    }
}

impl Call {
    fn place(&self) -> Container<'_> {
        Container { pod: &self.pod, name: &self.container }
    }

    /// Says why nothing can be run, in a kubelet's words.
    fn ready(&self) -> Result<(), String> {
        if self.place().runs() { Ok(()) } else { Err(format!("container not found ({:?})", self.container)) }
    }
}
