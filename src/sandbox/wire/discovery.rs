//! What is served: the documents by which clients find kinds, versions and health.

use std::collections::BTreeMap;

use axum::response::Response;
use http::{Method, header};
use serde_json::{Value, json};

use super::accept::clauses;
use super::request::Request;
use super::{accept, answer};
use crate::sandbox::api::Api;
use crate::sandbox::kinds::Kind;
use crate::sandbox::status::Status;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const CUSTOM: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const ALL: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const MOST: [&str; 7] = ["create", "delete", "get", "list", "patch", "update", "watch"];
const PART: [&str; 3] = ["get", "patch", "update"];
const PROXY: [&str; 5] = ["create", "delete", "get", "patch", "update"];

/// A subresource: name, group and version and kind of what it takes (empty: the object's own), verbs.
type Sub = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const SCALE: Sub = ("scale", "autoscaling", "v1", "Scale", &PART);

/// One resource as both forms of discovery show it.
struct Resource {
    plural: String,
    singular: String,
    namespaced: bool,
    kind: String,
    verbs: Vec<&'static str>,
    short: Vec<String>,
    categories: Vec<String>,
    subs: Vec<Sub>,
    custom: bool,
}

/// Resources that only answer questions: group, plural, kind, namespaced.
const QUESTIONS: [(&str, &str, &str, bool); 7] = [
    ("", "bindings", "Binding", true),
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", false),
    ("authentication.k8s.io", "tokenreviews", "TokenReview", false),
    ("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview", true),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", false),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", false),
    ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", false),
];

fn subs(kind: &Kind) -> Vec<Sub> {
    let own = |name: &'static str, verbs: &'static [&'static str]| -> Sub { (name, "", "", "", verbs) };
    let other = |name: &'static str, kind: &'static str, verbs: &'static [&'static str]| -> Sub {
        (name, "", "v1", kind, verbs)
    };
    let both: &[&str] = &["create", "get"];
    let mut list: Vec<Sub> = match &*kind.key {
        "pods" => vec![
            other("attach", "PodAttachOptions", both),
            other("binding", "Binding", &["create"]),
            own("ephemeralcontainers", &PART),
            ("eviction", "policy", "v1", "Eviction", &["create"]),
            other("exec", "PodExecOptions", both),
            own("log", &["get"]),
            other("portforward", "PodPortForwardOptions", both),
            other("proxy", "PodProxyOptions", &PROXY),
            own("resize", &PART),
        ],
        "namespaces" => vec![own("finalize", &["update"])],
        "nodes" => vec![other("proxy", "NodeProxyOptions", &PROXY)],
        "services" => vec![other("proxy", "ServiceProxyOptions", &PROXY)],
        "serviceaccounts" => vec![("token", "authentication.k8s.io", "v1", "TokenRequest", &["create"])],
        "deployments.apps" | "replicasets.apps" | "statefulsets.apps" | "replicationcontrollers" => vec![SCALE],
        _ => Vec::new(),
    };
    if kind.status {
        list.push(own("status", &PART));
    }
    list
}

fn resources(api: &Api, group: &str, version: &str) -> Vec<Resource> {
    let mut list: Vec<Resource> = api.read(|store| {
        let kinds = store.kinds().filter(|kind| kind.group == group && kind.versions.iter().any(|v| v == version));
        kinds
            .map(|kind| {
                let mut subs = subs(kind);
                if kind.form(version).scale.is_some() {
                    subs.push(SCALE);
                }
                let verbs: &[&str] = match &*kind.key {
                    "namespaces" => &MOST,
                    "services" => &ALL,
                    _ if kind.custom => &CUSTOM,
                    _ => &ALL,
                };
                Resource {
                    plural: kind.plural.clone(),
                    singular: kind.singular.clone(),
                    namespaced: kind.namespaced,
                    kind: kind.kind.clone(),
                    verbs: verbs.to_vec(),
                    short: kind.short.clone(),
                    categories: kind.categories.clone(),
                    subs,
                    custom: kind.custom,
                }
            })
            .collect()
    });
    if version == "v1" {
        for (_, plural, kind, namespaced) in QUESTIONS.iter().filter(|(found, ..)| *found == group) {
            list.push(Resource {
                plural: (*plural).to_owned(),
                singular: kind.to_lowercase(),
                namespaced: *namespaced,
                kind: (*kind).to_owned(),
                verbs: vec!["create"],
                short: Vec::new(),
                categories: Vec::new(),
                subs: Vec::new(),
                custom: false,
            });
        }
    }
    list.sort_by(|a, b| a.plural.cmp(&b.plural));
    list
}

/// Returns the groups with their versions, preferred first.
pub fn groups(api: &Api) -> Vec<(String, Vec<String>)> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    api.read(|store| {
        for kind in store.kinds().filter(|kind| !kind.group.is_empty()) {
            let versions = groups.entry(kind.group.clone()).or_default();
            for version in &kind.versions {
                if !versions.contains(version) {
                    versions.push(version.clone());
                }
            }
        }
    });
    for (group, ..) in QUESTIONS.iter().filter(|(group, ..)| !group.is_empty()) {
        groups.entry((*group).to_owned()).or_insert_with(|| vec!["v1".to_owned()]);
    }
    for versions in groups.values_mut() {
        versions.sort_by_key(|version| crate::sandbox::crd::rank(version));
    }
    groups.into_iter().collect()
}

