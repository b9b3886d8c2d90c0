//! What the API server, or the way to it, answered, as diagnostics.

use std::error::Error as StdError;

use http::HeaderMap;
use serde_json::Value;

use super::kind::Kind as ObjectKind;
use crate::diagnostic::{Diagnostic, Kind};

/// What a request was for, in words.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// `get`, `list`, `patch`, …
    pub(super) verb: &'static str,
    /// The kind of object.
    pub(super) kind: ObjectKind,
    /// Namespace, empty for all or none.
    pub(super) namespace: String,
    /// Name, empty for a collection.
    pub(super) name: String,
    /// Whether it is a JSON Patch, whose failed `test` cannot be told from a bad patch.
    pub(super) json_patch: bool,
}

impl Call {
    /// Whether the call can change something.
    pub(super) fn writes(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch" | "read the log of" | "review")
    }

    /// Returns "GameServer `prod/demo-3`" or "GameServers in `prod`".
    pub(super) fn object(&self) -> String {
        let kind = &self.kind.kind;
        match (self.name.is_empty(), self.namespace.is_empty()) {
            (false, false) => format!("{kind} `{}/{}`", self.namespace, self.name),
            (false, true) => format!("{kind} `{}`", self.name),
            (true, false) => format!("{kind}s in `{}`", self.namespace),
            (true, true) => format!("{kind}s"),
        }
    }
}

/// Where the answer, or its lack, came from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// Name of the context.
    pub(super) context: String,
    /// Address of the server; `in process` for one without.
    pub(super) server: String,
    /// Address of the proxy that leads there.
    pub(super) proxy: Option<String>,
}

impl Origin {
    /// Returns the way to the server, for people.
    fn way(&self) -> String {
        match &self.proxy {
            Some(proxy) => format!("`{}` through the proxy `{proxy}`", self.server),
            None => format!("`{}`", self.server),
        }
    }

    pub(super) fn place(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        diagnostic.context = Some(format!("context `{}`", self.context));
        diagnostic
    }

    /// Makes a diagnostic of an answer that is not a success.
    pub(super) fn refusal(&self, call: &Call, code: u16, headers: &HeaderMap, body: &[u8]) -> Diagnostic {
        let status: Option<Value> =
            serde_json::from_slice(body).ok().filter(|status: &Value| status["kind"] == "Status");
        self.status(call, code, headers, status.as_ref(), body)
    }

    /// Makes a diagnostic of the Status that a watch sends when it fails.
    pub(super) fn event(&self, call: &Call, status: &Value) -> Diagnostic {
        let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
        self.status(call, code, &HeaderMap::new(), Some(status), &[])
    }

    fn status(&self, call: &Call, code: u16, headers: &HeaderMap, status: Option<&Value>, body: &[u8]) -> Diagnostic {
        let null = Value::Null;
        let details = status.map_or(&null, |status| &status["details"]);
        let reason = status.and_then(|status| status["reason"].as_str()).unwrap_or_default();
        let text = String::from_utf8_lossy(body);
        let message = status.and_then(|status| status["message"].as_str()).unwrap_or(text.trim());
        let message = shorten(message);
        let object = call.object();
        let verb = call.verb;
        let bare = details["causes"].as_array().is_none_or(Vec::is_empty);
        let new = |kind, what: String| {
            let quoted = if message.is_empty() { "no further words".to_owned() } else { format!("`{message}`") };
            self.place(Diagnostic::new(kind, what))
                .why(format!("{code} from the API server: {quoted}"))
                .with("code", code)
                .with("reason", reason)
        };
        match code {
            401 => new(Kind::Unauthorized, format!("the API server does not know who wants to {verb} {object}")).help(
                format!(
                    "log in again, or correct the user of context `{}` in the kubeconfig; \
                     `kubectl --context {0} auth whoami` shows whom the server sees",
                    self.context
                ),
            ),
            403 => {
                let diagnostic = new(Kind::Forbidden, format!("not allowed to {verb} {object}"));
                if message.contains("admission webhook") || message.contains("ValidatingAdmissionPolicy") {
                    diagnostic
                        .help("a policy of this cluster refuses this change whoever asks; its owner's words are above")
                } else if message.contains("exceeded quota") {
                    diagnostic.help("the namespace's ResourceQuota is used up; raise it or free something")
                } else {
                    diagnostic.help("`okgscript rbac SCRIPT` prints the Role that a script needs")
                }
            }
            404 if unknown_resource(status, details) => self.not_installed(call, &new),
            404 if details["kind"] == "namespaces" && call.kind.plural != "namespaces" => {
                new(Kind::NotFound, format!("there is no namespace `{}`", call.namespace))
                    .help("`kubectl get namespaces` lists those there are; `-n` chooses one")
            }
            404 => new(Kind::NotFound, format!("there is no {object}")),
            409 if reason == "AlreadyExists" => new(Kind::Conflict, format!("{object} exists already")),
            409 => new(Kind::Conflict, format!("{object} changed meanwhile")),
            410 => new(Kind::Unavailable, format!("the API server has forgotten the state that {object} were read at"))
                .help("run the same call again: it starts from the present state"),
            422 if call.json_patch && bare => {
                new(Kind::Conflict, format!("the patch of {object} does not fit its present state")).with("guard", true)
            }
            400 | 405 | 406 | 413 | 415 | 422 => {
                let mut diagnostic =
                    new(Kind::Invalid, format!("the API server does not accept this {verb} of {object}"));
                for cause in details["causes"].as_array().into_iter().flatten().take(10) {
                    let field = cause["field"].as_str().unwrap_or("object");
                    diagnostic =
                        diagnostic.why(format!("`{field}`: {}", cause["message"].as_str().unwrap_or_default()));
                }
                diagnostic
            }
            429 => {
                let header = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
                let seconds = header.or_else(|| details["retryAfterSeconds"].as_u64());
                let diagnostic = new(Kind::TooManyRequests, format!("the API server is too busy to {verb} {object}"));
                match seconds {
                    Some(seconds) => diagnostic
                        .with("retry_after_seconds", seconds)
                        .help(format!("it asks to wait {seconds}s; `retry_backoff` does that by itself")),
                    None => diagnostic.help("call it inside `retry_backoff`"),
                }
            }
            500.. if call.writes() && outcome_open(code, reason, message.as_str(), status.is_some()) => self
                .unknown(call, format!("{code} from the API server: `{message}`"))
                .with("code", code)
                .with("reason", reason),
            500.. => new(Kind::Unavailable, format!("the API server could not {verb} {object}"))
                .help("call it inside `retry_backoff`, or run again when the server has recovered"),
            _ => {
                new(Kind::Unavailable, format!("the API server gave an answer to {verb} {object} that nobody expects"))
                    .help(format!("is `{}` really an API server of Kubernetes?", self.server))
            }
        }
    }

