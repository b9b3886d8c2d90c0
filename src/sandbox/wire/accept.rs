//! Which form of an answer a client takes: the media type, and whole objects, their metadata, or a table.

use crate::sandbox::status::Status;
use serde_json::Value;

/// The encoding of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kubernetes' protobuf envelope.
    Protobuf,
}

/// What of the objects is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// All.
    Whole,
    /// The metadata alone, in this version of `meta.k8s.io`.
    Metadata(String),
    /// A table, in this version of `meta.k8s.io`.
    Table(String),
}

impl View {
    /// Whether the metadata alone is shown.
    pub fn is_metadata(&self) -> bool {
        matches!(self, View::Metadata(_))
    }
}

/// What was agreed on.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The encoding.
    pub encoding: Encoding,
    /// The view.
    pub view: View,
}

/// One choice of an Accept header.
#[derive(Clone, Debug)]
pub struct Clause {
    /// `application/json`.
    pub media: String,
    /// `as`, `g`, `v`, ….
    pub parameters: Vec<(String, String)>,
}

impl Clause {
    /// Returns a parameter, empty if absent.
    pub fn get(&self, name: &str) -> &str {
        self.parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }
}

/// Returns the choices of a header, best first.
pub fn clauses(header: &str) -> Vec<Clause> {
    let mut clauses: Vec<(f64, Clause)> = Vec::new();
    for part in header.split(',').filter(|part| !part.trim().is_empty()) {
        let mut words = part.split(';').map(str::trim);
        let media = words.next().unwrap_or("").to_lowercase();
        let parameters: Vec<(String, String)> = words
            .filter_map(|word| word.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect();
        let quality = parameters.iter().find(|(key, _)| key == "q").and_then(|(_, value)| value.parse().ok());
        clauses.push((quality.unwrap_or(1.0), Clause { media, parameters }));
    }
    clauses.sort_by(|a, b| b.0.total_cmp(&a.0));
    clauses.into_iter().map(|(_, clause)| clause).collect()
}

/// Agrees on a form; without protobuf for custom resources.
pub fn negotiate(header: &str, protobuf: bool) -> Result<Accepted, Status> {
    let clauses = clauses(header);
    if clauses.is_empty() {
        return Ok(Accepted { encoding: Encoding::Json, view: View::Whole });
    }
    // Protobuf clients cannot read what our envelope holds, so JSON is preferred wherever they take it.
    let json =
        clauses.iter().any(|clause| ["application/json", "*/*", "application/*"].contains(&clause.media.as_str()));
    let protobuf = protobuf && !json;
    for clause in &clauses {
        let encoding = match clause.media.as_str() {
            "application/json" | "*/*" | "application/*" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            "application/vnd.kubernetes.protobuf" if protobuf => Encoding::Protobuf,
            _ => continue,
        };
        let version = clause.get("v").to_owned();
        let known = clause.get("g") == "meta.k8s.io" && ["v1", "v1beta1"].contains(&version.as_str());
        let view = match clause.get("as") {
            "" => View::Whole,
            "Table" if known => View::Table(version),
            "PartialObjectMetadata" | "PartialObjectMetadataList" if known => View::Metadata(version),
            _ => continue,
        };
        return Ok(Accepted { encoding, view });
    }
    Err(not_acceptable(protobuf))
}

/// 406.
pub fn not_acceptable(_protobuf: bool) -> Status {
    const TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    let message = format!("only the following media types are accepted: {TYPES}");
    Status::new(406, "NotAcceptable", message, Value::Null)
}
