//! Somebody who is told of every write that is tried, by whom, and what became of it: for tests that keep score.

use std::sync::Arc;

use super::object::{Object, Patch};
use super::status::Status;

/// What a write wants.
#[derive(Clone, Copy, Debug)]
pub enum Wish<'a> {
    /// A patch.
    Patch(&'a Patch),
    /// Another object in its place; what it came to says which.
    Replace,
    /// That it be gone.
    Delete,
}

/// One attempt to write an object that exists.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The field manager of whoever writes: `okgscript`, `matchmaker`, `kruise-manager`.
    pub manager: &'a str,
    /// What is wanted.
    pub wish: Wish<'a>,
    /// `pods`, `gameservers.game.kruise.io`, ….
    pub resource: &'a str,
    /// The subresource; empty for the object itself.
    pub subresource: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The object before.
    pub before: Option<&'a Object>,
    /// The object after, or why nothing was written.
    pub outcome: Result<&'a Object, &'a Status>,
}

/// Who is told.
pub type Witness = Arc<dyn Fn(&Attempt<'_>) + Send + Sync>;
