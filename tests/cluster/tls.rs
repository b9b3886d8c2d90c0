//! Real clusters made in a test: an authority, an API server behind TLS, a proxy that counts.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use base64::Engine as _;
use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use okgscript::clock::Clock;
use okgscript::sandbox::api::Api;
use okgscript::sandbox::object::Actor;
use okgscript::sandbox::routes::{HttpOptions, router};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tower::ServiceExt as _;

/// A certificate and its key.
pub struct Pair {
    pub certificate: String,
    pub key: String,
    der: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

/// Somebody who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: String,
    der: CertificateDer<'static>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Authority { issuer: Issuer::new(params, key), certificate: pem, der }
    }

    /// Signs a server's certificate.
    pub fn server(&self, names: &[&str]) -> Pair {
        self.sign(names, ExtendedKeyUsagePurpose::ServerAuth, |_| {})
    }

    /// Signs a server's certificate whose time is over.
    pub fn expired(&self, names: &[&str]) -> Pair {
        self.sign(names, ExtendedKeyUsagePurpose::ServerAuth, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        })
    }

    /// Signs a user's certificate.
    pub fn client(&self, name: &str) -> Pair {
        self.sign(&[], ExtendedKeyUsagePurpose::ClientAuth, |params| {
            params.distinguished_name.push(DnType::CommonName, name);
        })
    }

    /// Returns how a client trusts this authority alone.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }

    fn sign(&self, names: &[&str], usage: ExtendedKeyUsagePurpose, more: impl Fn(&mut CertificateParams)) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages.push(usage);
        more(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Pair { certificate: certificate.pem(), key: key.serialize_pem(), der: (certificate.der().clone(), der) }
    }
}

/// What the server saw of a request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    pub impersonated: Vec<String>,
}

type Guard = dyn Fn(&Request<hyper::body::Incoming>) -> Option<u16> + Send + Sync;

/// How the server is made.
pub struct Options {
    certificate: Pair,
    clients: Option<CertificateDer<'static>>,
    guard: Arc<Guard>,
    again: Option<(u16, Api)>,
    routes: Option<axum::Router>,
}

impl Options {
    pub fn new(certificate: Pair) -> Options {
        Options { certificate, clients: None, guard: Arc::new(|_| None), again: None, routes: None }
    }

    /// Serves these routes.
    #[must_use]
    pub fn routes(mut self, routes: axum::Router) -> Options {
        self.routes = Some(routes);
        self
    }

    /// Serves this cluster again, on the port it had.
    #[must_use]
    pub fn again(mut self, port: u16, api: Api) -> Options {
        self.again = Some((port, api));
        self
    }

    /// Only users with a certificate of this authority are let in.
    #[must_use]
    pub fn clients_of(mut self, authority: &Authority) -> Options {
        self.clients = Some(authority.der.clone());
        self
    }

    /// A status answers the request where the guard gives one.
    #[must_use]
    pub fn guard(
        mut self,
        guard: impl Fn(&Request<hyper::body::Incoming>) -> Option<u16> + Send + Sync + 'static,
    ) -> Options {
        self.guard = Arc::new(guard);
        self
    }

    /// Only requests with one of the tokens are answered; the list can be changed while the server runs.
    #[must_use]
    pub fn tokens(self, tokens: &Arc<Mutex<Vec<&'static str>>>) -> Options {
        let tokens = tokens.clone();
        self.guard(move |request| {
            let given = request.headers().get("authorization").and_then(|it| it.to_str().ok()).unwrap_or_default();
            let known = tokens.lock().unwrap().iter().any(|token| given == format!("Bearer {token}"));
            (!known).then_some(401)
        })
    }
}

