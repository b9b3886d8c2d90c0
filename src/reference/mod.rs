//! Texts derived from the records of the bindings: what `doc` prints, the reference page, definitions for editors,
//! completion and the RBAC Role of a script.
//!
//! Everything here is a plain function of records and scripts; nothing else may list functions. For example
//! `reference::function` makes the text of `okgscript doc gs_select`.

mod completion;
mod definitions;
mod markdown;
mod rights;
mod text;

pub use completion::{Candidate, Extras, Sort, candidates};
pub use definitions::definitions;
pub use markdown::{TypeTable, list, markdown};
pub use rights::{Needs, needs, role};
pub use text::{family, first_sentence, function, module, overview, script, typed_signature, value_type};
