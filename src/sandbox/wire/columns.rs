//! The columns of the built-in kinds.

use jiff::Timestamp;
use serde_json::Value;

use crate::sandbox::object::{self, text_at};

type Header = (&'static str, &'static str, i64);

/// Returns the headers of a kind: name, type, priority.
pub fn headers(key: &str) -> Vec<Header> {
    let names: &[(&'static str, i64)] = match key {
        "pods" => &[
            ("Name", 0),
            ("Ready", 0),
            ("Status", 0),
            ("Restarts", 0),
            ("Age", 0),
            ("IP", 1),
            ("Node", 1),
            ("Nominated Node", 1),
            ("Readiness Gates", 1),
        ],
        "nodes" => &[
            ("Name", 0),
            ("Status", 0),
            ("Roles", 0),
            ("Age", 0),
            ("Version", 0),
            ("Internal-IP", 1),
            ("External-IP", 1),
            ("OS-Image", 1),
            ("Kernel-Version", 1),
            ("Container-Runtime", 1),
        ],
        "namespaces" => &[("Name", 0), ("Status", 0), ("Age", 0)],
        "configmaps" => &[("Name", 0), ("Data", 0), ("Age", 0)],
        "secrets" => &[("Name", 0), ("Type", 0), ("Data", 0), ("Age", 0)],
        "events" | "events.events.k8s.io" => &[
            ("Last Seen", 0),
            ("Type", 0),
            ("Reason", 0),
            ("Object", 0),
            ("Subobject", 1),
            ("Source", 1),
            ("Message", 0),
            ("First Seen", 1),
            ("Count", 1),
            ("Name", 1),
        ],
        "leases.coordination.k8s.io" => &[("Name", 0), ("Holder", 0), ("Age", 0)],
        "services" => &[
            ("Name", 0),
            ("Type", 0),
            ("Cluster-IP", 0),
            ("External-IP", 0),
            ("Port(s)", 0),
            ("Age", 0),
            ("Selector", 1),
        ],
        "endpoints" => &[("Name", 0), ("Endpoints", 0), ("Age", 0)],
        "jobs.batch" => &[
            ("Name", 0),
            ("Status", 0),
            ("Completions", 0),
            ("Duration", 0),
            ("Age", 0),
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        "cronjobs.batch" => &[
            ("Name", 0),
            ("Schedule", 0),
            ("Timezone", 0),
            ("Suspend", 0),
            ("Active", 0),
            ("Last Schedule", 0),
            ("Age", 0),
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        "persistentvolumeclaims" => &[
            ("Name", 0),
            ("Status", 0),
            ("Volume", 0),
            ("Capacity", 0),
            ("Access Modes", 0),
            ("StorageClass", 0),
            ("VolumeAttributesClass", 0),
            ("Age", 0),
            ("VolumeMode", 1),
        ],
        "persistentvolumes" => &[
            ("Name", 0),
            ("Capacity", 0),
            ("Access Modes", 0),
            ("Reclaim Policy", 0),
            ("Status", 0),
            ("Claim", 0),
            ("StorageClass", 0),
            ("VolumeAttributesClass", 0),
            ("Reason", 0),
            ("Age", 0),
            ("VolumeMode", 1),
        ],
        "customresourcedefinitions.apiextensions.k8s.io" => {
            return vec![("Name", "string", 0), ("Created At", "date", 0)];
        }
        "controllerrevisions.apps" => &[("Name", 0), ("Controller", 0), ("Revision", 0), ("Age", 0)],
        "resourcequotas" => &[("Name", 0), ("Request", 0), ("Limit", 0), ("Age", 0)],
        "poddisruptionbudgets.policy" => {
            &[("Name", 0), ("Min Available", 0), ("Max Unavailable", 0), ("Allowed Disruptions", 0), ("Age", 0)]
        }
        "horizontalpodautoscalers.autoscaling" => &[
            ("Name", 0),
            ("Reference", 0),
            ("Targets", 0),
            ("MinPods", 0),
            ("MaxPods", 0),
            ("Replicas", 0),
            ("Age", 0),
        ],
        "roles.rbac.authorization.k8s.io" | "clusterroles.rbac.authorization.k8s.io" => {
            return vec![("Name", "string", 0), ("Created At", "date", 0)];
        }
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            &[("Name", 0), ("Role", 0), ("Age", 0), ("Users", 1), ("Groups", 1), ("ServiceAccounts", 1)]
        }
        "deployments.apps" => &[
            ("Name", 0),
            ("Ready", 0),
            ("Up-to-date", 0),
            ("Available", 0),
            ("Age", 0),
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        "replicasets.apps" | "replicationcontrollers" => &[
            ("Name", 0),
            ("Desired", 0),
            ("Current", 0),
            ("Ready", 0),
            ("Age", 0),
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        "statefulsets.apps" => &[("Name", 0), ("Ready", 0), ("Age", 0), ("Containers", 1), ("Images", 1)],
        "daemonsets.apps" => &[
            ("Name", 0),
            ("Desired", 0),
            ("Current", 0),
            ("Ready", 0),
            ("Up-to-date", 0),
            ("Available", 0),
            ("Node Selector", 0),
            ("Age", 0),
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        "storageclasses.storage.k8s.io" => &[
            ("Name", 0),
            ("Provisioner", 0),
            ("ReclaimPolicy", 0),
            ("VolumeBindingMode", 0),
            ("AllowVolumeExpansion", 0),
            ("Age", 0),
        ],
        "priorityclasses.scheduling.k8s.io" => {
            &[("Name", 0), ("Value", 0), ("Global-Default", 0), ("Age", 0), ("PreemptionPolicy", 0)]
        }
        _ => &[("Name", 0), ("Age", 0)],
    };
    const NUMBERS: [&str; 3] = ["Value", "Allowed Disruptions", "Global-Default"];
    let kind = |name: &str| match name {
        "Global-Default" => "boolean",
        name if NUMBERS.contains(&name) => "integer",
        _ => "string",
    };
    names.iter().map(|(name, priority)| (*name, kind(name), *priority)).collect()
}

/// Returns the cells of an object.
pub fn cells(key: &str, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = Value::from(object::name(object));
    let born = object::meta(object, "creationTimestamp");
    let age = Value::from(age(born, now));
    let text = |path: &[&str]| Value::from(text_at(object, path));
    let or_none = |path: &[&str]| match text_at(object, path) {
        "" => Value::from("<none>"),
        text => text.into(),
    };
    let size = |member: &str| Value::from(object[member].as_object().map_or(0, serde_json::Map::len));
    let number = |path: &[&str]| object::at(object, path).and_then(Value::as_i64).unwrap_or(0);
    let template = &object["spec"]["template"]["spec"];
    match key {
        "pods" => pod(object, name, age),
        "nodes" => node(object, name, age),
        "namespaces" => vec![name, text(&["status", "phase"]), age],
        "configmaps" => {
            let binary = object["binaryData"].as_object().map_or(0, serde_json::Map::len);
            vec![name, (object["data"].as_object().map_or(0, serde_json::Map::len) + binary).into(), age]
        }
        "secrets" => vec![name, text(&["type"]), size("data"), age],
        "events" | "events.events.k8s.io" => event(object, name, now),
        "leases.coordination.k8s.io" => vec![name, text(&["spec", "holderIdentity"]), age],
        "services" => service(object, name, age),
        "endpoints" => vec![name, "<none>".into(), age],
        "jobs.batch" => job(object, name, age, now),
        "cronjobs.batch" => vec![
            name,
            text(&["spec", "schedule"]),
            or_none(&["spec", "timeZone"]),
            if object["spec"]["suspend"] == true { "True" } else { "False" }.into(),
            object["status"]["active"].as_array().map_or(0, Vec::len).into(),
            or_none(&["status", "lastScheduleTime"]),
            age,
            names(&object["spec"]["jobTemplate"]["spec"]["template"]["spec"], "name"),
            names(&object["spec"]["jobTemplate"]["spec"]["template"]["spec"], "image"),
            "<none>".into(),
        ],
        "persistentvolumeclaims" => {
            let mut phase = text_at(object, &["status", "phase"]);
            if object::terminating(object) {
                phase = "Terminating";
            }
            let bound = !text_at(object, &["spec", "volumeName"]).is_empty();
            let modes = if bound { modes(&object["status"]["accessModes"]) } else { String::new() };
            let capacity = if bound { text(&["status", "capacity", "storage"]) } else { "".into() };
            vec![
                name,
                phase.into(),
                text(&["spec", "volumeName"]),
                capacity,
                modes.into(),
                text(&["spec", "storageClassName"]),
                unset(text_at(object, &["spec", "volumeAttributesClassName"])),
                age,
                text(&["spec", "volumeMode"]),
            ]
        }
        "persistentvolumes" => {
            let claim = match text_at(object, &["spec", "claimRef", "name"]) {
                "" => String::new(),
                claim => format!("{}/{claim}", text_at(object, &["spec", "claimRef", "namespace"])),
            };
            let phase = if object::terminating(object) { "Terminating" } else { text_at(object, &["status", "phase"]) };
            vec![
                name,
                text(&["spec", "capacity", "storage"]),
                modes(&object["spec"]["accessModes"]).into(),
                text(&["spec", "persistentVolumeReclaimPolicy"]),
                phase.into(),
                claim.into(),
                text(&["spec", "storageClassName"]),
                unset(text_at(object, &["spec", "volumeAttributesClassName"])),
                text(&["status", "reason"]),
                age,
                text(&["spec", "volumeMode"]),
            ]
        }
        "customresourcedefinitions.apiextensions.k8s.io" => vec![name, born.into()],
        "roles.rbac.authorization.k8s.io" | "clusterroles.rbac.authorization.k8s.io" => vec![name, born.into()],
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            let role = format!("{}/{}", text_at(object, &["roleRef", "kind"]), text_at(object, &["roleRef", "name"]));
            let subjects = |kind: &str| -> Value {
                let list = object["subjects"].as_array().into_iter().flatten();
                let found: Vec<String> = list
                    .filter(|subject| subject["kind"] == kind)
                    .map(|subject| {
                        let name = subject["name"].as_str().unwrap_or("");
                        match subject["namespace"].as_str() {
                            Some(space) => format!("{space}/{name}"),
                            None => name.to_owned(),
                        }
                    })
                    .collect();
                found.join(", ").into()
            };
            vec![name, role.into(), age, subjects("User"), subjects("Group"), subjects("ServiceAccount")]
        }
        "controllerrevisions.apps" => {
            let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            let owner = owners.filter(|owner| owner["controller"] == true).map(|owner| {
                let version = owner["apiVersion"].as_str().unwrap_or("");
                let group = version.split_once('/').map_or("", |(group, _)| group);
                let kind = owner["kind"].as_str().unwrap_or("").to_lowercase();
                let kind = if group.is_empty() { kind } else { format!("{kind}.{group}") };
                format!("{kind}/{}", owner["name"].as_str().unwrap_or(""))
            });
            let owner = owner.max().unwrap_or_else(|| "<none>".to_owned());
            vec![name, owner.into(), object["revision"].clone(), age]
        }
        "resourcequotas" => quota(object, name, age),
        "poddisruptionbudgets.policy" => {
            let or_absent = |field: &str| match &object["spec"][field] {
                Value::Null => Value::from("N/A"),
                Value::String(text) => text.clone().into(),
                other => other.to_string().into(),
            };
            let allowed = number(&["status", "disruptionsAllowed"]);
            vec![name, or_absent("minAvailable"), or_absent("maxUnavailable"), allowed.into(), age]
        }
        "horizontalpodautoscalers.autoscaling" => {
            let about = |field: &str| text_at(object, &["spec", "scaleTargetRef", field]);
            let reference = format!("{}/{}", about("kind"), about("name"));
            let least = object["spec"]["minReplicas"].as_i64();
            let least = least.map_or_else(|| "<unset>".to_owned(), |least| least.to_string());
            vec![
                name,
                reference.into(),
                targets(object).into(),
                least.into(),
                number(&["spec", "maxReplicas"]).into(),
                number(&["status", "currentReplicas"]).into(),
                age,
            ]
        }
        "deployments.apps" => vec![
            name,
            format!("{}/{}", number(&["status", "readyReplicas"]), number(&["spec", "replicas"])).into(),
            number(&["status", "updatedReplicas"]).into(),
            number(&["status", "availableReplicas"]).into(),
            age,
            names(template, "name"),
            names(template, "image"),
            selector(&object["spec"]["selector"]["matchLabels"]),
        ],
        "replicasets.apps" | "replicationcontrollers" => {
            let labels = object["spec"]["selector"].get("matchLabels").unwrap_or(&object["spec"]["selector"]);
            vec![
                name,
                number(&["spec", "replicas"]).into(),
                number(&["status", "replicas"]).into(),
                number(&["status", "readyReplicas"]).into(),
                age,
                names(template, "name"),
                names(template, "image"),
                selector(labels),
            ]
        }
        "statefulsets.apps" => vec![
            name,
            format!("{}/{}", number(&["status", "readyReplicas"]), number(&["spec", "replicas"])).into(),
            age,
            names(template, "name"),
            names(template, "image"),
        ],
        "daemonsets.apps" => vec![
            name,
            number(&["status", "desiredNumberScheduled"]).into(),
            number(&["status", "currentNumberScheduled"]).into(),
            number(&["status", "numberReady"]).into(),
            number(&["status", "updatedNumberScheduled"]).into(),
            number(&["status", "numberAvailable"]).into(),
            selector(&template["nodeSelector"]),
            age,
            names(template, "name"),
            names(template, "image"),
            selector(&object["spec"]["selector"]["matchLabels"]),
        ],
        "storageclasses.storage.k8s.io" => vec![
            name,
            text(&["provisioner"]),
            text(&["reclaimPolicy"]),
            text(&["volumeBindingMode"]),
            (object["allowVolumeExpansion"] == true).into(),
            age,
        ],
        "priorityclasses.scheduling.k8s.io" => vec![
            name,
            number(&["value"]).into(),
            (object["globalDefault"] == true).into(),
            age,
            text(&["preemptionPolicy"]),
        ],
        _ => vec![name, age],
    }
}

fn unset(text: &str) -> Value {
    if text.is_empty() { "<unset>".into() } else { text.into() }
}

fn names(spec: &Value, field: &str) -> Value {
    let containers = spec["containers"].as_array().into_iter().flatten();
    let found: Vec<&str> = containers.filter_map(|container| container[field].as_str()).collect();
    found.join(",").into()
}

fn selector(labels: &Value) -> Value {
    let labels = labels.as_object().into_iter().flatten();
    let found: Vec<String> = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect();
    if found.is_empty() { "<none>".into() } else { found.join(",").into() }
}

fn modes(list: &Value) -> String {
    let short = |mode: &str| match mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        _ => "RWOP",
    };
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(short).collect::<Vec<_>>().join(",")
}

fn quota(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in object["status"]["hard"].as_object().into_iter().flatten() {
        let used = text_at(object, &["status", "used", resource]);
        let used = if used.is_empty() { "0" } else { used };
        let text = format!("{resource}: {used}/{}", hard.as_str().unwrap_or(""));
        if resource.starts_with("limits") { limits.push(text) } else { requests.push(text) }
    }
    vec![name, requests.join(", ").into(), limits.join(", ").into(), age]
}

fn targets(object: &Value) -> String {
    let current = object["status"]["currentMetrics"].as_array();
    let metrics = object["spec"]["metrics"].as_array().into_iter().flatten();
    let list: Vec<String> = metrics
        .enumerate()
        .map(|(index, metric)| {
            let now = current.and_then(|list| list.get(index));
            let part = metric["type"].as_str().unwrap_or("").to_lowercase();
            let percent = |value: Option<&Value>, field: &str| {
                let number = value.and_then(|value| value[&part][field]["averageUtilization"].as_i64());
                number.map_or_else(|| "<unknown>".to_owned(), |number| format!("{number}%"))
            };
            let target = &metric[&part]["target"];
            let label = metric[&part]["name"].as_str().map_or(String::new(), |name| format!("{name}: "));
            if target["averageUtilization"].is_i64() {
                let wanted = target["averageUtilization"].as_i64().unwrap_or(0);
                return format!("{label}{}/{wanted}%", percent(now, "current"));
            }
            let wanted = target["averageValue"].as_str().or(target["value"].as_str()).unwrap_or("");
            let average = if target["averageValue"].is_string() { " (avg)" } else { "" };
            let now = now.and_then(|now| {
                let current = &now[&part]["current"];
                current["averageValue"].as_str().or(current["value"].as_str()).map(str::to_owned)
            });
            format!("{}/{wanted}{average}", now.unwrap_or_else(|| "<unknown>".into()))
        })
        .collect();
    if list.is_empty() { "<none>".into() } else { list.join(", ") }
}

fn event(object: &Value, name: Value, now: Timestamp) -> Vec<Value> {
    let text = |path: &[&str]| text_at(object, path);
    let about = &object["involvedObject"];
    let kind = about["kind"].as_str().unwrap_or("").to_lowercase();
    let first = match text(&["firstTimestamp"]) {
        "" => text(&["eventTime"]),
        first => first,
    };
    let last = match (text(&["series", "lastObservedTime"]), text(&["lastTimestamp"])) {
        ("", "") => first,
        ("", last) => last,
        (last, _) => last,
    };
    let count = object["series"]["count"].as_i64().or(object["count"].as_i64()).unwrap_or(0);
    let count = if count == 0 && object["count"].is_null() { 1 } else { count };
    let component = match text(&["source", "component"]) {
        "" => text(&["reportingComponent"]),
        component => component,
    };
    let host = match text(&["source", "host"]) {
        "" => text(&["reportingInstance"]),
        host => host,
    };
    let source = if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") };
    vec![
        age(last, now).into(),
        text(&["type"]).into(),
        text(&["reason"]).into(),
        format!("{kind}/{}", about["name"].as_str().unwrap_or("")).into(),
        about["fieldPath"].as_str().unwrap_or("").into(),
        source.into(),
        text(&["message"]).trim().into(),
        age(first, now).into(),
        count.into(),
        name,
    ]
}

fn service(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let spec = &object["spec"];
    let kind = spec["type"].as_str().unwrap_or("");
    let balancers: Vec<&str> = object["status"]["loadBalancer"]["ingress"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["ip"].as_str().or(entry["hostname"].as_str()))
        .collect();
    let listed: Vec<&str> = spec["externalIPs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let external = match kind {
        "LoadBalancer" if balancers.is_empty() && listed.is_empty() => "<pending>".to_owned(),
        "LoadBalancer" => balancers.iter().chain(&listed).copied().collect::<Vec<_>>().join(","),
        "ExternalName" => spec["externalName"].as_str().unwrap_or("").to_owned(),
        _ if listed.is_empty() => "<none>".to_owned(),
        _ => listed.join(","),
    };
    let ports: Vec<String> = spec["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            match port["nodePort"].as_i64() {
                Some(node) if node > 0 => format!("{}:{node}/{protocol}", port["port"]),
                _ => format!("{}/{protocol}", port["port"]),
            }
        })
        .collect();
    let ports = if ports.is_empty() { "<none>".to_owned() } else { ports.join(",") };
    let ip = spec["clusterIP"].as_str().filter(|ip| !ip.is_empty()).unwrap_or("<none>");
    vec![name, kind.into(), ip.into(), external.into(), ports.into(), age, selector(&spec["selector"])]
}

fn job(object: &Value, name: Value, age: Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let done = status["succeeded"].as_i64().unwrap_or(0);
    let completions = match (spec["completions"].as_i64(), spec["parallelism"].as_i64()) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, Some(parallel)) if parallel > 1 => format!("{done}/1 of {parallel}"),
        _ => format!("{done}/1"),
    };
    let duration = match (text_at(status, &["startTime"]).parse(), text_at(status, &["completionTime"]).parse()) {
        (Ok(start), Ok(end)) => human(seconds(start, end)),
        (Ok(start), Err(_)) => human(seconds(start, now)),
        _ => String::new(),
    };
    let has = |kind: &str| {
        let list = status["conditions"].as_array().into_iter().flatten();
        list.into_iter().any(|condition: &Value| condition["type"] == kind && condition["status"] == "True")
    };
    let state = if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if object::terminating(object) {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let template = &spec["template"]["spec"];
    vec![
        name,
        state.into(),
        completions.into(),
        duration.into(),
        age,
        names(template, "name"),
        names(template, "image"),
        selector(&spec["selector"]["matchLabels"]),
    ]
}

