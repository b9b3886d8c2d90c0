//! Refusals, as the API server words them: Kubernetes' `Status` objects.

use serde_json::{Map, Value, json};

/// A refusal of the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason, such as `NotFound`; may be empty.
    pub reason: String,
    /// The text that clients print.
    pub message: String,
    /// Name, group, kind, uid, causes and `retryAfterSeconds`; null if the answer has none.
    pub details: Value,
    /// What few refusals have beside it.
    pub extra: Option<Box<Extra>>,
}

/// What goes with few refusals.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extra {
    /// Warnings that go with the refusal.
    pub warnings: Vec<String>,
    /// The token to go on with after a page was lost.
    pub continue_token: Option<String>,
}

/// One reason of a 422, with the place in the object.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// The kind of fault, such as `FieldValueInvalid`.
    pub reason: &'static str,
    /// What is wrong, without the place.
    pub message: String,
    /// The path of the field, such as `spec.replicas`.
    pub field: String,
}

impl Cause {
    /// A value that is not acceptable.
    pub fn invalid(field: impl Into<String>, value: &Value, why: impl AsRef<str>) -> Cause {
        Cause::valued("FieldValueInvalid", "Invalid value", field, value, why)
    }

    /// A value of the wrong type.
    pub fn type_invalid(field: impl Into<String>, value: &Value, why: impl AsRef<str>) -> Cause {
        Cause::valued("FieldValueTypeInvalid", "Invalid value", field, value, why)
    }

    fn valued(
        reason: &'static str,
        word: &str,
        field: impl Into<String>,
        value: &Value,
        why: impl AsRef<str>,
    ) -> Cause {
        Cause { reason, message: format!("{word}: {}: {}", shown(value), why.as_ref()), field: field.into() }
    }

    /// A field that must be there.
    pub fn required(field: impl Into<String>, why: &str) -> Cause {
        let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Cause { reason: "FieldValueRequired", message, field: field.into() }
    }

    /// A field that must not be set, or not be changed.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Cause {
        Cause { reason: "FieldValueForbidden", message: format!("Forbidden: {why}"), field: field.into() }
    }

    /// A value outside a closed list.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Cause {
        let list = supported.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(", ");
        Cause {
            reason: "FieldValueNotSupported",
            message: format!("Unsupported value: {}: supported values: {list}", shown(value)),
            field: field.into(),
        }
    }

    /// A value that stands twice.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Cause {
        Cause {
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {}", shown(value)),
            field: field.into(),
        }
    }

    /// A text with more than `most` bytes.
    pub fn too_long(field: impl Into<String>, most: usize) -> Cause {
        Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {most} bytes"),
            field: field.into(),
        }
    }

    /// Returns the cause as one text, with its place.
    pub fn text(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }
}

/// Returns a value as the server shows it inside a message.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

impl Status {
    /// A refusal with its parts.
    pub fn new(code: u16, reason: &str, message: impl Into<String>, details: Value) -> Status {
        Status { code, reason: reason.to_owned(), message: message.into(), details, extra: None }
    }

    /// Adds warnings for the client.
    pub fn warned(mut self, warnings: &[String]) -> Status {
        if !warnings.is_empty() {
            self.extra.get_or_insert_default().warnings.extend_from_slice(warnings);
        }
        self
    }

    /// 404: the object is not there. `qualified` is `pods` or `gameservers.game.kruise.io`.
    pub fn not_found(qualified: &str, name: &str) -> Status {
        Status::new(404, "NotFound", format!("{qualified} {name:?} not found"), details(qualified, name))
    }

    /// 409: the name is taken.
    pub fn already_exists(qualified: &str, name: &str) -> Status {
        let message = format!("{qualified} {name:?} already exists");
        Status::new(409, "AlreadyExists", message, details(qualified, name))
    }

