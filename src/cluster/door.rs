//! The tower layer through which every request passes: the gate is asked, the journal written.
//!
//! It lies outside the layers that add the server's address and the credentials, so it sees paths and no tokens.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use super::gate::Gate;
use super::journal::{Entry, Journal, Outcome};
use super::list::Identified;
use crate::clock::Clock;

/// Number of a request in the journal, on its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryId(pub(super) u64);

/// Name of the one condition of the gate that does not hold for a request, on that request.
#[derive(Clone, Debug)]
pub(super) struct Despite(pub(super) String);

/// On a request that changes the protocol: keeps its entry of the journal open until the stream has ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<Option<Opened>>>);

impl Held {
    fn opened(&self) -> MutexGuard<'_, Option<Opened>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what came over the stream.
    pub(super) fn hear(&self, data: &[u8]) {
        if let Some(opened) = &mut *self.opened() {
            opened.journal.received(opened.id, data.len() as u64);
        }
    }

    /// Notes that the stream came to its end; without this it was cut.
    pub(super) fn ended(&self) {
        if let Some(mut opened) = self.opened().take() {
            opened.settle(Outcome::Answered);
        }
    }
}

/// Makes [`Door`]s.
#[derive(Clone, Debug)]
pub(super) struct DoorLayer {
    pub(super) journal: Journal,
    pub(super) gate: Gate,
    pub(super) clock: Clock,
}

impl<S> Layer<S> for DoorLayer {
    type Service = Door<S>;

    fn layer(&self, inner: S) -> Door<S> {
        Door { layer: self.clone(), inner }
    }
}

/// The service behind which the API server lies.
#[derive(Clone, Debug)]
pub(super) struct Door<S> {
    layer: DoorLayer,
    inner: S,
}

impl DoorLayer {
    fn admit(&self, request: &Request<Body>) -> Result<Opened, BoxError> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let write = is_write(request.method(), &path);
        let despite = request.extensions().get::<Despite>().map(|it| it.0.as_str());
        if write && let Some(refusal) = self.gate.closed_despite(despite) {
            return Err(Box::new(refusal));
        }
        let bytes = request.body().try_clone().and_then(|body| body.collect().now_or_never());
        let bytes = bytes.and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let entry = Entry {
            id: 0,
            method: request.method().to_string(),
            write,
            body: write.then(|| serde_json::from_slice(&bytes).ok().map(Arc::new)).flatten(),
            sent: bytes.len() as u64,
            received: 0,
            started: self.clock.now(),
            ended: None,
            status: None,
            version: None,
            uid: None,
            outcome: Outcome::Pending,
            path,
        };
        let watch = entry.path.contains("watch=");
        let id = self.journal.asked(entry, watch)?;
        let (journal, clock) = (self.journal.clone(), self.clock);
        Ok(Opened { journal, clock, id, answered: false, settled: false, answer: write.then(Vec::new) })
    }
}

/// Whether a request can change something on the cluster: reviews of rights are POSTs that change nothing.
pub(super) fn is_write(method: &Method, path: &str) -> bool {
    let review = path.starts_with("/apis/authorization.k8s.io/") || path.starts_with("/apis/authentication.k8s.io/");
    !(method == Method::GET || method == Method::HEAD || review) || path.contains("/exec?")
}

impl<S, B> Service<Request<Body>> for Door<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Counted>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Counted>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut opened = match self.layer.admit(&request) {
            Ok(opened) => opened,
            Err(refusal) => return Box::pin(async move { Err(refusal) }),
        };
        let held = request.extensions().get::<Held>().cloned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            match answer.await {
                Ok(answer) => {
                    opened.answered = true;
                    opened.journal.answered(opened.id, answer.status().as_u16());
                    let id = EntryId(opened.id);
                    let held = held.filter(|_| answer.status() == StatusCode::SWITCHING_PROTOCOLS);
                    let opened = match held {
                        Some(held) => {
                            *held.opened() = Some(opened);
                            None
                        }
                        None => Some(opened),
                    };
                    let mut answer =
                        answer.map(|body| Counted { body: body.map_err(Into::into).boxed_unsync(), opened });
                    answer.extensions_mut().insert(id);
                    Ok(answer)
                }
                Err(error) => {
                    let error = error.into();
                    opened.settle(Outcome::Failed(error.to_string()));
                    Err(error)
                }
            }
        })
    }
}

/// An entry of the journal that is not closed yet; dropped, it is closed as far as is known.
#[derive(Debug)]
struct Opened {
    journal: Journal,
    clock: Clock,
    id: u64,
    answered: bool,
    settled: bool,
    /// A write's answer as far as it came: the object that the write made.
    answer: Option<Vec<u8>>,
}

impl Opened {
    fn hear(&mut self, data: &[u8]) {
        self.journal.received(self.id, data.len() as u64);
        if let Some(answer) = &mut self.answer {
            answer.extend_from_slice(data);
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        if !self.settled {
            self.settled = true;
            let answer = self.answer.take().filter(|_| outcome == Outcome::Answered);
            if let Some(object) = answer.and_then(|answer| serde_json::from_slice::<Identified>(&answer).ok()) {
                self.journal.identified(self.id, object.metadata.resource_version, object.metadata.uid);
            }
            self.journal.settle(self.id, self.clock.now(), outcome);
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.settle(if self.answered { Outcome::Cut } else { Outcome::Unknown });
    }
}

/// An answer's body, counted.
#[derive(Debug)]
pub(super) struct Counted {
    body: UnsyncBoxBody<Bytes, BoxError>,
    /// The entry, unless somebody holds it until a stream has ended.
    opened: Option<Opened>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let Some(opened) = &mut self.opened else { return polled };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    opened.hear(data);
                }
            }
            Poll::Ready(Some(Err(_))) => opened.settle(Outcome::Cut),
            Poll::Ready(None) => opened.settle(Outcome::Answered),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