fn node(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let status = &object["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
    let mut state = match ready {
        None => "Unknown".to_owned(),
        Some(condition) if condition["status"] == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
    };
    if object["spec"]["unschedulable"] == true {
        state.push_str(",SchedulingDisabled");
    }
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    let mut roles: Vec<String> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => Some(role.to_owned()),
            _ if key == "kubernetes.io/role" => value.as_str().map(str::to_owned),
            _ => None,
        })
        .collect();
    roles.sort();
    let roles = if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") };
    let address = |kind: &str| {
        let list = status["addresses"].as_array().into_iter().flatten();
        let found = list.into_iter().find(|address| address["type"] == kind).and_then(|a| a["address"].as_str());
        Value::from(found.unwrap_or("<none>"))
    };
    let info = |field: &str| match text_at(status, &["nodeInfo", field]) {
        "" => Value::from("<unknown>"),
        text => text.into(),
    };
    vec![
        name,
        state.into(),
        roles.into(),
        age,
        text_at(status, &["nodeInfo", "kubeletVersion"]).into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn pod(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let total = spec["containers"].as_array().map_or(0, Vec::len);
    let (state, ready, restarts) = pod_state(object);
    let or_none = |path: &[&str]| match text_at(object, path) {
        "" => Value::from("<none>"),
        text => text.into(),
    };
    let gates = spec["readinessGates"].as_array().cloned().unwrap_or_default();
    let gates = if gates.is_empty() {
        "<none>".to_owned()
    } else {
        let holds = |gate: &&Value| {
            let list = status["conditions"].as_array().into_iter().flatten();
            list.into_iter()
                .any(|condition: &Value| condition["type"] == gate["conditionType"] && condition["status"] == "True")
        };
        format!("{}/{}", gates.iter().filter(holds).count(), gates.len())
    };
    let ip = status["podIPs"][0]["ip"].as_str().filter(|ip| !ip.is_empty()).unwrap_or("<none>");
    vec![
        name,
        format!("{ready}/{total}").into(),
        state.into(),
        restarts.to_string().into(),
        age,
        ip.into(),
        or_none(&["spec", "nodeName"]),
        or_none(&["status", "nominatedNodeName"]),
        gates.into(),
    ]
}

/// Returns what a pod's row says: its state, how many containers are ready, how often they restarted.
fn pod_state(object: &Value) -> (String, usize, i64) {
    let status = &object["status"];
    let list = |member: &str| status[member].as_array().cloned().unwrap_or_default();
    let phase = text_at(status, &["phase"]);
    let mut state = match text_at(status, &["reason"]) {
        "" => phase.to_owned(),
        reason => reason.to_owned(),
    };
    let conditions = list("conditions");
    if conditions.iter().any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated") {
        state = "SchedulingGated".into();
    }
    let ended = |terminated: &Value| match terminated["reason"].as_str().unwrap_or("") {
        "" if terminated["signal"].as_i64().unwrap_or(0) != 0 => format!("Signal:{}", terminated["signal"]),
        "" => format!("ExitCode:{}", terminated["exitCode"]),
        reason => reason.to_owned(),
    };
    let mut restarts = 0;
    let mut initializing = false;
    let inits = list("initContainerStatuses");
    let total = object["spec"]["initContainers"].as_array().map_or(0, Vec::len);
    for (index, container) in inits.iter().enumerate() {
        restarts += container["restartCount"].as_i64().unwrap_or(0);
        let now = &container["state"];
        if now["terminated"]["exitCode"] == 0 && now["terminated"].is_object() {
            continue;
        }
        let sidecar = object["spec"]["initContainers"][index]["restartPolicy"] == "Always";
        if sidecar && container["started"] == true {
            continue;
        }
        state = if now["terminated"].is_object() {
            format!("Init:{}", ended(&now["terminated"]))
        } else if let Some(reason) =
            now["waiting"]["reason"].as_str().filter(|r| *r != "PodInitializing" && !r.is_empty())
        {
            format!("Init:{reason}")
        } else {
            format!("Init:{index}/{total}")
        };
        initializing = true;
        break;
    }
    let mut ready = 0;
    if !initializing {
        restarts = inits.iter().map(|container| container["restartCount"].as_i64().unwrap_or(0)).sum();
        let mut running = false;
        for container in list("containerStatuses").iter().rev() {
            restarts += container["restartCount"].as_i64().unwrap_or(0);
            let now = &container["state"];
            if let Some(reason) = now["waiting"]["reason"].as_str().filter(|reason| !reason.is_empty()) {
                state = reason.to_owned();
            } else if now["terminated"].is_object() {
                state = ended(&now["terminated"]);
            } else if container["ready"] == true && now["running"].is_object() {
                running = true;
                ready += 1;
            }
        }
        if state == "Completed" && running {
            let is_ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            state = if is_ready { "Running" } else { "NotReady" }.into();
        }
    }
    if object::terminating(object) {
        let lost = text_at(status, &["reason"]) == "NodeLost";
        if lost {
            state = "Unknown".into();
        } else if !["Succeeded", "Failed"].contains(&phase) {
            state = "Terminating".into();
        }
    }
    (state, ready, restarts)
}

fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second() - from.as_second()
}

/// Returns how long ago a time was, as tables show it.
pub fn age(text: &str, now: Timestamp) -> String {
    match text.parse::<Timestamp>() {
        Ok(then) => human(seconds(then, now)),
        Err(_) => "<unknown>".into(),
    }
}

/// Returns a number of seconds with its two largest units.
pub fn human(seconds: i64) -> String {
    let both = |big: i64, unit: &str, small: i64, part: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{part}") }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if minutes < 10 => both(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => both(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => both(hours / 24, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        _ if hours < 24 * 365 * 8 => both(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        _ => format!("{}y", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn durations_show_their_two_largest_units() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (138, "2m18s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (12_600, "3h30m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human(seconds), text);
        }
    }
}
