//! The smaller built-in kinds.

use serde_json::{Map, Value, json};

use super::pod;
use crate::sandbox::kinds::Kind;
use crate::sandbox::object;

fn default(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    map.entry(key).or_insert_with(|| value.into());
}

/// Fills in defaults.
pub fn defaults(kind: &Kind, value: &mut Value) {
    match &*kind.key {
        "services" => service(object::member_mut(value, "spec")),
        "secrets" => {
            if let Value::Object(map) = value {
                // Plain texts are written as data.
                if let Some(Value::Object(texts)) = map.remove("stringData") {
                    let data = object::member_mut(value, "data");
                    for (key, text) in texts {
                        use base64::Engine as _;
                        let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or(""));
                        data.insert(key, encoded.into());
                    }
                }
            }
            if let Value::Object(map) = value {
                default(map, "type", "Opaque");
            }
        }
        "persistentvolumeclaims" => {
            default(object::member_mut(value, "spec"), "volumeMode", "Filesystem");
            default(object::member_mut(value, "status"), "phase", "Pending");
        }
        "persistentvolumes" => {
            let spec = object::member_mut(value, "spec");
            default(spec, "persistentVolumeReclaimPolicy", "Retain");
            default(spec, "volumeMode", "Filesystem");
            if let Some(Value::Object(path)) = spec.get_mut("hostPath") {
                default(path, "type", "");
            }
        }
        "namespaces" => {
            let name = object::name(value).to_owned();
            if !name.is_empty() {
                let labels = object::meta_mut(value).entry("labels").or_insert_with(|| json!({}));
                labels["kubernetes.io/metadata.name"] = name.into();
            }
            default(object::member_mut(value, "status"), "phase", "Active");
        }
        "nodes" => {
            if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut)
                && let Some(range) = spec.get("podCIDR").cloned()
                && spec.get("podCIDRs").is_none_or(|ranges| ranges.get(0) != Some(&range))
            {
                spec.insert("podCIDRs".into(), json!([range]));
            }
            if let Some(status) = value.get_mut("status").and_then(Value::as_object_mut)
                && !status.contains_key("allocatable")
                && let Some(capacity) = status.get("capacity").cloned()
            {
                status.insert("allocatable".into(), capacity);
            }
        }
        "jobs.batch" => job(value),
        "cronjobs.batch" => {
            let spec = object::member_mut(value, "spec");
            default(spec, "concurrencyPolicy", "Allow");
            default(spec, "suspend", false);
            default(spec, "successfulJobsHistoryLimit", 3);
            default(spec, "failedJobsHistoryLimit", 1);
            if let Some(template) = spec.get_mut("jobTemplate") {
                template_defaults(object::member_mut(template, "spec"));
            }
        }
        "roles.rbac.authorization.k8s.io" | "clusterroles.rbac.authorization.k8s.io" => {
            if let Value::Object(map) = value {
                default(map, "rules", Value::Null);
            }
        }
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            const GROUP: &str = "rbac.authorization.k8s.io";
            default(object::member_mut(value, "roleRef"), "apiGroup", GROUP);
            for subject in value.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
                if ["User", "Group"].contains(&subject["kind"].as_str().unwrap_or(""))
                    && let Value::Object(subject) = subject
                {
                    default(subject, "apiGroup", GROUP);
                }
            }
        }
        "horizontalpodautoscalers.autoscaling" => {
            let spec = object::member_mut(value, "spec");
            default(spec, "minReplicas", 1);
            let metric = json!({"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}});
            default(spec, "metrics", json!([metric]));
        }
        "deployments.apps" => {
            let spec = object::member_mut(value, "spec");
            default(spec, "replicas", 1);
            default(spec, "revisionHistoryLimit", 10);
            default(spec, "progressDeadlineSeconds", 600);
            if spec.get("strategy").is_none_or(|strategy| strategy.get("type").is_none()) {
                let rolling = json!({"maxUnavailable": "25%", "maxSurge": "25%"});
                spec.insert("strategy".into(), json!({"type": "RollingUpdate", "rollingUpdate": rolling}));
            }
            template_defaults(spec);
        }
        "statefulsets.apps" => {
            let spec = object::member_mut(value, "spec");
            default(spec, "replicas", 1);
            default(spec, "revisionHistoryLimit", 10);
            default(spec, "podManagementPolicy", "OrderedReady");
            template_defaults(spec);
        }
        "replicasets.apps" | "daemonsets.apps" | "replicationcontrollers" => {
            template_defaults(object::member_mut(value, "spec"));
        }
        "storageclasses.storage.k8s.io" => {
            if let Value::Object(map) = value {
                default(map, "reclaimPolicy", "Delete");
                default(map, "volumeBindingMode", "Immediate");
            }
        }
        "priorityclasses.scheduling.k8s.io" => {
            if let Value::Object(map) = value {
                default(map, "preemptionPolicy", "PreemptLowerPriority");
            }
        }
        _ => {}
    }
}

