//! What stays from one input to the next: variables, functions, imports.
//!
//! All inputs are one text, the notebook, each further down than the last; so every error points at the line that was
//! typed, also one in a function that was typed an hour ago.

use crate::check::Checker;
use crate::diagnostic::Diagnostic;
use crate::script::calls::{Import, outline};
use crate::script::{AST, Dynamic, Scope, Script};
use crate::session::Session;

/// Name of the notebook in diagnostics.
const NAME: &str = "repl";

/// Everything that was typed, and what it left behind.
#[derive(Default)]
pub struct Notebook {
    text: String,
    library: AST,
    imports: Vec<Import>,
    scope: Scope<'static>,
}

impl Notebook {
    /// Evaluates an input; the errors are all that a check finds, or the one that it ran into.
    pub fn evaluate(&mut self, session: &Session, input: &str) -> Result<Dynamic, Vec<Diagnostic>> {
        let (engine, sources) = (session.engine(), session.sources());
        let lines = self.text.lines().count();
        let padded = format!("{}{input}", "\n".repeat(lines));
        let compiled = Script::compile(engine, sources, NAME, &padded);
        self.text.push_str(input.trim_end());
        self.text.push('\n');
        sources.add(NAME, &self.text, false);
        let mut script = compiled.map_err(|wrong| vec![wrong])?;
        let typed = outline(&script.ast);
        let functions = script.ast.clone_functions_only();
        script.ast = self.library.merge(&script.ast);
        if let Some(imports) = self.import_again(session) {
            script.ast = imports.merge(&script.ast);
        }
        script.ast.set_source(NAME);
        let wrong = Checker::new(engine, sources).variables(self.variables()).check(&script);
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let result = session.evaluate(&mut self.scope, &script);
        // What an input declares stays, also if a later part of it failed.
        self.library = self.library.merge(&functions);
        for import in typed.imports {
            self.imports.retain(|known| known.alias != import.alias);
            self.imports.push(import);
        }
        result.map_err(|wrong| vec![wrong])
    }

    /// Returns the imports so far as a tree: modules are compiled once, so that this costs next to nothing.
    fn import_again(&self, session: &Session) -> Option<AST> {
        let imports = self.imports.iter().filter_map(|import| {
            let path = import.path.as_deref()?.replace('\\', "\\\\").replace('"', "\\\"");
            (!import.alias.is_empty()).then(|| format!("import \"{path}\" as {};", import.alias))
        });
        let text: Vec<String> = imports.collect();
        if text.is_empty() { None } else { session.engine().compile(text.join(" ")).ok() }
    }

    /// Returns the names of the variables, newest last.
    pub fn variables(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (name, ..) in self.scope.iter_raw() {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}
