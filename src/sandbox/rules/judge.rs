//! What the smaller built-in kinds refuse.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{dump, pod};
use crate::sandbox::kinds::Kind;
use crate::sandbox::object;
use crate::sandbox::status::Cause;
use crate::sandbox::{names, quantity};

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const PORT: &str = "must be between 1 and 65535, inclusive";
const MOST_DATA: usize = 1 << 20;

/// Judges an object.
pub fn validate(kind: &Kind, value: &Value, current: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    match &*kind.key {
        "leases.coordination.k8s.io" => lease(&value["spec"], &mut causes),
        "events" => {
            let own = object::namespace(value);
            let about = object::text_at(value, &["involvedObject", "namespace"]);
            if (about.is_empty() && own != "default") || (!about.is_empty() && about != own) {
                let why = "does not match event.namespace";
                causes.push(Cause::invalid("involvedObject.namespace", &about.into(), why));
            }
        }
        "events.events.k8s.io" if current.is_none() => new_event(value, &mut causes),
        "configmaps" => data(value, current, &["data", "binaryData"], "", &mut causes),
        "secrets" => {
            if let Some(current) = current {
                immutable(&value["type"], &current["type"], "type", &mut causes);
            }
            data(value, current, &["data"], "data", &mut causes);
            if current.is_none() || causes.is_empty() {
                secret(value, &mut causes);
            }
        }
        "services" => service(&value["spec"], &mut causes),
        "jobs.batch" => job(value, current, &mut causes),
        "roles.rbac.authorization.k8s.io" => role(value, true, &mut causes),
        "clusterroles.rbac.authorization.k8s.io" => role(value, false, &mut causes),
        "rolebindings.rbac.authorization.k8s.io" => binding(value, current, true, &mut causes),
        "clusterrolebindings.rbac.authorization.k8s.io" => binding(value, current, false, &mut causes),
        "persistentvolumeclaims" => claim(value, current, &mut causes),
        "persistentvolumes" => volume(value, current, &mut causes),
        "nodes" => node(value, current, &mut causes),
        "resourcequotas" => quota(value, &mut causes),
        "poddisruptionbudgets.policy" => budget(&value["spec"], &mut causes),
        "horizontalpodautoscalers.autoscaling" => autoscaler(&value["spec"], &mut causes),
        "controllerrevisions.apps" => revision(value, current, &mut causes),
        _ => {}
    }
    causes
}

/// Judges a status that replaces another.
pub fn validate_status(kind: &Kind, value: &Value) -> Vec<Cause> {
    if &*kind.key != "namespaces" {
        return Vec::new();
    }
    let phase = &value["status"]["phase"];
    let (wanted, when) = match object::terminating(value) {
        true => ("Terminating", "is not empty"),
        false => ("Active", "is empty"),
    };
    let why = format!("may only be '{wanted}' if `deletionTimestamp` {when}");
    if phase == wanted { Vec::new() } else { vec![Cause::invalid("status.Phase", phase, why)] }
}

fn immutable(new: &Value, old: &Value, place: &str, causes: &mut Vec<Cause>) {
    if new != old {
        causes.push(Cause::invalid(place, new, "field is immutable"));
    }
}

fn lease(spec: &Value, causes: &mut Vec<Cause>) {
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
        causes.push(Cause::invalid("spec.leaseDurationSeconds", &seconds.into(), "must be greater than 0"));
    }
    if let Some(count) = spec["leaseTransitions"].as_i64().filter(|count| *count < 0) {
        causes.push(Cause::invalid("spec.leaseTransitions", &count.into(), NOT_NEGATIVE));
    }
}

