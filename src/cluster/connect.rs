//! Which cluster, as whom: kubeconfig files, a service account, and the flags that change them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};

use super::credentials::Source;
use super::errors::{Origin, chain};
use super::proxy;
use crate::diagnostic::{Diagnostic, Kind, closest};

/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

/// What decides on the cluster and the user. The default reads the environment and nothing else.
#[derive(Clone, Debug)]
pub struct Connect {
    /// `--kubeconfig`: the only file to read.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
    /// `--namespace`.
    pub namespace: Option<String>,
    /// `--as`.
    pub as_user: Option<String>,
    /// `--as-group`.
    pub as_groups: Vec<String>,
    /// `--request-timeout`.
    pub request_timeout: Option<Duration>,
    /// Environment variables: `KUBECONFIG`, `HOME`, `HTTPS_PROXY`, `NO_PROXY`, `KUBERNETES_SERVICE_HOST`, …
    pub variables: BTreeMap<String, String>,
    /// Folder under which the service account's files lie: `/`, or what `OKGSCRIPT_ROOT` says.
    pub root: PathBuf,
}

impl Default for Connect {
    fn default() -> Connect {
        let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((key.into_string().ok()?, value.into_string().ok()?))
        };
        let variables: BTreeMap<String, String> = std::env::vars_os().filter_map(text).collect();
        let root = variables.get("OKGSCRIPT_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        Connect {
            kubeconfig: None,
            context: None,
            namespace: None,
            as_user: None,
            as_groups: Vec::new(),
            request_timeout: None,
            variables,
            root,
        }
    }
}

/// One cluster and one user, found.
#[derive(Debug)]
pub(super) struct Target {
    /// The client's configuration, without what changes while we run.
    pub(super) config: kube::Config,
    /// What changes.
    pub(super) source: Source,
    pub(super) context: String,
    pub(super) namespace: String,
    pub(super) server: String,
}

impl Target {
    /// Returns what diagnostics say of the way to the server; a proxy's password stays out.
    pub(super) fn origin(&self) -> Origin {
        let proxy = self.config.proxy_url.as_ref().map(|proxy| {
            let host = proxy.authority().map_or("", |it| it.as_str().rsplit('@').next().unwrap_or_default());
            format!("{}://{host}", proxy.scheme_str().unwrap_or("http"))
        });
        Origin { context: self.context.clone(), server: self.server.clone(), proxy }
    }

    /// Makes a diagnostic of a configuration of which no client can be made.
    pub(super) fn unusable(&self, error: &kube::Error) -> Diagnostic {
        Diagnostic::new(Kind::Unavailable, format!("context `{}` cannot be used", self.context))
            .why(chain(error))
            .help("correct the user or cluster of this context in the kubeconfig")
    }
}

impl Connect {
    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Finds the cluster: the kubeconfig that was named, those of `KUBECONFIG`, the one at home, or the pod's own.
    pub(super) fn target(&self) -> Result<Target, Diagnostic> {
        let mut target = match self.kubeconfig()? {
            Some((kubeconfig, files)) => self.of_kubeconfig(kubeconfig, &files)?,
            None => self.of_service_account()?.ok_or_else(|| self.no_cluster())?,
        };
        target.source = Source::take(&mut target.config.auth_info);
        let plain = |uri: &http::Uri| uri.scheme_str() == Some("http");
        if plain(&target.config.cluster_url) && target.config.proxy_url.as_ref().is_none_or(plain) {
            // Without TLS nobody's roots are needed, and reading the machine's takes its time.
            target.config.root_cert.get_or_insert_default();
        }
        if let Some(user) = &self.as_user {
            target.config.auth_info.impersonate = Some(user.clone());
        }
        if !self.as_groups.is_empty() {
            target.config.auth_info.impersonate_groups = Some(self.as_groups.clone());
        }
        if let Some(namespace) = self.namespace.as_ref().filter(|namespace| !namespace.is_empty()) {
            target.namespace.clone_from(namespace);
        }
        Ok(target)
    }

