//! Answers: JSON documents, Status refusals, plain texts, with their headers.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::sandbox::status::Status;

/// Returns an answer with a body of a type.
pub fn typed(code: u16, content_type: &str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

/// Returns a JSON answer.
pub fn json(code: u16, value: &Value) -> Response {
    typed(code, "application/json", value.to_string())
}

/// Returns a refusal.
pub fn refusal(status: &Status) -> Response {
    let mut response = json(status.code, &status.to_value());
    let seconds = status.details.get("retryAfterSeconds").and_then(Value::as_u64);
    if let Some(value) = seconds.and_then(|seconds| HeaderValue::from_str(&seconds.to_string()).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// Returns the text of a path that nobody serves.
pub fn page_not_found() -> Response {
    typed(404, "text/plain; charset=utf-8", "404 page not found\n")
}

/// Adds warnings for the client.
pub fn with_warnings(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        let text = format!("299 - {}", serde_json::Value::from(warning.as_str()));
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}