fn data(value: &Value, current: Option<&Value>, bags: &[&str], whole: &str, causes: &mut Vec<Cause>) {
    if let Some(current) = current
        && current["immutable"] == true
    {
        const WHY: &str = "field is immutable when `immutable` is set";
        if value["immutable"] != true {
            causes.push(Cause::forbidden("immutable", WHY));
        }
        for field in bags.iter().filter(|field| value[**field] != current[**field]) {
            causes.push(Cause::forbidden(*field, WHY));
        }
    }
    let mut size = 0;
    for bag in bags {
        for (key, text) in value[*bag].as_object().into_iter().flatten() {
            for why in names::data_key(key) {
                causes.push(Cause::invalid(format!("{bag}[{key}]"), &key.as_str().into(), why));
            }
            if *bag == "data" && bags.len() > 1 && value["binaryData"].get(key).is_some() {
                let why = "duplicate of key present in binaryData";
                causes.push(Cause::invalid(format!("{bag}[{key}]"), &key.as_str().into(), why));
            }
            size += text.as_str().map_or(0, str::len);
        }
    }
    if size > MOST_DATA {
        causes.push(Cause::too_long(whole, MOST_DATA));
    }
}

/// Members that a type of secret must have.
fn secret(value: &Value, causes: &mut Vec<Cause>) {
    let there = |key: &str| value["data"].get(key).is_some();
    let needs: &[&str] = match object::text_at(value, &["type"]) {
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/basic-auth" if !there("username") && !there("password") => &["username", "password"],
        "kubernetes.io/service-account-token" => {
            const NAME: &str = "kubernetes.io/service-account.name";
            if value["metadata"]["annotations"].get(NAME).is_none() {
                causes.push(Cause::required(format!("metadata.annotations[{NAME}]"), ""));
            }
            &[]
        }
        _ => &[],
    };
    causes.extend(needs.iter().filter(|key| !there(key)).map(|key| Cause::required(format!("data[{key}]"), "")));
}

fn service(spec: &Value, causes: &mut Vec<Cause>) {
    const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    let external = spec["type"] == "ExternalName";
    let ports: Vec<&Value> = spec["ports"].as_array().into_iter().flatten().collect();
    if spec["clusterIP"] != "None" && !external && ports.is_empty() {
        causes.push(Cause::required("spec.ports", ""));
    }
    let mut seen = BTreeSet::new();
    let mut pairs = BTreeSet::new();
    let mut twice = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        let name = port["name"].as_str().unwrap_or("");
        if name.is_empty() && ports.len() > 1 {
            causes.push(Cause::required(format!("{at}.name"), ""));
        } else if !name.is_empty() {
            causes.extend(names::label(name).iter().map(|why| Cause::invalid(format!("{at}.name"), &name.into(), why)));
            if !seen.insert(name) {
                causes.push(Cause::duplicate(format!("{at}.name"), &name.into()));
            }
        }
        let number = |field: &str| port[field].as_i64().filter(|number| !(1..=65535).contains(number));
        if let Some(number) = number("port") {
            causes.push(Cause::invalid(format!("{at}.port"), &number.into(), PORT));
        }
        let protocol = &port["protocol"];
        const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
        if !PROTOCOLS.iter().any(|known| protocol == known) {
            causes.push(Cause::not_supported(format!("{at}.protocol"), protocol, &PROTOCOLS));
        }
        if let Some(number) = number("targetPort") {
            causes.push(Cause::invalid(format!("{at}.targetPort"), &number.into(), PORT));
        }
        let pair = json!({"protocol": protocol, "port": port["port"]}).to_string();
        if !pairs.insert(pair) {
            let shown = json!({"name": "", "protocol": protocol, "appProtocol": null, "port": port["port"],
                "targetPort": 0, "nodePort": 0});
            twice.push(Cause::duplicate(at, &shown));
        }
    }
    if !TYPES.iter().any(|known| spec["type"] == *known) {
        causes.push(Cause::not_supported("spec.type", &spec["type"], &TYPES));
    }
    let affinity = &spec["sessionAffinity"];
    if affinity != "None" && affinity != "ClientIP" {
        causes.push(Cause::not_supported("spec.sessionAffinity", affinity, &["ClientIP", "None"]));
    }
    causes.append(&mut twice);
    if external && spec["externalName"].as_str().unwrap_or("").is_empty() {
        let why = names::subdomain("").join("");
        causes.push(Cause::invalid("spec.externalName", &"".into(), why));
    }
}

