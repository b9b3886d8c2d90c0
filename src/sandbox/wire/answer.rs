//! Answers: documents, refusals, plain texts, with their headers.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use super::accept::{self, Encoding};
use super::protobuf;
use super::request::Request;
use crate::sandbox::status::Status;

/// Returns an answer with a body of a type.
pub fn typed(code: u16, content_type: &str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    set(&mut response, header::CONTENT_TYPE, content_type);
    response
}

/// Sets a header.
pub fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Returns a JSON answer.
pub fn json(code: u16, value: &Value) -> Response {
    typed(code, "application/json", value.to_string())
}

/// Returns a document in an encoding.
pub fn encoded(request: &Request, encoding: Encoding, code: u16, value: &Value) -> Response {
    match encoding {
        Encoding::Json if request.flag("pretty") => {
            typed(code, "application/json", serde_json::to_string_pretty(value).unwrap_or_default())
        }
        Encoding::Json => json(code, value),
        Encoding::Yaml => typed(code, "application/yaml", serde_saphyr::to_string(value).unwrap_or_default()),
        Encoding::Protobuf => typed(code, protobuf::MEDIA, protobuf::envelope(value)),
    }
}

/// Returns a refusal, in JSON or in the client's only choice.
pub fn refusal(status: &Status, accept: &str) -> Response {
    let only_protobuf =
        !accept.is_empty() && accept::clauses(accept).iter().all(|clause| clause.media == protobuf::MEDIA);
    let mut response = if only_protobuf {
        typed(status.code, protobuf::MEDIA, protobuf::envelope(&status.to_value()))
    } else {
        json(status.code, &status.to_value())
    };
    if let Some(seconds) = status.details.get("retryAfterSeconds").and_then(Value::as_u64) {
        set(&mut response, header::RETRY_AFTER, &seconds.to_string());
    }
    with_warnings(response, status.extra.as_ref().map_or(&[], |extra| &extra.warnings))
}

/// Returns the text of a path that nobody serves.
pub fn page_not_found() -> Response {
    typed(404, "text/plain; charset=utf-8", "404 page not found\n")
}

/// Returns a plain text.
pub fn text(body: &'static str) -> Response {
    typed(200, "text/plain; charset=utf-8", body)
}

/// Adds warnings for the client.
pub fn with_warnings(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        let text = format!("299 - {}", Value::from(warning.as_str()));
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}
