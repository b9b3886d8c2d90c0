//! Watches: a body that reads the log of changes. No task stands behind it; when the client goes, nothing is left.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::accept::{Accepted, Encoding, View};
use super::dispatch::Target;
use super::list::{self, Selection};
use super::options::{self, bad_version};
use super::request::Request;
use super::{answer, table};
use crate::sandbox::api::Api;
use crate::sandbox::faults::WatchFault;
use crate::sandbox::object::{self, Change, ChangeKind};
use crate::sandbox::status::Status;

/// How long a watch lasts when the client does not say.
const LASTS: Duration = Duration::from_secs(1800);

/// Bookmarks come soon after the start, then every minute, and shortly before the end.
const FIRST_BOOKMARK: Duration = Duration::from_secs(1);
const BOOKMARKS: Duration = Duration::from_secs(60);
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

struct Watch {
    api: Api,
    request: Request,
    target: Target,
    view: View,
    selection: Selection,
    at: u64,
    /// The newest version that the client knows of.
    told: u64,
    ends: Instant,
    bookmark: Option<Instant>,
    ready: VecDeque<Value>,
    columns_sent: bool,
    over: bool,
    fault: Option<WatchFault>,
    begun: Instant,
}

/// Answers a watch.
pub fn answer(
    api: &Api,
    request: &Request,
    target: &Target,
    form: &Accepted,
    fault: Option<WatchFault>,
) -> Result<Response, Status> {
    table::check(request, &form.view)?;
    let options = options::list(request, true)?;
    let selection = Selection::read(request, &target.kind)?;
    let lasts = match request.set_option("timeoutSeconds") {
        None => LASTS,
        Some(text) => text
            .parse()
            .map(Duration::from_secs)
            .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))?,
    };
    let given = match options.version.as_str() {
        "" => 0,
        text => text.parse::<u64>().map_err(|_| Status::unknown(bad_version(text)))?,
    };
    let begun = Instant::now();
    let bookmarks = request.flag("allowWatchBookmarks");
    let mut watch = Watch {
        api: api.clone(),
        request: request.clone(),
        target: target.clone(),
        view: form.view.clone(),
        selection,
        at: given,
        told: given,
        ends: begun + lasts,
        bookmark: bookmarks.then_some(begun + FIRST_BOOKMARK),
        ready: VecDeque::new(),
        columns_sent: false,
        over: false,
        fault,
        begun,
    };
    let asked = request.option("sendInitialEvents");
    let initial = if asked.is_some() { request.flag("sendInitialEvents") } else { given == 0 };
    let (objects, version, oldest) =
        api.read(|store| (store.list(&target.kind.shelf, target.scope()), store.version(), store.oldest()));
    if matches!(watch.fault, Some(WatchFault::Gone)) {
        watch.gone(given, oldest);
    } else if initial && given > version {
        watch.ready.push_back(event("ERROR", options::too_large(given, version).to_value()));
        watch.over = true;
    } else if initial {
        watch.at = version;
        watch.told = version;
        for object in &objects {
            if !watch.selection.matches(object) {
                continue;
            }
            let shown = watch.shown(target.shown(object));
            watch.ready.push_back(event("ADDED", shown));
        }
        if bookmarks {
            let annotations = json!({"k8s.io/initial-events-end": "true"});
            let metadata = json!({"resourceVersion": version.to_string(), "annotations": annotations});
            watch.ready.push_back(event("BOOKMARK", watch.bookmark(metadata)));
        }
    } else if given != 0 && given < oldest {
        watch.gone(given, oldest);
    } else if given == 0 {
        watch.at = version;
        watch.told = version;
    }
    let content_type = match form.encoding {
        Encoding::Yaml => "application/yaml;stream=watch",
        _ => "application/json",
    };
    let body = Body::from_stream(stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(line), watch))
    }));
    Ok(answer::typed(200, content_type, body))
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

impl Watch {
    fn gone(&mut self, given: u64, oldest: u64) {
        let status = Status::expired(format!("too old resource version: {given} ({})", oldest + 1));
        self.ready.push_back(event("ERROR", status.to_value()));
        self.over = true;
    }

