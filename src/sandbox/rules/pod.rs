//! Pods: defaults, admission, what may change.

use serde_json::{Map, Value, json};

use super::dump;
use crate::sandbox::names;
use crate::sandbox::object;
use crate::sandbox::quantity;
use crate::sandbox::status::Cause;

type Object = Map<String, Value>;

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

fn default(map: &mut Object, key: &str, value: impl Into<Value>) {
    map.entry(key).or_insert_with(|| value.into());
}

fn each<'a>(map: &'a mut Object, key: &str) -> impl Iterator<Item = &'a mut Object> {
    map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn inner<'a>(map: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    map.get_mut(key).and_then(Value::as_object_mut)
}

/// Fills in the defaults of a pod's spec; some belong to pods and not to templates.
pub fn defaults(spec: &mut Object, whole: bool) {
    let host = whole && spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in CONTAINERS {
        for container in each(spec, list) {
            container_defaults(container, host, whole);
        }
    }
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "schedulerName", "default-scheduler");
    if whole {
        default(spec, "enableServiceLinks", true);
    }
    default(spec, "securityContext", json!({}));
    // The old name of the service account follows the new one.
    if let Some(account) = spec.get("serviceAccountName").or_else(|| spec.get("serviceAccount")).cloned() {
        spec.insert("serviceAccountName".into(), account.clone());
        spec.insert("serviceAccount".into(), account);
    }
    for volume in each(spec, "volumes") {
        for source in ["configMap", "secret", "downwardAPI", "projected"] {
            if let Some(source) = inner(volume, source) {
                default(source, "defaultMode", 420);
            }
        }
        if let Some(path) = inner(volume, "hostPath") {
            default(path, "type", "");
        }
        for source in inner(volume, "projected").into_iter().flat_map(|projected| each(projected, "sources")) {
            if let Some(token) = inner(source, "serviceAccountToken") {
                default(token, "expirationSeconds", 3600);
            }
        }
        if volume.len() == 1 {
            volume.insert("emptyDir".into(), json!({}));
        }
    }
    for constraint in each(spec, "topologySpreadConstraints") {
        default(constraint, "nodeAffinityPolicy", "Honor");
        default(constraint, "nodeTaintsPolicy", "Ignore");
    }
}

/// Fills in what admission sets on pods: tolerations and priority. Done at every write.
fn admit(spec: &mut Object) {
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    if let Some(list) = tolerations.as_array_mut() {
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            let covers = |toleration: &Value| {
                let named = toleration["key"] == key || toleration["key"].as_str().unwrap_or("").is_empty();
                let effect = toleration["effect"].as_str().unwrap_or("");
                named && (effect.is_empty() || effect == "NoExecute")
            };
            if !list.iter().any(covers) {
                list.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
            }
        }
    }
    default(spec, "priority", 0);
    default(spec, "preemptionPolicy", "PreemptLowerPriority");
}

