//! The way over the network, opened by the first request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use kube::client::Body;
use tokio::sync::OnceCell;
use tower::{BoxError, Service};

use super::connect::Target;

/// A service whose HTTP stack, TLS roots included, is made when the first request needs it.
#[derive(Clone)]
pub(super) struct Transport {
    target: Arc<Target>,
    client: Arc<OnceCell<kube::Client>>,
}

impl Transport {
    pub(super) fn new(target: Target) -> Transport {
        Transport { target: Arc::new(target), client: Arc::default() }
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
        let Transport { target, client } = self.clone();
        Box::pin(async move {
            let make =
                || async { kube::Client::try_from(target.config.clone()).map_err(|error| target.unusable(error)) };
            let client = client.get_or_try_init(make).await?;
            Ok(client.send(request).await?)
        })
    }
}
