//! The log of a container, as its kubelet would hand it out.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use jiff::{SignedDuration, Timestamp};

use super::answer;
use super::dispatch::{Target, not_allowed};
use super::request::Request;
use super::subresources::{container, find, node_of};
use crate::sandbox::api::Api;
use crate::sandbox::containers::{Container, Line};
use crate::sandbox::object;
use crate::sandbox::status::{Cause, Status};

/// How often a log that is followed is looked at.
const POLL: std::time::Duration = std::time::Duration::from_millis(100);

/// Which part of a log is wanted.
#[derive(Clone, Debug, Default)]
struct Wanted {
    tail: Option<usize>,
    since: Option<Timestamp>,
    bytes: Option<usize>,
    timestamps: bool,
    previous: bool,
    follow: bool,
}

/// Answers a request for a log.
pub fn answer(api: &Api, request: &Request, target: &Target) -> Result<Response, Status> {
    if request.method != Method::GET {
        return Err(not_allowed());
    }
    let wanted = wanted(request, target, api.clock().now())?;
    let pod = find(api, target)?;
    let name = container(request, &pod)?;
    let node = object::text_at(&pod, &["spec", "nodeName"]);
    if node.is_empty() {
        let mut response = answer::typed(204, "", "");
        response.headers_mut().remove(http::header::CONTENT_TYPE);
        return Ok(response);
    }
    node_of(api, node)?;
    let here = Container { pod: &pod, name };
    available(&here, wanted.previous)?;
    let lines = api.containers().log(&here, api.clock().now());
    let text = wanted.part(&lines);
    if !wanted.follow || wanted.previous {
        return Ok(answer::typed(200, "text/plain", text));
    }
    let follower = Follower {
        api: api.clone(),
        uid: object::meta(&pod, "uid").to_owned(),
        place: (target.namespace.clone(), target.name.clone(), name.to_owned()),
        seen: lines.len(),
        sent: text.len(),
        wanted,
    };
    let first = futures::stream::once(async move { Ok::<Bytes, std::io::Error>(text.into()) });
    let rest = futures::stream::unfold(follower, Follower::next);
    let body = Body::from_stream(futures::StreamExt::chain(first, rest));
    Ok(answer::typed(200, "text/plain", body))
}

fn wanted(request: &Request, target: &Target, now: Timestamp) -> Result<Wanted, Status> {
    let number = |name: &str| match request.set_option(name) {
        Some(text) => text
            .parse::<i64>()
            .map(Some)
            .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
        None => Ok(None),
    };
    let (tail, bytes, seconds) = (number("tailLines")?, number("limitBytes")?, number("sinceSeconds")?);
    let since = match request.set_option("sinceTime") {
        Some(text) => Some(text.parse::<Timestamp>().map_err(|error| Status::bad_request(error.to_string()))?),
        None => None,
    };
    let mut causes = Vec::new();
    let mut invalid = |field: &str, value: i64, why: &str| causes.push(Cause::invalid(field, &value.into(), why));
    if let Some(tail) = tail.filter(|tail| *tail < 0) {
        invalid("tailLines", tail, "must be greater than or equal to 0");
    }
    if let Some(bytes) = bytes.filter(|bytes| *bytes < 1) {
        invalid("limitBytes", bytes, "must be greater than 0");
    }
    if seconds.is_some() && since.is_some() {
        causes.push(Cause::forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
    } else if let Some(seconds) = seconds.filter(|seconds| *seconds < 1) {
        invalid("sinceSeconds", seconds, "must be greater than 0");
    }
    if !causes.is_empty() {
        return Err(Status::invalid("PodLogOptions", &target.name, &causes));
    }
    let ago = |seconds: i64| now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN);
    let count = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(Wanted {
        tail: tail.map(count),
        since: since.or(seconds.map(ago)),
        bytes: bytes.map(count),
        timestamps: request.flag("timestamps"),
        previous: request.flag("previous"),
        follow: request.flag("follow"),
    })
}

/// Refuses a container that has written nothing yet, in a kubelet's words.
fn available(container: &Container<'_>, previous: bool) -> Result<(), Status> {
    let (name, pod) = (container.name, object::name(container.pod));
    let refuse = |why: String| Err(Status::bad_request(why));
    let Some(status) = container.status() else {
        return refuse(format!("container {name:?} in pod {pod:?} is not available"));
    };
    let last = &status["lastState"]["terminated"];
    if previous {
        return if last["containerID"].is_string() {
            Ok(())
        } else {
            refuse(format!("previous terminated container {name:?} in pod {pod:?} not found"))
        };
    }
    let state = &status["state"];
    if state["running"].is_object() || state["terminated"].is_object() || last.is_object() {
        return Ok(());
    }
    let waits = |why: &str| refuse(format!("container {name:?} in pod {pod:?} is waiting to start{why}"));
    match state["waiting"]["reason"].as_str() {
        Some("ErrImagePull") => waits(": image can't be pulled"),
        Some("ImagePullBackOff") => waits(": trying and failing to pull image"),
        Some(reason) => waits(&format!(": {reason}")),
        None => waits(" - no logs yet"),
    }
}

impl Wanted {
    /// Returns the wanted lines of a log.
    fn part(&self, lines: &[Line]) -> String {
        let skip = self.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        let kept = lines[skip..].iter().filter(|line| self.since.is_none_or(|since| line.at >= since));
        let mut text: String = kept.map(|line| self.shown(line)).collect();
        self.cut(&mut text, 0);
        text
    }

    fn shown(&self, line: &Line) -> String {
        if self.timestamps {
            format!("{} {}\n", line.at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"), line.text)
        } else {
            format!("{}\n", line.text)
        }
    }

    /// Cuts a text off where so many bytes have been sent.
    fn cut(&self, text: &mut String, sent: usize) {
        if let Some(most) = self.bytes {
            let left = most.saturating_sub(sent).min(text.len());
            let end = (0..=left).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
        }
    }
}

/// A log that is followed until its container ends.
struct Follower {
    api: Api,
    uid: String,
    place: (String, String, String),
    seen: usize,
    sent: usize,
    wanted: Wanted,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Follower)> {
        loop {
            if self.wanted.bytes.is_some_and(|most| self.sent >= most) {
                return None;
            }
            let (namespace, pod, container) = &self.place;
            let pod = self.api.get("pods", namespace, pod).filter(|pod| object::meta(pod, "uid") == self.uid)?;
            let here = Container { pod: &pod, name: container };
            let lines = self.api.containers().log(&here, self.api.clock().now());
            // A container that was started again writes another log.
            let fresh = lines.get(self.seen..).filter(|fresh| !fresh.is_empty());
            if let Some(fresh) = fresh {
                let mut text: String = fresh.iter().map(|line| self.wanted.shown(line)).collect();
                self.wanted.cut(&mut text, self.sent);
                self.seen = lines.len();
                self.sent += text.len();
                return Some((Ok(text.into()), self));
            }
            if lines.len() < self.seen || !here.runs() {
                return None;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
