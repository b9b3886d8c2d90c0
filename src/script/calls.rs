//! What a script's tree says without running: its calls with their literal arguments, imports, functions, and the
//! names that nothing declares.

use std::collections::BTreeSet;

use rhai::{AST, Position};
use serde_json::Value;

use super::walk::Walk;

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Name of the function.
    pub name: String,
    /// Modules before the name: `["drain"]` for `drain::retire(…)`.
    pub namespace: Vec<String>,
    /// Arguments in order, without the receiver of a method call.
    pub args: Vec<Arg>,
    /// Whether it is written `value.name(…)`.
    pub method: bool,
    /// The `fn` it stands in; none for the script's own statements. Closures belong to where they are written.
    pub within: Option<String>,
    /// Where the name stands.
    pub position: Position,
}

/// An argument, a map's value or an array's element.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// What is known of it.
    pub shape: Shape,
    /// Where it starts.
    pub position: Position,
}

/// What is known of a value without running.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A literal number, string, boolean or `()`.
    Literal(Value),
    /// A string with `${…}` in it.
    Text,
    /// A map literal.
    Map(Vec<Entry>),
    /// An array literal.
    Array(Vec<Arg>),
    /// A closure; its name in the tree, and the number of its parameters.
    Closure(String, usize),
    /// A variable.
    Variable(String),
    /// Anything else.
    Other,
}

/// An entry of a map literal.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub position: Position,
    /// The value.
    pub value: Arg,
}

/// An `import`.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// The path, where it is a literal.
    pub path: Option<String>,
    /// The name that it goes by.
    pub alias: String,
    /// Where the path stands.
    pub position: Position,
}

/// A function that the script defines.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Name.
    pub name: String,
    /// Names of its parameters.
    pub params: Vec<String>,
    /// Whether other files cannot call it.
    pub private: bool,
    /// Whether it is made for method calls on one type: `fn Type.name()`.
    pub typed: bool,
    /// Its `///` lines.
    pub doc: String,
}

/// A name that nothing declares where it is used.
#[derive(Clone, Debug, PartialEq)]
pub struct Undeclared {
    /// The name.
    pub name: String,
    /// Where it is used.
    pub position: Position,
    /// Whether it stands in a `fn`.
    pub in_function: bool,
    /// Names that are visible there.
    pub visible: Vec<String>,
}

/// Where a value comes from, as far as the text tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Origin {
    /// Not known.
    #[default]
    Unknown,
    /// The result of a host function; with the result of the last closure it is given.
    Call(String, Box<Origin>),
    /// An element of a list.
    Element(Box<Origin>),
    /// A property of a value.
    Property(Box<Origin>, String),
    /// The result of a method.
    Method(Box<Origin>, String),
    /// What a host function gives the closure that it calls.
    Given(String),
    /// An error that was caught.
    Caught,
}

/// A property that is read or set.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// Where the value comes from.
    pub origin: Origin,
    /// The property.
    pub property: String,
    /// Where it stands.
    pub position: Position,
}

/// A construct that Rhai evaluates wrongly.
#[derive(Clone, Debug, PartialEq)]
pub enum Trap {
    /// `switch` on a variable that a closure captured: the default branch is taken, whatever the value.
    SwitchOnCaptured(String, Position),
    /// A `switch` that has cases with `if` and ranges: a range is not tried after a failed `if`.
    SwitchRangeAfterIf(Position),
    /// A `loop` that nothing ends.
    EndlessLoop(Position),
}

/// Everything that is known of a script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outline {
    /// Calls, operators left out, in the order of the text.
    pub calls: Vec<Call>,
    /// Imports in the order of the text.
    pub imports: Vec<Import>,
    /// Functions by name.
    pub functions: Vec<Function>,
    /// Names that nothing declares.
    pub undeclared: Vec<Undeclared>,
    /// Properties of values whose origin is known.
    pub accesses: Vec<Access>,
    /// Constructs that Rhai evaluates wrongly.
    pub traps: Vec<Trap>,
    /// Variables of the top level; with `true` those declared by `const`.
    pub globals: Vec<(String, bool)>,
    /// Values that the script exports as a module.
    pub exports: Vec<String>,
    /// Uses of names in modules that are not calls: module, name, place.
    pub qualified: Vec<(String, String, Position)>,
    /// Kinds that the errors are compared with that the script catches.
    pub kinds: Vec<(String, Position)>,
    /// Kinds of errors that the script makes itself: `#{ kind: "…" }`.
    pub own_kinds: BTreeSet<String>,
    /// Functions of the script that are named as values, each with the `fn` that names it.
    pub mentioned: Vec<(String, Option<String>)>,
    /// Keys of map literals and properties that are assigned to: what may hold a closure to be called.
    pub keys: BTreeSet<String>,
}

/// Returns everything that is known of a script.
pub fn outline(ast: &AST) -> Outline {
    Walk::over(ast)
}

/// Returns a script's calls in the order of the text.
pub fn calls(ast: &AST) -> Vec<Call> {
    outline(ast).calls
}

impl Arg {
    /// Returns the value where all of it is literal.
    pub fn literal(&self) -> Option<Value> {
        match &self.shape {
            Shape::Literal(value) => Some(value.clone()),
            Shape::Array(items) => items.iter().map(Arg::literal).collect::<Option<Vec<_>>>().map(Value::Array),
            Shape::Map(entries) => {
                let entries = entries.iter().map(|entry| Some((entry.key.clone(), entry.value.literal()?)));
                entries.collect::<Option<serde_json::Map<_, _>>>().map(Value::Object)
            }
            _ => None,
        }
    }

    /// Returns the string where it is a literal.
    pub fn text(&self) -> Option<&str> {
        match &self.shape {
            Shape::Literal(Value::String(text)) => Some(text),
            _ => None,
        }
    }
}
