//! What can be said of a script without running it: one file a rule.
//!
//! `run` asks before anything is sent, `check` and the REPL's hints ask without running. This room must not run
//! script code and must not do requests. For example `gs_set_opstate("demo-0", "kill")` is two mistakes: the function
//! and the opsState.

mod arguments;
mod explain;
mod functions;
mod kinds;
mod modules;
mod params;
mod properties;
mod traps;
mod variables;
mod waits;

use std::collections::{BTreeMap, BTreeSet};

use crate::script::{Engine, Position};

use crate::bindings::property::TypeRecord;
use crate::bindings::{self, binding::Binding};
use crate::diagnostic::{Diagnostic, Kind, Place};
use crate::script::calls::{Outline, outline};
use crate::script::{Script, Sources, place};

pub use explain::explain;
pub use params::{RESERVED_FLAGS, flags};

/// Says everything that is wrong with a script; empty when it may run.
///
/// Modules that it imports by a literal path are checked too.
pub fn check(script: &Script, engine: &Engine, sources: &Sources) -> Vec<Diagnostic> {
    Checker::new(engine, sources).check(script)
}

/// Checks scripts against the functions of one engine.
pub struct Checker<'a> {
    engine: &'a Engine,
    sources: &'a Sources,
    records: BTreeMap<&'static str, &'static Binding>,
    /// Every function of the engine: name, numbers of parameters.
    functions: BTreeMap<String, BTreeSet<usize>>,
    variables: BTreeSet<String>,
    types: Vec<TypeRecord>,
}

/// One file under check.
struct File<'a> {
    name: &'a str,
    outline: Outline,
    /// The modules that it imports, by alias; `None` where nothing is known of them.
    modules: BTreeMap<String, Option<Outline>>,
}

impl<'a> Checker<'a> {
    /// Returns a checker for scripts that run on `engine`, with the records of every binding.
    pub fn new(engine: &'a Engine, sources: &'a Sources) -> Checker<'a> {
        let mut functions = functions::of_the_language();
        for (name, params) in engine.collect_fn_metadata(
            None,
            |info| Some((info.metadata.name.to_string(), info.metadata.num_params)),
            true,
        ) {
            functions.entry(name).or_default().insert(params);
        }
        let types = bindings::display::types();
        Checker { engine, sources, records: BTreeMap::new(), functions, variables: BTreeSet::new(), types }
            .records(bindings::records())
    }

    /// Adds records.
    #[must_use]
    pub fn records(mut self, records: impl IntoIterator<Item = &'static Binding>) -> Checker<'a> {
        self.records.extend(records.into_iter().map(|record| (record.name, record)));
        self
    }

    /// Declares variables that the script finds in its scope, as in the REPL.
    #[must_use]
    pub fn variables(mut self, names: impl IntoIterator<Item = String>) -> Checker<'a> {
        self.variables.extend(names);
        self
    }

    /// Says everything that is wrong with a script, in the order of its text.
    pub fn check(&self, script: &Script) -> Vec<Diagnostic> {
        let mut found = flags(script, self.sources);
        let mut seen = BTreeSet::from([script.name.clone()]);
        self.file(&script.name, outline(&script.ast), &mut seen, &mut found);
        found.sort_by_key(|diagnostic| {
            let place = diagnostic.places.first();
            place.map(|place| (place.source != script.name, place.source.clone(), place.line, place.column))
        });
        found
    }

    fn file(&self, name: &str, outline: Outline, seen: &mut BTreeSet<String>, found: &mut Vec<Diagnostic>) {
        let modules = modules::load(self, name, &outline, seen, found);
        let file = File { name, outline, modules };
        functions::check(self, &file, found);
        arguments::check(self, &file, found);
        variables::check(self, &file, found);
        properties::check(self, &file, found);
        kinds::check(self, &file, found);
        waits::check(self, &file, found);
        traps::check(self, &file, found);
    }

    /// Returns a diagnostic at a place of a file.
    fn at(&self, file: &str, position: Position, kind: Kind, what: String) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(kind, what);
        diagnostic.places.extend(place(self.sources, file, position));
        diagnostic
    }
}

/// Writes text under the carets.
fn label(mut diagnostic: Diagnostic, text: String) -> Diagnostic {
    if let Some(Place { label, .. }) = diagnostic.places.first_mut() {
        *label = Some(text);
    }
    diagnostic
}
