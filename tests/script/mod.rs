//! The script host without any binding.

mod host;
mod rhai;

use ::rhai::{Dynamic, Engine, Scope};
use okgscript::diagnostic::Diagnostic;
use okgscript::script::{Interrupt, Limits, Script, Sources, diagnose, engine};

/// An engine with its sources, as a session has them.
pub struct Host {
    pub engine: Engine,
    pub sources: Sources,
    pub interrupt: Interrupt,
}

impl Host {
    pub fn new() -> Host {
        Host::with(&Limits::default())
    }

    pub fn with(limits: &Limits) -> Host {
        let (sources, interrupt) = (Sources::new(), Interrupt::new());
        Host { engine: engine(limits, &interrupt, &sources), sources, interrupt }
    }

    /// Runs a text as `main.rhai`, or as the file of that name.
    pub fn run_as(&self, name: &str, text: &str) -> Result<Dynamic, Diagnostic> {
        let script = Script::compile(&self.engine, &self.sources, name, text)?;
        self.engine
            .eval_ast_with_scope(&mut Scope::new(), &script.ast)
            .map_err(|error| diagnose(error, &self.sources, name))
    }

    pub fn run(&self, text: &str) -> Result<Dynamic, Diagnostic> {
        self.run_as("main.rhai", text)
    }

    #[track_caller]
    pub fn fails(&self, text: &str) -> Diagnostic {
        self.run(text).expect_err("the script should fail")
    }

    pub fn params(&self, text: &str) -> Result<Vec<okgscript::script::ParamDecl>, Diagnostic> {
        Script::compile(&self.engine, &self.sources, "main.rhai", text).map(|script| script.params)
    }
}