    /// Reads the kubeconfig files; nothing when there is none to read.
    fn kubeconfig(&self) -> Result<Option<(Kubeconfig, Vec<PathBuf>)>, Diagnostic> {
        let files = if let Some(file) = &self.kubeconfig {
            if !file.exists() {
                return Err(Diagnostic::new(Kind::Missing, format!("there is no kubeconfig `{}`", file.display()))
                    .help("`--kubeconfig` names it; without it, `KUBECONFIG` and `~/.kube/config` are read"));
            }
            vec![file.clone()]
        } else if let Some(list) = self.variable("KUBECONFIG") {
            std::env::split_paths(list).filter(|path| path.is_file()).collect()
        } else if let Some(home) = self.variable("HOME") {
            vec![Path::new(home).join(".kube/config")].into_iter().filter(|path| path.is_file()).collect()
        } else {
            Vec::new()
        };
        let mut merged = Kubeconfig::default();
        for file in &files {
            let next = Kubeconfig::read_from(file).map_err(|error| {
                Diagnostic::new(Kind::Missing, format!("the kubeconfig `{}` cannot be read", file.display()))
                    .why(chain(&error))
                    .help("`kubectl config view` shows what kubectl makes of it")
            })?;
            merged = merged.merge(next).map_err(|error| {
                Diagnostic::new(Kind::Missing, format!("`{}` does not fit the other kubeconfigs", file.display()))
                    .why(chain(&error))
            })?;
        }
        let empty = merged.contexts.is_empty() && merged.clusters.is_empty();
        if empty && self.kubeconfig.is_none() {
            return match &self.context {
                None => Ok(None),
                Some(context) => {
                    let mut diagnostic = self.no_cluster();
                    diagnostic.what = format!("there is no context `{context}`: no cluster is configured");
                    Err(diagnostic)
                }
            };
        }
        Ok(Some((merged, files)))
    }

    fn of_kubeconfig(&self, kubeconfig: Kubeconfig, files: &[PathBuf]) -> Result<Target, Diagnostic> {
        let names: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
        let read = files.iter().map(|file| format!("`{}`", file.display())).collect::<Vec<_>>().join(", ");
        let there =
            if names.is_empty() { "it has no contexts".to_owned() } else { format!("contexts: {}", names.join(", ")) };
        let current = kubeconfig.current_context.clone().filter(|name| !name.is_empty());
        let Some(context) = self.context.clone().or(current) else {
            return Err(Diagnostic::new(Kind::NoCluster, "the kubeconfig chooses no context")
                .why(format!("{read} has no `current-context`; {there}"))
                .help("`--context NAME` chooses one; `--sandbox` rehearses on the embedded cluster"));
        };
        let Some(found) = kubeconfig.contexts.iter().find(|it| it.name == context) else {
            let mut diagnostic = Diagnostic::new(Kind::NoCluster, format!("there is no context `{context}`"))
                .why(format!("{read}: {there}"));
            if let Some(name) = closest(&context, names.iter().map(String::as_str)) {
                diagnostic = diagnostic.help(format!("did you mean `{name}`?"));
            }
            return Err(diagnostic);
        };
        let namespace = found.context.as_ref().and_then(|it| it.namespace.clone()).filter(|it| !it.is_empty());
        let cluster = found.context.as_ref().map(|it| it.cluster.clone()).unwrap_or_default();
        let cluster = kubeconfig.clusters.iter().find(|it| it.name == cluster).and_then(|it| it.cluster.as_ref());
        let proxy_url = cluster.and_then(|it| it.proxy_url.clone()).filter(|it| !it.is_empty());
        let options = KubeConfigOptions { context: Some(context.clone()), cluster: None, user: None };
        let broken = |error: &(dyn std::error::Error + 'static)| {
            Diagnostic::new(Kind::Missing, format!("context `{context}` of the kubeconfig cannot be used"))
                .why(format!("{read}: {}", chain(error)))
                .help("correct this context, or its cluster or user, in the kubeconfig")
        };
        let load = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
        // Nothing in there waits; it is only declared to be able to.
        let config = futures::FutureExt::now_or_never(load).expect("a kubeconfig in memory is loaded without waiting");
        let mut config = config.map_err(|error| broken(&error))?;
        config.proxy_url = self.proxy(proxy_url.as_deref(), &config.cluster_url)?;
        let server = config.cluster_url.to_string();
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        Ok(Target { config, source: Source::Fixed, namespace, context, server })
    }

