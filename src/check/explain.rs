//! What Rhai calls "function not found", said with the signatures that we know.

use crate::script::Engine;
use serde_json::Value;

use super::Checker;
use crate::bindings::binding::Binding;
use crate::diagnostic::{Diagnostic, Kind};
use crate::script::Sources;
use crate::script::calls::Outline;

/// Completes a run-time error of kind `unknown-function`: a known name with other types is `wrong-arguments` with its
/// signature, an unknown one gets a suggestion. Other errors stay as they are.
pub fn explain(diagnostic: Diagnostic, engine: &Engine) -> Diagnostic {
    let sources = Sources::new();
    with(&Checker::new(engine, &sources), diagnostic)
}

fn with(checker: &Checker, mut diagnostic: Diagnostic) -> Diagnostic {
    if diagnostic.kind != Kind::UnknownFunction {
        return diagnostic;
    }
    let Some(Value::String(name)) = diagnostic.data.get("function").cloned() else { return diagnostic };
    let types = match diagnostic.data.get("types") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    };
    if let Some(record) = checker.records.get(name.as_str()) {
        diagnostic.kind = Kind::WrongArguments;
        diagnostic.what = format!("`{name}` does not take ({types})");
        let signature = typed_signature(record);
        if let Some(place) = diagnostic.places.first_mut() {
            place.label = Some(format!("`{}`", record.signature()));
        }
        return diagnostic.help(signature).help(format!("`okgscript doc {name}` says more"));
    }
    if checker.functions.contains_key(&name) {
        diagnostic.kind = Kind::WrongArguments;
        diagnostic.what = format!("`{name}` does not take ({types})");
        return diagnostic;
    }
    if let Some(meant) = checker.meant(&name, &Outline::default())
        && let Some(place) = diagnostic.places.first_mut()
    {
        place.label = Some(format!("did you mean `{meant}`?"));
    }
    diagnostic
}

/// Returns a signature with types: `gs_get(name: string) -> GameServer`.
fn typed_signature(record: &Binding) -> String {
    let params = record.params.iter().map(|param| {
        let optional = if param.optional { "?" } else { "" };
        format!("{}{optional}: {}", param.name, param.ty)
    });
    format!("{}({}) -> {}", record.name, params.collect::<Vec<_>>().join(", "), record.returns)
}
