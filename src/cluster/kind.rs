//! Kinds of objects as paths of the API, and which of them are meant.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::diagnostic::{self, Diagnostic};

/// A kind of object: where the API serves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: Cow<'static, str>,
    /// Version within the group.
    pub version: Cow<'static, str>,
    /// Name in paths: `gameservers`.
    pub plural: Cow<'static, str>,
    /// Name in objects: `GameServer`.
    pub kind: Cow<'static, str>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
}

/// OKG's set of rooms.
pub const GAME_SERVER_SET: Kind = known("game.kruise.io", "v1alpha1", "gameserversets", "GameServerSet");
/// One room.
pub const GAME_SERVER: Kind = known("game.kruise.io", "v1alpha1", "gameservers", "GameServer");
/// Kruise's Advanced StatefulSet, the workload behind a GameServerSet.
pub const STATEFUL_SET: Kind = known("apps.kruise.io", "v1beta1", "statefulsets", "StatefulSet");
/// A pod.
pub const POD: Kind = known("", "v1", "pods", "Pod");
/// What controllers say of an object.
pub const EVENT: Kind = known("", "v1", "events", "Event");
/// A ConfigMap.
pub const CONFIG_MAP: Kind = known("", "v1", "configmaps", "ConfigMap");
/// A Secret.
pub const SECRET: Kind = known("", "v1", "secrets", "Secret");
/// A Service.
pub const SERVICE: Kind = known("", "v1", "services", "Service");
/// A namespace.
pub const NAMESPACE: Kind = cluster_wide("", "v1", "namespaces", "Namespace");
/// A node.
pub const NODE: Kind = cluster_wide("", "v1", "nodes", "Node");
/// A Lease: who may act on something, and until when.
pub const LEASE: Kind = known("coordination.k8s.io", "v1", "leases", "Lease");
/// A revision of a workload's template.
pub const CONTROLLER_REVISION: Kind = known("apps", "v1", "controllerrevisions", "ControllerRevision");
/// A Deployment.
pub const DEPLOYMENT: Kind = known("apps", "v1", "deployments", "Deployment");
/// A ReplicaSet.
pub const REPLICA_SET: Kind = known("apps", "v1", "replicasets", "ReplicaSet");
/// Kubernetes' own StatefulSet, which is not OKG's workload.
pub const APPS_STATEFUL_SET: Kind = known("apps", "v1", "statefulsets", "StatefulSet");
/// A Job.
pub const JOB: Kind = known("batch", "v1", "jobs", "Job");
/// KEDA's order to scale something.
pub const SCALED_OBJECT: Kind = known("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject");
/// A HorizontalPodAutoscaler.
pub const HORIZONTAL_POD_AUTOSCALER: Kind =
    known("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler");
/// A CustomResourceDefinition.
pub const CUSTOM_RESOURCE_DEFINITION: Kind =
    cluster_wide("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");

/// The kinds that are known without asking the API server.
pub const ALL: &[Kind] = &[
    GAME_SERVER_SET,
    GAME_SERVER,
    STATEFUL_SET,
    POD,
    EVENT,
    CONFIG_MAP,
    SECRET,
    SERVICE,
    NAMESPACE,
    NODE,
    LEASE,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    REPLICA_SET,
    APPS_STATEFUL_SET,
    JOB,
    SCALED_OBJECT,
    HORIZONTAL_POD_AUTOSCALER,
    CUSTOM_RESOURCE_DEFINITION,
];

const fn known(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Kind {
    Kind {
        group: Cow::Borrowed(group),
        version: Cow::Borrowed(version),
        plural: Cow::Borrowed(plural),
        kind: Cow::Borrowed(kind),
        namespaced: true,
    }
}

const fn cluster_wide(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Kind {
    let mut it = known(group, version, plural, kind);
    it.namespaced = false;
    it
}

impl Kind {
    /// Returns the name that RBAC and discovery use: `gameservers.game.kruise.io`, `pods`.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_string() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Returns what stands in an object's `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Returns the path of the collection in a namespace; with an empty namespace, that of all namespaces.
    pub fn collection_path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let mut path = format!("{root}/{}", self.api_version());
        if self.namespaced && !namespace.is_empty() {
            let _ = write!(path, "/namespaces/{}", encode(namespace));
        }
        let _ = write!(path, "/{}", self.plural);
        path
    }

    /// Returns the path of one object.
    ///
    /// Fails with `invalid` when the name or a needed namespace is empty: the path would mean the whole collection.
    pub fn object_path(&self, namespace: &str, name: &str, subresource: Option<&str>) -> Result<String, Diagnostic> {
        if name.is_empty() || name == "." || name == ".." || name.contains('/') {
            return Err(Diagnostic::new(
                diagnostic::Kind::Invalid,
                format!("`{name}` cannot be the name of a {}", self.kind),
            ));
        }
        if self.namespaced && namespace.is_empty() {
            return Err(Diagnostic::new(
                diagnostic::Kind::Invalid,
                format!("{} `{name}` needs a namespace", self.kind),
            ));
        }
        let mut path = format!("{}/{}", self.collection_path(namespace), encode(name));
        if let Some(subresource) = subresource {
            let _ = write!(path, "/{subresource}");
        }
        Ok(path)
    }
}

/// Which objects of a collection are meant: all, unless told.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// Label selector in the API's own notation.
    pub labels: Option<String>,
    /// Field selector in the API's own notation.
    pub fields: Option<String>,
}

impl Selector {
    /// Selects everything.
    pub fn all() -> Selector {
        Selector::default()
    }

    /// Selects by labels: `game.kruise.io/owner-gss=minecraft`.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Selector {
        self.labels = Some(selector.into());
        self
    }

    /// Selects by fields: `metadata.name=minecraft`.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Selector {
        self.fields = Some(selector.into());
        self
    }

    /// Appends the selector to the parameters of a request.
    pub(super) fn query(&self, query: &mut Query) {
        for (key, value) in [("labelSelector", &self.labels), ("fieldSelector", &self.fields)] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                query.add(key, value);
            }
        }
    }
}

/// Parameters of a request.
#[derive(Debug, Default)]
pub(super) struct Query(String);

impl Query {
    /// Appends one parameter.
    pub(super) fn add(&mut self, key: &str, value: &str) {
        let separator = if self.0.is_empty() { '?' } else { '&' };
        let _ = write!(self.0, "{separator}{key}={}", encode(value));
    }

    /// Returns the path with the parameters behind it.
    pub(super) fn on(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

/// Writes a path segment or a parameter's value so that it means itself.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