    fn shown(&mut self, object: Value) -> Value {
        match &self.view {
            View::Whole => object,
            View::Metadata(version) => list::partial(&object, version),
            View::Table(version) => {
                let meta = json!({"resourceVersion": object::meta(&object, "resourceVersion")});
                let columns = !std::mem::replace(&mut self.columns_sent, true);
                let objects = [object::Object::new(object)];
                table::table(&self.api, &self.request, &self.target, &objects, meta, version, columns)
            }
        }
    }

    fn bookmark(&self, metadata: Value) -> Value {
        let kind = &self.target.kind;
        match &self.view {
            View::Whole => json!({
                "kind": kind.kind,
                "apiVersion": kind.api_version(&self.target.version),
                "metadata": metadata,
            }),
            View::Metadata(version) => list::partial(&json!({"metadata": metadata}), version),
            View::Table(version) => json!({
                "kind": "Table",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": {"resourceVersion": metadata["resourceVersion"]},
                "columnDefinitions": null,
                "rows": [{"cells": [], "object": list::partial(&json!({"metadata": metadata}), version)}],
            }),
        }
    }

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
            let now = Instant::now();
            if let Some(WatchFault::Ends { after }) = &self.fault
                && now >= self.begun + *after
            {
                return None;
            }
            let silent = matches!(&self.fault, Some(WatchFault::Silent { after }) if now >= self.begun + *after);
            if !silent {
                self.read_log();
                self.due_bookmark(now);
            }
            if !self.ready.is_empty() {
                continue;
            }
            if now >= self.ends {
                return None;
            }
            let mut until = self.ends;
            if let Some(WatchFault::Ends { after }) = &self.fault {
                until = until.min(self.begun + *after);
            }
            if !silent {
                if let Some(WatchFault::Silent { after }) = &self.fault {
                    until = until.min(self.begun + *after);
                }
                if let Some(due) = self.bookmark {
                    until = until.min(due);
                }
                let _ = timeout_at(until, self.api.changed(self.at)).await;
            } else {
                tokio::time::sleep_until(until).await;
            }
        }
    }

    /// Sends a bookmark when one is due and something of the kind was written since the client last heard.
    fn due_bookmark(&mut self, now: Instant) {
        let Some(due) = self.bookmark else { return };
        if now < due {
            return;
        }
        let last = self.ends.checked_sub(LAST_BOOKMARK).unwrap_or(self.ends);
        self.bookmark = if due >= last { None } else { Some(last.min(now + BOOKMARKS)) };
        let told = self.told;
        let written = self.api.read(|store| {
            let written = store.changes(told).any(|change| change.resource == self.target.kind.shelf);
            written.then(|| store.version())
        });
        if let Some(version) = written {
            self.told = version;
            let metadata = json!({"resourceVersion": version.to_string()});
            self.ready.push_back(event("BOOKMARK", self.bookmark(metadata)));
        }
    }

    fn read_log(&mut self) {
        let (changes, version, oldest) = self.api.read(|store| {
            let changes: Vec<Change> = store
                .changes(self.at)
                .filter(|change| change.resource == self.target.kind.shelf)
                .filter(|change| self.target.scope().is_none_or(|ns| ns == object::namespace(&change.object)))
                .cloned()
                .collect();
            (changes, store.version(), store.oldest())
        });
        if self.at < oldest && self.at != 0 {
            self.gone(self.at, oldest);
            return;
        }
        self.at = version.max(self.at);
        for change in changes {
            if let Some((kind, object)) = translate(&change, &self.selection, &self.target) {
                let shown = self.shown(object);
                self.ready.push_back(event(kind, shown));
            }
        }
    }
}

/// Returns what a change is for a selection: an object that comes to match is added, one that ceases is deleted.
fn translate(change: &Change, selection: &Selection, target: &Target) -> Option<(&'static str, Value)> {
    let was = change.previous.as_ref().is_some_and(|previous| selection.matches(previous));
    let is = change.kind != ChangeKind::Deleted && selection.matches(&change.object);
    let kind = match (was, is) {
        (false, true) => "ADDED",
        (true, true) => "MODIFIED",
        (true, false) => "DELETED",
        (false, false) => return None,
    };
    if kind != "DELETED" || change.kind == ChangeKind::Deleted {
        return Some((kind, target.shown(&change.object)));
    }
    let mut object = target.shown(change.previous.as_ref()?);
    object::meta_mut(&mut object).insert("resourceVersion".into(), change.version.to_string().into());
    Some((kind, object))
}
