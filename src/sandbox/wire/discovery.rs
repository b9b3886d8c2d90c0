//! What is served: the documents by which clients find kinds, versions and health.

use axum::response::Response;
use serde_json::{Value, json};

use super::answer;
use super::request::Request;
use crate::sandbox::api::Api;

/// Answers a path of discovery or health, or returns `None` for other paths.
pub fn answer(api: &Api, _request: &Request, parts: &[&str]) -> Option<Response> {
    let document = match parts {
        ["healthz" | "livez" | "readyz"] => return Some(answer::typed(200, "text/plain; charset=utf-8", "ok")),
        ["version"] => json!({"major": "1", "minor": "35", "gitVersion": "v1.35.4", "platform": "linux/amd64"}),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => groups(api),
        ["api", "v1"] => resources(api, "", "v1")?,
        ["apis", group, version] => resources(api, group, version)?,
        _ => return None,
    };
    Some(answer::json(200, &document))
}

fn groups(api: &Api) -> Value {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    api.read(|store| {
        for kind in store.kinds().filter(|kind| !kind.group.is_empty()) {
            match groups.iter_mut().find(|(name, _)| *name == kind.group) {
                Some((_, versions)) => {
                    for version in &kind.versions {
                        if !versions.contains(version) {
                            versions.push(version.clone());
                        }
                    }
                }
                None => groups.push((kind.group.clone(), kind.versions.clone())),
            }
        }
    });
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|(name, versions)| {
            let versions: Vec<Value> =
                versions.iter().map(|v| json!({"groupVersion": format!("{name}/{v}"), "version": v})).collect();
            json!({"name": name, "versions": versions, "preferredVersion": versions[0]})
        })
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn resources(api: &Api, group: &str, version: &str) -> Option<Value> {
    const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let list: Vec<Value> = api.read(|store| {
        let kinds = store.kinds().filter(|kind| kind.group == group && kind.versions.iter().any(|v| v == version));
        kinds
            .map(|kind| {
                json!({
                    "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
                    "kind": kind.kind, "verbs": VERBS, "shortNames": kind.short,
                })
            })
            .collect()
    });
    let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let document = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": list});
    (!list.is_empty()).then_some(document)
}
