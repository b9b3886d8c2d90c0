//! The kinds that the server knows: built in, and by CustomResourceDefinition.

use std::sync::Arc;

/// One kind of object, in all its served versions.
#[derive(Clone, Debug)]
pub struct Kind {
    /// `pods` or `gameservers.game.kruise.io`.
    pub key: Arc<str>,
    /// The API group, empty for core.
    pub group: String,
    /// The served versions, preferred first.
    pub versions: Vec<String>,
    /// The version that objects are stored in.
    pub storage: String,
    /// The name in paths.
    pub plural: String,
    /// The singular name.
    pub singular: String,
    /// The name in objects.
    pub kind: String,
    /// The name of its lists.
    pub list_kind: String,
    /// kubectl's short names.
    pub short: Vec<String>,
    /// Groups of kinds, such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Whether there is a `status` subresource.
    pub status: bool,
    /// Whether a CustomResourceDefinition declares it.
    pub custom: bool,
}

impl Kind {
    /// Returns `apiVersion` of a version.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// Returns `Pod` or `GameServer.game.kruise.io`, as 422 names it.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) }
    }

    fn built_in(row: &Row) -> Kind {
        let (group, versions, plural, kind, namespaced, status, short) = *row;
        let versions: Vec<String> = versions.split(' ').map(str::to_owned).collect();
        Kind {
            key: key(group, plural),
            group: group.into(),
            storage: versions[0].clone(),
            versions,
            plural: plural.into(),
            singular: kind.to_lowercase(),
            kind: kind.into(),
            list_kind: format!("{kind}List"),
            short: short.split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
            categories: if ALL.contains(&plural) { vec!["all".into()] } else { Vec::new() },
            namespaced,
            status,
            custom: false,
        }
    }

    /// A kind as a CustomResourceDefinition would declare it.
    pub fn declared(group: &str, versions: &[&str], plural: &str, kind: &str, short: &[&str]) -> Kind {
        Kind {
            key: key(group, plural),
            group: group.into(),
            versions: versions.iter().map(|v| (*v).to_owned()).collect(),
            storage: versions.first().copied().unwrap_or("v1").to_owned(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            kind: kind.into(),
            list_kind: format!("{kind}List"),
            short: short.iter().map(|s| (*s).to_owned()).collect(),
            categories: Vec::new(),
            namespaced: true,
            status: true,
            custom: true,
        }
    }
}

/// Returns the name of a resource: `<plural>` or `<plural>.<group>`.
pub fn key(group: &str, plural: &str) -> Arc<str> {
    if group.is_empty() { plural.into() } else { format!("{plural}.{group}").into() }
}

type Row = (&'static str, &'static str, &'static str, &'static str, bool, bool, &'static str);

const ALL: [&str; 9] = [
    "pods",
    "services",
    "jobs",
    "horizontalpodautoscalers",
    "deployments",
    "replicasets",
    "daemonsets",
    "statefulsets",
    "cronjobs",
];

/// Group, versions (stored first), plural, kind, namespaced, status, short names.
const BUILT_IN: &[Row] = &[
    ("", "v1", "configmaps", "ConfigMap", true, false, "cm"),
    ("", "v1", "endpoints", "Endpoints", true, false, "ep"),
    ("", "v1", "events", "Event", true, false, "ev"),
    ("", "v1", "limitranges", "LimitRange", true, false, "limits"),
    ("", "v1", "namespaces", "Namespace", false, true, "ns"),
    ("", "v1", "nodes", "Node", false, true, "no"),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true, true, "pvc"),
    ("", "v1", "persistentvolumes", "PersistentVolume", false, true, "pv"),
    ("", "v1", "pods", "Pod", true, true, "po"),
    ("", "v1", "resourcequotas", "ResourceQuota", true, true, "quota"),
    ("", "v1", "secrets", "Secret", true, false, ""),
    ("", "v1", "serviceaccounts", "ServiceAccount", true, false, "sa"),
    ("", "v1", "services", "Service", true, true, "svc"),
    ("apps", "v1", "controllerrevisions", "ControllerRevision", true, false, ""),
    ("autoscaling", "v2 v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true, true, "hpa"),
    ("batch", "v1", "jobs", "Job", true, true, ""),
    ("coordination.k8s.io", "v1", "leases", "Lease", true, false, ""),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true, true, "pdb"),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false, false, ""),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false, false, ""),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true, false, ""),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role", true, false, ""),
    ("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false, false, "pc"),
    ("storage.k8s.io", "v1", "storageclasses", "StorageClass", false, false, "sc"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false, true, "crd crds"),
];

/// Returns the kinds that no CustomResourceDefinition has to declare.
pub fn built_in() -> Vec<Kind> {
    BUILT_IN.iter().map(Kind::built_in).collect()
}
