//! Rhai, knowing no Kubernetes: the engine with its limits, scripts and their parameters, imports, values and errors.
//!
//! This room must not know what a GameServer is: host functions are registered by `bindings`. It turns a text into a
//! [`Script`] whose parameters are known without running it, and whatever Rhai reports into a
//! [`Diagnostic`](crate::diagnostic::Diagnostic) that points at the right line of the right file.
//!
//! ```
//! use okgscript::script::{Interrupt, Limits, Script, Sources, diagnose, engine};
//!
//! let (interrupt, sources) = (Interrupt::new(), Sources::new());
//! let engine = engine(&Limits::default(), &interrupt, &sources);
//! let script = Script::compile(&engine, &sources, "sum.rhai", "//! Adds.\n1 + 2")?;
//! assert_eq!(script.doc, "Adds.");
//! let sum = engine.eval_ast::<i64>(&script.ast).map_err(|error| diagnose(error, &sources, "sum.rhai"))?;
//! assert_eq!(sum, 3);
//! # Ok::<(), okgscript::diagnostic::Diagnostic>(())
//! ```

pub mod brackets;
pub mod calls;
mod compile;
pub mod duration;
mod engine;
mod error;
mod params;
mod resolver;
pub mod shipped;
mod snapshot;
mod source;
mod syntax;
mod token;
pub mod value;
mod walk;

pub use compile::Script;
pub use engine::{Interrupt, Limits, STACK_SIZE, contain, engine};
pub use error::{diagnose, interrupted, is_interrupt, kind_of, throw};
pub use params::ParamDecl;
pub use resolver::{Found, find as find_module};
pub use snapshot::snapshot;
pub use source::{Source, Sources};
pub use syntax::explain as explain_syntax;
pub use token::place;

// So that only this room and `bindings` name Rhai.
pub use rhai::{AST, Dynamic, Engine, EvalAltResult, FnPtr, Position, Scope};

/// What a host function returns.
pub type ScriptResult<T> = Result<T, Box<rhai::EvalAltResult>>;
