//! Engine, bindings and cluster put together: what `run`, `eval`, `repl` and `test` share.

use std::sync::Arc;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::bindings;
use crate::bindings::host::{Host, HostRef, Parts};
use crate::bindings::record::Record;
use crate::bindings::stage::Event;
use crate::bindings::steps;
use crate::check;
use crate::diagnostic::{Diagnostic, Kind};
use crate::script::{
    self, Dynamic, Engine, EvalAltResult, FnPtr, Interrupt, Limits, Scope, Script, Sources, contain, diagnose, value,
};

/// An engine that knows every host function and no cluster: enough to compile and to check.
pub struct Desk {
    /// The engine.
    pub engine: Engine,
    /// Source texts it has seen.
    pub sources: Sources,
    /// Ends what runs on it.
    pub interrupt: Interrupt,
}

impl Desk {
    /// Returns a desk whose scripts `interrupt` ends.
    pub fn new(interrupt: &Interrupt) -> Desk {
        let sources = Sources::new();
        let mut engine = script::engine(&Limits::default(), interrupt, &sources);
        bindings::register(&mut engine);
        Desk { engine, sources, interrupt: interrupt.clone() }
    }

    /// Parses a script, running nothing.
    pub fn compile(&self, name: &str, text: &str) -> Result<Script, Diagnostic> {
        Script::compile(&self.engine, &self.sources, name, text)
    }

    /// Says everything that is wrong with a script; empty when it may run.
    pub fn check(&self, script: &Script) -> Vec<Diagnostic> {
        check::check(script, &self.engine, &self.sources)
    }

    /// Gives the engine a host: from now on its scripts reach a cluster.
    pub fn open(mut self, parts: Parts) -> Session {
        let host = Host::new(parts);
        self.engine.set_default_tag(Dynamic::from(HostRef(host.clone())));
        let printing = host.clone();
        self.engine.on_print(move |text| {
            printing.show(Event::Output { text: text.to_owned(), value: Value::from(text) });
        });
        let logging = host.clone();
        self.engine.on_debug(move |text, source, position| {
            let source = source.unwrap_or_default();
            logging.show(Event::Log { text: format!("{source}:{position:?} {text}") });
        });
        Session { desk: self, host }
    }
}

/// Returns the runtime of a simulated run: one thread, and time that jumps from event to event.
pub fn simulated_runtime() -> Result<Arc<Runtime>, Diagnostic> {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.map(Arc::new).map_err(|error| no_runtime(&error))
}

/// Returns the runtime of a run in wall time.
pub fn real_runtime() -> Result<Arc<Runtime>, Diagnostic> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.map(Arc::new).map_err(|error| no_runtime(&error))
}

fn no_runtime(error: &std::io::Error) -> Diagnostic {
    Diagnostic::new(Kind::Internal, "no runtime could be started").why(error.to_string())
}

/// An engine with its host.
pub struct Session {
    desk: Desk,
    host: Arc<Host>,
}

impl Session {
    /// Returns the engine.
    pub fn engine(&self) -> &Engine {
        &self.desk.engine
    }

    /// Returns the source texts.
    pub fn sources(&self) -> &Sources {
        &self.desk.sources
    }

    /// Returns the desk.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Returns the host.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Runs a script to its end, closings included, and returns its last value.
    pub fn run(&self, script: &Script) -> Result<Dynamic, Diagnostic> {
        let mut scope = Scope::new();
        let engine = &self.desk.engine;
        steps::Scope::reset();
        let result = contain(|| engine.eval_ast_with_scope::<Dynamic>(&mut scope, &script.ast));
        let result = self.told(result, script);
        self.close(script, result.as_ref().err());
        self.host.let_go();
        result
    }

    /// Evaluates a script in a scope that lives on: one input of the REPL. Closings that it declares run at its end.
    pub fn evaluate(&self, scope: &mut Scope<'_>, script: &Script) -> Result<Dynamic, Diagnostic> {
        let engine = &self.desk.engine;
        let result = contain(|| engine.eval_ast_with_scope::<Dynamic>(scope, &script.ast));
        let result = self.told(result, script);
        self.close(script, result.as_ref().err());
        result
    }

    /// Returns what an error says that came from outside a script.
    pub fn told_outside(&self, error: Box<EvalAltResult>) -> Diagnostic {
        self.placed(diagnose(error, &self.desk.sources, ""))
    }

    fn placed(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        if let Some(cluster) = self.host.known_cluster() {
            diagnostic.context.get_or_insert_with(|| format!("context {}", cluster.context()));
        }
        diagnostic
    }

    fn told(
        &self,
        result: Result<Result<Dynamic, Box<EvalAltResult>>, Diagnostic>,
        script: &Script,
    ) -> Result<Dynamic, Diagnostic> {
        let result = result?.map_err(|error| {
            let diagnostic = diagnose(error, &self.desk.sources, &script.name);
            check::explain(diagnostic, &self.desk.engine)
        });
        result.map_err(|diagnostic| self.placed(diagnostic))
    }

    /// Runs `on_failure` and `finally`, last declared first. An interrupt has done its work by now: they may wait.
    fn close(&self, script: &Script, failure: Option<&Diagnostic>) {
        let closings = std::mem::take(&mut *self.host.closings());
        if closings.finally.is_empty() && (failure.is_none() || closings.on_failure.is_empty()) {
            return;
        }
        if self.desk.interrupt.is_urgent() {
            let text = "interrupted twice: what `on_failure` and `finally` would do is left out".to_owned();
            self.host.show(Event::Warning { text });
            return;
        }
        self.desk.interrupt.calm();
        let part = self.host.record.as_ref().map_or(1, Record::part);
        steps::Scope::apart(format!("end{part}/"), || {
            if let Some(failure) = failure {
                let error = value::from_json(&failure.to_json());
                for closure in closings.on_failure.iter().rev() {
                    self.call(script, "on_failure", closure, Some(&error));
                }
            }
            for closure in closings.finally.iter().rev() {
                self.call(script, "finally", closure, None);
            }
        });
    }

    fn call(&self, script: &Script, name: &str, closure: &FnPtr, error: Option<&Dynamic>) {
        let engine = &self.desk.engine;
        let parameters = script
            .ast
            .iter_functions()
            .find(|function| function.name == closure.fn_name())
            .map_or(0, |function| function.params.len());
        let takes_error = parameters > closure.curry().len();
        let result = contain(|| match error {
            Some(error) if takes_error => closure.call::<Dynamic>(engine, &script.ast, (error.clone(),)),
            _ => closure.call::<Dynamic>(engine, &script.ast, ()),
        });
        if let Err(failure) = self.told(result, script) {
            self.host.show(Event::Warning { text: format!("{name} failed: {failure}") });
        }
    }
}
