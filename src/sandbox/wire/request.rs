//! A request as it came: who, what path, which options.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;
use serde_json::Value;

use crate::sandbox::api::Api;
use crate::sandbox::authorize::{self, Attributes};
use crate::sandbox::faults::Age;
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
    /// The path with its query, not decoded.
    pub whole: String,
    /// The query's pairs, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Who asks.
    pub actor: Actor,
    /// A body that was too large, told only to those who may write.
    pub too_large: bool,
    /// How old the state is that a list shows, on request.
    pub age: Age,
    /// How the connection can be had for another protocol.
    pub upgrade: Option<OnUpgrade>,
}

impl Request {
    /// Reads a request and finds out who sends it.
    pub async fn read(api: &Api, request: http::Request<Body>, options: &HttpOptions) -> Result<Request, Status> {
        let (mut parts, body) = request.into_parts();
        let upgrade = parts.extensions.remove();
        let actor = actor(api, &parts.headers, options)?;
        let (body, too_large) = match Limited::new(body, MOST).collect().await {
            Ok(body) => (body.to_bytes(), false),
            Err(error) if error.is::<LengthLimitError>() => (Bytes::new(), true),
            Err(error) => return Err(Status::bad_request(error.to_string())),
        };
        let query = pairs(parts.uri.query().unwrap_or(""));
        let path = parts.uri.path().to_owned();
        let whole = parts.uri.path_and_query().map_or("", |part| part.as_str()).to_owned();
        let (method, headers) = (parts.method, parts.headers);
        Ok(Request { method, path, whole, query, headers, body, actor, too_large, age: Age::default(), upgrade })
    }

    /// Refuses a body that was too large.
    pub fn check_size(&self) -> Result<(), Status> {
        if !self.too_large {
            return Ok(());
        }
        let message = format!("Request entity too large: limit is {MOST}");
        Err(Status::new(413, "RequestEntityTooLarge", message, Value::Null))
    }

    /// Returns the first value of an option of the query.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns an option that is not empty.
    pub fn set_option(&self, name: &str) -> Option<&str> {
        self.option(name).filter(|value| !value.is_empty())
    }

    /// Returns all values of an option.
    pub fn options<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
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

    /// Returns the field manager: an option, or the first part of the user agent.
    pub fn manager(&self) -> String {
        match self.set_option("fieldManager") {
            Some(manager) => manager.to_owned(),
            None => self.actor.manager.clone(),
        }
    }
}

/// Returns who asks, behind a token and an impersonation.
fn actor(api: &Api, headers: &HeaderMap, options: &HttpOptions) -> Result<Actor, Status> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let agent = text("user-agent").unwrap_or("unknown");
    let manager = agent.split('/').next().unwrap_or("unknown").to_owned();
    let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let mut actor =
        Actor { user: "admin".into(), groups: groups(&["system:masters", "system:authenticated"]), manager };
    if let Some(token) = &options.token {
        match text("authorization") {
            Some(given) if given.strip_prefix("Bearer ") == Some(token) => {}
            Some(given) => {
                match options.tokens.iter().find(|(known, _, _)| given.strip_prefix("Bearer ") == Some(known)) {
                    Some((_, user, member_of)) => {
                        actor.user.clone_from(user);
                        actor.groups = member_of.clone();
                        actor.groups.push("system:authenticated".into());
                    }
                    None => return Err(Status::new(401, "Unauthorized", "Unauthorized", Value::Null)),
                }
            }
            None => {
                actor.user = "system:anonymous".into();
                actor.groups = groups(&["system:unauthenticated"]);
            }
        }
    }
    let Some(user) = text("impersonate-user") else { return Ok(actor) };
    let given = headers.get_all("impersonate-group").iter().filter_map(|value| value.to_str().ok());
    let mut member_of: Vec<String> = given.map(str::to_owned).collect();
    let may = |resource: &str, name: &str| {
        let attributes = Attributes {
            verb: "impersonate".into(),
            resource: resource.into(),
            name: name.into(),
            ..Attributes::default()
        };
        authorize::check(api, &actor, &attributes)
    };
    may("users", user)?;
    for group in &member_of {
        may("groups", group)?;
    }
    if let Some(account) = user.strip_prefix("system:serviceaccount:")
        && member_of.is_empty()
    {
        let namespace = account.split(':').next().unwrap_or("");
        member_of = groups(&["system:serviceaccounts"]);
        member_of.push(format!("system:serviceaccounts:{namespace}"));
    }
    let everybody = "system:authenticated".to_owned();
    if user != "system:anonymous" && !member_of.contains(&everybody) {
        member_of.push(everybody);
    }
    if options.token.is_none() && !authorize::declared(api) {
        // Without a token and without bindings of its own, a cluster lets everybody do everything.
        member_of.push("system:masters".into());
    }
    Ok(Actor { user: user.to_owned(), groups: member_of, manager: actor.manager })
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