    fn not_installed(&self, call: &Call, new: &dyn Fn(Kind, String) -> Diagnostic) -> Diagnostic {
        let resource = call.kind.resource();
        let (project, page) = match &*call.kind.group {
            "game.kruise.io" => ("OpenKruiseGame", "https://openkruise.io/kruisegame/installation"),
            "apps.kruise.io" => ("OpenKruise", "https://openkruise.io/docs/installation"),
            "keda.sh" => ("KEDA", "https://keda.sh/docs/latest/deploy"),
            _ => {
                return new(
                    Kind::NotInstalled,
                    format!("this cluster has no `{resource}` in {}", call.kind.api_version()),
                )
                .help("`kubectl api-resources` lists what it has");
            }
        };
        new(Kind::NotInstalled, format!("{project} is not installed on this cluster: it has no `{resource}`"))
            .help(format!("install it ({page}); `kubectl get crd {resource}` shows whether it is there"))
            .help("or is it the wrong cluster? `--context` chooses another, `--sandbox` rehearses on the embedded one")
    }

    /// Makes a diagnostic of a write of which nobody knows whether it took effect.
    pub(super) fn unknown(&self, call: &Call, why: String) -> Diagnostic {
        self.place(Diagnostic::new(
            Kind::Unknown,
            format!("nobody knows whether the {} of {} took effect", call.verb, call.object()),
        ))
        .why(why)
        .help("read it again before anything is repeated")
    }

    /// Makes a diagnostic of a request that took too long.
    pub(super) fn too_long(&self, call: &Call, limit: std::time::Duration) -> Diagnostic {
        let why = format!("no answer within {limit:?}");
        if call.writes() {
            return self.unknown(call, why);
        }
        self.place(Diagnostic::new(
            Kind::Unavailable,
            format!("the API server did not {} {} in time", call.verb, call.object()),
        ))
        .why(why)
        .with("silent", true)
        .help("`--request-timeout` gives it longer")
    }

    /// Makes a diagnostic of an answer whose success is certain and whose text is not what it should be.
    pub(super) fn unreadable(&self, call: &Call, error: &serde_json::Error) -> Diagnostic {
        let diagnostic = self
            .place(Diagnostic::new(
                Kind::Internal,
                format!("the answer to {} {} does not have the expected shape", call.verb, call.object()),
            ))
            .why(error.to_string());
        if call.writes() { diagnostic.done("the server accepted the write") } else { diagnostic }
    }

