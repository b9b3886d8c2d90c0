//! Every source text by name, for diagnostics and for the record of what ran.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// A text that scripts come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its whole text.
    pub text: Arc<str>,
    /// SHA-256 of the text, in hexadecimal digits.
    pub hash: String,
    /// Whether it came with the binary, so that it imports nothing from the disk.
    pub embedded: bool,
}

/// All sources of a run, by the name that the user knows them by.
#[derive(Clone, Debug, Default)]
pub struct Sources(Arc<Mutex<BTreeMap<String, Source>>>);

impl Sources {
    /// Returns an empty collection.
    pub fn new() -> Sources {
        Sources::default()
    }

    /// Remembers a text; a later text of the same name takes its place.
    pub fn add(&self, name: &str, text: &str, embedded: bool) -> Source {
        let hash = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let source = Source { text: text.into(), hash, embedded };
        self.lock().insert(name.to_owned(), source.clone());
        source
    }

    /// Returns a source.
    pub fn get(&self, name: &str) -> Option<Source> {
        self.lock().get(name).cloned()
    }

    /// Returns every source with its name, in the order of names.
    pub fn all(&self) -> Vec<(String, Source)> {
        self.lock().iter().map(|(name, source)| (name.clone(), source.clone())).collect()
    }

    /// Returns the hashes of all sources but one, by name: the modules that this script imports.
    pub fn modules(&self, script: &str) -> BTreeMap<String, String> {
        let all = self.lock();
        let others = all.iter().filter(|(name, _)| *name != script);
        others.map(|(name, source)| (name.clone(), source.hash.clone())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
