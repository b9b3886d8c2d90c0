//! Who may do what: Roles and ClusterRoles through their bindings.

use serde_json::{Value, json};

use super::api::Api;
use super::object::{self, Actor};
use super::status::{Status, details};

/// What somebody wants to do.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    /// `get`, `list`, `create`, ….
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The resource; empty for a plain path.
    pub resource: String,
    /// The subresource.
    pub subresource: String,
    /// The namespace; empty for the whole cluster.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The path, where no resource is meant.
    pub path: String,
}

/// A rule that somebody has, and where from.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The rule.
    pub rule: Value,
    /// The binding, role and subject, in words.
    pub reason: String,
}

const GROUP: &str = "rbac.authorization.k8s.io";

/// Returns the rules that somebody has in a namespace (empty: in the whole cluster).
pub fn grants(api: &Api, actor: &Actor, namespace: &str) -> Vec<Grant> {
    let mut grants = Vec::new();
    let mut collect = |bindings: Vec<object::Object>, scope: &str| {
        for binding in bindings {
            let Some(subject) = subject(&binding, actor) else { continue };
            let role = &binding["roleRef"];
            let (kind, name) = (role["kind"].as_str().unwrap_or(""), role["name"].as_str().unwrap_or(""));
            let found = match kind {
                "ClusterRole" => api.get(&format!("clusterroles.{GROUP}"), "", name),
                _ => api.get(&format!("roles.{GROUP}"), scope, name),
            };
            let own = object::name(&binding);
            let bound = if scope.is_empty() {
                format!("ClusterRoleBinding {own:?}")
            } else {
                format!("RoleBinding {:?}", format!("{own}/{scope}"))
            };
            let reason = format!("RBAC: allowed by {bound} of {kind} {name:?} to {subject}");
            for rule in found.iter().flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default()) {
                grants.push(Grant { rule, reason: reason.clone() });
            }
        }
    };
    collect(api.list(&format!("clusterrolebindings.{GROUP}"), None), "");
    if !namespace.is_empty() {
        collect(api.list(&format!("rolebindings.{GROUP}"), Some(namespace)), namespace);
    }
    grants
}

/// Returns the subject of a binding that somebody is, in words.
fn subject(binding: &Value, actor: &Actor) -> Option<String> {
    binding["subjects"].as_array()?.iter().find_map(|subject| {
        let name = subject["name"].as_str().unwrap_or("");
        match subject["kind"].as_str()? {
            "User" if actor.user == name => Some(format!("User {name:?}")),
            "Group" if actor.groups.iter().any(|group| group == name) => Some(format!("Group {name:?}")),
            "ServiceAccount" => {
                let own = object::namespace(binding);
                let space = subject["namespace"].as_str().unwrap_or(own);
                let whole = format!("system:serviceaccount:{space}:{name}");
                (actor.user == whole).then(|| format!("ServiceAccount {:?}", format!("{name}/{space}")))
            }
            _ => None,
        }
    })
}

fn lists(rule: &Value, member: &str, wanted: &str) -> bool {
    rule[member].as_array().is_some_and(|list| list.iter().any(|item| item == wanted || item == "*"))
}

/// Returns whether a rule covers what somebody wants.
fn covers(rule: &Value, wanted: &Attributes) -> bool {
    if !lists(rule, "verbs", &wanted.verb) {
        return false;
    }
    if wanted.resource.is_empty() {
        let urls = rule["nonResourceURLs"].as_array();
        return urls.is_some_and(|urls| {
            urls.iter().filter_map(Value::as_str).any(|url| {
                url == wanted.path || url.strip_suffix('*').is_some_and(|prefix| wanted.path.starts_with(prefix))
            })
        });
    }
    let whole = if wanted.subresource.is_empty() {
        wanted.resource.clone()
    } else {
        format!("{}/{}", wanted.resource, wanted.subresource)
    };
    let below = format!("*/{}", wanted.subresource);
    let resource = lists(rule, "resources", &whole)
        || (!wanted.subresource.is_empty()
            && rule["resources"].as_array().is_some_and(|list| list.iter().any(|item| *item == *below)));
    let names = rule["resourceNames"].as_array().filter(|names| !names.is_empty());
    let named = names.is_none_or(|names| names.iter().any(|name| *name == *wanted.name));
    lists(rule, "apiGroups", &wanted.group) && resource && named
}

