//! The file that a plan is saved in: JSON that people can read, with a form of its own and a checksum over all it says.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Plan;
use crate::diagnostic::{Diagnostic, Kind};

/// The form of files that this okgscript writes and reads.
pub const FORMAT: &str = "okgscript.io/plan/v1";

const CHECKSUM: &str = "checksum";

/// Returns the text of a plan's file.
pub fn write(plan: &Plan) -> Result<String, Diagnostic> {
    let failed = |error: serde_json::Error| {
        Diagnostic::new(Kind::Internal, "the plan cannot be written down").why(error.to_string())
    };
    let mut document = serde_json::to_value(plan).map_err(failed)?;
    let sum = checksum(&document);
    document[CHECKSUM] = Value::from(sum);
    serde_json::to_string_pretty(&document).map(|text| text + "\n").map_err(failed)
}

/// Reads a plan from the text of its file; `name` is what the file is called.
pub fn read(name: &str, text: &str) -> Result<Plan, Diagnostic> {
    let refused = |what: &str| {
        Diagnostic::new(Kind::Refused, format!("the plan `{name}` {what}"))
            .help("make a new one: `okgscript plan SCRIPT --out FILE`. Nothing was sent.")
    };
    let mut document: Value =
        serde_json::from_str(text).map_err(|error| refused("is damaged").why(format!("it is no JSON: {error}")))?;
    match document["format"].as_str() {
        Some(FORMAT) => {}
        Some(other) if other.starts_with("okgscript.io/plan/") => {
            let made = document["okgscript"].as_str().unwrap_or("another version");
            let here = env!("CARGO_PKG_VERSION");
            return Err(refused("has another form than this okgscript reads").why(format!(
                "it is `{other}`, made by okgscript {made}; this is okgscript {here}, which reads `{FORMAT}`"
            )));
        }
        _ => return Err(refused("is no plan").why(format!("its `format` is not `{FORMAT}`"))),
    }
    let said = document.as_object_mut().and_then(|fields| fields.remove(CHECKSUM));
    let sum = checksum(&document);
    if said.as_ref().and_then(Value::as_str) != Some(&sum) {
        return Err(refused("was altered after it was made")
            .why("its checksum is not that of what it says: parameters, rooms or anything else in it was changed"));
    }
    serde_json::from_value(document).map_err(|error| refused("is damaged").why(error.to_string()))
}

/// Returns the checksum of what a document says, whatever its layout.
pub fn checksum(document: &Value) -> String {
    // Keys of maps are in order, so that the same content has the same text.
    let digest = Sha256::digest(document.to_string().as_bytes());
    let hexadecimal: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hexadecimal}")
}
