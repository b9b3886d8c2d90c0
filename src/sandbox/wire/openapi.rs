//! OpenAPI: the index, one v3 document for each group and version, and the v2 document.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::response::Response;
use http::header;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::accept::clauses;
use super::request::Request;
use super::{accept, answer, discovery, protobuf, swagger};
use crate::sandbox::api::Api;
use crate::sandbox::kinds::Kind;
use crate::sandbox::schema::openapi::{INT_OR_STRING, MICRO_TIME, QUANTITY_TYPE, TIME, definition};
use crate::sandbox::schema::{table, words};
use crate::sandbox::status::Status;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const REF: &str = "#/components/schemas/";
/// kubectl asks for this form when it validates a `List`.
const V2: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const V3: &str = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";

/// Returns the hash by which a document is named.
pub fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(20).fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02X}");
        out
    })
}

/// Answers a path of OpenAPI, or returns `None` for other paths.
pub fn answer(api: &Api, request: &Request, parts: &[&str]) -> Result<Option<Response>, Status> {
    let ["openapi", version, path @ ..] = parts else { return Ok(None) };
    let choices = clauses(request.header("accept"));
    let media = |name: &str| choices.iter().any(|clause| clause.media == name);
    let json = choices.is_empty() || media("application/json") || media("*/*") || media("application/*");
    match (*version, path) {
        ("v3", []) => {
            let mut paths = Map::new();
            paths.insert("api".into(), url("api", &hash(&roots("api").to_string())));
            for (group, version) in served(api) {
                let name = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
                let url = url(&name, &hash(&document(api, &group, &version).to_string()));
                paths.insert(name, url);
            }
            let text = json!({"paths": paths}).to_string();
            Ok(Some(answer::typed(200, "text/plain; charset=utf-8", text)))
        }
        ("v3", path) => {
            let name = path.join("/");
            let document = match path {
                ["api"] => roots("api"),
                ["api", version] if known(api, "", version) => document(api, "", version),
                ["apis", group, version] if known(api, group, version) => document(api, group, version),
                _ => return Ok(None),
            };
            if !json && !media(V3) {
                return Err(accept::not_acceptable(true));
            }
            Ok(Some(one(request, &name, &document, json)))
        }
        ("v2", []) if json && !media(V2) => Ok(Some(answer::json(200, &swagger(api)))),
        ("v2", []) if media(V2) => {
            let document = swagger::encoded(&swagger(api));
            Ok(Some(answer::typed(200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", document)))
        }
        ("v2", []) => Err(accept::not_acceptable(true)),
        _ => Ok(None),
    }
}

fn url(name: &str, hash: &str) -> Value {
    json!({"serverRelativeURL": format!("/openapi/v3/{name}?hash={hash}")})
}

fn known(api: &Api, group: &str, version: &str) -> bool {
    served(api).iter().any(|(g, v)| g == group && v == version)
}

fn served(api: &Api) -> Vec<(String, String)> {
    let mut list = vec![(String::new(), "v1".to_owned())];
    for (group, versions) in discovery::groups(api) {
        list.extend(versions.into_iter().map(|version| (group.clone(), version)));
    }
    list
}

fn one(request: &Request, name: &str, document: &Value, json: bool) -> Response {
    let text = document.to_string();
    let hash = hash(&text);
    let tag = format!("{hash:?}");
    let given = request.option("hash");
    if given.is_some_and(|given| given != hash) {
        let mut response = answer::typed(301, "text/html; charset=utf-8", "");
        answer::set(&mut response, header::LOCATION, &format!("/openapi/v3/{name}?hash={hash}"));
        return response;
    }
    let mut response = if request.header(header::IF_NONE_MATCH) == tag {
        answer::typed(304, "application/json", "")
    } else if json {
        answer::typed(200, "application/json", text)
    } else {
        let info = &document["info"];
        let part = |key: &str| info[key].as_str().unwrap_or("");
        let head = protobuf::openapi_head("3.0.0", 6, part("title"), part("version"));
        answer::typed(200, "application/com.github.proto-openapi.spec.v3.v1.0+protobuf", head)
    };
    answer::set(&mut response, header::ETAG, &tag);
    answer::set(&mut response, header::VARY, "Accept");
    let cache = if given.is_some() { "public, immutable" } else { "no-cache, private" };
    answer::set(&mut response, header::CACHE_CONTROL, cache);
    response
}

fn roots(name: &str) -> Value {
    let path = format!("/{name}/");
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.35.4"},
        "paths": {path: {"get": {"responses": {"200": {"description": "OK"}}}}},
        "components": {"schemas": {}},
    })
}

fn document(api: &Api, group: &str, version: &str) -> Value {
    let kinds: Vec<Arc<Kind>> = api.read(|store| {
        let found = store.kinds().filter(|kind| kind.group == group && kind.versions.iter().any(|v| v == version));
        found.cloned().collect()
    });
    let custom = kinds.iter().all(|kind| kind.custom) && !kinds.is_empty();
    let mut schemas = Map::new();
    let mut paths = Map::new();
    let mut scaled = false;
    for kind in &kinds {
        let name = schema_name(kind, version);
        let list = format!("{name}List");
        schemas.insert(name.clone(), object_schema(kind, version));
        schemas.insert(list, list_schema(kind, version, &name));
        add_paths(kind, version, &name, &mut paths);
        scaled |= kind.form(version).scale.is_some();
    }
    let mut wanted: Vec<String> = ["DeleteOptions", "ListMeta", "ObjectMeta", "Patch", "Status"]
        .iter()
        .map(|name| format!("{META}.{name}"))
        .collect();
    if scaled {
        wanted.push("io.k8s.api.autoscaling.v1.Scale".into());
    }
    for schema in schemas.values() {
        references(schema, &mut wanted);
    }
    let mut done: BTreeSet<String> = schemas.keys().cloned().collect();
    while let Some(name) = wanted.pop() {
        if done.insert(name.clone()) {
            let schema = shared(&name);
            references(&schema, &mut wanted);
            schemas.insert(name, schema);
        }
    }
    let info = if custom {
        json!({"title": "Kubernetes CRD Swagger", "version": "v0.1.0"})
    } else {
        json!({"title": "Kubernetes", "version": "v1.35.4"})
    };
    json!({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}})
}

