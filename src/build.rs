//! Embeds `stdlib/` and `scripts/`: writes arrays of names and texts that `script::shipped` includes.
//!
//! And tells the tests whether there is a real API server for them (`cfg(real_server)`): a test that is ignored has to be so
//! when it is compiled.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-env-changed=KUBEBUILDER_ASSETS");
    println!("cargo:rustc-check-cfg=cfg(real_server)");
    if env::var_os("KUBEBUILDER_ASSETS").is_some_and(|folder| !folder.is_empty()) {
        println!("cargo:rustc-cfg=real_server");
    }
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let mut code = String::new();
    for (constant, folder) in [("STDLIB", "stdlib"), ("SCRIPTS", "scripts")] {
        println!("cargo:rerun-if-changed={folder}");
        let mut files = Vec::new();
        collect(&root.join(folder), &mut files)?;
        files.sort();
        let _ = writeln!(code, "/// Name and text of every file in `{folder}/`.");
        let _ = writeln!(code, "pub const {constant}: &[(&str, &str)] = &[");
        for file in files {
            let name = file.strip_prefix(root.join(folder)).map_err(io::Error::other)?.with_extension("");
            let name = name.to_string_lossy().replace('\\', "/");
            let _ = writeln!(code, "    ({name:?}, include_str!({:?})),", file.display().to_string());
        }
        code.push_str("];\n");
    }
    fs::write(PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?).join("shipped.rs"), code)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            println!("cargo:rerun-if-changed={}", path.display());
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rhai") {
            files.push(path);
        }
    }
    Ok(())
}
