//! Properties of script values: one table a type, from which getters, suggestions and completion come.

use rhai::{Dynamic, Engine, EvalAltResult, Variant};

use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::script::throw;

/// A property that scripts read.
pub struct Property<T> {
    /// Name, snake_case.
    pub name: &'static str,
    /// Script type.
    pub ty: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Reads it.
    pub get: fn(&T) -> Dynamic,
}

/// A type of script values, for documentation and completion.
pub struct TypeRecord {
    /// Name in scripts.
    pub name: &'static str,
    /// What it is, one sentence.
    pub doc: &'static str,
    /// Name, type and text of each property.
    pub properties: Vec<(&'static str, &'static str, &'static str)>,
}

impl<T> Property<T> {
    /// Returns the property without its reader.
    pub fn record(&self) -> (&'static str, &'static str, &'static str) {
        (self.name, self.ty, self.doc)
    }
}

/// Makes a type and its properties known; a misspelt property is an error with a suggestion.
pub fn register<T: Variant + Clone>(engine: &mut Engine, name: &'static str, properties: &'static [Property<T>]) {
    engine.register_type_with_name::<T>(name);
    for property in properties {
        let get = property.get;
        engine.register_get(property.name, move |value: &mut T| get(value));
    }
    engine.register_indexer_get(move |_: &mut T, key: &str| -> Result<Dynamic, Box<EvalAltResult>> {
        Err(throw(unknown(name, key, properties.iter().map(|property| property.name))))
    });
}

/// Says that a type has no such property.
pub fn unknown(ty: &str, key: &str, known: impl Iterator<Item = &'static str> + Clone) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(Kind::UnknownProperty, format!("a {ty} has no property `{key}`"));
    let names: Vec<&str> = known.clone().collect();
    if let Some(near) = closest(key, known) {
        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
    }
    diagnostic.why(format!("properties: {}", names.join(", ")))
}