fn template_defaults(spec: &mut Map<String, Value>) {
    if let Some(template) = spec.get_mut("template") {
        pod::defaults(object::member_mut(template, "spec"), false);
    }
}

fn service(spec: &mut Map<String, Value>) {
    default(spec, "sessionAffinity", "None");
    default(spec, "type", "ClusterIP");
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("").to_owned();
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if ["NodePort", "LoadBalancer"].contains(&kind.as_str()) {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Object(port) = port {
            default(port, "protocol", "TCP");
            let number = port.get("port").cloned().unwrap_or_default();
            if port.get("targetPort").is_none_or(|target| *target == json!(0) || *target == json!("")) {
                port.insert("targetPort".into(), number);
            }
        }
    }
}

fn job(value: &mut Value) {
    // A job without labels takes those of its pods.
    let labels = object::at(value, &["spec", "template", "metadata", "labels"]).cloned();
    if let Some(labels @ Value::Object(_)) = labels
        && object::meta_mut(value).get("labels").and_then(Value::as_object).is_none_or(Map::is_empty)
    {
        object::meta_mut(value).insert("labels".into(), labels);
    }
    let spec = object::member_mut(value, "spec");
    default(spec, "backoffLimit", 6);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    default(spec, "podReplacementPolicy", "TerminatingOrFailed");
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        spec.insert("completions".into(), 1.into());
    }
    default(spec, "parallelism", 1);
    template_defaults(spec);
}

/// Fills in what the server sets on a new object.
pub fn prepare_create(kind: &Kind, value: &mut Value) {
    match &*kind.key {
        "namespaces" => {
            object::member_mut(value, "spec").insert("finalizers".into(), json!(["kubernetes"]));
            value["status"] = json!({"phase": "Active"});
            // The label holds the name that was made up just now, too.
            defaults(kind, value);
        }
        "nodes" => {
            // A new node is not ready, unless it says so itself.
            let conditions = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True") {
                return;
            }
            let taints = object::member_mut(value, "spec").entry("taints").or_insert_with(|| json!([]));
            if let Some(list) = taints.as_array_mut()
                && !list.iter().any(|taint| taint["key"] == "node.kubernetes.io/not-ready")
            {
                list.push(json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}));
            }
        }
        "persistentvolumeclaims" => value["status"] = json!({"phase": "Pending"}),
        "persistentvolumes" => {
            let now = object::meta(value, "creationTimestamp").to_owned();
            value["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": now});
        }
        "services" => {
            value["status"] = json!({"loadBalancer": {}});
            let uid = object::meta(value, "uid").to_owned();
            service_addresses(object::member_mut(value, "spec"), &uid);
        }
        "jobs.batch" => {
            value["status"] = json!({});
            let (uid, name) = (object::meta(value, "uid").to_owned(), object::name(value).to_owned());
            let spec = object::member_mut(value, "spec");
            if spec.get("manualSelector") != Some(&Value::Bool(true)) {
                let labels = json!({
                    "batch.kubernetes.io/controller-uid": uid,
                    "batch.kubernetes.io/job-name": name,
                    "controller-uid": uid,
                    "job-name": name,
                });
                spec.insert("manualSelector".into(), false.into());
                spec.insert("selector".into(), json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
                let template = spec.entry("template").or_insert_with(|| json!({}));
                let meta = object::member_mut(template, "metadata");
                add_labels(meta, &labels);
                add_labels(object::meta_mut(value), &labels);
            }
        }
        "horizontalpodautoscalers.autoscaling" => {
            value["status"] = json!({"desiredReplicas": 0, "currentMetrics": null});
        }
        "poddisruptionbudgets.policy" => {
            let counts = json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
            value["status"] = counts;
        }
        "resourcequotas" | "deployments.apps" | "daemonsets.apps" => value["status"] = json!({}),
        "replicasets.apps" | "statefulsets.apps" | "replicationcontrollers" => {
            value["status"] = json!({"replicas": 0});
        }
        _ => {}
    }
}