    /// Makes a diagnostic of a request that got no answer.
    pub(super) fn failure(&self, call: &Call, error: kube::Error) -> Diagnostic {
        let error = match error {
            kube::Error::Service(error) => match error.downcast::<Diagnostic>() {
                Ok(diagnostic) => return self.place(*diagnostic),
                Err(error) => kube::Error::Service(error),
            },
            error => error,
        };
        let chain = chain(&error);
        if let Some(diagnostic) = self.certificate(&chain) {
            return self.place(diagnostic);
        }
        if let Some(proxy) = self.proxy.as_ref().filter(|_| chain.contains("tunnel error")) {
            let diagnostic = Diagnostic::new(
                Kind::Unavailable,
                format!("the proxy `{proxy}` does not lead to the API server of context `{}`", self.context),
            );
            return self
                .place(diagnostic.why(format!("{}: {chain}", self.way())))
                .help("may it lead there? `proxy-url` of the cluster in the kubeconfig, or `HTTPS_PROXY`, names the proxy")
                .help("`NO_PROXY` lists servers that are reached without one");
        }
        let sent = !never_sent(&error);
        if sent && call.writes() {
            return self.unknown(call, format!("the connection to {} broke: {chain}", self.way()));
        }
        let what = if sent {
            format!("the connection broke before {} could be read", call.object())
        } else {
            format!("the API server of context `{}` cannot be reached", self.context)
        };
        let diagnostic = Diagnostic::new(Kind::Unavailable, what).why(format!("{}: {chain}", self.way()));
        self.place(if sent {
            diagnostic.with("broken", true).help("call it inside `retry_backoff`, or run again")
        } else {
            diagnostic
                .help("is the cluster running, and its address in the kubeconfig right? `--context` chooses another")
                .help("`--sandbox` rehearses on the embedded cluster")
        })
    }

    /// Certificates that the two sides do not accept of each other: nothing was sent.
    fn certificate(&self, chain: &str) -> Option<Diagnostic> {
        let (what, help) = if chain.contains("UnknownIssuer")
            || chain.contains("self-signed")
            || chain.contains("CaUsedAsEndEntity")
        {
            (
                "the API server's certificate is not from an authority that is trusted here",
                "set `certificate-authority` or `certificate-authority-data` of this cluster in the kubeconfig",
            )
        } else if chain.contains("not valid for name") || chain.contains("NotValidForName") {
            (
                "the API server's certificate is for another name",
                "use the name it is for as `server`, or set `tls-server-name` in the kubeconfig",
            )
        } else if chain.contains("certificate expired") || chain.contains("invalid peer certificate: Expired") {
            ("the API server's certificate has expired", "renew it on the cluster; is this machine's clock right?")
        } else if chain.contains("certificate not valid yet") || chain.contains("NotValidYet") {
            ("the API server's certificate is not valid yet", "is this machine's clock right?")
        } else if chain.contains("CertificateRequired") {
            (
                "the API server requires a client certificate",
                "set `client-certificate` and `client-key`, or their `-data`, for this user in the kubeconfig",
            )
        } else if let Some((_, alert)) = chain.split_once("received fatal alert: ")
            && ALERTS.iter().any(|it| alert.starts_with(it))
        {
            (
                "the API server does not accept the client certificate",
                "renew the user's certificate in the kubeconfig, or take that of this cluster",
            )
        } else if chain.contains("invalid peer certificate") || chain.contains("BadEncoding") {
            ("the API server's certificate cannot be verified", "look at it with `openssl s_client -connect`")
        } else {
            return None;
        };
        Some(
            Diagnostic::new(Kind::Unavailable, what)
                .why(format!("{}: {chain}", self.way()))
                .help(help)
                .with("certificate", true),
        )
    }
}

/// What a server says in the TLS handshake to a client certificate that it does not accept.
const ALERTS: &[&str] = &[
    "BadCertificate",
    "UnsupportedCertificate",
    "CertificateRevoked",
    "CertificateExpired",
    "CertificateUnknown",
    "UnknownCA",
    "AccessDenied",
    "DecryptError",
    "HandshakeFailure",
];

/// Whether a 404 is about the resource and not about one object of it.
fn unknown_resource(status: Option<&Value>, details: &Value) -> bool {
    let named = details["name"].as_str().is_some_and(|name| !name.is_empty());
    let words = status.and_then(|status| status["message"].as_str()).unwrap_or_default();
    !named || words == "the server could not find the requested resource"
}

/// Whether a write that was answered with this error may have taken effect after all.
fn outcome_open(code: u16, reason: &str, message: &str, from_kubernetes: bool) -> bool {
    if !from_kubernetes {
        return true;
    }
    match reason {
        "Timeout" | "ServerTimeout" => true,
        _ => code == 504 || message.contains("etcd") || message.contains("timed out"),
    }
}

/// Whether the error arose before the request left: no connection was made.
fn never_sent(error: &(dyn StdError + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        current = error.source();
    }
    false
}

/// What libraries put before the words that say something.
const WRAPPERS: &[&str] = &[
    "ServiceError",
    "HyperError",
    "Failed to infer provided configuration",
    "auth error",
    "rustls tls error",
    "client error (Connect)",
    "client error (SendRequest)",
    "client error (Canceled)",
    "operation was canceled",
    "connection error",
];

/// Writes an error with its causes, each once.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut current = Some(error);
    while let Some(error) = current {
        let text = error.to_string();
        let mut text = text.as_str();
        while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| text.strip_prefix(wrapper)) {
            text = rest.strip_prefix(": ").unwrap_or(rest);
        }
        if !text.is_empty() && !words.iter().any(|word| word.contains(text)) {
            words.push(text.to_owned());
        }
        current = error.source();
    }
    words.join(": ")
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 600;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
