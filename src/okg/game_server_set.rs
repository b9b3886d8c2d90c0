//! A GameServerSet and its workload as far as operations are concerned.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::names;
use super::object::Metadata;

/// A GameServerSet: one object, kept whole, since scripts patch it.
#[derive(Clone, Debug)]
pub struct GameServerSet {
    /// Metadata.
    pub metadata: Metadata,
    /// The object as the API server sent it.
    pub object: Value,
}

impl<'de> Deserialize<'de> for GameServerSet {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(from)?;
        let metadata = Metadata::deserialize(&object["metadata"]).map_err(serde::de::Error::custom)?;
        Ok(GameServerSet { metadata, object })
    }
}

/// A container of the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateContainer {
    /// Name.
    pub name: String,
    /// Image; empty if it has none.
    pub image: String,
}

impl GameServerSet {
    /// Returns `spec.replicas`, 0 if there is no spec.
    pub fn replicas(&self) -> i64 {
        self.object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0)
    }

    /// Returns a number of the status, 0 if absent.
    pub fn status_number(&self, field: &str) -> i64 {
        self.object.get("status").and_then(|status| status.get(field)).and_then(Value::as_i64).unwrap_or(0)
    }

    /// Returns the generation that OKG has pushed to the workload.
    pub fn observed_generation(&self) -> i64 {
        self.status_number("observedGeneration")
    }

    /// Returns whether OKG has pushed the present specification to the workload.
    pub fn observed(&self) -> bool {
        self.observed_generation() >= self.metadata.generation
    }

    /// Returns the containers of the template in order.
    pub fn containers(&self) -> Vec<TemplateContainer> {
        template_containers(self.object.pointer("/spec/gameServerTemplate/spec/containers"))
    }

    /// Returns `spec.updateStrategy.type`, empty if not given.
    pub fn update_type(&self) -> &str {
        self.object.pointer("/spec/updateStrategy/type").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns whether `spec.updateStrategy.rollingUpdate` is present, even empty: OKG then forces RollingUpdate.
    pub fn rolling_update(&self) -> bool {
        self.object.pointer("/spec/updateStrategy/rollingUpdate").is_some_and(|value| !value.is_null())
    }

    /// Returns whether rooms have a network, which must be ready before players can connect.
    pub fn network_type(&self) -> &str {
        self.object.pointer("/spec/network/networkType").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns whether ids of retired rooms stay in `spec.reserveGameServerIds`.
    pub fn reserves_ids(&self) -> bool {
        self.object.pointer("/spec/scaleStrategy/scaleDownStrategyType").and_then(Value::as_str) == Some("ReserveIds")
    }

    /// Returns `spec.gameServerTemplate.reclaimPolicy`, empty if not given (Cascade).
    pub fn reclaim_policy(&self) -> &str {
        self.object.pointer("/spec/gameServerTemplate/reclaimPolicy").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns whether the set blocks: its preDelete hook looks for our label, and its template gives it to new rooms.
    pub fn blocks(&self) -> bool {
        let spec = &self.object["spec"];
        blocks(&spec["lifecycle"]) && spec["gameServerTemplate"]["metadata"]["labels"][names::BLOCK] == "true"
    }

    /// Returns the entries of `spec.reserveGameServerIds` as they are written.
    pub fn reserve_ids(&self) -> Vec<Value> {
        self.object.pointer("/spec/reserveGameServerIds").and_then(Value::as_array).cloned().unwrap_or_default()
    }
}

/// The Advanced StatefulSet of a GameServerSet, compact.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Workload {
    /// Metadata.
    pub metadata: Metadata,
    #[serde(default)]
    spec: WorkloadSpec,
    #[serde(default)]
    status: WorkloadStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WorkloadSpec {
    replicas: i64,
    reserve_ordinals: Option<Vec<Value>>,
    template: Value,
    lifecycle: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WorkloadStatus {
    observed_generation: i64,
    update_revision: String,
}

impl Workload {
    /// Returns `spec.replicas`.
    pub fn replicas(&self) -> i64 {
        self.spec.replicas
    }

    /// Returns the ordinals that Kruise skips, as they are written.
    pub fn reserve_ordinals(&self) -> &[Value] {
        self.spec.reserve_ordinals.as_deref().unwrap_or_default()
    }

    /// Returns whether its preDelete hook keeps pods with our label: Kruise then asks before it deletes one.
    pub fn blocks(&self) -> bool {
        blocks(&self.spec.lifecycle)
    }

    /// Returns the revision that new pods get, once Kruise has seen the present template; before, it is not known.
    pub fn update_revision(&self) -> Option<&str> {
        let known = self.status.observed_generation >= self.metadata.generation;
        (known && !self.status.update_revision.is_empty()).then_some(self.status.update_revision.as_str())
    }

    /// Returns the image of each container of the template.
    pub fn images(&self) -> BTreeMap<String, String> {
        let containers = template_containers(self.spec.template.pointer("/spec/containers"));
        containers.into_iter().map(|container| (container.name, container.image)).collect()
    }
}

fn blocks(lifecycle: &Value) -> bool {
    lifecycle["preDelete"]["labelsHandler"][names::BLOCK] == "true"
}

fn template_containers(list: Option<&Value>) -> Vec<TemplateContainer> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|container| TemplateContainer { name: text(container.get("name")), image: text(container.get("image")) })
        .collect()
}
