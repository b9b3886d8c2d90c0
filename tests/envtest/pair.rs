//! A real kube-apiserver with its etcd: one pair for the whole test binary.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use okgscript::clock::Clock;
use okgscript::sandbox::api::Api;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::TOKEN;
use crate::cluster::tls::Authority;

/// The programs that `KUBEBUILDER_ASSETS` names, running.
pub struct Pair {
    port: u16,
    etcd: u16,
    tls: Arc<ClientConfig>,
    /// Ends both when its standard input ends, which happens at the latest when this process is gone.
    _watcher: Child,
}

/// Starts etcd and the API server, waits until nobody writes to the shell any more, and ends both.
const WATCHER: &str = r#"
folder=$1 assets=$2 etcd=$3 peer=$4 port=$5
"$assets/etcd" --data-dir "$folder/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "http://127.0.0.1:$etcd" --advertise-client-urls "http://127.0.0.1:$etcd" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "default=http://127.0.0.1:$peer" >"$folder/etcd.log" 2>&1 &
first=$!
"$assets/kube-apiserver" --etcd-servers="http://127.0.0.1:$etcd" --secure-port="$port" --bind-address=127.0.0.1 \
    --tls-cert-file="$folder/server.crt" --tls-private-key-file="$folder/server.key" --cert-dir="$folder/certs" \
    --service-cluster-ip-range=10.0.0.0/16 --allow-privileged=true \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$folder/accounts.pub" --service-account-signing-key-file="$folder/accounts.key" \
    --authorization-mode=RBAC --token-auth-file="$folder/tokens.csv" \
    --disable-admission-plugins=ServiceAccount --endpoint-reconciler-type=none >"$folder/apiserver.log" 2>&1 &
second=$!
while read -r _; do :; done
kill -9 "$first" "$second"
wait
rm -rf "$folder"
"#;

static PAIR: OnceCell<Pair> = OnceCell::const_new();

