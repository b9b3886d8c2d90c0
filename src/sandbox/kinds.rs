//! The kinds that the server knows: built in, and by CustomResourceDefinition.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::schema::{Schema, Shape, table};

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
    /// What objects look like, by version.
    pub forms: BTreeMap<String, Arc<Form>>,
    /// Where the objects are kept, if another kind shows them as well.
    pub shelf: Arc<str>,
}

/// What objects of one version look like.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// The whole object, metadata included.
    pub schema: Arc<Schema>,
    /// The schema as the CustomResourceDefinition has it; null for built-in kinds.
    pub declared: Value,
    /// The columns of a CustomResourceDefinition, as it has them.
    pub columns: Vec<Column>,
    /// The scale subresource.
    pub scale: Option<Scale>,
    /// The warning that goes with every answer of a deprecated version.
    pub deprecation: Option<String>,
}

/// A column of a CustomResourceDefinition.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// The header.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// The format, mostly empty.
    pub format: String,
    /// What it shows.
    pub description: String,
    /// 0 for every table, more for wide ones.
    pub priority: i64,
    /// Where the value stands.
    pub path: String,
}

/// Where the scale subresource finds its numbers, as member names.
#[derive(Clone, Debug, Default)]
pub struct Scale {
    /// The wanted number.
    pub spec: Vec<String>,
    /// The present number.
    pub status: Vec<String>,
    /// The selector's text, empty for none.
    pub selector: Vec<String>,
}

impl Kind {
    /// Returns `apiVersion` of a version.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// Returns `Pod` or `GameServer.game.kruise.io`, as 422 names it.
    pub fn qualified_kind(&self) -> String {
        if self.group.is_empty() || self.group == "events.k8s.io" {
            self.kind.clone()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    fn built_in(row: &Row) -> Kind {
        let (group, versions, plural, kind, namespaced, status, short) = *row;
        let versions: Vec<String> = versions.split(' ').map(str::to_owned).collect();
        Kind {
            key: key(group, plural),
            group: group.into(),
            storage: versions[0].clone(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            kind: kind.into(),
            list_kind: format!("{kind}List"),
            short: short.split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
            categories: match plural {
                "customresourcedefinitions" => vec!["api-extensions".into()],
                plural if ALL.contains(&plural) => vec!["all".into()],
                _ => Vec::new(),
            },
            namespaced,
            status,
            custom: false,
            forms: forms(group, &versions, kind),
            shelf: if plural == "events" { "events".into() } else { key(group, plural) },
            versions,
        }
    }

    /// Returns the form of a version, or of the stored one.
    pub fn form(&self, version: &str) -> Arc<Form> {
        self.forms.get(version).or_else(|| self.forms.get(&self.storage)).cloned().unwrap_or_default()
    }
}

/// Returns the package of a built-in group's types.
fn package(group: &str) -> &'static str {
    match group {
        "" => "io.k8s.api.core",
        "apps" => "io.k8s.api.apps",
        "autoscaling" => "io.k8s.api.autoscaling",
        "batch" => "io.k8s.api.batch",
        "coordination.k8s.io" => "io.k8s.api.coordination",
        "events.k8s.io" => "io.k8s.api.events",
        "policy" => "io.k8s.api.policy",
        "rbac.authorization.k8s.io" => "io.k8s.api.rbac",
        "scheduling.k8s.io" => "io.k8s.api.scheduling",
        "storage.k8s.io" => "io.k8s.api.storage",
        _ => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    }
}

fn forms(group: &str, versions: &[String], kind: &str) -> BTreeMap<String, Arc<Form>> {
    let form = |version: &String| {
        let name = format!("{}.{version}.{kind}", package(group));
        let mut schema = table::builtin().get(&name).map(|schema| (**schema).clone()).unwrap_or_default();
        if let Shape::Object(members) = &mut schema.shape {
            for member in ["apiVersion", "kind"] {
                members.entry(member.into()).or_insert_with(|| Arc::new(Schema::of(Shape::Text)));
            }
        }
        let schema = Arc::new(schema);
        (version.clone(), Arc::new(Form { schema, ..Form::default() }))
    };
    versions.iter().map(form).collect()
}

/// Returns the name of a resource: `<plural>` or `<plural>.<group>`.
pub fn key(group: &str, plural: &str) -> Arc<str> {
    if group.is_empty() { plural.into() } else { format!("{plural}.{group}").into() }
}

type Row = (&'static str, &'static str, &'static str, &'static str, bool, bool, &'static str);

const ALL: [&str; 10] = [
    "replicationcontrollers",
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
    ("", "v1", "podtemplates", "PodTemplate", true, false, ""),
    ("", "v1", "replicationcontrollers", "ReplicationController", true, true, "rc"),
    ("apps", "v1", "controllerrevisions", "ControllerRevision", true, false, ""),
    ("apps", "v1", "daemonsets", "DaemonSet", true, true, "ds"),
    ("apps", "v1", "deployments", "Deployment", true, true, "deploy"),
    ("apps", "v1", "replicasets", "ReplicaSet", true, true, "rs"),
    ("apps", "v1", "statefulsets", "StatefulSet", true, true, "sts"),
    ("autoscaling", "v2 v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true, true, "hpa"),
    ("batch", "v1", "cronjobs", "CronJob", true, true, "cj"),
    ("batch", "v1", "jobs", "Job", true, true, ""),
    ("coordination.k8s.io", "v1", "leases", "Lease", true, false, ""),
    ("events.k8s.io", "v1", "events", "Event", true, false, "ev"),
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
