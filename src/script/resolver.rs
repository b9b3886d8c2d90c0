//! `import`: the embedded modules first, then beside the importing script.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use super::{ScriptResult, Sources, shipped};

type SharedModule = Shared<Module>;

/// Where a module was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Name as diagnostics show it.
    pub name: String,
    /// Its whole text.
    pub text: String,
    /// Whether it came with the binary.
    pub embedded: bool,
}

/// Finds the module that `path` means in a script named `importer`.
///
/// An embedded name always means the embedded module: a file beside the script never shadows it. A file is looked for
/// beside the importing script, and never outside the project: the current folder, or the script's own if that lies
/// elsewhere.
pub fn find(sources: &Sources, importer: &str, path: &str) -> Option<Found> {
    if let Some(text) = shipped::module(path) {
        let name = path.strip_suffix(".rhai").unwrap_or(path).to_owned();
        return Some(Found { name, text: text.to_owned(), embedded: true });
    }
    if sources.get(importer).is_some_and(|importer| importer.embedded) {
        return None;
    }
    let mut file = Path::new(importer).parent()?.join(path);
    if file.extension().is_none_or(|extension| extension != "rhai") {
        file.as_mut_os_string().push(".rhai");
    }
    let file = tidy(&file);
    let real = file.canonicalize().ok()?;
    if !roots(sources, importer).iter().any(|root| real.starts_with(root)) {
        return None;
    }
    let text = std::fs::read_to_string(&file).ok()?;
    Some(Found { name: file.display().to_string(), text, embedded: false })
}

/// The folders that scripts may import from.
fn roots(sources: &Sources, importer: &str) -> Vec<PathBuf> {
    let here = Path::new(".").canonicalize().ok();
    let absolute = |name: &str| Path::new(name).parent().map(|folder| Path::new(".").join(folder).canonicalize());
    if let Some(here) = &here
        && absolute(importer).and_then(Result::ok).is_some_and(|folder| folder.starts_with(here))
    {
        return vec![here.clone()];
    }
    // The folders of all sources that were read so far: the main script's is the widest of them.
    let folders = sources.all().into_iter().filter(|(_, source)| !source.embedded).map(|(name, _)| name);
    let folders: Vec<PathBuf> = folders.filter_map(|name| absolute(&name)?.ok()).collect();
    folders.into_iter().min_by_key(|folder| folder.components().count()).into_iter().collect()
}

/// Removes `.` and resolves `..` in a path without asking the disk.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(tidied.components().next_back(), Some(Component::Normal(_))) => {
                tidied.pop();
            }
            other => tidied.push(other),
        }
    }
    tidied
}

/// Rhai's door to modules: compiles on first import, records each source.
pub(super) struct Resolver {
    sources: Sources,
    modules: Mutex<BTreeMap<String, SharedModule>>,
    loading: Mutex<Vec<String>>,
}

impl Resolver {
    pub(super) fn new(sources: &Sources) -> Resolver {
        Resolver { sources: sources.clone(), modules: Mutex::default(), loading: Mutex::default() }
    }

    fn load(&self, engine: &Engine, found: &Found, position: Position) -> ScriptResult<SharedModule> {
        let in_module = |error| Box::new(EvalAltResult::ErrorInModule(found.name.clone(), error, position));
        self.sources.add(&found.name, &found.text, found.embedded);
        let mut ast = engine.compile(&found.text).map_err(|error| in_module(error.into()))?;
        ast.set_source(found.name.as_str());
        let mut module = Module::eval_ast_as_new(Scope::new(), &ast, engine).map_err(in_module)?;
        module.set_id(found.name.as_str());
        Ok(Shared::new(module))
    }
}

impl ModuleResolver for Resolver {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> ScriptResult<SharedModule> {
        let Some(found) = find(&self.sources, source.unwrap_or_default(), path) else {
            return Err(EvalAltResult::ErrorModuleNotFound(path.to_owned(), position).into());
        };
        let known = self.modules.lock().unwrap_or_else(PoisonError::into_inner).get(&found.name).cloned();
        if let Some(module) = known {
            return Ok(module);
        }
        {
            let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
            if loading.contains(&found.name) {
                let text = format!("module `{}` imports itself: {} -> {0}", found.name, loading.join(" -> "));
                return Err(EvalAltResult::ErrorRuntime(text.into(), position).into());
            }
            loading.push(found.name.clone());
        }
        let loaded = self.load(engine, &found, position);
        self.loading.lock().unwrap_or_else(PoisonError::into_inner).retain(|name| *name != found.name);
        let module = loaded?;
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).insert(found.name, module.clone());
        Ok(module)
    }
}
