//! A script: text, tree, documentation and parameters.

use std::sync::Arc;

use rhai::{AST, Engine};

use super::{ParamDecl, Sources, params, shipped, syntax};
use crate::diagnostic::Diagnostic;

/// A script that parses.
#[derive(Clone, Debug)]
pub struct Script {
    /// Name as the user knows it; imports are looked for beside it.
    pub name: String,
    /// Its whole text.
    pub text: Arc<str>,
    /// Its tree, as written.
    pub ast: AST,
    /// The `//!` lines at its head.
    pub doc: String,
    /// Its parameters, in the order of the script.
    pub params: Vec<ParamDecl>,
}

impl Script {
    /// Parses a text and reads its parameters, running nothing.
    ///
    /// Errors are of kind `syntax` or `parameter`.
    pub fn compile(engine: &Engine, sources: &Sources, name: &str, text: &str) -> Result<Script, Diagnostic> {
        let embedded = shipped::script(name).is_some_and(|shipped| shipped == text);
        let source = sources.add(name, text, embedded);
        let ast = parse(engine, sources, name, text)?;
        let params = params::read(&ast, sources, name)?;
        Ok(Script { name: name.to_owned(), text: source.text, ast, doc: shipped::doc(text), params })
    }

    /// Returns a hash of the text: SHA-256 in hexadecimal digits.
    pub fn hash(&self) -> String {
        Sources::new().add(&self.name, &self.text, false).hash
    }
}

/// Parses a text that `sources` knows under `name`.
pub(super) fn parse(engine: &Engine, sources: &Sources, name: &str, text: &str) -> Result<AST, Diagnostic> {
    let mut ast =
        engine.compile(text).map_err(|error| syntax::explain(error.err_type(), error.position(), sources, name))?;
    ast.set_source(name);
    Ok(ast)
}