fn job(value: &Value, current: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &value["spec"];
    let numbers = ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"];
    for field in numbers {
        if let Some(number) = spec[field].as_i64().filter(|number| *number < 0) {
            let cause = Cause::invalid(format!("spec.{field}"), &number.into(), NOT_NEGATIVE);
            if current.is_some() {
                // An update is looked at as a new job, too.
                causes.push(cause.clone());
            }
            causes.push(cause);
        }
    }
    if let Some(current) = current {
        let was = &current["spec"];
        if spec["completionMode"] != "Indexed" {
            immutable(&spec["completions"], &was["completions"], "spec.completions", causes);
        }
        immutable(&spec["selector"], &was["selector"], "spec.selector", causes);
        immutable(&spec["completionMode"], &was["completionMode"], "spec.completionMode", causes);
        return;
    }
    let template = &spec["template"];
    causes.extend(pod::validate(template, Some("spec.template.spec")));
    let policy = template["spec"]["restartPolicy"].as_str().unwrap_or("");
    if policy == "Always" {
        causes.push(Cause::required("spec.template.spec.restartPolicy", "valid values: \"OnFailure\", \"Never\""));
    }
}

fn role(value: &Value, namespaced: bool, causes: &mut Vec<Cause>) {
    for (index, rule) in value["rules"].as_array().into_iter().flatten().enumerate() {
        let empty = |field: &str| rule[field].as_array().is_none_or(Vec::is_empty);
        let place = |field: &str| format!("rules[{index}].{field}");
        if empty("verbs") {
            causes.push(Cause::required(place("verbs"), "verbs must contain at least one value"));
        }
        if !empty("nonResourceURLs") {
            let mut refuse = |why| causes.push(Cause::invalid(place("nonResourceURLs"), &rule["nonResourceURLs"], why));
            if namespaced {
                refuse("namespaced rules cannot apply to non-resource URLs");
            }
            if !["apiGroups", "resources", "resourceNames"].into_iter().all(empty) {
                refuse("rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        for (field, why) in [("apiGroups", "api group"), ("resources", "resource")] {
            if empty(field) {
                let why = format!("resource rules must supply at least one {why}");
                causes.push(Cause::required(place(field), &why));
            }
        }
    }
}

fn binding(value: &Value, current: Option<&Value>, namespaced: bool, causes: &mut Vec<Cause>) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let text = |part: &Value, field: &str| part[field].as_str().unwrap_or("").to_owned();
    let role = &value["roleRef"];
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if text(role, "apiGroup") != GROUP {
        causes.push(Cause::not_supported("roleRef.apiGroup", &text(role, "apiGroup").into(), &[GROUP]));
    }
    if !kinds.contains(&text(role, "kind").as_str()) {
        causes.push(Cause::not_supported("roleRef.kind", &text(role, "kind").into(), kinds));
    }
    let name = text(role, "name");
    if name.is_empty() {
        causes.push(Cause::required("roleRef.name", ""));
    }
    causes.extend(
        names::path_segment(&name).iter().map(|why| Cause::invalid("roleRef.name", &name.as_str().into(), why)),
    );
    for (index, subject) in value["subjects"].as_array().into_iter().flatten().enumerate() {
        let place = |field: &str| format!("subjects[{index}].{field}");
        let (kind, name, group) = (text(subject, "kind"), text(subject, "name"), text(subject, "apiGroup"));
        if name.is_empty() {
            causes.push(Cause::required(place("name"), ""));
        }
        match kind.as_str() {
            "ServiceAccount" => {
                if !name.is_empty() {
                    let faults = names::subdomain(&name);
                    causes.extend(faults.iter().map(|why| Cause::invalid(place("name"), &name.as_str().into(), why)));
                }
                if !group.is_empty() {
                    causes.push(Cause::not_supported(place("apiGroup"), &group.into(), &[""]));
                }
                if !namespaced && text(subject, "namespace").is_empty() {
                    causes.push(Cause::required(place("namespace"), ""));
                }
            }
            "User" | "Group" => {
                if group != GROUP {
                    causes.push(Cause::not_supported(place("apiGroup"), &group.into(), &[GROUP]));
                }
            }
            _ => {
                let known = ["ServiceAccount", "User", "Group"];
                causes.push(Cause::not_supported(place("kind"), &kind.into(), &known));
            }
        }
    }
    if let Some(current) = current
        && current["roleRef"] != *role
    {
        let shown = format!(
            "{{\"APIGroup\":{},\"Kind\":{},\"Name\":{}}}",
            json!(text(role, "apiGroup")),
            json!(text(role, "kind")),
            json!(text(role, "name"))
        );
        let mut cause = Cause::invalid("roleRef", &Value::Null, "cannot change roleRef");
        cause.message = format!("Invalid value: {shown}: cannot change roleRef");
        causes.push(cause);
    }
}

fn claim(value: &Value, current: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &value["spec"];
    const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    let modes = spec["accessModes"].as_array().cloned().unwrap_or_default();
    if modes.is_empty() {
        causes.push(Cause::required("spec.accessModes", "at least 1 access mode is required"));
    }
    for mode in modes.iter().filter(|mode| !MODES.iter().any(|known| *mode == known)) {
        causes.push(Cause::not_supported("spec.accessModes", mode, &MODES));
    }
    match spec["resources"]["requests"]["storage"].as_str().and_then(quantity::parse) {
        None => causes.push(Cause::required("spec.resources[storage]", "")),
        Some(size) if size.nanos() <= 0 => {
            let shown = &spec["resources"]["requests"]["storage"];
            causes.push(Cause::invalid("spec.resources[storage]", shown, "must be greater than zero"));
        }
        Some(_) => {}
    }
    let Some(current) = current else { return };
    let mut was = current["spec"].clone();
    let mut now = spec.clone();
    if was["volumeName"].as_str().unwrap_or("").is_empty()
        && let Some(volume) = now.get("volumeName")
    {
        was["volumeName"] = volume.clone();
    }
    let bound = value["status"]["phase"] == "Bound";
    if bound {
        now["resources"]["requests"]["storage"] = was["resources"]["requests"]["storage"].clone();
    }
    if was != now {
        const WHY: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                           bound claims";
        causes.push(Cause::forbidden(
            "spec",
            &format!("{WHY}\n{}", dump::difference("PersistentVolumeClaimSpec", &was, &now)),
        ));
    }
    let size = |spec: &Value| spec["resources"]["requests"]["storage"].as_str().and_then(quantity::parse);
    if let (Some(old), Some(new)) = (size(&current["spec"]), size(spec))
        && new.nanos() < old.nanos()
    {
        let held = current["status"]["capacity"]["storage"].as_str().and_then(quantity::parse);
        if new.nanos() <= held.map_or(0, |held| held.nanos()) {
            causes.push(Cause::forbidden(
                "spec.resources.requests.storage",
                "field can not be less than status.capacity",
            ));
        }
    }
    immutable(&spec["volumeMode"], &current["spec"]["volumeMode"], "volumeMode", causes);
}

fn volume(value: &Value, current: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &value["spec"];
    if spec["accessModes"].as_array().is_none_or(Vec::is_empty) {
        causes.push(Cause::required("spec.accessModes", ""));
    }
    if spec["capacity"].as_object().is_none_or(|capacity| capacity.is_empty()) {
        causes.push(Cause::required("spec.capacity", ""));
    }
    let sources = ["hostPath", "nfs", "csi", "local", "iscsi", "fc", "cephfs", "rbd"];
    if !sources.iter().any(|source| spec.get(source).is_some()) {
        causes.push(Cause::required("spec", "must specify a volume type"));
    }
    if spec.get("hostPath").is_some_and(|path| path["path"].as_str().unwrap_or("").is_empty()) {
        causes.push(Cause::required("spec.hostPath.path", ""));
    }
    const POLICIES: [&str; 3] = ["Delete", "Recycle", "Retain"];
    let policy = &spec["persistentVolumeReclaimPolicy"];
    if !POLICIES.iter().any(|known| policy == known) {
        causes.push(Cause::not_supported("spec.persistentVolumeReclaimPolicy", policy, &POLICIES));
    }
    if let Some(current) = current {
        immutable(&spec["volumeMode"], &current["spec"]["volumeMode"], "volumeMode", causes);
    }
}

fn node(value: &Value, current: Option<&Value>, causes: &mut Vec<Cause>) {
    let Some(current) = current else { return };
    let list = |node: &Value| node["spec"]["podCIDRs"].as_array().cloned().unwrap_or_default();
    let (old, new) = (list(current), list(value));
    let changes = if old.len() == new.len() {
        old.iter().zip(&new).filter(|(old, new)| old != new).count()
    } else {
        usize::from(!old.is_empty())
    };
    for _ in 0..changes {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        causes.push(Cause::forbidden("spec.podCIDRs", why));
    }
    let provider = current["spec"]["providerID"].as_str().unwrap_or("");
    if !provider.is_empty() && value["spec"]["providerID"] != provider {
        let why = "node updates may not change providerID except from \"\" to valid";
        causes.push(Cause::forbidden("spec.providerID", why));
    }
}

fn quota(value: &Value, causes: &mut Vec<Cause>) {
    for (name, amount) in value["spec"]["hard"].as_object().into_iter().flatten() {
        if amount.as_str().and_then(quantity::parse).is_some_and(|amount| amount.nanos() < 0) {
            causes.push(Cause::invalid(format!("spec.hard[{name}]"), amount, NOT_NEGATIVE));
        }
    }
}

fn budget(spec: &Value, causes: &mut Vec<Cause>) {
    for field in ["minAvailable", "maxUnavailable"] {
        let place = format!("spec.{field}");
        match &spec[field] {
            Value::String(text) => {
                let percent = text.strip_suffix('%').and_then(|number| number.parse::<u32>().ok());
                match percent {
                    None => {
                        const WHY: &str = "a valid percent string must be a numeric string followed by an ending '%' \
                            (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
                        causes.push(Cause::invalid(place, &spec[field], WHY));
                    }
                    Some(percent) if percent > 100 => {
                        causes.push(Cause::invalid(place, &spec[field], "must not be greater than 100%"));
                    }
                    Some(_) => {}
                }
            }
            number if number.as_i64().is_some_and(|number| number < 0) => {
                causes.push(Cause::invalid(place, number, NOT_NEGATIVE));
            }
            _ => {}
        }
    }
}

fn autoscaler(spec: &Value, causes: &mut Vec<Cause>) {
    let (least, most) = (spec["minReplicas"].as_i64(), spec["maxReplicas"].as_i64().unwrap_or(0));
    if let Some(least) = least.filter(|least| *least < 1) {
        causes.push(Cause::invalid("spec.minReplicas", &least.into(), "must be greater than or equal to 1"));
    }
    if most < 1 {
        causes.push(Cause::invalid("spec.maxReplicas", &most.into(), "must be greater than 0"));
    }
    if least.is_some_and(|least| most < least) {
        let why = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &most.into(), why));
    }
    for field in ["kind", "name"] {
        if spec["scaleTargetRef"][field].as_str().unwrap_or("").is_empty() {
            causes.push(Cause::required(format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
}

fn revision(value: &Value, current: Option<&Value>, causes: &mut Vec<Cause>) {
    if value["data"].is_null() {
        causes.push(Cause::required("data", "data is mandatory"));
    }
    if value["revision"].as_i64().unwrap_or(0) < 0 {
        causes.push(Cause::invalid("revision", &value["revision"], NOT_NEGATIVE));
    }
    if let Some(current) = current {
        immutable(&value["data"], &current["data"], "data", causes);
    }
}

fn new_event(value: &Value, causes: &mut Vec<Cause>) {
    if value["eventTime"].is_null() {
        causes.push(Cause::required("eventTime", ""));
    } else {
        for (member, place) in [
            ("reportingComponent", "reportingController"),
            ("reportingInstance", "reportingInstance"),
            ("action", "action"),
            ("reason", "reason"),
        ] {
            if value[member].as_str().unwrap_or("").is_empty() {
                causes.push(Cause::required(place, ""));
            }
        }
    }
    let kind = value["type"].as_str().unwrap_or("");
    if !["Normal", "Warning"].contains(&kind) {
        causes.push(Cause::invalid("type", &kind.into(), format!("has invalid value: {kind}")));
    }
}