/// An API server behind TLS, on a port of its own, with the GameServerSet `default/minecraft`.
pub struct Server {
    pub port: u16,
    pub api: Api,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(options: Options) -> Server {
        let (port, api) = match options.again {
            Some((port, api)) => (port, api),
            None => (0, stocked()),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let builder = match options.clients {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority).unwrap();
                let verifier = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
        };
        let (certificate, key) = options.certificate.der;
        let config = builder.with_single_cert(vec![certificate], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let routes = options.routes.unwrap_or_else(|| router(api.clone(), HttpOptions::default()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (guard, log) = (options.guard, seen.clone());
        let task = tokio::spawn(async move {
            // Dropped with this task, the set ends the connections.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, routes, guard, log) = (acceptor.clone(), routes.clone(), guard.clone(), log.clone());
                connections.spawn(async move {
                    let stream = match acceptor.accept(stream).into_fallible().await {
                        Ok(stream) => stream,
                        // The client may have sent its request already: unread, it would break the connection before
                        // the client can read why.
                        Err((_, mut stream)) => {
                            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                            return;
                        }
                    };
                    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                        note(&log, &request);
                        let (refused, routes) = (guard(&request), routes.clone());
                        async move {
                            match refused {
                                Some(code) => Ok(refusal(code)),
                                None => routes.oneshot(request.map(Body::new)).await,
                            }
                        }
                    });
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        })
        .abort_handle();
        Server { port, api, seen, task }
    }

    /// Cuts all connections, now and from now on; returns the cluster behind it.
    pub async fn stop(self) -> Api {
        self.task.abort();
        let api = self.api.clone();
        drop(self);
        // The port is free when the task has gone.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        api
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the `Authorization` headers in the order of the requests.
    pub fn authorizations(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.authorization.unwrap_or_default()).collect()
    }
}

/// Returns a cluster with one GameServerSet.
fn stocked() -> Api {
    let api = Api::new(Clock::wall(), 0);
    let actor = Actor::controller("test");
    let set = json!({
        "apiVersion": "game.kruise.io/v1alpha1",
        "kind": "GameServerSet",
        "metadata": { "name": "minecraft", "namespace": "default" },
        "spec": { "replicas": 3, "gameServerTemplate": { "spec": { "containers": [{ "name": "minecraft", "image": "minecraft:1" }] } } },
    });
    api.create(&actor, "gameserversets.game.kruise.io", set).unwrap();
    api
}

fn note(log: &Mutex<Vec<Seen>>, request: &Request<hyper::body::Incoming>) {
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = request.headers();
    log.lock().unwrap().push(Seen {
        method: request.method().to_string(),
        authorization: headers.get("authorization").map(text),
        impersonated: ["impersonate-user", "impersonate-group"]
            .iter()
            .flat_map(|name| headers.get_all(*name))
            .map(text)
            .collect(),
    });
}

fn refusal(code: u16) -> Response<Body> {
    let (reason, message) = match code {
        404 => ("NotFound", "the server could not find the requested resource"),
        401 => ("Unauthorized", "Unauthorized"),
        403 => ("Forbidden", "gameserversets.game.kruise.io \"minecraft\" is forbidden: User \"ci\" cannot get it"),
        _ => ("InternalError", "an error on the server"),
    };
    let status = super::scripted::status(code, reason, message);
    Response::builder().status(code).body(Body::from(status.to_string())).unwrap()
}

/// A proxy that opens tunnels: every name leads to one port of this machine.
pub struct Proxy {
    pub port: u16,
    /// What it was asked to open a tunnel to.
    pub tunnels: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub async fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tunnels: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = tunnels.clone();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let log = log.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(client.read_u8().await.unwrap());
                    }
                    let head = String::from_utf8(head).unwrap();
                    let mut words = head.split_whitespace();
                    assert_eq!(words.next(), Some("CONNECT"));
                    log.lock().unwrap().push(words.next().unwrap().to_owned());
                    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await.unwrap();
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Proxy { port, tunnels }
    }
}

/// A folder with a kubeconfig and what belongs to it.
pub struct Home {
    pub folder: TempDir,
}

impl Home {
    pub fn new() -> Home {
        Home { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes a program.
    pub fn program(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.write(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Writes a kubeconfig with one context, `test`, whose cluster and user have these fields in YAML's flow style.
    pub fn kubeconfig(&self, cluster: &str, user: &str) -> PathBuf {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             contexts:\n- name: test\n  context: {{cluster: c, user: u}}\n\
             clusters:\n- name: c\n  cluster: {{{cluster}}}\n\
             users:\n- name: u\n  user: {{{user}}}\n"
        );
        self.write("kubeconfig", &text)
    }
}

/// Writes text as the `-data` fields of a kubeconfig hold it.
pub fn data(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Returns the cluster's fields for a server on this machine.
pub fn cluster(server: &Server, authority: &Authority) -> String {
    format!(
        "server: \"https://127.0.0.1:{}\", certificate-authority-data: {}",
        server.port,
        data(&authority.certificate)
    )
}

/// Returns a path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