    /// 409: somebody else wrote meanwhile, or a precondition does not hold.
    pub fn conflict(qualified: &str, name: &str, why: &str) -> Status {
        let message = format!("Operation cannot be fulfilled on {qualified} {name:?}: {why}");
        Status::new(409, "Conflict", message, details(qualified, name))
    }

    /// 422 with its causes. `kind` is `Pod` or `GameServer.game.kruise.io`.
    pub fn invalid(kind: &str, name: &str, causes: &[Cause]) -> Status {
        // A text that stands twice among the causes is told once.
        let mut texts: Vec<String> = Vec::new();
        for text in causes.iter().map(Cause::text) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let text = match &texts[..] {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{kind} {name:?} is invalid: {text}");
        let mut details = details(kind, name);
        details["causes"] = causes
            .iter()
            .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
            .collect();
        Status::new(422, "Invalid", message, details)
    }

    /// 422 without any hint: what a failed JSON Patch gets.
    pub fn bare_invalid() -> Status {
        let message = "the server rejected our request due to an error in our request";
        Status::new(422, "Invalid", message, json!({}))
    }

    /// 422 of a patch whose outcome cannot be read.
    pub fn unreadable_patch(value: &str, why: &str) -> Status {
        let message = format!("Invalid value: {value:?}: {why}");
        let causes = json!([{"reason": "FieldValueInvalid", "message": message, "field": "patch"}]);
        Status::new(422, "Invalid", format!(" \"\" is invalid: patch: {message}"), json!({"causes": causes}))
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Status {
        Status::new(400, "BadRequest", message, Value::Null)
    }

    /// 403 of an admission rule or of the authorizer.
    pub fn forbidden(qualified: &str, name: &str, why: &str) -> Status {
        let object = if name.is_empty() { qualified.to_owned() } else { format!("{qualified} {name:?}") };
        Status::new(403, "Forbidden", format!("{object} is forbidden: {why}"), details(qualified, name))
    }

    /// 405.
    pub fn method_not_allowed(message: impl Into<String>) -> Status {
        Status::new(405, "MethodNotAllowed", message, json!({}))
    }

    /// 500 with the text of an inner error.
    pub fn internal(message: impl Into<String>) -> Status {
        let message = message.into();
        let details = json!({"causes": [{"message": message}]});
        Status::new(500, "InternalError", format!("Internal error occurred: {message}"), details)
    }

    /// 500 without a reason.
    pub fn unknown(message: impl Into<String>) -> Status {
        Status::new(500, "", message, Value::Null)
    }

    /// 410: the version is no longer kept.
    pub fn expired(message: impl Into<String>) -> Status {
        Status::new(410, "Expired", message, Value::Null)
    }

    /// Returns the `Status` object that goes over the wire.
    pub fn to_value(&self) -> Value {
        let mut status = Map::new();
        status.insert("kind".into(), "Status".into());
        status.insert("apiVersion".into(), "v1".into());
        let metadata = match self.extra.as_ref().and_then(|extra| extra.continue_token.as_ref()) {
            Some(token) => json!({"continue": token}),
            None => json!({}),
        };
        status.insert("metadata".into(), metadata);
        status.insert("status".into(), "Failure".into());
        status.insert("message".into(), self.message.clone().into());
        if !self.reason.is_empty() {
            status.insert("reason".into(), self.reason.clone().into());
        }
        if !self.details.is_null() {
            status.insert("details".into(), self.details.clone());
        }
        status.insert("code".into(), self.code.into());
        Value::Object(status)
    }
}

/// Returns `details` with name, group and kind; `qualified` is `<kind or plural>[.<group>]`.
pub fn details(qualified: &str, name: &str) -> Value {
    let (kind, group) = qualified.split_once('.').unwrap_or((qualified, ""));
    let mut details = Map::new();
    if !name.is_empty() {
        details.insert("name".into(), name.into());
    }
    if !group.is_empty() {
        details.insert("group".into(), group.into());
    }
    if !kind.is_empty() {
        details.insert("kind".into(), kind.into());
    }
    Value::Object(details)
}
