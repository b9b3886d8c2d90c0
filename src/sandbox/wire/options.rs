//! The options of the query, and what may not go together.

use serde_json::{Value, json};

use super::request::Request;
use crate::sandbox::api::FieldValidation;
use crate::sandbox::status::{Cause, Status};

/// What goes with a write.
#[derive(Clone, Debug)]
pub struct Write {
    /// `dryRun=All`.
    pub dry_run: bool,
    /// `fieldValidation`.
    pub validation: FieldValidation,
}

/// Reads the options of a write; `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`.
pub fn write(request: &Request, kind: &str, apply: bool) -> Result<Write, Status> {
    let mut causes = Vec::new();
    let dry: Vec<&str> = request.options("dryRun").collect();
    if !dry.is_empty() && dry.iter().any(|value| *value != "All") {
        let mut cause = Cause::not_supported("dryRun", &json!(dry), &["All"]);
        cause.message = format!("Unsupported value: {}: supported values: \"All\"", json!(dry));
        causes.push(cause);
    }
    let validation = match request.option("fieldValidation").unwrap_or("") {
        "" | "Warn" => FieldValidation::Warn,
        "Ignore" => FieldValidation::Ignore,
        "Strict" => FieldValidation::Strict,
        other => {
            let supported = ["", "Ignore", "Strict", "Warn"];
            causes.push(Cause::not_supported("fieldValidation", &other.into(), &supported));
            FieldValidation::Warn
        }
    };
    let manager = request.option("fieldManager").unwrap_or("");
    if manager.len() > 128 {
        causes.push(Cause::too_long("fieldManager", 128));
    } else if manager.chars().any(char::is_control) {
        let why = "should only contain printable characters";
        causes.push(Cause::invalid("fieldManager", &manager.into(), why));
    }
    if kind == "PatchOptions" {
        if apply && manager.is_empty() {
            causes.push(Cause::required("fieldManager", "is required for apply patch"));
        }
        if !apply && request.option("force").is_some() {
            causes.push(Cause::forbidden("force", "may not be specified for non-apply patch"));
        }
    }
    if causes.is_empty() {
        return Ok(Write { dry_run: !dry.is_empty(), validation });
    }
    Err(Status::invalid(&format!("{kind}.meta.k8s.io"), "", &causes))
}

/// How a list is to be read.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// `limit`, 0 for none.
    pub limit: usize,
    /// `continue`, empty for none.
    pub token: String,
    /// `resourceVersion` as given.
    pub version: String,
    /// `resourceVersionMatch`.
    pub rule: String,
}

/// Reads the options of a list or watch.
pub fn list(request: &Request, watching: bool) -> Result<List, Status> {
    let text = |name: &str| request.option(name).unwrap_or("").to_owned();
    let number = |name: &str| match request.set_option(name) {
        None => Ok(0),
        Some(text) => {
            let wrong = |_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
            text.parse::<i64>().map_err(wrong)
        }
    };
    number("timeoutSeconds")?;
    let limit = number("limit")?;
    let options = List {
        limit: usize::try_from(limit).unwrap_or(0),
        token: text("continue"),
        version: text("resourceVersion"),
        rule: text("resourceVersionMatch"),
    };
    let initial = request.option("sendInitialEvents");
    let causes = list_causes(&options, watching, initial);
    if causes.is_empty() {
        return Ok(options);
    }
    Err(Status::invalid("ListOptions.meta.k8s.io", "", &causes))
}

fn list_causes(options: &List, watching: bool, initial: Option<&str>) -> Vec<Cause> {
    const RULE: &str = "resourceVersionMatch";
    let mut causes = Vec::new();
    let rule = Value::from(options.rule.as_str());
    if watching {
        match initial {
            Some(_) => {
                if options.rule != "NotOlderThan" {
                    let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                    causes.push(Cause::forbidden(RULE, why));
                }
                if !options.rule.is_empty() && options.rule != "NotOlderThan" {
                    causes.push(Cause::not_supported(RULE, &rule, &["NotOlderThan"]));
                }
                if !options.token.is_empty() {
                    causes.push(Cause::forbidden(RULE, "resourceVersionMatch is forbidden when continue is provided"));
                }
            }
            None if !options.rule.is_empty() => {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                causes.push(Cause::forbidden(RULE, why));
            }
            None => {}
        }
        return causes;
    }
    if initial.is_some() {
        causes.push(Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    if options.rule.is_empty() {
        return causes;
    }
    if options.version.is_empty() {
        causes.push(Cause::forbidden(RULE, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
    }
    if !options.token.is_empty() {
        causes.push(Cause::forbidden(RULE, "resourceVersionMatch is forbidden when continue is provided"));
    }
    if !["Exact", "NotOlderThan"].contains(&options.rule.as_str()) {
        causes.push(Cause::not_supported(RULE, &rule, &["Exact", "NotOlderThan", ""]));
    }
    if options.rule == "Exact" && options.version == "0" {
        let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
        causes.push(Cause::forbidden(RULE, why));
    }
    causes
}

/// 504: the version is not there yet.
pub fn too_large(version: u64, current: u64) -> Status {
    let details = json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    });
    let message = format!("Timeout: Too large resource version: {version}, current: {current}");
    Status::new(504, "Timeout", message, details)
}

/// The text of a version that is no number.
pub fn bad_version(version: &str) -> String {
    format!("resourceVersion: Invalid value: {version:?}: strconv.ParseUint: parsing {version:?}: invalid syntax")
}
