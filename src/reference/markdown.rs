//! The reference page.

use super::text::{first_sentence, rights, typed_signature};
use crate::bindings::binding::{Binding, Bindings, Param};

/// A type of script values: name, what it is, properties with type and text.
pub type TypeTable = (&'static str, &'static str, Vec<(&'static str, &'static str, &'static str)>);

/// Returns the reference page of all families and types.
pub fn markdown(families: &[Bindings], types: &[TypeTable]) -> String {
    let mut text =
        String::from("# Functions\n\nMade from the records of the bindings; `okgscript doc NAME` shows the same.\n");
    for family in families {
        text.push_str(&format!("\n## `{}`\n\n{}\n", family.family, family.doc));
        family.records().iter().for_each(|record| text.push_str(&function(record)));
    }
    if !types.is_empty() {
        text.push_str("\n# Types\n");
    }
    for (name, doc, properties) in types {
        text.push_str(&format!("\n## `{name}`\n\n{doc}\n\n| property | type | |\n|---|---|---|\n"));
        for (name, ty, doc) in properties {
            text.push_str(&format!("| `{name}` | {} | {} |\n", cell(ty), cell(doc)));
        }
    }
    text
}

fn function(record: &Binding) -> String {
    let mut text = format!("\n### `{}`\n\n```\n{}\n```\n\n{}\n", record.name, typed_signature(record), record.doc);
    if record.params.iter().any(|param| !param.doc.is_empty()) {
        text.push_str("\n| parameter | type | |\n|---|---|---|\n");
        record.params.iter().for_each(|param| text.push_str(&parameter(param)));
    }
    if !record.errors.is_empty() {
        let errors: Vec<String> = record.errors.iter().map(|error| format!("`{error}`")).collect();
        text.push_str(&format!("\nErrors: {}.\n", errors.join(", ")));
    }
    let rights = rights(record);
    if !rights.is_empty() {
        text.push_str(&format!("\nRights: {}.\n", rights.join("; ")));
    }
    if !record.example.is_empty() {
        text.push_str(&format!("\n```rhai\n{}\n```\n", record.example));
    }
    text
}

fn parameter(param: &Param) -> String {
    let optional = if param.optional { ", optional" } else { "" };
    let mut text = format!("| `{}` | {}{optional} | {} |\n", param.name, cell(param.ty), cell(param.doc));
    for key in param.keys {
        text.push_str(&format!("| `{}.{}` | {} | {} |\n", param.name, key.name, cell(key.ty), cell(key.doc)));
    }
    text
}

/// Keeps a text from breaking the table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Returns a list of the functions with their first sentences, for an overview in another text.
pub fn list(families: &[Bindings]) -> String {
    let rows = families.iter().flat_map(|family| family.records().iter());
    rows.map(|record| format!("- `{}`: {}\n", record.signature(), first_sentence(record.doc))).collect()
}
