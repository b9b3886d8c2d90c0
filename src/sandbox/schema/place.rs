//! Where a value stands inside an object: spelt out only when something is wrong there.

use std::fmt;

/// The way from the root to a value, kept on the stack of whoever walks there.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    above: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Member(&'a str),
    Key(&'a str),
    Item(usize),
}

impl<'a> Place<'a> {
    /// The object itself.
    pub const ROOT: Place<'static> = Place { above: None, step: Step::Root };

    /// A member that a schema declares.
    pub fn member(&'a self, name: &'a str) -> Place<'a> {
        Place { above: Some(self), step: Step::Member(name) }
    }

    /// A member of a map with any keys.
    pub fn key(&'a self, key: &'a str) -> Place<'a> {
        Place { above: Some(self), step: Step::Key(key) }
    }

    /// An item of a list.
    pub fn item(&'a self, index: usize) -> Place<'a> {
        Place { above: Some(self), step: Step::Item(index) }
    }

    /// Returns whether it is the object itself.
    pub fn is_root(&self) -> bool {
        self.above.is_none()
    }

    /// Returns the names of the declared members on the way, joined by dots; lists and maps leave no trace.
    pub fn fields(&self) -> String {
        let above = self.above.map(Place::fields).unwrap_or_default();
        match self.step {
            Step::Member(name) if above.is_empty() => name.to_owned(),
            Step::Member(name) => format!("{above}.{name}"),
            _ => above,
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(above) = self.above else { return Ok(()) };
        above.fmt(f)?;
        match self.step {
            Step::Root => Ok(()),
            Step::Member(name) | Step::Key(name) if above.is_root() => f.write_str(name),
            Step::Member(name) | Step::Key(name) => write!(f, ".{name}"),
            Step::Item(index) => write!(f, "[{index}]"),
        }
    }
}
