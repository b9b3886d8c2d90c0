//! Two servers for one suite: the embedded one, and a real kube-apiserver.

mod pair;

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response};
use okgscript::clock::Clock;
use okgscript::cluster::Cluster;
use okgscript::sandbox::api::Api;
use okgscript::sandbox::routes::{HttpOptions, router};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};
use tower::ServiceExt as _;

use self::pair::Pair;

/// The administrator's token on both servers.
pub const TOKEN: &str = "conformance-token";

/// One of the two, for one test.
#[derive(Clone)]
pub struct Server {
    way: Way,
    clock: Clock,
}

#[derive(Clone)]
enum Way {
    Embedded(axum::Router),
    /// With the right to be the only test there.
    Real(&'static Pair, #[expect(dead_code, reason = "held, not read")] Arc<MutexGuard<'static, ()>>),
}

static TURN: Mutex<()> = Mutex::const_new(());

/// Declares tests that run on each server: `async fn name(server: Server)` beside it.
macro_rules! on_both_servers {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name($crate::envtest::Server::embedded()).await;
            })+
        }

        mod real {
            $(#[tokio::test]
            #[cfg_attr(not(real_server), ignore = "no real API server: KUBEBUILDER_ASSETS is not set, see tests/envtest")]
            async fn $name() {
                super::$name($crate::envtest::Server::real().await).await;
            })+
        }
    };
}
pub(crate) use on_both_servers;

impl Server {
    /// Returns an embedded server that nobody has used, without controllers.
    pub fn embedded() -> Server {
        let clock = Clock::simulated("2026-11-23T10:00:00Z".parse().unwrap());
        let options = HttpOptions { token: Some(TOKEN.into()), ..HttpOptions::default() };
        Server { way: Way::Embedded(router(Api::new(clock, 1), options)), clock }
    }

    /// Returns the real server, when no other test is using it; other tests have left their objects there.
    pub async fn real() -> Server {
        let turn = Arc::new(TURN.lock().await);
        Server { way: Way::Real(Pair::get().await, turn), clock: Clock::wall() }
    }

    pub fn is_real(&self) -> bool {
        matches!(self.way, Way::Real(..))
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, String> {
        match &self.way {
            Way::Embedded(router) => Ok(router.clone().oneshot(request).await.unwrap_or_else(|never| match never {})),
            Way::Real(pair, _) => pair.send(request).await.map_err(|error| error.to_string()),
        }
    }

    /// Returns a client of it: the administrator, in this namespace.
    pub fn cluster(&self, namespace: &str) -> Cluster {
        self.client(None, namespace)
    }

    /// Returns a client for which the administrator acts as this user.
    pub fn cluster_of(&self, user: &str, namespace: &str) -> Cluster {
        self.client(Some(user.to_owned()), namespace)
    }

    fn client(&self, user: Option<String>, namespace: &str) -> Cluster {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (server, user) = (server.clone(), user.clone());
            async move {
                let mut request = request.map(Body::new);
                let headers = request.headers_mut();
                headers.insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
                if let Some(user) = user {
                    headers.insert("impersonate-user", user.parse().unwrap());
                }
                server.send(request).await.map_err(std::io::Error::other)
            }
        });
        Cluster::in_process(service, namespace, "test", self.clock)
    }

    /// Makes a namespace that is the test's own, and returns the administrator's client in it.
    pub async fn namespace(&self, name: &str) -> Cluster {
        let cluster = self.cluster(name);
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let kind = cluster.resolve("namespaces").await.unwrap();
        let made: Result<serde_json::Value, _> = cluster.create(&kind, "", &body).await;
        made.unwrap_or_else(|error| panic!("namespace {name}: {error:?}"));
        cluster
    }

    /// Lets old versions be forgotten, where that can be asked for.
    pub async fn compact(&self) {
        if let Way::Real(pair, _) = &self.way {
            pair.compact().await;
        }
    }
}
