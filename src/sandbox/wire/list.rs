//! Lists: selectors, pages, versions.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::answer;
use super::dispatch::Target;
use super::request::Request;
use crate::sandbox::api::Api;
use crate::sandbox::object::{self, Object};
use crate::sandbox::selector::{Fields, Labels};
use crate::sandbox::status::Status;

/// Both selectors of a request.
#[derive(Clone, Debug)]
pub struct Selection {
    /// By labels.
    pub labels: Labels,
    /// By fields.
    pub fields: Fields,
}

impl Selection {
    /// Reads the selectors of a request.
    pub fn read(request: &Request) -> Result<Selection, Status> {
        let labels = Labels::parse(request.option("labelSelector").unwrap_or("")).map_err(Status::bad_request)?;
        let fields = Fields::parse(request.option("fieldSelector").unwrap_or("")).map_err(Status::bad_request)?;
        Ok(Selection { labels, fields })
    }

    /// Returns whether an object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    /// Returns whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

/// Returns the newest state of what a request selects.
pub fn selected(api: &Api, request: &Request, target: &Target) -> Result<Vec<Object>, Status> {
    let selection = Selection::read(request)?;
    let mut objects = api.list(&target.kind.key, target.scope());
    objects.retain(|object| selection.matches(object));
    Ok(objects)
}

/// Answers a list.
pub fn answer(api: &Api, request: &Request, target: &Target) -> Result<Response, Status> {
    let selection = Selection::read(request)?;
    let limit: usize = request.option("limit").and_then(|limit| limit.parse().ok()).unwrap_or(0);
    let token = request.set_option("continue").map(read_token).transpose()?;
    let (version, after) = match &token {
        Some((version, after)) if *version > 0 => (*version, after.clone()),
        Some((_, after)) => (api.version(), after.clone()),
        None => (api.version(), String::new()),
    };
    let objects = api.read(|store| store.list_at(&target.kind.key, target.scope(), version));
    let Some(mut objects) = objects else {
        return Err(Status::expired("The provided continue parameter is too old"));
    };
    objects.retain(|object| place(object).as_str() > after.as_str() && selection.matches(object));
    let left = if limit > 0 { objects.len().saturating_sub(limit) } else { 0 };
    objects.truncate(objects.len() - left);
    let mut list = document(target, &objects, version);
    if left > 0
        && let Some(last) = objects.last()
    {
        list["metadata"]["continue"] = write_token(version, &place(last)).into();
        if selection.is_empty() {
            list["metadata"]["remainingItemCount"] = left.into();
        }
    }
    Ok(answer::json(200, &list))
}

/// Returns a list as a document.
pub fn document(target: &Target, objects: &[Object], version: u64) -> Value {
    let items: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut value = target.shown(object);
            if let Value::Object(map) = &mut value
                && !target.kind.custom
            {
                map.remove("apiVersion");
                map.remove("kind");
            }
            value
        })
        .collect();
    json!({
        "apiVersion": target.kind.api_version(&target.version),
        "kind": target.kind.list_kind,
        "metadata": {"resourceVersion": version.to_string()},
        "items": items,
    })
}

fn place(object: &Value) -> String {
    format!("{}\u{0}{}", object::namespace(object), object::name(object))
}

fn write_token(version: u64, after: &str) -> String {
    URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": version, "start": after}).to_string())
}

fn read_token(token: &str) -> Result<(u64, String), Status> {
    let parsed = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok();
    let parsed: Option<Value> = parsed.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let parsed = parsed.ok_or_else(|| Status::bad_request("continue key is not valid"))?;
    let version = parsed["rv"].as_i64().unwrap_or(0);
    Ok((u64::try_from(version).unwrap_or(0), parsed["start"].as_str().unwrap_or("").to_owned()))
}
