//! What `okgscript doc` prints.

use crate::bindings::binding::{Binding, Bindings, Param};
use crate::script::ParamDecl;
use crate::script::calls::Outline;

/// Widest line of running text.
const WIDTH: usize = 96;

/// Returns the text of one function: signature, what it does, parameters with keys, errors, rights, example.
pub fn function(record: &Binding) -> String {
    let mut text = format!("{}\n\n{}\n", typed_signature(record), wrap(record.doc, 2));
    if !record.params.is_empty() {
        text.push_str("\nParameters:\n");
        text.push_str(&columns(&rows(record.params)));
    }
    if !record.errors.is_empty() {
        text.push_str(&format!("\nErrors: {}\n", record.errors.join(", ")));
    }
    let rights = rights(record);
    if !rights.is_empty() {
        text.push_str("\nRights:\n");
        rights.iter().for_each(|right| text.push_str(&format!("  {right}\n")));
    }
    if !record.example.is_empty() {
        text.push_str("\nExample:\n");
        record.example.lines().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    text
}

/// Returns a signature with types: `gs_get(name: string) -> GameServer`.
pub fn typed_signature(record: &Binding) -> String {
    let params = record.params.iter().map(|param| {
        let optional = if param.optional { "?" } else { "" };
        format!("{}{optional}: {}", param.name, param.ty)
    });
    format!("{}({}) -> {}", record.name, params.collect::<Vec<_>>().join(", "), record.returns)
}

/// Returns the text of a family: what it is for and each function with its first sentence.
pub fn family(family: &Bindings) -> String {
    let rows = family.records().iter().map(|record| vec![record.signature(), first_sentence(record.doc).to_owned()]);
    format!("{}\n\n{}", family.doc, columns(&rows.collect::<Vec<_>>()))
}

/// Returns the text of a type: what it is and its properties.
pub fn value_type(name: &str, doc: &str, properties: &[(&str, &str, &str)]) -> String {
    let rows = properties.iter().map(|(name, ty, doc)| vec![(*name).to_owned(), (*ty).to_owned(), (*doc).to_owned()]);
    format!("{name}\n\n{}\n\nProperties:\n{}", wrap(doc, 2), columns(&rows.collect::<Vec<_>>()))
}

/// Returns the text of a module: its documentation and public functions.
pub fn module(name: &str, doc: &str, outline: &Outline) -> String {
    let alias = name.rsplit('/').next().unwrap_or(name);
    let mut text = format!("import \"{name}\" as {alias};\n\n{doc}\n");
    for function in outline.functions.iter().filter(|function| !function.private) {
        text.push_str(&format!("\n{alias}::{}({})\n", function.name, function.params.join(", ")));
        for line in function.doc.lines() {
            text.push_str(format!("  {line}").trim_end());
            text.push('\n');
        }
    }
    text
}

/// Returns the text of a script: its documentation and parameters as flags.
pub fn script(name: &str, doc: &str, params: &[ParamDecl]) -> String {
    let mut text = format!("okgscript run {name}\n\n{doc}\n");
    if !params.is_empty() {
        text.push_str("\nParameters:\n");
        let rows = params.iter().map(|param| {
            let default = match &param.default {
                None => "required".to_owned(),
                Some(default) => format!("default {default}"),
            };
            vec![format!("--{}", param.name.replace('_', "-")), default, param.help.clone()]
        });
        text.push_str(&columns(&rows.collect::<Vec<_>>()));
    }
    text
}

/// Returns what there is: each family, module and script with its first sentence.
pub fn overview(families: &[Bindings], modules: &[(&str, String)], scripts: &[(&str, String)]) -> String {
    let mut text = String::from("Functions\n");
    for family in families {
        text.push_str(&format!("\n{}: {}\n", family.family, family.doc));
        let rows =
            family.records().iter().map(|record| vec![record.name.to_owned(), first_sentence(record.doc).to_owned()]);
        text.push_str(&columns(&rows.collect::<Vec<_>>()));
    }
    for (title, files) in [("Modules", modules), ("Scripts", scripts)] {
        if !files.is_empty() {
            let rows = files.iter().map(|(name, doc)| vec![(*name).to_owned(), first_sentence(doc).to_owned()]);
            text.push_str(&format!("\n{title}\n\n{}", columns(&rows.collect::<Vec<_>>())));
        }
    }
    text.push_str("\n`okgscript doc NAME` says more of a function, family, type, module or script.\n");
    text
}

/// Returns the first sentence, which stands alone in lists.
pub fn first_sentence(doc: &str) -> &str {
    let paragraph = doc.split("\n\n").next().unwrap_or_default();
    match paragraph.find(". ") {
        Some(end) => &paragraph[..=end],
        None => paragraph.lines().next().unwrap_or_default(),
    }
}

fn rows(params: &[Param]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for param in params {
        let optional = if param.optional { " (optional)" } else { "" };
        let words = one_of(param.doc, param.one_of);
        rows.push(vec![param.name.to_owned(), param.ty.to_owned(), format!("{}{words}{optional}", param.doc)]);
        for key in param.keys {
            rows.push(vec![
                format!("  {}", key.name),
                key.ty.to_owned(),
                format!("{}{}", key.doc, one_of(key.doc, key.one_of)),
            ]);
        }
    }
    rows
}

/// Lists the words that a string may be, unless the text says them already.
fn one_of(doc: &str, words: &[&str]) -> String {
    if words.iter().all(|word| doc.contains(word)) { String::new() } else { format!(": {}", words.join(", ")) }
}

/// Returns each right as a phrase: `patch gameservers.game.kruise.io`.
pub(super) fn rights(record: &Binding) -> Vec<String> {
    let phrase = |rule: &crate::bindings::binding::Rule| {
        let what = match rule.argument {
            Some(index) => {
                let param = record.params.get(index).map_or("kind", |param| param.name);
                format!("whatever `{param}` names")
            }
            None if rule.group.is_empty() => rule.resource.to_owned(),
            None => format!("{}.{}", rule.resource, rule.group),
        };
        let comfort = if rule.comfort { " (works without, with a warning)" } else { "" };
        format!("{} {what}{comfort}", rule.verbs.join(", "))
    };
    record.access.iter().map(phrase).collect()
}

/// Lays rows out in columns two blanks in, the last one wrapped.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    // A long signature gets a line of its own instead of pushing every text to the right.
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0).min(40)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        let mut used = 2;
        for (column, cell) in row.iter().enumerate() {
            if column + 1 == row.len() {
                let indent: usize = 2 + widths[..column].iter().map(|width| width + 2).sum::<usize>();
                let body = wrap(cell, indent);
                if line.chars().count() + 1 > indent {
                    text.push_str(line.trim_end());
                    text.push('\n');
                    text.push_str(&body);
                } else {
                    text.push_str(format!("{line:<indent$}{}", body.trim_start()).trim_end());
                }
                text.push('\n');
            } else {
                used += widths[column] + 2;
                line.push_str(&format!(" {cell}"));
                let pad = used.saturating_sub(line.chars().count() + 1);
                line.push_str(&" ".repeat(pad));
            }
        }
    }
    text
}

/// Breaks text at blanks, each line `indent` blanks in; lines of the text stay lines.
fn wrap(text: &str, indent: usize) -> String {
    let margin = " ".repeat(indent);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = margin.clone();
        for word in paragraph.split_whitespace() {
            if line.trim().is_empty() {
                line.push_str(word);
            } else if line.chars().count() + 1 + word.chars().count() <= WIDTH {
                line.push(' ');
                line.push_str(word);
            } else {
                lines.push(std::mem::replace(&mut line, format!("{margin}{word}")));
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n")
}
