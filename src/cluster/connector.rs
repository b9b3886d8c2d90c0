//! Connections: names, TCP, tunnels through proxies, TLS; and the HTTP client on top of them.
//!
//! Put together here and not by kube, for three reasons. Names are looked up on threads that nobody waits for, since
//! a lookup cannot be cancelled and the end of the program would otherwise wait for it. Dead connections are noticed
//! by keep-alive within a minute, so that a silent watch breaks instead of staying silent. And no failed request is
//! logged behind our back.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use tower::{BoxError, Service, ServiceBuilder};

/// Longest wait for a connection: name, TCP, proxy and TLS together.
const LONGEST: Duration = Duration::from_secs(10);
/// A connection that was silent this long is probed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Pause between probes, and how many may be missed.
const PROBES: (Duration, u32) = (Duration::from_secs(10), 3);

/// Makes a client of a configuration. Call inside a runtime.
pub(super) fn client(config: &kube::Config) -> Result<kube::Client, kube::Error> {
    let tcp = tcp();
    match &config.proxy_url {
        None => over(config, tcp),
        Some(proxy) if proxy.scheme_str() == Some("https") => {
            over(config, tunnel(proxy, config.rustls_https_connector_with_connector(tcp)?))
        }
        Some(proxy) => over(config, tunnel(proxy, tcp)),
    }
}

fn tcp() -> HttpConnector<Lookup> {
    let mut tcp = HttpConnector::new_with_resolver(Lookup);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_keepalive_interval(Some(PROBES.0));
    tcp.set_keepalive_retries(Some(PROBES.1));
    tcp
}

fn tunnel<C>(proxy: &Uri, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.clone(), connector);
    let user = proxy.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
    let header = user.and_then(|(user, _)| {
        let user = base64::engine::general_purpose::STANDARD.encode(decode(user));
        HeaderValue::try_from(format!("Basic {user}")).ok()
    });
    match header {
        Some(header) => tunnel.with_auth(header),
        None => tunnel,
    }
}

/// Takes percent encoding away.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match code.filter(|_| *byte == b'%') {
            Some(code) => {
                decoded.push(code);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

/// Builds the stack of kube's own client on a connector.
fn over<C>(config: &kube::Config, connector: C) -> Result<kube::Client, kube::Error>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError> + Send + Sync + std::error::Error + 'static,
{
    let connector = Limited(config.rustls_https_connector_with_connector(connector)?);
    let http: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(kube::Client::new(service, config.default_namespace.as_str()))
}

/// Looks names up.
#[derive(Clone, Debug)]
struct Lookup;

impl Service<Name> for Lookup {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = tell.send((name.as_str(), 0).to_socket_addrs());
        });
        Box::pin(async move { told.await.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into())) })
    }
}

/// A connector with a time limit.
#[derive(Clone, Debug)]
struct Limited<C>(C);

impl<C> Service<Uri> for Limited<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let connecting = self.0.call(server);
        Box::pin(async move {
            match tokio::time::timeout(LONGEST, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => {
                    Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {LONGEST:?}")).into())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn percent_encoding_is_taken_away_where_there_is_any() {
        assert_eq!(decode("ops:pa%40ss%3Aword"), b"ops:pa@ss:word");
        assert_eq!(decode("100%:%zz%4"), b"100%:%zz%4");
    }
}