/// Collects the names that a schema refers to.
fn references(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(REF)) {
                out.push(name.to_owned());
            }
            map.values().for_each(|inner| references(inner, out));
        }
        Value::Array(list) => list.iter().for_each(|inner| references(inner, out)),
        _ => {}
    }
}

/// Returns a type that documents share.
fn shared(name: &str) -> Value {
    let reference = |name: &str| json!({"allOf": [{"$ref": format!("{REF}{META}.{name}")}]});
    let text = || json!({"type": "string"});
    match name {
        TIME | MICRO_TIME => return json!({"type": "string", "format": "date-time"}),
        QUANTITY_TYPE => return json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        INT_OR_STRING => return json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        _ => {}
    }
    match name.strip_prefix(META).map(|rest| rest.trim_start_matches('.')) {
        Some("Patch") => json!({"type": "object"}),
        Some("FieldsV1") => json!({"type": "object"}),
        Some("ListMeta") => json!({"type": "object", "properties": {
            "continue": text(), "remainingItemCount": {"type": "integer", "format": "int64"},
            "resourceVersion": text(), "selfLink": text(),
        }}),
        Some("Status") => json!({"type": "object", "properties": {
            "apiVersion": text(), "kind": text(), "code": {"type": "integer", "format": "int32"},
            "details": reference("StatusDetails"), "message": text(), "metadata": reference("ListMeta"),
            "reason": text(), "status": text(),
        }}),
        Some("StatusDetails") => json!({"type": "object", "properties": {
            "causes": {"type": "array", "items": reference("StatusCause")}, "group": text(), "kind": text(),
            "name": text(), "retryAfterSeconds": {"type": "integer", "format": "int32"}, "uid": text(),
        }}),
        Some("StatusCause") => {
            json!({"type": "object", "properties": {"field": text(), "message": text(), "reason": text()}})
        }
        Some("ManagedFieldsEntry") => {
            let mut schema = from_table(name);
            schema["properties"]["fieldsV1"] = reference("FieldsV1");
            schema
        }
        _ => from_table(name),
    }
}

fn from_table(name: &str) -> Value {
    table::builtin().get(name).map_or_else(|| json!({"type": "object"}), |schema| definition(schema, true))
}

/// Returns the full name of a kind's type.
fn schema_name(kind: &Kind, version: &str) -> String {
    if !kind.custom {
        return kind.form(version).schema.name.clone();
    }
    let mut parts: Vec<&str> = kind.group.split('.').rev().collect();
    parts.push(version);
    parts.push(&kind.kind);
    parts.join(".")
}

fn object_schema(kind: &Kind, version: &str) -> Value {
    let form = kind.form(version);
    let meta = json!({"allOf": [{"$ref": format!("{REF}{META}.ObjectMeta")}]});
    let mut schema = if kind.custom { form.declared.clone() } else { definition(&form.schema, true) };
    if let Some(members) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        members.insert("apiVersion".into(), json!({"type": "string"}));
        members.insert("kind".into(), json!({"type": "string"}));
        if kind.custom {
            members.insert("metadata".into(), meta);
        } else {
            for part in ["metadata", "spec", "status"] {
                if let Some(member) = members.get_mut(part) {
                    member["default"] = json!({});
                }
            }
        }
    }
    if kind.custom && kind.group.ends_with("kruise.io") {
        words::describe_kind(&kind.kind, &mut schema);
    }
    schema["x-kubernetes-group-version-kind"] = json!([names(kind, version, "")]);
    schema
}