impl Pair {
    /// Returns the pair of this process, started and with the definitions of OKG and Kruise.
    pub async fn get() -> &'static Pair {
        PAIR.get_or_init(|| async {
            let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty());
            let assets = PathBuf::from(assets.expect("KUBEBUILDER_ASSETS is set: see tests/envtest/README.md"));
            let pair = Pair::start(&assets).await;
            pair.define().await;
            pair
        })
        .await
    }

    async fn start(assets: &Path) -> Pair {
        for program in ["etcd", "kube-apiserver"] {
            assert!(assets.join(program).is_file(), "KUBEBUILDER_ASSETS has no {program}: {}", assets.display());
        }
        let folder = tempfile::Builder::new().prefix("okgscript-envtest-").tempdir().unwrap();
        let authority = Authority::new("envtest");
        let server = authority.server(&["127.0.0.1", "localhost"]);
        let accounts = rcgen::KeyPair::generate().unwrap();
        for (name, text) in [
            ("server.crt", &server.certificate),
            ("server.key", &server.key),
            ("accounts.key", &accounts.serialize_pem()),
            ("accounts.pub", &accounts.public_key_pem()),
            ("tokens.csv", &format!("{TOKEN},admin,admin,system:masters\n")),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let [etcd, peer, port] = free_ports();
        let watcher = watch_over(folder.path(), assets, [etcd, peer, port]);
        let pair = Pair { port, etcd, tls: authority.client_config(), _watcher: watcher };
        pair.wait_for("/readyz", &folder).await;
        // From here on the watcher clears the folder away.
        let _ = folder.keep();
        pair
    }

    async fn wait_for(&self, path: &str, folder: &TempDir) {
        for _ in 0..600 {
            if self.ask(Method::GET, path, None).await.is_ok_and(|(status, _)| status == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(folder.path().join("apiserver.log")).unwrap_or_default();
        let end: Vec<&str> = log.lines().rev().take(20).collect();
        panic!("kube-apiserver is not ready after a minute:\n{}", end.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }

    /// Makes the definitions that the embedded cluster has from the start, and waits until their kinds are served.
    async fn define(&self) {
        let api = Api::new(Clock::simulated(Timestamp::UNIX_EPOCH), 1);
        let mut collections = Vec::new();
        for object in api.list("customresourcedefinitions.apiextensions.k8s.io", None) {
            let (name, spec) = (&object["metadata"]["name"], &object["spec"]);
            let mut metadata = json!({ "name": name });
            if let Some(annotations) = object["metadata"].get("annotations") {
                metadata["annotations"] = annotations.clone();
            }
            let body = json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec,
            });
            let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
            let (status, answer) = self.ask(Method::POST, path, Some(&body)).await.unwrap();
            assert_eq!(status, 201, "{name}: {answer}");
            for version in spec["versions"].as_array().unwrap().iter().filter(|version| version["served"] == true) {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
                collections.push(format!("/apis/{group}/{}/{plural}", text(&version["name"])));
            }
        }
        for path in collections {
            for attempt in 0.. {
                let (status, answer) = self.ask(Method::GET, &path, None).await.unwrap();
                if status == 200 {
                    break;
                }
                assert!(attempt < 200, "{path} is not served: {answer}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Sends a request on a connection of its own.
    pub async fn send(&self, request: Request<Body>) -> std::io::Result<Response<Body>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
        let host = format!("127.0.0.1:{}", self.port);
        exchange(stream, &host, request).await
    }

    /// Sends JSON as the administrator; returns the status and what came.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> std::io::Result<(u16, String)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/json")
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
            .unwrap();
        read(self.send(request).await?).await
    }

    /// Throws away all versions of objects but the newest, as time does.
    pub async fn compact(&self) {
        let etcd = async |path: &str, body: Value| {
            let stream = TcpStream::connect(("127.0.0.1", self.etcd)).await?;
            let request = Request::builder().method(Method::POST).uri(path).body(Body::from(body.to_string())).unwrap();
            read(exchange(stream, "localhost", request).await?).await
        };
        let (_, answer) = etcd("/v3/kv/range", json!({ "key": "AA==" })).await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let body = json!({ "revision": answer["header"]["revision"], "physical": true });
        let (status, answer) = etcd("/v3/kv/compaction", body).await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
}

/// Sends a request over a stream, which ends with the answer's body.
async fn exchange<S>(stream: S, host: &str, mut request: Request<Body>) -> std::io::Result<Response<Body>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    request.headers_mut().insert("host", host.parse().unwrap());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse().unwrap();
    *request.uri_mut() = path;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(std::io::Error::other)?;
    Ok(answer.map(Body::new))
}

async fn read(answer: Response<Body>) -> std::io::Result<(u16, String)> {
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Starts the shell that starts the pair.
fn watch_over(folder: &Path, assets: &Path, ports: [u16; 3]) -> Child {
    Command::new("sh")
        .args(["-c", WATCHER, "sh"])
        .args([folder, assets])
        .args(ports.map(|port| port.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Out of the reach of Ctrl-C: it has to outlive the tests, for a moment.
        .process_group(0)
        .spawn()
        .unwrap()
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

#[test]
fn the_pair_ends_with_the_process_that_wanted_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, assets) = (tempfile::tempdir().unwrap().keep(), tempfile::tempdir().unwrap());
    let marks = tempfile::tempdir().unwrap();
    for program in ["etcd", "kube-apiserver"] {
        let path = assets.path().join(program);
        let text = format!(
            "#!/bin/sh\necho $$ >{0}/{program}.new\nmv {0}/{program}.new {0}/{program}\nexec sleep 1000\n",
            marks.path().display()
        );
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut watcher = watch_over(&folder, assets.path(), [0, 0, 0]);
    let process = |program: &str| std::fs::read_to_string(marks.path().join(program)).ok();
    let started = || ["etcd", "kube-apiserver"].map(process);
    let (mut pids, mut pauses) = (started(), 0);
    while pids.iter().any(Option::is_none) {
        assert!(pauses < 1000, "both are started");
        std::process::Command::new("sleep").arg("0.01").status().unwrap();
        (pids, pauses) = (started(), pauses + 1);
    }
    let alive = |pid: &Option<String>| Path::new("/proc").join(pid.as_deref().unwrap().trim()).exists();
    assert!(pids.iter().all(alive));
    // What the system does when this process is gone.
    drop(watcher.stdin.take());
    watcher.wait().unwrap();
    assert!(!pids.iter().any(alive), "both are gone");
    assert!(!folder.exists(), "and what they wrote");
}
