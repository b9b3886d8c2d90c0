//! Real clusters: certificates, tokens, plugins, service accounts and proxies, each against a server behind TLS.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use okgscript::clock::Clock;
use okgscript::cluster::{Cluster, Connect, kind};
use okgscript::diagnostic::{Diagnostic, Kind};
use serde_json::Value;

use super::tls::{Authority, Home, Options, Proxy, Server, cluster, data, text};

/// Connection options that read this kubeconfig and no environment.
fn options(kubeconfig: PathBuf) -> Connect {
    Connect { kubeconfig: Some(kubeconfig), variables: Default::default(), ..Connect::default() }
}

fn variables(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Reads the GameServerSet and returns its name.
async fn read(options: &Connect) -> Result<String, Diagnostic> {
    read_with(&Cluster::connect(options, Clock::wall()).await?).await
}

async fn read_with(cluster: &Cluster) -> Result<String, Diagnostic> {
    let set: Value = cluster.get(&kind::GAME_SERVER_SET, cluster.namespace(), "minecraft").await?;
    Ok(set["metadata"]["name"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_as_data_and_as_a_file() {
    let authority = Authority::new("private");
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"]))).await;
    let home = Home::new();
    let kubeconfig = home.kubeconfig(&cluster(&server, &authority), "");
    assert_eq!(read(&options(kubeconfig)).await.unwrap(), "minecraft");

    // A relative path is meant from the kubeconfig's folder.
    home.write("pki/ca.crt", &authority.certificate);
    let fields = format!("server: \"https://127.0.0.1:{}\", certificate-authority: pki/ca.crt", server.port);
    assert_eq!(read(&options(home.kubeconfig(&fields, ""))).await.unwrap(), "minecraft");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_cannot_be_trusted_are_named() {
    let (authority, other) = (Authority::new("private"), Authority::new("other"));
    let home = Home::new();
    let failure = async |pair, trusted: &Authority| {
        let server = Server::start(Options::new(pair)).await;
        let error = read(&options(home.kubeconfig(&cluster(&server, trusted), ""))).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable, "{}", error.draw(false));
        assert!(server.seen().is_empty(), "nothing was sent");
        error
    };
    let unknown = failure(authority.server(&["127.0.0.1"]), &other).await;
    assert_eq!(unknown.what, "the API server's certificate is not from an authority that is trusted here");
    assert!(unknown.help[0].contains("certificate-authority"), "{:?}", unknown.help);
    let expired = failure(authority.expired(&["127.0.0.1"]), &authority).await;
    assert_eq!(expired.what, "the API server's certificate has expired");
    let named = failure(authority.server(&["api.example"]), &authority).await;
    assert_eq!(named.what, "the API server's certificate is for another name");
    assert!(named.help[0].contains("tls-server-name"), "{:?}", named.help);

    // As the help says.
    let server = Server::start(Options::new(authority.server(&["api.example"]))).await;
    let fields = format!("{}, tls-server-name: api.example", cluster(&server, &authority));
    assert_eq!(read(&options(home.kubeconfig(&fields, ""))).await.unwrap(), "minecraft");
    // Without any authority, the machine's own are asked.
    let fields = format!("server: \"https://127.0.0.1:{}\"", server.port);
    let error = read(&options(home.kubeconfig(&fields, ""))).await.unwrap_err();
    assert_eq!(error.what, "the API server's certificate is not from an authority that is trusted here");
    let fields = format!("server: \"https://127.0.0.1:{}\", insecure-skip-tls-verify: true", server.port);
    assert_eq!(read(&options(home.kubeconfig(&fields, ""))).await.unwrap(), "minecraft");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_client_certificate_is_shown() {
    let (authority, users) = (Authority::new("private"), Authority::new("users"));
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"])).clients_of(&users)).await;
    let fields = cluster(&server, &authority);
    let home = Home::new();
    let pair = users.client("ci");

    let user = format!("client-certificate-data: {}, client-key-data: {}", data(&pair.certificate), data(&pair.key));
    assert_eq!(read(&options(home.kubeconfig(&fields, &user))).await.unwrap(), "minecraft");

    home.write("ci.crt", &pair.certificate);
    home.write("ci.key", &pair.key);
    let user = "client-certificate: ci.crt, client-key: ci.key";
    assert_eq!(read(&options(home.kubeconfig(&fields, user))).await.unwrap(), "minecraft");

    let missing = read(&options(home.kubeconfig(&fields, ""))).await.unwrap_err();
    assert_eq!(
        (missing.kind, missing.what.as_str()),
        (Kind::Unavailable, "the API server requires a client certificate")
    );
    let stranger = Authority::new("strangers").client("ci");
    let user =
        format!("client-certificate-data: {}, client-key-data: {}", data(&stranger.certificate), data(&stranger.key));
    let stranger = read(&options(home.kubeconfig(&fields, &user))).await.unwrap_err();
    assert_eq!(stranger.what, "the API server does not accept the client certificate");
    let broken = read(&options(home.kubeconfig(&fields, "client-certificate: none.crt, client-key: ci.key"))).await;
    let broken = broken.unwrap_err();
    assert_eq!(broken.what, "context `test` cannot be used");
    assert!(broken.why[0].contains("none.crt"), "{:?}", broken.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_sent_and_refused_ones_are_told() {
    let authority = Authority::new("private");
    let tokens = Arc::new(Mutex::new(vec!["good"]));
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"])).tokens(&tokens)).await;
    let fields = cluster(&server, &authority);
    let home = Home::new();
    assert_eq!(read(&options(home.kubeconfig(&fields, "token: good"))).await.unwrap(), "minecraft");
    let error = read(&options(home.kubeconfig(&fields, "token: old"))).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unauthorized);
    assert_eq!(error.kind.exit_code() as u8, 6);
    assert_eq!(error.context.as_deref(), Some("context `test`"));
    assert_eq!(server.authorizations(), ["Bearer good", "Bearer old"], "a fixed token is not tried twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_is_read_again_when_its_token_is_refused() {
    let authority = Authority::new("private");
    let tokens = Arc::new(Mutex::new(vec!["first"]));
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"])).tokens(&tokens)).await;
    let home = Home::new();
    let file = home.write("token", "first\n");
    let options = options(home.kubeconfig(&cluster(&server, &authority), "tokenFile: token"));
    let it = Cluster::connect(&options, Clock::wall()).await.unwrap();
    assert_eq!(read_with(&it).await.unwrap(), "minecraft");

    *tokens.lock().unwrap() = vec!["second"];
    std::fs::write(&file, "second\n").unwrap();
    assert_eq!(read_with(&it).await.unwrap(), "minecraft");
    assert_eq!(server.authorizations(), ["Bearer first", "Bearer first", "Bearer second"]);

    *tokens.lock().unwrap() = vec!["third"];
    let error = read_with(&it).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unauthorized);
    assert_eq!(server.authorizations().len(), 4, "the same token is not tried twice");
    let entries = it.journal().entries();
    assert_eq!(entries.len(), 3, "a request that was sent again is one request: {entries:?}");
}

/// Writes a plugin that counts its runs and prints the token of that number, with these further fields.
fn plugin(home: &Home, fields: &str) -> PathBuf {
    home.program(
        "bin/login",
        &format!(
            "#!/bin/sh\n\
             echo \"$KUBERNETES_EXEC_INFO $GREETING $*\" >> \"$(dirname \"$0\")/runs\"\n\
             n=$(wc -l < \"$(dirname \"$0\")/runs\" | tr -d ' ')\n\
             printf '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"token-%s\"{fields}}}}}' \"$n\"\n"
        ),
    )
}

const PLUGIN: &str = "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./bin/login, args: [--for, ci], \
                      env: [{name: GREETING, value: hello}], interactiveMode: Never, provideClusterInfo: true}";

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_run_again_when_its_token_is_refused() {
    let authority = Authority::new("private");
    let tokens = Arc::new(Mutex::new(vec!["token-2"]));
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"])).tokens(&tokens)).await;
    let home = Home::new();
    plugin(&home, "");
    let options = options(home.kubeconfig(&cluster(&server, &authority), PLUGIN));
    let it = Cluster::connect(&options, Clock::wall()).await.unwrap();
    assert!(!home.path("bin/runs").exists(), "nobody is asked before the first request");
    assert_eq!(read_with(&it).await.unwrap(), "minecraft");
    assert_eq!(read_with(&it).await.unwrap(), "minecraft");
    assert_eq!(server.authorizations(), ["Bearer token-1", "Bearer token-2", "Bearer token-2"]);

    let runs = std::fs::read_to_string(home.path("bin/runs")).unwrap();
    let first = runs.lines().next().unwrap();
    assert!(first.ends_with("hello --for ci"), "{first}");
    let info: Value = serde_json::from_str(first.strip_suffix(" hello --for ci").unwrap()).unwrap();
    assert_eq!(info["spec"]["interactive"], false);
    assert_eq!(info["spec"]["cluster"]["server"], format!("https://127.0.0.1:{}", server.port));
    assert_eq!(info["spec"]["cluster"]["certificate-authority-data"], data(&authority.certificate));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_refused_for_an_old_token_is_done_once() {
    let authority = Authority::new("private");
    let tokens = Arc::new(Mutex::new(vec!["token-2"]));
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"])).tokens(&tokens)).await;
    let home = Home::new();
    plugin(&home, "");
    let options = options(home.kubeconfig(&cluster(&server, &authority), PLUGIN));
    let it = Cluster::connect(&options, Clock::wall()).await.unwrap();
    let patch = okgscript::cluster::Patch::Merge(serde_json::json!({ "spec": { "replicas": 4 } }));
    let set: Value = it.patch(&kind::GAME_SERVER_SET, "default", "minecraft", None, &patch).await.unwrap();
    assert_eq!(set["spec"]["replicas"], 4);
    assert_eq!(server.seen().iter().filter(|seen| seen.method == "PATCH").count(), 2);
    let writes = it.journal().writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].status, Some(200));
    assert_eq!(writes[0].version.as_deref(), set["metadata"]["resourceVersion"].as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_run_again_before_a_token_that_has_expired_is_sent() {
    let authority = Authority::new("private");
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"]))).await;
    let home = Home::new();
    plugin(&home, ",\"expirationTimestamp\":\"2020-01-01T00:00:00Z\"");
    let expired = options(home.kubeconfig(&cluster(&server, &authority), PLUGIN));
    let it = Cluster::connect(&expired, Clock::wall()).await.unwrap();
    read_with(&it).await.unwrap();
    let first = server.authorizations();
    plugin(&home, ",\"expirationTimestamp\":\"2099-01-01T00:00:00Z\"");
    read_with(&it).await.unwrap();
    read_with(&it).await.unwrap();
    let later = server.authorizations();
    assert_ne!(first[0], later[1], "an expired token was sent");
    assert_eq!(later[1], later[2], "a token that is good is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_may_give_a_client_certificate() {
    let (authority, users) = (Authority::new("private"), Authority::new("users"));
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"])).clients_of(&users)).await;
    let home = Home::new();
    let pair = users.client("ci");
    let credential = serde_json::json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": { "clientCertificateData": pair.certificate, "clientKeyData": pair.key },
    });
    home.write("credential.json", &credential.to_string());
    home.program("bin/login", "#!/bin/sh\ncat \"$(dirname \"$0\")/../credential.json\"\n");
    let options = options(home.kubeconfig(&cluster(&server, &authority), PLUGIN));
    assert_eq!(read(&options).await.unwrap(), "minecraft");
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_that_fail_are_told_with_their_words() {
    let authority = Authority::new("private");
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"]))).await;
    let home = Home::new();
    let options = options(home.kubeconfig(&cluster(&server, &authority), PLUGIN));
    let error = read(&options).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.what.contains("bin/login` does not start"), "{}", error.what);

    home.program("bin/login", "#!/bin/sh\necho 'session has ended, run: corp login' >&2\nexit 3\n");
    let error = read(&options).await.unwrap_err();
    assert!(error.what.contains("gave no credentials"), "{}", error.what);
    assert!(error.why[0].contains("session has ended, run: corp login"), "{:?}", error.why);

    home.program("bin/login", "#!/bin/sh\necho hello\n");
    let error = read(&options).await.unwrap_err();
    assert!(error.what.contains("gave no credentials"), "{}", error.what);
    assert!(server.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_uses_its_service_account_and_follows_its_token() {
    let authority = Authority::new("private");
    let tokens = Arc::new(Mutex::new(vec!["pod-1"]));
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"])).tokens(&tokens)).await;
    let home = Home::new();
    let folder = "var/run/secrets/kubernetes.io/serviceaccount";
    home.write(&format!("{folder}/ca.crt"), &authority.certificate);
    home.write(&format!("{folder}/namespace"), "default\n");
    home.write(&format!("{folder}/token"), "pod-1");
    let port = server.port.to_string();
    let options = Connect {
        variables: variables(&[("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", &port)]),
        root: home.folder.path().to_owned(),
        ..Connect::default()
    };
    let it = Cluster::connect(&options, Clock::wall()).await.unwrap();
    assert_eq!((it.context(), it.namespace()), ("in-cluster", "default"));
    assert_eq!(read_with(&it).await.unwrap(), "minecraft");
    *tokens.lock().unwrap() = vec!["pod-2"];
    home.write(&format!("{folder}/token"), "pod-2");
    assert_eq!(read_with(&it).await.unwrap(), "minecraft");
    assert_eq!(server.authorizations(), ["Bearer pod-1", "Bearer pod-1", "Bearer pod-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_are_used_where_they_are_meant() {
    let authority = Authority::new("private");
    let server = Server::start(Options::new(authority.server(&["api.example", "127.0.0.1"]))).await;
    let proxy = Proxy::start(server.port).await;
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let home = Home::new();
    let ca = data(&authority.certificate);
    let named = format!("server: \"https://api.example:6443\", certificate-authority-data: {ca}");
    let tunnels = || std::mem::take(&mut *proxy.tunnels.lock().unwrap());

    // Nobody but the proxy knows the way to this name.
    let mut it = options(home.kubeconfig(&named, ""));
    it.variables = variables(&[("HTTPS_PROXY", &address)]);
    assert_eq!(read(&it).await.unwrap(), "minecraft");
    assert_eq!(tunnels(), ["api.example:6443"]);

    // Several requests go through one tunnel.
    let connected = Cluster::connect(&it, Clock::wall()).await.unwrap();
    for _ in 0..3 {
        read_with(&connected).await.unwrap();
        // The connection is free for the next request a little after the answer.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(tunnels().len(), 1);

    it.variables = variables(&[("HTTPS_PROXY", &address), ("NO_PROXY", "10.0.0.0/8,.example")]);
    let error = read(&it).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable, "the name leads nowhere without the proxy");
    assert!(tunnels().is_empty());

    // `proxy-url` is obeyed for any server, and `NO_PROXY` is not about it.
    let local = format!("{}, proxy-url: \"{address}\"", cluster(&server, &authority));
    let mut it = options(home.kubeconfig(&local, ""));
    it.variables = variables(&[("NO_PROXY", "*"), ("HTTPS_PROXY", "http://127.0.0.1:1")]);
    assert_eq!(read(&it).await.unwrap(), "minecraft");
    assert_eq!(tunnels(), [format!("127.0.0.1:{}", server.port)]);

    // A server on this machine is reached without the environment's proxy.
    let mut it = options(home.kubeconfig(&cluster(&server, &authority), ""));
    it.variables = variables(&[("HTTPS_PROXY", "http://127.0.0.1:1")]);
    assert_eq!(read(&it).await.unwrap(), "minecraft");

    it.variables = variables(&[]);
    it.kubeconfig = Some(home.kubeconfig(&format!("{named}, proxy-url: \"socks5://127.0.0.1:1\""), ""));
    let error = read(&it).await.unwrap_err();
    assert!(error.what.contains("proxy-url"), "{}", error.what);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_cannot_be_reached_are_told() {
    let home = Home::new();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let it = options(home.kubeconfig(&format!("server: \"https://127.0.0.1:{port}\""), ""));
    let error = read(&it).await.unwrap_err();
    assert_eq!((error.kind, error.kind.exit_code() as u8), (Kind::Unavailable, 6));
    assert_eq!(error.what, "the API server of context `test` cannot be reached");
    let expected = format!("`https://127.0.0.1:{port}/`: tcp connect error: Connection refused (os error 111)");
    assert_eq!(error.why, [expected]);
    assert!(error.help.iter().any(|help| help.contains("--sandbox")), "{:?}", error.help);

    // A write that never left is not one of which nobody knows the end.
    let cluster = Cluster::connect(&it, Clock::wall()).await.unwrap();
    let patch = okgscript::cluster::Patch::Merge(serde_json::json!({}));
    let write = cluster.patch::<Value>(&kind::GAME_SERVER_SET, "default", "minecraft", None, &patch).await;
    assert_eq!(write.unwrap_err().kind, Kind::Unavailable);

    let it = options(home.kubeconfig("server: \"https://no-such-host.invalid:6443\"", ""));
    assert_eq!(read(&it).await.unwrap_err().what, "the API server of context `test` cannot be reached");

    // A server that takes the connection and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut it = options(home.kubeconfig(&format!("server: \"http://127.0.0.1:{port}\""), ""));
    it.request_timeout = Some(Duration::from_millis(200));
    let error = read(&it).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.help.iter().any(|help| help.contains("--request-timeout")), "{:?}", error.help);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_missing_are_told_with_the_servers_words() {
    let authority = Authority::new("private");
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"])).guard(|_| Some(403))).await;
    let home = Home::new();
    let error = read(&options(home.kubeconfig(&cluster(&server, &authority), ""))).await.unwrap_err();
    assert_eq!(error.kind, Kind::Forbidden);
    assert_eq!(error.what, "not allowed to get GameServerSet `default/minecraft`");
    assert!(error.why[0].contains("User \"ci\" cannot get it"), "{:?}", error.why);
    assert!(error.help[0].contains("okgscript rbac"), "{:?}", error.help);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_may_be_acted_for() {
    let authority = Authority::new("private");
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"]))).await;
    let home = Home::new();
    let mut it = options(home.kubeconfig(&cluster(&server, &authority), ""));
    it.as_user = Some("ops".to_owned());
    it.as_groups = vec!["games".to_owned(), "oncall".to_owned()];
    read(&it).await.unwrap();
    assert_eq!(server.seen()[0].impersonated, ["ops", "games", "oncall"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_installed_and_what_does_not_exist_are_two_things() {
    let authority = Authority::new("private");
    let server = Server::start(
        Options::new(authority.server(&["127.0.0.1"])).guard(|it| it.uri().path().contains("keda.sh").then_some(404)),
    )
    .await;
    let home = Home::new();
    let it = options(home.kubeconfig(&cluster(&server, &authority), ""));
    let it = Cluster::connect(&it, Clock::wall()).await.unwrap();
    let error = it.get::<Value>(&kind::GAME_SERVER_SET, "default", "minecart").await.unwrap_err();
    assert_eq!((error.kind, error.kind.exit_code() as u8), (Kind::NotFound, 1));
    assert_eq!(error.what, "there is no GameServerSet `default/minecart`");
    assert_eq!(it.find::<Value>(&kind::GAME_SERVER_SET, "default", "minecart").await.unwrap(), None);
    let error = it.get::<Value>(&kind::SCALED_OBJECT, "default", "minecraft").await.unwrap_err();
    assert_eq!((error.kind, error.kind.exit_code() as u8), (Kind::NotInstalled, 6));
    assert!(error.what.starts_with("KEDA is not installed"), "{}", error.what);
    let other = okgscript::cluster::Kind { group: "no.such.group".into(), ..kind::GAME_SERVER };
    let error = it.get::<Value>(&other, "default", "a").await.unwrap_err();
    assert_eq!(error.kind, Kind::NotInstalled, "{}", error.draw(false));
}

#[tokio::test]
async fn kubeconfigs_are_chosen_as_kubectl_chooses_them() {
    let connect = async |it: &Connect| Cluster::connect(it, Clock::wall()).await;
    let home = Home::new();
    let one = home.write(
        "one",
        "current-context: dev\ncontexts:\n- {name: dev, context: {cluster: dev, namespace: games}}\n\
         clusters:\n- {name: dev, cluster: {server: \"https://dev.example\"}}\n",
    );
    let two = home.write(
        "two",
        "current-context: prod-eu\ncontexts:\n- {name: prod-eu, context: {cluster: prod, user: ops}}\n\
         clusters:\n- {name: prod, cluster: {server: \"https://prod.example\"}}\n- {name: dev, cluster: {server: \"https://other.example\"}}\n",
    );
    let list = format!("{}:{}:{}", text(&home.path("missing")), text(&one), text(&two));
    let several = Connect { variables: variables(&[("KUBECONFIG", &list)]), ..Connect::default() };
    let it = connect(&several).await.unwrap();
    assert_eq!((it.context(), it.namespace(), it.server()), ("dev", "games", "https://dev.example/"));

    let prod = Connect { context: Some("prod-eu".into()), namespace: Some("rooms".into()), ..several.clone() };
    let it = connect(&prod).await.unwrap();
    assert_eq!((it.context(), it.namespace(), it.server()), ("prod-eu", "rooms", "https://prod.example/"));

    let error = connect(&Connect { context: Some("prod-ue".into()), ..several.clone() }).await.unwrap_err();
    assert_eq!((error.kind, error.kind.exit_code() as u8), (Kind::NoCluster, 6));
    assert!(error.why[0].contains("contexts: dev, prod-eu"), "{:?}", error.why);
    assert_eq!(error.help, ["did you mean `prod-eu`?"]);

    home.write(".kube/config", &std::fs::read_to_string(&two).unwrap());
    let at_home = Connect { variables: variables(&[("HOME", text(home.folder.path()))]), ..Connect::default() };
    assert_eq!(connect(&at_home).await.unwrap().context(), "prod-eu");

    let none = Connect { variables: variables(&[("HOME", "/nonexistent")]), ..Connect::default() };
    let error = connect(&none).await.unwrap_err();
    assert_eq!((error.kind, error.what.as_str()), (Kind::NoCluster, "no cluster is configured"));
    assert!(error.help[0].contains("--sandbox"), "{:?}", error.help);

    let broken = home.write("broken", "contexts: [\n  - {name");
    let error = connect(&options(broken.clone())).await.unwrap_err();
    assert_eq!((error.kind, error.kind.exit_code() as u8), (Kind::Missing, 2));
    assert!(error.what.contains(text(&broken)), "{}", error.what);
    let error = connect(&options(home.path("missing"))).await.unwrap_err();
    assert_eq!(error.kind, Kind::Missing);
    let dangling = home.write("dangling", "current-context: a\ncontexts:\n- {name: a, context: {cluster: gone}}\n");
    let error = connect(&options(dangling)).await.unwrap_err();
    assert!(error.why[0].contains("gone"), "{:?}", error.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let refused = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let length = client.read(&mut head).await.unwrap();
        let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let home = Home::new();
    let proxy = format!("http://ops:s%40cret@127.0.0.1:{port}");
    let it = options(home.kubeconfig(&format!("server: \"https://api.example:6443\", proxy-url: \"{proxy}\""), ""));
    let error = read(&it).await.unwrap_err();
    assert!(error.what.contains("does not lead to the API server of context `test`"), "{}", error.what);
    let named = format!("`https://api.example:6443/` through the proxy `http://127.0.0.1:{port}`");
    assert!(error.why[0].starts_with(&named), "{:?}", error.why);
    assert!(!error.draw(false).contains("cret"));
    // `ops:s@cret`
    let head = refused.await.unwrap();
    assert!(head.contains("Basic b3BzOnNAY3JldA=="), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlives_its_server() {
    #[derive(serde::Deserialize)]
    struct Lite {
        spec: Spec,
    }
    #[derive(serde::Deserialize)]
    struct Spec {
        replicas: u64,
    }
    let authority = Authority::new("private");
    let server = Server::start(Options::new(authority.server(&["127.0.0.1"]))).await;
    let home = Home::new();
    let it = options(home.kubeconfig(&cluster(&server, &authority), ""));
    let it = Cluster::connect(&it, Clock::wall()).await.unwrap();
    let mut sets = it.collection::<Lite>(&kind::GAME_SERVER_SET, "default", &okgscript::cluster::Selector::all());
    sets.start().await.unwrap();
    let port = server.port;
    let api = server.stop().await;
    let actor = okgscript::sandbox::object::Actor::controller("test");
    let patch = okgscript::sandbox::object::Patch::Merge(serde_json::json!({ "spec": { "replicas": 7 } }));
    api.patch(&actor, "gameserversets.game.kruise.io", "", "default", "minecraft", &patch).unwrap();
    let _server = Server::start(Options::new(authority.server(&["127.0.0.1"])).again(port, api)).await;
    let seen = async {
        while sets.items()["minecraft"].spec.replicas != 7 {
            sets.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap();
    let lists = it.journal().entries().iter().filter(|entry| entry.path.contains("limit=")).count();
    assert_eq!(lists, 1, "what was missed was told by the watch");
}
