//! The binary on clusters behind TLS: what a user sees.

use std::sync::{Arc, Mutex};

use okgscript::clock::Clock;
use okgscript::sandbox::{Options as SandboxOptions, Sandbox};

use super::tls::{Authority, Home, Options, Proxy, Server, cluster, data, text};
use crate::support::Test;

/// A call that reads one GameServerSet.
fn reads() -> Test {
    Test::new().args(["eval", r#"gss_get("minecraft").name"#])
}

/// The same, with a kubeconfig.
fn reads_with(kubeconfig: &std::path::Path) -> Test {
    reads().args(["--kubeconfig", text(kubeconfig)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_runs_on_a_cluster_that_requires_client_certificates() {
    let options = SandboxOptions { speed: 20.0, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(&options, Clock::wall()).await.unwrap();
    let (authority, users) = (Authority::new("private"), Authority::new("users"));
    let options = Options::new(authority.server(&["127.0.0.1"])).clients_of(&users).routes(sandbox.router());
    let server = Server::start(options).await;
    let home = Home::new();
    let pair = users.client("ci");
    let user = format!("client-certificate-data: {}, client-key-data: {}", data(&pair.certificate), data(&pair.key));
    let kubeconfig = home.kubeconfig(&cluster(&server, &authority), &user);
    let before = sandbox.api().list("gameservers.game.kruise.io", Some("default")).len();
    Test::new()
        .args(["run", "lossless_release", "--gss", "minecraft", "--image", "acs/minecraft-demo:1.12.2-new"])
        .args(["--drain", "fast", "--kubeconfig", text(&kubeconfig)])
        .stdout_has("WaitToBeDeleted")
        .stderr_any()
        .ok();
    let set = sandbox.api().get("gameserversets.game.kruise.io", "default", "minecraft").unwrap();
    assert_eq!(set["spec"]["gameServerTemplate"]["spec"]["containers"][0]["image"], "acs/minecraft-demo:1.12.2-new");
    assert!(sandbox.api().list("gameservers.game.kruise.io", Some("default")).len() > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_names_the_kubeconfig() {
    let authority = Authority::new("private");
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"]))).await;
    let home = Home::new();
    let kubeconfig = home.kubeconfig(&cluster(&server, &authority), "");
    let list = format!("{}:{}", text(&home.path("none")), text(&kubeconfig));
    reads().env("KUBECONFIG", list).stdout_has("minecraft").ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugins_second_token_is_fetched_when_the_first_is_refused() {
    let authority = Authority::new("private");
    let tokens = Arc::new(Mutex::new(vec!["token-2"]));
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"])).tokens(&tokens)).await;
    let home = Home::new();
    home.program(
        "bin/login",
        "#!/bin/sh\necho x >> \"$(dirname \"$0\")/runs\"\nn=$(wc -l < \"$(dirname \"$0\")/runs\" | tr -d ' ')\n\
         printf '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"token-%s\"}}' \"$n\"\n",
    );
    let plugin = "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./bin/login, interactiveMode: Never}";
    let kubeconfig = home.kubeconfig(&cluster(&server, &authority), plugin);
    reads_with(&kubeconfig).stdout_has("minecraft").stderr_any().ok();
    assert_eq!(server.authorizations()[..2], ["Bearer token-1", "Bearer token-2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_needs_no_kubeconfig() {
    let authority = Authority::new("private");
    let tokens = Arc::new(Mutex::new(vec!["pod"]));
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"])).tokens(&tokens)).await;
    let home = Home::new();
    let folder = "var/run/secrets/kubernetes.io/serviceaccount";
    home.write(&format!("{folder}/ca.crt"), &authority.certificate);
    home.write(&format!("{folder}/namespace"), "default");
    home.write(&format!("{folder}/token"), "pod\n");
    reads()
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", server.port.to_string())
        .env("OKGSCRIPT_ROOT", home.folder.path())
        .stdout_has("minecraft")
        .stderr_any()
        .ok();
    assert_eq!(server.authorizations()[0], "Bearer pod");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_leads_through_the_proxy() {
    let authority = Authority::new("private");
    let server = Server::start(Options::new(authority.server(&["api.example"]))).await;
    let proxy = Proxy::start(server.port).await;
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let home = Home::new();
    let ca = data(&authority.certificate);
    let named = format!("server: \"https://api.example\", certificate-authority-data: {ca}");
    let kubeconfig = home.kubeconfig(&named, "");
    reads_with(&kubeconfig).env("HTTPS_PROXY", &address).stdout_has("minecraft").stderr_any().ok();
    let tunnels = std::mem::take(&mut *proxy.tunnels.lock().unwrap());
    assert!(!tunnels.is_empty() && tunnels.iter().all(|tunnel| tunnel == "api.example:443"), "{tunnels:?}");

    let named = format!("{named}, proxy-url: \"{address}\"");
    let kubeconfig = home.kubeconfig(&named, "");
    reads_with(&kubeconfig).stdout_has("minecraft").stderr_any().ok();
    assert!(!proxy.tunnels.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cluster_refuses_ends_with_its_words_and_an_exit_code() {
    let (authority, other) = (Authority::new("private"), Authority::new("other"));
    let home = Home::new();
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"]))).await;
    let kubeconfig = home.kubeconfig(&cluster(&server, &other), "");
    reads_with(&kubeconfig)
        .stdout_any()
        .stderr_has("error[unavailable]: the API server's certificate is not from an authority that is trusted here")
        .stderr_has("context `test`")
        .stderr_has("certificate-authority-data")
        .code(6);
    Test::new()
        .script(r#"gss_get("minecraft");"#)
        .args(["run", "a.rhai", "--kubeconfig", text(&kubeconfig)])
        .stdout_any()
        .stderr_has("error[unavailable]: the API server's certificate is not from an authority that is trusted here")
        .stderr_has("nothing was changed")
        .code(6);

    let kubeconfig = home.kubeconfig(&cluster(&server, &authority), "");
    Test::new()
        .script(r#"print(gss_get("minecart").name);"#)
        .args(["run", "a.rhai", "--kubeconfig", text(&kubeconfig)])
        .stdout_any()
        .stderr_has("error[not-found]")
        .stderr_has("minecart")
        .code(1);

    for (status, path, head) in [
        (401, "", "error[unauthorized]"),
        (403, "game.kruise.io", "error[forbidden]: not allowed to get GameServerSet"),
    ] {
        let guarded = Options::new(authority.server(&["127.0.0.1"]))
            .guard(move |request| request.uri().path().contains(path).then_some(status));
        let server = Server::start(guarded).await;
        let kubeconfig = home.kubeconfig(&cluster(&server, &authority), "");
        reads_with(&kubeconfig).stdout_any().stderr_has(head).code(6);
    }

    // A cluster without OKG does not know the group.
    let bare = Options::new(authority.server(&["127.0.0.1"]))
        .guard(|request| request.uri().path().contains("game.kruise.io").then_some(404));
    let server = Server::start(bare).await;
    let kubeconfig = home.kubeconfig(&cluster(&server, &authority), "");
    reads_with(&kubeconfig)
        .stdout_any()
        .stderr_has("error[not-installed]: OpenKruiseGame is not installed on this cluster")
        .stderr_has("--sandbox")
        .code(6);
}

#[test]
fn clusters_that_cannot_be_found_end_with_an_exit_code() {
    reads()
        .stdout_any()
        .stderr_has("error[no-cluster]: no cluster is configured")
        .stderr_has("`--sandbox` runs this on the embedded cluster")
        .code(6);

    let home = Home::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kubeconfig = home.kubeconfig(&format!("server: \"https://127.0.0.1:{port}\""), "");
    reads_with(&kubeconfig)
        .stdout_any()
        .stderr_has("error[unavailable]: the API server of context `test` cannot be reached")
        .stderr_has("Connection refused")
        .code(6);
    reads_with(&kubeconfig)
        .args(["--context", "tset"])
        .stdout_any()
        .stderr_has("error[no-cluster]: there is no context `tset`")
        .stderr_has("did you mean `test`?")
        .code(6);

    let broken = home.write("broken", "contexts: [\n  - {name");
    reads_with(&broken).stdout_any().stderr_has("error[missing]").stderr_has("cannot be read").code(2);
    reads_with(&home.path("none")).stdout_any().stderr_has("there is no kubeconfig").code(2);
}