fn add_labels(meta: &mut Map<String, Value>, labels: &Value) {
    let own = meta.entry("labels").or_insert_with(|| json!({}));
    if let (Some(own), Some(labels)) = (own.as_object_mut(), labels.as_object()) {
        own.extend(labels.clone());
    }
}

/// Protects volumes that are in use. Whoever sets this needs a controller that lifts it, as a real cluster has one.
pub fn protect(kind: &Kind, value: &mut Value) {
    match &*kind.key {
        "persistentvolumeclaims" => add_finalizer(value, "kubernetes.io/pvc-protection"),
        "persistentvolumes" => add_finalizer(value, "kubernetes.io/pv-protection"),
        _ => {}
    }
}

fn add_finalizer(value: &mut Value, finalizer: &str) {
    let list = object::meta_mut(value).entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|found| found == finalizer)
    {
        list.push(finalizer.into());
    }
}

/// Gives a service its address and node ports, derived from its uid.
fn service_addresses(spec: &mut Map<String, Value>, uid: &str) {
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("").to_owned();
    if kind == "ExternalName" {
        return;
    }
    let seed = uid.bytes().fold(17u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let ip = spec.get("clusterIP").and_then(Value::as_str).filter(|ip| !ip.is_empty()).map(str::to_owned);
    let ip = ip.unwrap_or_else(|| format!("10.0.{}.{}", (seed >> 8) % 256, 1 + seed % 254));
    spec.insert("clusterIP".into(), ip.clone().into());
    default(spec, "clusterIPs", json!([ip]));
    default(spec, "ipFamilies", json!(["IPv4"]));
    default(spec, "ipFamilyPolicy", "SingleStack");
    if ["NodePort", "LoadBalancer"].contains(&kind.as_str()) {
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten();
        for (port, offset) in ports.zip(0u32..) {
            if let Value::Object(port) = port {
                default(port, "nodePort", 30000 + (seed + offset) % 2768);
            }
        }
    }
}

/// Keeps what follows from other fields.
pub fn prepare_update(kind: &Kind, subresource: &str, current: &Value, next: &mut Value) {
    match &*kind.key {
        "namespaces" if subresource != "finalize" => {
            let finalizers = current["spec"].get("finalizers").cloned();
            let spec = object::member_mut(next, "spec");
            match finalizers {
                Some(finalizers) => spec.insert("finalizers".into(), finalizers),
                None => spec.remove("finalizers"),
            };
        }
        "services" => {
            let kept = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];
            let spec = object::member_mut(next, "spec");
            for key in kept {
                if let Some(value) = current["spec"].get(key) {
                    default(spec, key, value.clone());
                }
            }
        }
        _ => {}
    }
}