fn container_defaults(container: &mut Object, host: bool, whole: bool) {
    for port in each(container, "ports") {
        default(port, "protocol", "TCP");
        if host && !port.contains_key("hostPort") {
            let number = port.get("containerPort").cloned().unwrap_or_default();
            port.insert("hostPort".into(), number);
        }
    }
    for variable in each(container, "env") {
        if let Some(field) = inner(variable, "valueFrom").and_then(|from| inner(from, "fieldRef")) {
            default(field, "apiVersion", "v1");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = inner(container, probe) {
            default(probe, "timeoutSeconds", 1);
            default(probe, "periodSeconds", 10);
            default(probe, "successThreshold", 1);
            default(probe, "failureThreshold", 3);
            handler_defaults(probe);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(handler) = inner(container, "lifecycle").and_then(|lifecycle| inner(lifecycle, hook)) {
            handler_defaults(handler);
        }
    }
    if whole && let Some(resources) = inner(container, "resources") {
        let limits = resources.get("limits").and_then(Value::as_object).cloned().unwrap_or_default();
        if !limits.is_empty() {
            let requests = resources.entry("requests").or_insert_with(|| json!({}));
            for (name, amount) in limits {
                if requests.get(&name).is_none() {
                    requests[name] = amount;
                }
            }
        }
    }
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    let image = container.get("image").and_then(Value::as_str).unwrap_or("");
    let tag = image.rsplit('/').next().unwrap_or("").split_once(':').map(|(_, tag)| tag);
    let always = !image.contains('@') && tag.is_none_or(|tag| tag == "latest");
    default(container, "imagePullPolicy", if always { "Always" } else { "IfNotPresent" });
}

fn handler_defaults(handler: &mut Object) {
    if let Some(get) = inner(handler, "httpGet") {
        default(get, "path", "/");
        default(get, "scheme", "HTTP");
    }
    if let Some(grpc) = inner(handler, "grpc") {
        default(grpc, "service", "");
    }
}

/// Sets the first status, and what admission adds.
pub fn prepare_create(pod: &mut Value) {
    admit(object::member_mut(pod, "spec"));
    let class = quality(&pod["spec"]);
    pod["status"] = json!({"phase": "Pending", "qosClass": class});
}

/// Keeps the fields that follow others.
pub fn prepare_update(subresource: &str, current: &Value, pod: &mut Value) {
    if subresource.is_empty() {
        admit(object::member_mut(pod, "spec"));
    }
    if subresource == "status" {
        let class = current["status"]["qosClass"].clone();
        let status = object::member_mut(pod, "status");
        if !class.is_null() && !status.contains_key("qosClass") {
            status.insert("qosClass".into(), class);
        }
        for (one, many) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
            if one == "podIP"
                && !status.contains_key(one)
                && let Some(first) = status.get(many).and_then(|list| list.get(0)?.get("ip")).cloned()
            {
                status.insert(one.into(), first);
            }
            if one == "podIP"
                && let Some(ip) = status.get(one).cloned()
                && status.get(many).and_then(|list| list.get(0)).is_none_or(|first| first["ip"] != ip)
            {
                status.insert(many.into(), json!([{"ip": ip}]));
            }
        }
    }
}

/// Returns the quality of service that a pod's resources give it.
fn quality(spec: &Value) -> &'static str {
    let mut guaranteed = true;
    let mut any = false;
    let lists = [&spec["containers"], &spec["initContainers"]];
    for container in lists.into_iter().flat_map(|list| list.as_array().into_iter().flatten()) {
        let resources = &container["resources"];
        let amount = |part: &str, name: &str| resources[part][name].as_str().and_then(quantity::parse);
        for name in ["cpu", "memory"] {
            let (request, limit) = (amount("requests", name), amount("limits", name));
            any |= request.is_some() || limit.is_some();
            guaranteed &=
                limit.is_some() && request.map(quantity::Quantity::nanos) == limit.map(quantity::Quantity::nanos);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Judges a new pod, or the template of one; `place` is where its spec stands.
pub fn validate(pod: &Value, place: Option<&str>) -> Vec<Cause> {
    validate_spec(&pod["spec"], place.unwrap_or("spec"))
}

fn validate_spec(spec: &Value, place: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let containers = spec["containers"].as_array().cloned().unwrap_or_default();
    if containers.is_empty() {
        causes.push(Cause::required(format!("{place}.containers"), ""));
    }
    let mut seen: Vec<String> = Vec::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            let at = format!("{place}.{list}[{index}]");
            container_causes(container, &at, &mut seen, &mut causes);
        }
    }
    let policy = spec["restartPolicy"].as_str().unwrap_or("");
    if !["Always", "OnFailure", "Never"].contains(&policy) {
        let supported = ["Always", "Never", "OnFailure"];
        causes.push(Cause::not_supported(format!("{place}.restartPolicy"), &policy.into(), &supported));
    }
    causes
}

fn container_causes(container: &Value, at: &str, seen: &mut Vec<String>, causes: &mut Vec<Cause>) {
    let name = container["name"].as_str().unwrap_or("");
    if name.is_empty() {
        causes.push(Cause::required(format!("{at}.name"), ""));
    } else {
        for why in names::label(name) {
            causes.push(Cause::invalid(format!("{at}.name"), &name.into(), why));
        }
        if seen.iter().any(|other| other == name) {
            causes.push(Cause::duplicate(format!("{at}.name"), &name.into()));
        }
        seen.push(name.to_owned());
    }
    let image = container["image"].as_str().unwrap_or("");
    if image.is_empty() {
        causes.push(Cause::required(format!("{at}.image"), ""));
    } else if image.trim() != image {
        causes.push(Cause::invalid(
            format!("{at}.image"),
            &image.into(),
            "must not have leading or trailing whitespace",
        ));
    }
    for (index, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
        for field in ["containerPort", "hostPort"] {
            if let Some(number) = port[field].as_i64()
                && !(1..=65535).contains(&number)
            {
                let place = format!("{at}.ports[{index}].{field}");
                causes.push(Cause::invalid(place, &number.into(), "must be between 1 and 65535, inclusive"));
            }
        }
    }
    for (name, amount) in container["resources"]["limits"].as_object().into_iter().flatten() {
        let limit = amount.as_str().and_then(quantity::parse);
        let request = container["resources"]["requests"][name].as_str().and_then(quantity::parse);
        if let (Some(limit), Some(request)) = (limit, request)
            && request.nanos() > limit.nanos()
        {
            let text = container["resources"]["requests"][name].clone();
            let why = format!("must be less than or equal to {name} limit of {}", amount.as_str().unwrap_or(""));
            causes.push(Cause::invalid(format!("{at}.resources.requests"), &text, why));
        }
    }
}

/// Only images, the deadline and added tolerations may change.
pub fn validate_update(next: &Value, current: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in next["spec"][list].as_array().into_iter().flatten().enumerate() {
            if container["image"].as_str().unwrap_or("").is_empty() {
                // The rules for a pod and those for its update both say so.
                for _ in 0..2 {
                    causes.push(Cause::required(format!("spec.{list}[{index}].image"), ""));
                }
            }
        }
    }
    if !causes.is_empty() {
        return causes;
    }
    if next["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
        causes.push(Cause::required("spec.containers", ""));
    }
    deadline(&next["spec"]["activeDeadlineSeconds"], &current["spec"]["activeDeadlineSeconds"], &mut causes);
    let gates = |pod: &Value| pod["spec"]["schedulingGates"].as_array().cloned().unwrap_or_default();
    let known = gates(current);
    for (index, gate) in gates(next).iter().enumerate().filter(|(_, gate)| !known.contains(gate)) {
        let name = gate["name"].as_str().unwrap_or("");
        let why = format!("only deletion is allowed, but found new scheduling gate '{name}'");
        causes.push(Cause::forbidden(format!("spec.schedulingGates[{index}].name"), &why));
    }
    let count = |pod: &Value| pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    if count(next) != count(current) {
        causes.push(Cause::forbidden("spec.containers", "pod updates may not add or remove containers"));
        return causes;
    }
    if next["spec"] == current["spec"] {
        return causes;
    }
    let mut rest = next["spec"].clone();
    for list in ["initContainers", "containers"] {
        let old = current["spec"][list].as_array().cloned().unwrap_or_default();
        let new = rest.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (new, old) in new.zip(old) {
            new["image"] = old["image"].clone();
        }
    }
    let tolerations = |pod: &Value| pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    let (new, old) = (tolerations(next), tolerations(current));
    let was = &current["spec"];
    let mut taken = vec!["activeDeadlineSeconds", "schedulingGates"];
    if old.iter().all(|toleration| new.contains(toleration)) {
        taken.push("tolerations");
    }
    for field in taken {
        match was.get(field) {
            Some(value) => rest[field] = value.clone(),
            None => remove(&mut rest, field),
        }
    }
    if rest != *was {
        const WHY: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
            `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
            tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        causes.push(Cause::forbidden(
            "spec",
            &format!("{WHY}\n{}", {
                let (was, rest) = (dump::with_inner_context(was), dump::with_inner_context(&rest));
                dump::difference("PodSpec", &was, &rest)
            }),
        ));
    }
    causes
}

/// The time that a pod may take can only become shorter.
fn deadline(new: &Value, old: &Value, causes: &mut Vec<Cause>) {
    const PLACE: &str = "spec.activeDeadlineSeconds";
    match (new.as_i64(), old.as_i64()) {
        (Some(seconds), _) if !(1..=i64::from(i32::MAX)).contains(&seconds) => {
            causes.push(Cause::invalid(PLACE, new, format!("must be between 1 and {}, inclusive", i32::MAX)));
        }
        (Some(seconds), Some(before)) if seconds > before => {
            causes.push(Cause::invalid(PLACE, new, "must be less than or equal to previous value"));
        }
        (None, Some(_)) => {
            causes.push(Cause::invalid(PLACE, &Value::Null, "must not update from a positive integer to nil value"));
        }
        _ => {}
    }
}

fn remove(value: &mut Value, key: &str) {
    if let Value::Object(map) = value {
        map.remove(key);
    }
}

/// Returns the warnings that a new pod gets.
pub fn warnings(pod: &Value) -> Vec<String> {
    let name = object::name(pod);
    let mut faults = Vec::new();
    if name.len() > 63 {
        faults.push("must be no more than 63 characters");
    }
    if name.contains('.') {
        faults.push("must not contain dots");
    }
    if faults.is_empty() {
        return Vec::new();
    }
    let list = faults.join(" ");
    vec![format!(
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; \
         a DNS label is recommended: [{list}]"
    )]
}