    /// Returns the proxy that leads to a server, if any: kube's own choice holds `NO_PROXY` against the proxy.
    fn proxy(&self, proxy_url: Option<&str>, server: &http::Uri) -> Result<Option<http::Uri>, Diagnostic> {
        let Some(proxy) = proxy_url.or_else(|| proxy::from_environment(&self.variables, server)) else {
            return Ok(None);
        };
        let named = if proxy_url.is_some() { "`proxy-url` of the kubeconfig" } else { "`HTTPS_PROXY`" };
        let refuse = |why: String| {
            Diagnostic::new(Kind::Missing, format!("{named} does not name a proxy that can be used"))
                .why(why)
                .help("`http://HOST:PORT` or `https://HOST:PORT` names a proxy")
        };
        let address = proxy::address(proxy).map_err(|error| refuse(format!("`{proxy}`: {error}")))?;
        match address.scheme_str() {
            Some("http" | "https") => Ok(Some(address)),
            _ => Err(refuse(format!("`{proxy}`: only proxies that speak HTTP are supported"))),
        }
    }

    /// Reads the service account of the pod we run in; nothing when we run in none.
    fn of_service_account(&self) -> Result<Option<Target>, Diagnostic> {
        let (Some(host), Some(port)) =
            (self.variable("KUBERNETES_SERVICE_HOST"), self.variable("KUBERNETES_SERVICE_PORT"))
        else {
            return Ok(None);
        };
        let folder = self.root.join(SERVICE_ACCOUNT);
        let (token, authority) = (folder.join("token"), folder.join("ca.crt"));
        if !token.is_file() {
            return Ok(None);
        }
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let server = format!("https://{host}:{port}");
        let broken =
            |what: String| Diagnostic::new(Kind::Missing, "the pod's service account cannot be used").why(what);
        let url = server.parse().map_err(|error| broken(format!("`{server}`: {error}")))?;
        let mut config = kube::Config::new(url);
        config.proxy_url = self.proxy(None, &config.cluster_url)?;
        if authority.is_file() {
            config.root_cert_file = Some(authority);
        }
        config.auth_info = AuthInfo { token_file: Some(token.display().to_string()), ..AuthInfo::default() };
        let namespace = std::fs::read_to_string(folder.join("namespace")).unwrap_or_default();
        let namespace = Some(namespace.trim().to_owned()).filter(|it| !it.is_empty());
        Ok(Some(Target {
            config,
            source: Source::Fixed,
            namespace: namespace.unwrap_or_else(|| "default".to_owned()),
            context: "in-cluster".to_owned(),
            server,
        }))
    }

    fn no_cluster(&self) -> Diagnostic {
        let looked = match (self.variable("KUBECONFIG"), self.variable("HOME")) {
            (Some(list), _) => format!("`KUBECONFIG` is `{list}`, and no cluster is in it"),
            (None, Some(home)) => format!("`KUBECONFIG` is not set, and there is no `{home}/.kube/config`"),
            (None, None) => "neither `KUBECONFIG` nor `HOME` is set".to_owned(),
        };
        Diagnostic::new(Kind::NoCluster, "no cluster is configured")
            .why(format!("{looked}; this is no pod with a service account either"))
            .help("`--sandbox` runs this on the embedded cluster, which needs nothing")
            .help("`--kubeconfig FILE` or `KUBECONFIG` names a real one")
    }
}
