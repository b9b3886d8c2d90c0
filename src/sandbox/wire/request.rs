//! A request as it came: who, what path, which options.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};

use crate::sandbox::object::Actor;
use crate::sandbox::routes::HttpOptions;
use crate::sandbox::status::Status;

/// The largest body that is read.
const MOST: usize = 3 << 20;

/// One request, read whole.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, not decoded.
    pub path: String,
    /// The query's pairs, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Who asks.
    pub actor: Actor,
}

impl Request {
    /// Reads a request and finds out who sends it.
    pub async fn read(request: http::Request<Body>, options: &HttpOptions) -> Result<Request, Status> {
        let (parts, body) = request.into_parts();
        let actor = actor(&parts.headers, options)?;
        let body = match Limited::new(body, MOST).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let message = format!("Request entity too large: limit is {MOST}");
                return Err(Status::new(413, "RequestEntityTooLarge", message, json!({})));
            }
            Err(error) => return Err(Status::bad_request(error.to_string())),
        };
        let query = pairs(parts.uri.query().unwrap_or(""));
        Ok(Request {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query,
            headers: parts.headers,
            body,
            actor,
        })
    }

    /// Returns the first value of an option of the query.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns an option that is not empty.
    pub fn set_option(&self, name: &str) -> Option<&str> {
        self.option(name).filter(|value| !value.is_empty())
    }

    /// Returns whether an option says yes: present and not `false` or `0`.
    pub fn flag(&self, name: &str) -> bool {
        self.option(name).is_some_and(|value| !["false", "0"].contains(&value.to_lowercase().as_str()))
    }

    /// Returns a header's text, empty if absent.
    pub fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Returns the type of the body without its parameters.
    pub fn content_type(&self) -> &str {
        self.header(header::CONTENT_TYPE).split(';').next().unwrap_or("").trim()
    }

    /// Returns the body as JSON or YAML.
    pub fn json(&self) -> Result<Value, Status> {
        if self.content_type().ends_with("yaml") {
            return serde_saphyr::from_slice(&self.body).map_err(|error| Status::bad_request(error.to_string()));
        }
        serde_json::from_slice(&self.body).map_err(|error| Status::bad_request(error.to_string()))
    }
}

fn actor(headers: &HeaderMap, options: &HttpOptions) -> Result<Actor, Status> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let agent = text("user-agent").unwrap_or("unknown");
    let manager = agent.split('/').next().unwrap_or("unknown").to_owned();
    let unauthorized = || Status::new(401, "Unauthorized", "Unauthorized", Value::Null);
    let (mut user, mut groups) =
        ("admin".to_owned(), vec!["system:masters".to_owned(), "system:authenticated".to_owned()]);
    if let Some(token) = &options.token {
        match text("authorization") {
            Some(given) if given.strip_prefix("Bearer ") == Some(token) => {}
            Some(_) => return Err(unauthorized()),
            None => {
                user = "system:anonymous".into();
                groups = vec!["system:unauthenticated".into()];
            }
        }
    }
    if let Some(other) = text("impersonate-user") {
        user = other.to_owned();
        groups = headers
            .get_all("impersonate-group")
            .iter()
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .chain(["system:authenticated".to_owned()])
            .collect();
    }
    Ok(Actor { user, groups, manager })
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decoded(key, true), decoded(value, true))
        })
        .collect()
}

/// Returns text with its `%` escapes resolved; in queries `+` stands for a blank.
pub fn decoded(text: &str, query: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match (bytes[at], hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) if query => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