/// Answers a path of discovery or health, or returns `None` for other paths.
pub fn answer(api: &Api, request: &Request, parts: &[&str]) -> Result<Option<Response>, Status> {
    const CHECKS: [&str; 5] = ["ping", "log", "etcd", "etcd-readiness", "informer-sync"];
    let read = matches!(request.method, Method::GET | Method::HEAD);
    let aggregated = clauses(request.header("accept"))
        .iter()
        .any(|clause| clause.get("g") == "apidiscovery.k8s.io" && clause.get("v") == "v2");
    let document = match parts {
        ["healthz" | "livez" | "readyz"] => return Ok(Some(answer::text("ok"))),
        ["healthz" | "livez" | "readyz", check] if CHECKS.contains(check) => return Ok(Some(answer::text("ok"))),
        ["version"] if !read => return Err(super::dispatch::not_allowed()),
        ["version"] => version(),
        [] | [""] => json!({"paths": paths(api)}),
        [".well-known", "openid-configuration"] => json!({
            "issuer": "https://kubernetes.default.svc",
            "jwks_uri": "https://kubernetes.default.svc/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }),
        ["api"] | ["apis"] if aggregated => return all(api, request, parts[0] == "api").map(Some),
        ["api"] => {
            let host = request.header("host");
            let host = if host.is_empty() { "127.0.0.1:6443" } else { host };
            let address = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": host}]);
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": address})
        }
        ["apis"] => {
            let groups: Vec<Value> = groups(api).iter().map(|(name, versions)| group(name, versions)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["api", "v1"] if request.method == Method::POST => return Err(super::dispatch::not_allowed()),
        ["api", "v1"] => list(api, "", "v1"),
        ["apis", name] => {
            let Some((name, versions)) = groups(api).into_iter().find(|(found, _)| found == name) else {
                return Ok(None);
            };
            let mut document = group(&name, &versions);
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            document
        }
        ["apis", group, version] => {
            if !groups(api).iter().any(|(found, versions)| found == group && versions.iter().any(|v| v == version)) {
                return Ok(None);
            }
            list(api, group, version)
        }
        _ => return Ok(None),
    };
    let accept = request.header("accept");
    let form = accept::negotiate(accept, true)?;
    if clauses(accept).iter().any(|clause| clause.get("g") == "apidiscovery.k8s.io")
        && clauses(accept).iter().all(|clause| !clause.get("as").is_empty())
    {
        return Err(accept::not_acceptable(true));
    }
    Ok(Some(answer::encoded(request, form.encoding, 200, &document)))
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "35",
        "emulationMajor": "1",
        "emulationMinor": "35",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "34",
        "gitVersion": "v1.35.4",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "go1.25",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

fn paths(api: &Api) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .to_vec();
    for (group, versions) in groups(api) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.sort();
    paths
}

fn group(name: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> =
        versions.iter().map(|v| json!({"groupVersion": format!("{name}/{v}"), "version": v})).collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions[0]})
}

fn list(api: &Api, group: &str, version: &str) -> Value {
    let mut out = Vec::new();
    for resource in resources(api, group, version) {
        let mut entry = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": resource.verbs,
        });
        if !resource.short.is_empty() {
            entry["shortNames"] = json!(resource.short);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        out.push(entry);
        for (sub, other_group, other_version, kind, verbs) in &resource.subs {
            let mut entry = json!({
                "name": format!("{}/{sub}", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": if kind.is_empty() { resource.kind.as_str() } else { kind },
                "verbs": verbs,
            });
            if !other_group.is_empty() {
                entry["group"] = (*other_group).into();
                entry["version"] = (*other_version).into();
            }
            out.push(entry);
        }
    }
    let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": out})
}

/// The one document with all groups.
fn all(api: &Api, request: &Request, core: bool) -> Result<Response, Status> {
    let listed: Vec<(String, Vec<String>)> =
        if core { vec![(String::new(), vec!["v1".to_owned()])] } else { groups(api) };
    let items: Vec<Value> = listed
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let list: Vec<Value> =
                        resources(api, group, version).iter().map(|r| discovered(r, group, version)).collect();
                    json!({"version": version, "resources": list, "freshness": "Current"})
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    let text = document.to_string();
    let tag = format!("{:?}", super::openapi::hash(&text));
    if request.header(header::IF_NONE_MATCH) == tag {
        let mut response = answer::typed(304, AGGREGATED, "");
        response.headers_mut().remove(header::CONTENT_TYPE);
        answer::set(&mut response, header::ETAG, &tag);
        return Ok(response);
    }
    let mut response = answer::typed(200, AGGREGATED, text);
    answer::set(&mut response, header::ETAG, &tag);
    answer::set(&mut response, header::VARY, "Accept");
    answer::set(&mut response, header::CACHE_CONTROL, "public");
    Ok(response)
}

fn discovered(resource: &Resource, group: &str, version: &str) -> Value {
    // Only custom resources tell the group of their own kind here.
    let (own_group, own_version) = if resource.custom { (group, version) } else { ("", "") };
    let mut out = json!({
        "resource": resource.plural,
        "responseKind": {"group": own_group, "version": own_version, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short.is_empty() {
        out["shortNames"] = json!(resource.short);
    }
    if !resource.categories.is_empty() {
        out["categories"] = json!(resource.categories);
    }
    let subs: Vec<Value> = resource
        .subs
        .iter()
        .map(|(sub, other_group, other_version, kind, verbs)| {
            let response = if other_group.is_empty() {
                let kind = if kind.is_empty() { resource.kind.as_str() } else { kind };
                json!({"group": own_group, "version": own_version, "kind": kind})
            } else {
                json!({"group": other_group, "version": other_version, "kind": kind})
            };
            json!({"subresource": sub, "responseKind": response, "verbs": verbs})
        })
        .collect();
    if !subs.is_empty() {
        out["subresources"] = subs.into();
    }
    out
}
