//! Tools that put back what they own: known by the manager's name in `metadata.managedFields`.

use std::collections::BTreeSet;

use serde_json::Value;

/// Part of a manager's name, and how people know the tool.
const TOOLS: &[(&str, &str)] = &[
    ("argocd", "Argo CD"),
    ("kustomize-controller", "Flux"),
    ("helm-controller", "Flux"),
    ("flux", "Flux"),
    ("fleet", "Fleet"),
    ("configsync", "Config Sync"),
    ("applier", "Config Sync"),
];

/// Returns the tool that a field manager belongs to, if it is one that puts back what it owns.
fn tool(manager: &str) -> Option<&'static str> {
    let manager = manager.to_lowercase();
    TOOLS.iter().find(|(part, _)| manager.contains(part)).map(|(_, tool)| *tool)
}

/// Returns the tools that own a field of an object: `spec.replicas`, `spec.containers[game].image`.
pub fn owners(object: &Value, path: &str) -> BTreeSet<&'static str> {
    let managed = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let entries = managed.into_iter().flatten().filter(|entry| entry["subresource"].as_str().is_none());
    let tools = entries.filter_map(|entry| {
        let tool = tool(entry["manager"].as_str().unwrap_or_default())?;
        owned(&entry["fieldsV1"], path).then_some(tool)
    });
    tools.collect()
}

/// Whether a tree of fields holds a path. A leaf owns all that lies below it.
fn owned(tree: &Value, path: &str) -> bool {
    let Some(tree) = tree.as_object() else { return false };
    let inner = || tree.iter().filter(|(key, _)| *key != ".");
    if path.is_empty() || inner().next().is_none() {
        return true;
    }
    inner().any(|(key, below)| match key.split_once(':') {
        // Names may have dots in them: the longest that fits is found by trying each.
        Some(("f", name)) => path.strip_prefix(name).is_some_and(|rest| match rest.strip_prefix('.') {
            Some(rest) => owned(below, rest),
            None => (rest.is_empty() || rest.starts_with('[')) && owned(below, rest),
        }),
        Some(("k", entry)) => {
            let Ok(Value::Object(entry)) = serde_json::from_str::<Value>(entry) else { return false };
            entry.values().any(|value| {
                let key = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                path.strip_prefix(&format!("[{key}]")).is_some_and(|rest| owned(below, rest.trim_start_matches('.')))
            })
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tool_owns_what_it_applied_and_what_lies_below() {
        let fields = json!({
            "f:metadata": {"f:annotations": {".": {}, "f:a.b/c": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:gameServerTemplate": {"f:spec": {"f:containers": {}}},
                "f:containers": {"k:{\"name\":\"game\"}": {".": {}, "f:name": {}, "f:image": {}}},
            },
        });
        let object = json!({"metadata": {"managedFields": [
            {"manager": "argocd-controller", "fieldsV1": fields},
            {"manager": "kubectl", "fieldsV1": {"f:spec": {"f:network": {}}}},
            {"manager": "flux", "subresource": "status", "fieldsV1": {"f:spec": {"f:network": {}}}},
        ]}});
        for path in [
            "spec.replicas",
            "spec.gameServerTemplate.spec.containers[minecraft].image",
            "spec.containers[game].image",
            "metadata.annotations.a.b/c",
        ] {
            assert_eq!(Vec::from_iter(owners(&object, path)), ["Argo CD"], "{path}");
        }
        for path in [
            "spec.network",
            "spec.containers[other].image",
            "spec.containers[game].ports",
            "spec.replicasX",
            "metadata.labels.a",
        ] {
            assert!(owners(&object, path).is_empty(), "{path}");
        }
    }
}
