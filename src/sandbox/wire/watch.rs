//! Watches: a body that reads the log of changes. No task stands behind it; when the client goes, nothing is left.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::answer;
use super::dispatch::Target;
use super::list::Selection;
use super::request::Request;
use crate::sandbox::api::Api;
use crate::sandbox::object::{self, Change, ChangeKind};
use crate::sandbox::status::Status;

/// How long a watch lasts when the client does not say.
const LASTS: Duration = Duration::from_secs(1800);

struct Watch {
    api: Api,
    target: Target,
    selection: Selection,
    at: u64,
    ends: Instant,
    ready: VecDeque<Value>,
    over: bool,
}

/// Answers a watch.
pub fn answer(api: &Api, request: &Request, target: &Target) -> Result<Response, Status> {
    let selection = Selection::read(request)?;
    let lasts = request.option("timeoutSeconds").and_then(|text| text.parse().ok()).map_or(LASTS, Duration::from_secs);
    let given: u64 = request.set_option("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut watch = Watch {
        api: api.clone(),
        target: target.clone(),
        selection,
        at: given,
        ends: Instant::now() + lasts,
        ready: VecDeque::new(),
        over: false,
    };
    let initial = given == 0 || request.flag("sendInitialEvents");
    let (objects, version, oldest) =
        api.read(|store| (store.list(&target.kind.key, target.scope()), store.version(), store.oldest()));
    if initial {
        watch.at = version;
        for object in objects.iter().filter(|object| watch.selection.matches(object)) {
            watch.ready.push_back(event("ADDED", target.shown(object)));
        }
        if request.flag("allowWatchBookmarks") {
            let metadata = json!({
                "resourceVersion": version.to_string(),
                "creationTimestamp": null,
                "annotations": {"k8s.io/initial-events-end": "true"},
            });
            watch.ready.push_back(event("BOOKMARK", bookmark(target, metadata)));
        }
    } else if given < oldest {
        let status = Status::expired(format!("too old resource version: {given} ({})", oldest + 1));
        watch.ready.push_back(event("ERROR", status.to_value()));
        watch.over = true;
    }
    let body = Body::from_stream(stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(line), watch))
    }));
    Ok(answer::typed(200, "application/json", body))
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

fn bookmark(target: &Target, metadata: Value) -> Value {
    json!({"kind": target.kind.kind, "apiVersion": target.kind.api_version(&target.version), "metadata": metadata})
}

impl Watch {
    /// Returns the next lines, or `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.ready.is_empty() {
                let lines: String = self.ready.drain(..).map(|event| format!("{event}\n")).collect();
                return Some(Bytes::from(lines));
            }
            if self.over {
                return None;
            }
            self.read_log();
            if self.ready.is_empty() && timeout_at(self.ends, self.api.changed(self.at)).await.is_err() {
                return None;
            }
        }
    }

    fn read_log(&mut self) {
        let Watch { api, target, selection, at, ready, .. } = self;
        let events = api.read(|store| {
            let events: Vec<Value> = store
                .changes(*at)
                .filter(|change| change.resource == target.kind.key)
                .filter(|change| target.scope().is_none_or(|ns| ns == object::namespace(&change.object)))
                .filter_map(|change| translate(change, selection, target))
                .collect();
            *at = store.version().max(*at);
            events
        });
        ready.extend(events);
    }
}

/// Returns what a change is for a selection: an object that comes to match is added, one that ceases is deleted.
fn translate(change: &Change, selection: &Selection, target: &Target) -> Option<Value> {
    let was = change.previous.as_ref().is_some_and(|previous| selection.matches(previous));
    let is = change.kind != ChangeKind::Deleted && selection.matches(&change.object);
    let kind = match (was, is) {
        (false, true) => "ADDED",
        (true, true) => "MODIFIED",
        (true, false) => "DELETED",
        (false, false) => return None,
    };
    if kind != "DELETED" || change.kind == ChangeKind::Deleted {
        return Some(event(kind, target.shown(&change.object)));
    }
    let mut object = target.shown(change.previous.as_ref()?);
    object::meta_mut(&mut object).insert("resourceVersion".into(), change.version.to_string().into());
    Some(event(kind, object))
}
