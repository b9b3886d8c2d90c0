//! Questions about rights.

use axum::response::Response;
use http::Method;
use serde_json::json;

use super::answer;
use super::request::Request;
use crate::sandbox::status::Status;

/// Answers a review, or returns `None` for other paths.
pub fn answer(request: &Request, group: &str, rest: &[&str]) -> Option<Result<Response, Status>> {
    if request.method != Method::POST || group != "authorization.k8s.io" || rest != ["selfsubjectaccessreviews"] {
        return None;
    }
    Some(request.json().map(|mut body| {
        body["apiVersion"] = "authorization.k8s.io/v1".into();
        body["kind"] = "SelfSubjectAccessReview".into();
        body["status"] = json!({"allowed": true});
        answer::json(201, &body)
    }))
}
