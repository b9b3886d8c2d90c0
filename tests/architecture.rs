//! The rooms import only what the house allows, and each door is in one room only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom, beside `diagnostic`, `clock` and `exit_code`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("okg", &[]),
    ("script", &[]),
    ("cluster", &[]),
    ("sandbox", &["okg"]),
    ("bindings", &["script", "cluster", "okg"]),
    ("check", &["bindings", "script"]),
    ("reference", &["bindings", "script"]),
    ("session", &["check", "bindings", "script", "cluster"]),
    ("plan", &["cluster", "okg"]),
    ("report", &["cluster", "okg"]),
    ("testing", &["session", "sandbox"]),
];

const EVERYBODY: &[&str] = &["diagnostic", "clock", "exit_code"];

/// Words that only some rooms may say.
const DOORS: &[(&str, &[&str])] = &[
    ("println!(", &["cli"]),
    ("print!(", &["cli"]),
    ("eprintln!(", &["cli"]),
    ("eprint!(", &["cli"]),
    ("anstream::", &["cli"]),
    ("std::process::exit", &[]),
    ("kube::", &["cluster"]),
    ("rhai::", &["script", "bindings"]),
];

/// Every source file of a room: name of the room, path, text without comments and tests.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(&root).unwrap();
            let room = relative.components().next().unwrap().as_os_str().to_string_lossy();
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("\n#[cfg(test)]").next().unwrap_or_default();
            let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (room.trim_end_matches(".rs").to_owned(), path, code.join("\n"))
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Names of rooms that a text reaches through `crate::`.
fn imports(code: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('$') || code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split("};").next().unwrap_or_default();
                let mut depth = 0;
                let parts = group.split(|c| {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    c == ',' && depth == 0
                });
                found.extend(parts.map(|part| word(part.trim())).filter(|name| !name.is_empty()));
            }
            None => found.push(word(rest)),
        }
    }
    found
}

#[test]
fn rooms_import_only_what_the_house_allows() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for (room, path, code) in sources() {
        let Some(allowed) = allowed.get(room.as_str()) else { continue };
        for name in imports(&code) {
            let own = name == room || EVERYBODY.contains(&name.as_str()) || allowed.contains(&name.as_str());
            if !own {
                wrong.push(format!("{}: `{room}` imports `{name}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_is_in_the_table() {
    let known = |room: &str| {
        MAY_IMPORT.iter().any(|(name, _)| *name == room)
            || ["cli", "lib", "main", "build"].contains(&room)
            || EVERYBODY.contains(&room)
    };
    let unknown: Vec<String> = sources().into_iter().map(|(room, ..)| room).filter(|room| !known(room)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn each_door_is_in_one_room() {
    let mut wrong = Vec::new();
    for (room, path, code) in sources() {
        for (word, rooms) in DOORS {
            let said = code
                .match_indices(word)
                .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            if said && room != "build" && !rooms.contains(&room.as_str()) {
                wrong.push(format!("{}: `{room}` says `{word}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_test_file_is_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let mut wrong = Vec::new();
    for path in files {
        let relative = path.strip_prefix(&root).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if ["main"].contains(&name.as_str()) || relative.starts_with("bench") {
            continue;
        }
        // A folder's `mod.rs` is listed one level up.
        let folder = path.parent().unwrap();
        let (name, listed_in) = match name.as_str() {
            "mod" => (folder.file_name().unwrap().to_string_lossy().into_owned(), folder.parent().unwrap()),
            _ => (name, folder),
        };
        let candidates = ["main.rs", "mod.rs"].map(|file| listed_in.join(file));
        let sibling = listed_in.with_extension("rs");
        let listed = candidates
            .iter()
            .chain([&sibling])
            .filter_map(|file| fs::read_to_string(file).ok())
            .any(|text| text.lines().any(|line| line.trim_start_matches("pub ").trim() == format!("mod {name};")));
        if !listed {
            wrong.push(relative.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "not listed, so never run: {}", wrong.join(", "));
}