/// Returns why something is allowed, or `None` if it is not. The reason may be empty.
pub fn allowed(api: &Api, actor: &Actor, wanted: &Attributes) -> Option<String> {
    if actor.groups.iter().any(|group| group == "system:masters") {
        return Some(String::new());
    }
    let grants = grants(api, actor, &wanted.namespace);
    grants.into_iter().find(|grant| covers(&grant.rule, wanted)).map(|grant| grant.reason)
}

/// Returns whether the cluster has bindings beside those that every cluster starts with.
pub fn declared(api: &Api) -> bool {
    let own = |binding: &object::Object| object::label(binding, "kubernetes.io/bootstrapping").is_none();
    ["clusterrolebindings", "rolebindings"]
        .iter()
        .any(|kind| api.list(&format!("{kind}.{GROUP}"), None).iter().any(own))
}

/// Refuses what is not allowed.
pub fn check(api: &Api, actor: &Actor, wanted: &Attributes) -> Result<(), Status> {
    if allowed(api, actor, wanted).is_some() {
        return Ok(());
    }
    let (user, verb) = (&actor.user, &wanted.verb);
    if wanted.resource.is_empty() {
        let message = format!("forbidden: User {user:?} cannot {verb} path {:?}", wanted.path);
        return Err(Status::new(403, "Forbidden", message, json!({})));
    }
    let whole = if wanted.subresource.is_empty() {
        wanted.resource.clone()
    } else {
        format!("{}/{}", wanted.resource, wanted.subresource)
    };
    let scope = match wanted.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let qualified = super::kinds::key(&wanted.group, &wanted.resource);
    let object = if wanted.name.is_empty() { qualified.to_string() } else { format!("{qualified} {:?}", wanted.name) };
    let message = format!(
        "{object} is forbidden: User {user:?} cannot {verb} resource {whole:?} in API group {:?} {scope}",
        wanted.group
    );
    Err(Status::new(403, "Forbidden", message, details(&qualified, &wanted.name)))
}

/// Returns the roles and bindings that every cluster starts with.
pub fn bootstrap() -> Vec<(&'static str, Value)> {
    const ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
    const BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";
    let labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    let role =
        |name: &str, rules: Value| (ROLES, json!({"metadata": {"name": name, "labels": labels}, "rules": rules}));
    let binding = |name: &str, groups: &[&str]| {
        let subjects: Vec<Value> =
            groups.iter().map(|group| json!({"kind": "Group", "apiGroup": GROUP, "name": group})).collect();
        let role = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": name});
        (BINDINGS, json!({"metadata": {"name": name, "labels": labels}, "roleRef": role, "subjects": subjects}))
    };
    let paths = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let public = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let create =
        |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["create"]});
    let read = ["get", "list", "watch"];
    let write = ["create", "delete", "deletecollection", "patch", "update"];
    let objects = [
        "configmaps",
        "endpoints",
        "events",
        "persistentvolumeclaims",
        "pods",
        "pods/log",
        "pods/status",
        "resourcequotas",
        "serviceaccounts",
        "services",
    ];
    vec![
        role(
            "cluster-admin",
            json!([
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ]),
        ),
        role("system:discovery", json!([{"nonResourceURLs": paths, "verbs": ["get"]}])),
        role("system:public-info-viewer", json!([{"nonResourceURLs": public, "verbs": ["get"]}])),
        role(
            "system:basic-user",
            json!([
                create("authorization.k8s.io", &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
                create("authentication.k8s.io", &["selfsubjectreviews"]),
            ]),
        ),
        role("view", json!([{"apiGroups": [""], "resources": objects, "verbs": read}])),
        role(
            "edit",
            json!([
                {"apiGroups": [""], "resources": objects, "verbs": read},
                {"apiGroups": [""], "resources": ["secrets", "pods/exec", "pods/eviction"], "verbs": read},
                {"apiGroups": [""], "resources": objects, "verbs": write},
            ]),
        ),
        role(
            "admin",
            json!([
                {"apiGroups": [""], "resources": objects, "verbs": read},
                {"apiGroups": [""], "resources": objects, "verbs": write},
                {"apiGroups": [GROUP], "resources": ["roles", "rolebindings"], "verbs": ["*"]},
            ]),
        ),
        binding("cluster-admin", &["system:masters"]),
        binding("system:discovery", &["system:authenticated"]),
        binding("system:public-info-viewer", &["system:authenticated", "system:unauthenticated"]),
        binding("system:basic-user", &["system:authenticated"]),
    ]
}
