//! The pods that an Advanced StatefulSet makes: from a revision's template, with names, claims and owner.

use serde_json::{Value, json};

use super::lifecycle;
use super::stateful_set::{Failure, Pass};
use super::stateful_set_update::POD_READY;
use super::workload::owner_reference;
use crate::okg::names;
use crate::sandbox::object;

/// Makes a pod, its claims first.
pub(super) async fn create(pass: &Pass<'_>, ordinal: i32, revision: &str) -> Result<(), Failure> {
    let (set, kruise) = (pass.set, &pass.hub.kruise);
    let room = names::room(object::name(set), ordinal);
    let namespace = object::namespace(set);
    for template in set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        let name = names::claim(object::name(template), &room);
        match pass.hub.api.get("persistentvolumeclaims", namespace, &name) {
            // A claim that is going must be gone first.
            Some(found) if object::terminating(&found) => return Ok(()),
            Some(_) => {}
            None => {
                let mut claim = template.clone();
                claim["apiVersion"] = "v1".into();
                claim["kind"] = "PersistentVolumeClaim".into();
                claim["metadata"]["name"] = name.clone().into();
                claim["metadata"]["namespace"] = namespace.into();
                let labels = set["spec"]["selector"]["matchLabels"].clone();
                claim["metadata"]["labels"] = labels;
                if set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete" {
                    claim["metadata"]["ownerReferences"] = json!([owner_reference(set)]);
                }
                kruise.create("persistentvolumeclaims", claim).await.map_err(Failure::Create)?;
                let message = format!("create Claim {name} Pod {room} in StatefulSet {} success", object::name(set));
                pass.event("Normal", "SuccessfulCreate", &message);
            }
        }
    }
    let pod = build(pass, ordinal, &room, revision);
    match kruise.create("pods", pod).await {
        Ok(_) => {
            let message = format!("create Pod {room} in StatefulSet {} successful", object::name(set));
            pass.event("Normal", "SuccessfulCreate", &message);
            Ok(())
        }
        Err(status) if status.reason == "AlreadyExists" => Err(Failure::Other(status)),
        Err(status) => {
            let set = object::name(set);
            let message = format!("create Pod {room} in StatefulSet {set} failed error: {}", status.message);
            pass.event("Warning", "FailedCreate", &message);
            Err(Failure::Create(status))
        }
    }
}

fn build(pass: &Pass<'_>, ordinal: i32, room: &str, revision: &str) -> Value {
    let set = pass.set;
    let template = pass.revisions.template(revision).cloned().unwrap_or_default();
    let mut labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.insert(names::POD_NAME.into(), room.into());
    labels.insert(names::POD_INDEX.into(), ordinal.to_string().into());
    labels.insert(names::REVISION.into(), revision.into());
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": room,
            "namespace": object::namespace(set),
            "labels": labels,
            "annotations": template["metadata"]["annotations"].as_object().cloned().unwrap_or_default(),
            "finalizers": template["metadata"]["finalizers"],
            "ownerReferences": [owner_reference(set)],
        },
        "spec": template["spec"].as_object().cloned().unwrap_or_default(),
    });
    if pod["metadata"]["finalizers"].is_null()
        && let Some(meta) = pod["metadata"].as_object_mut()
    {
        meta.remove("finalizers");
    }
    let hook = &set["spec"]["lifecycle"]["preNormal"];
    let state = if hook.is_null() || lifecycle::all_hooked(hook, &pod) { "Normal" } else { "PreparingNormal" };
    pod["metadata"]["labels"][names::LIFECYCLE_STATE] = state.into();
    pod["metadata"]["annotations"][names::LIFECYCLE_TIME] = object::stamp(pass.hub.clock.now()).into();
    let spec = &mut pod["spec"];
    spec["hostname"] = room.into();
    spec["subdomain"] = set["spec"]["serviceName"].clone();
    if pass.hub.world.kruise_pod_ready {
        let mut gates = spec["readinessGates"].as_array().cloned().unwrap_or_default();
        gates.push(json!({"conditionType": POD_READY}));
        spec["readinessGates"] = gates.into();
    }
    let claims: Vec<Value> = set["spec"]["volumeClaimTemplates"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|template| {
            let name = object::name(template);
            json!({"name": name, "persistentVolumeClaim": {"claimName": names::claim(name, room)}})
        })
        .collect();
    if !claims.is_empty() {
        let mut volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
        volumes.retain(|volume| claims.iter().all(|claim| claim["name"] != volume["name"]));
        volumes.extend(claims);
        spec["volumes"] = volumes.into();
    }
    pod
}