fn names(kind: &Kind, version: &str, suffix: &str) -> Value {
    json!({"group": kind.group, "kind": format!("{}{suffix}", kind.kind), "version": version})
}

fn list_schema(kind: &Kind, version: &str, name: &str) -> Value {
    let mut schema = json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [{"$ref": format!("{REF}{META}.ListMeta")}]},
            "items": {"type": "array", "items": {"allOf": [{"$ref": format!("{REF}{name}")}]}},
        },
    });
    schema["x-kubernetes-group-version-kind"] = json!([names(kind, version, "List")]);
    schema
}

fn camel(text: &str) -> String {
    let parts = text.split(['.', '-']);
    parts.map(|part| part[..1.min(part.len())].to_uppercase() + part.get(1..).unwrap_or("")).collect()
}

fn add_paths(kind: &Kind, version: &str, name: &str, paths: &mut Map<String, Value>) {
    let root =
        if kind.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{}/{version}", kind.group) };
    let group = if kind.group.is_empty() { "Core".to_owned() } else { camel(&kind.group) };
    let scope = if kind.namespaced { "Namespaced" } else { "" };
    let id =
        |verb: &str, scope: &str, suffix: &str| format!("{verb}{group}{}{scope}{}{suffix}", camel(version), kind.kind);
    let operation = |verb: &str, action: &str, id: String| operation(kind, version, name, verb, action, id);
    let collection = if kind.namespaced {
        let all = format!("{root}/{}", kind.plural);
        let id = format!("list{group}{}{}ForAllNamespaces", camel(version), kind.kind);
        paths.insert(all, json!({"get": operation("get", "list", id), "parameters": []}));
        format!("{root}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("{root}/{}", kind.plural)
    };
    paths.insert(
        collection.clone(),
        json!({
            "get": operation("get", "list", id("list", scope, "")),
            "post": operation("post", "post", id("create", scope, "")),
            "delete": operation("delete", "deletecollection", id("delete", &format!("Collection{scope}"), "")),
            "parameters": [],
        }),
    );
    let one = format!("{collection}/{{name}}");
    paths.insert(
        one.clone(),
        json!({
            "get": operation("get", "get", id("read", scope, "")),
            "put": operation("put", "put", id("replace", scope, "")),
            "patch": operation("patch", "patch", id("patch", scope, "")),
            "delete": operation("delete", "delete", id("delete", scope, "")),
            "parameters": [],
        }),
    );
    let mut subs = Vec::new();
    if kind.status {
        subs.push(("status", "Status"));
    }
    if kind.form(version).scale.is_some() {
        subs.push(("scale", "Scale"));
    }
    for (sub, suffix) in subs {
        paths.insert(
            format!("{one}/{sub}"),
            json!({
                "get": operation("get", "get", id("read", scope, suffix)),
                "put": operation("put", "put", id("replace", scope, suffix)),
                "patch": operation("patch", "patch", id("patch", scope, suffix)),
                "parameters": [],
            }),
        );
    }
}

fn operation(kind: &Kind, version: &str, name: &str, verb: &str, action: &str, id: String) -> Value {
    let query =
        |name: &str, kind: &str| json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}});
    let mut out = json!({
        "operationId": id,
        "responses": {"200": {
            "description": "OK",
            "content": {"application/json": {"schema": {"$ref": format!("{REF}{name}")}}},
        }},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": names(kind, version, ""),
    });
    if ["post", "put", "patch"].contains(&verb) {
        let mut parameters =
            vec![query("dryRun", "string"), query("fieldManager", "string"), query("fieldValidation", "string")];
        let reference = |name: String| json!({"schema": {"$ref": format!("{REF}{name}")}});
        let mut content = Map::new();
        if verb == "patch" {
            parameters.push(query("force", "boolean"));
            let mut types =
                vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
            if !kind.custom {
                types.push("application/strategic-merge-patch+json");
            }
            for kind in types {
                content.insert(kind.into(), reference(format!("{META}.Patch")));
            }
        } else {
            content.insert("application/json".into(), reference(name.to_owned()));
        }
        out["parameters"] = parameters.into();
        out["requestBody"] = json!({"content": content, "required": true});
    }
    out
}

/// The older document: definitions of all kinds, without paths.
fn swagger(api: &Api) -> Value {
    let mut definitions = Map::new();
    for (group, version) in served(api) {
        let document = document(api, &group, &version);
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            definitions.entry(name.as_str()).or_insert_with(|| swagger::older(schema));
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.35.4"},
        "paths": {},
        "definitions": definitions,
    })
}
