//! The way over the network: the HTTP stack, opened by the first request, and fresh credentials on each.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine as _;
use http::{Request, Response, StatusCode};
use kube::client::Body;
use tokio::sync::Mutex;
use tower::{BoxError, Service};

use super::connect::Target;
use super::connector;
use super::credentials::{self, Credentials, Source};
use crate::clock::Clock;
use crate::diagnostic::Diagnostic;

/// A service whose HTTP stack, TLS roots included, is made when the first request needs it, and made again when a
/// plugin gives another client certificate.
#[derive(Clone)]
pub(super) struct Transport {
    target: Arc<Target>,
    clock: Clock,
    live: Arc<Mutex<Option<Live>>>,
}

/// A stack and the credentials it is used with.
#[derive(Clone)]
struct Live {
    client: kube::Client,
    credentials: Credentials,
    /// Counts the changes of the credentials.
    turn: u64,
}

impl Transport {
    pub(super) fn new(target: Target, clock: Clock) -> Transport {
        Transport { target: Arc::new(target), clock, live: Arc::default() }
    }

    /// Opens the way and fetches credentials where that is due. A person may be asked to log in, so no time limit
    /// lies on it.
    pub(super) async fn ready(&self) -> Result<(), Diagnostic> {
        self.live(None).await.map(|_| ())
    }

    /// Returns the stack with credentials that are good as far as is known; those of the turn `refused` are not.
    async fn live(&self, refused: Option<u64>) -> Result<Live, Diagnostic> {
        let Target { source, config, .. } = &*self.target;
        let mut live = self.live.lock().await;
        if let Some(live) = &*live
            && refused.is_none_or(|turn| turn != live.turn)
            && !live.credentials.stale(source, self.clock)
        {
            return Ok(live.clone());
        }
        let former = live.as_ref().map(|live| &live.credentials);
        let credentials = credentials::fetch(source, former).await?;
        if let Some(live) = live.as_mut()
            && live.credentials.identity == credentials.identity
        {
            live.turn += u64::from(!live.credentials.same(&credentials));
            live.credentials = credentials;
            return Ok(live.clone());
        }
        let mut config = config.clone();
        if let Some((certificate, key)) = &credentials.identity {
            let encode = |text: &String| base64::engine::general_purpose::STANDARD.encode(text);
            config.auth_info.client_certificate_data = Some(encode(certificate));
            config.auth_info.client_key_data = Some(encode(key).into());
        }
        let client = connector::client(&config).map_err(|error| self.target.unusable(&error))?;
        let turn = live.as_ref().map_or(1, |live| live.turn + 1);
        Ok(live.insert(Live { client, credentials, turn }).clone())
    }

    async fn exchange(self, mut request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let live = self.live(None).await?;
        let again = match self.target.source {
            Source::Fixed => None,
            _ => copy(&request),
        };
        authorize(&mut request, &live.credentials);
        let answer = live.client.send(request).await?;
        let Some(mut again) = again.filter(|_| answer.status() == StatusCode::UNAUTHORIZED) else { return Ok(answer) };
        // Nothing was done for somebody whom the server does not know, so that even a write may be sent again.
        let fresh = match self.live(Some(live.turn)).await {
            Ok(fresh) if fresh.turn != live.turn => fresh,
            Ok(_) => return Ok(answer),
            Err(error) => return Err(Box::new(error)),
        };
        authorize(&mut again, &fresh.credentials);
        Ok(fresh.client.send(again).await?)
    }
}

/// Copies a request whose body lies in memory, as ours do.
pub(super) fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

fn authorize(request: &mut Request<Body>, credentials: &Credentials) {
    if let Some(header) = &credentials.header {
        request.headers_mut().insert(http::header::AUTHORIZATION, header.clone());
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}
