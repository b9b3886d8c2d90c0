//! What comes inside the binary: the modules of `stdlib/` and the operations of `scripts/`.

include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// Returns the text of a shipped script, by its name with or without `.rhai`.
pub fn script(name: &str) -> Option<&'static str> {
    find(SCRIPTS, name.strip_suffix(".rhai").unwrap_or(name))
}

/// Returns the text of an embedded module: `okg/drain`.
pub fn module(name: &str) -> Option<&'static str> {
    find(STDLIB, name.strip_suffix(".rhai").unwrap_or(name))
}

fn find(files: &'static [(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    files.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Returns the documentation at the head of a script: its `//!` lines.
pub fn doc(text: &str) -> String {
    let comment = |line: &&str| line.starts_with("//") && !line.starts_with("//!");
    let lines = text.lines().skip_while(|line| line.trim().is_empty() || line.starts_with("#!") || comment(line));
    let doc = lines.map_while(|line| line.trim_start().strip_prefix("//!"));
    doc.map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n")
}
