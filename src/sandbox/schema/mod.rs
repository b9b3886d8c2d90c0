//! What objects look like: schemas of the built-in kinds from a table of ours, of custom resources from their CRDs.

pub mod openapi;
pub mod place;
pub mod structural;
pub mod table;
pub mod typed;
pub mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

/// The form of a value.
#[derive(Clone, Debug, Default)]
pub enum Shape {
    /// Anything.
    #[default]
    Any,
    /// An object with known members.
    Object(BTreeMap<String, Arc<Schema>>),
    /// An object whose members are all of one form.
    Map(Arc<Schema>),
    /// A list.
    List(Arc<Schema>),
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A whole number or a text.
    IntOrString,
    /// An amount, such as `100m` or `2Gi`.
    Quantity,
    /// Bytes in base64.
    Bytes,
    /// A time in seconds.
    Time,
    /// A time with six digits.
    MicroTime,
}

/// How a list is merged by server-side apply.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ListType {
    /// As a whole.
    #[default]
    Atomic,
    /// As a set of values.
    Set,
    /// By the keys of its items.
    Map(Vec<String>),
}

/// The form of a value and the rules for it.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// The form.
    pub shape: Shape,
    /// The members that an object must have.
    pub required: Vec<String>,
    /// `int32`, `int64`, `date-time`, ….
    pub format: String,
    /// How apply merges a list.
    pub list: ListType,
    /// The key by which a strategic patch merges a list, empty for a set of plain values; none: it replaces the list.
    pub merge_key: Option<String>,
    /// Whether apply takes an object or map as a whole.
    pub atomic: bool,
    /// Whether unknown members are kept.
    pub open: bool,
    /// Whether the object is a whole object with metadata.
    pub embedded: bool,
    /// Whether null is a value.
    pub nullable: bool,
    /// What an absent value becomes.
    pub default: Option<Value>,
    /// The texts of the remaining rules, by their JSON Schema names.
    pub rules: BTreeMap<String, Value>,
    /// The full name of a built-in type, such as `io.k8s.api.core.v1.PodSpec`.
    pub name: String,
    /// Whether an absent value and an empty one differ (a pointer in Go).
    pub pointer: bool,
}

impl Schema {
    /// A schema of a form without rules.
    pub fn of(shape: Shape) -> Schema {
        Schema { shape, ..Schema::default() }
    }

    /// Returns a member's schema.
    pub fn member(&self, name: &str) -> Option<&Arc<Schema>> {
        match &self.shape {
            Shape::Object(members) => members.get(name),
            Shape::Map(values) => Some(values),
            _ => None,
        }
    }

    /// Returns the schema of a list's items.
    pub fn items(&self) -> Option<&Arc<Schema>> {
        match &self.shape {
            Shape::List(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the type's own name without its package, such as `PodSpec`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or("")
    }
}
