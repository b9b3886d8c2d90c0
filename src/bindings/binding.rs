//! The record that each host function has, and how functions and records are put together.

use rhai::{Engine, FuncRegistration, RhaiNativeFunc, Variant};

/// Everything there is to say about one host function: `doc`, `check`, completion, definitions, RBAC and the
/// reference page are derived from it.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Name in scripts: `<kind>_<verb>` or a flow word.
    pub name: &'static str,
    /// What it does; the first sentence stands alone in lists.
    pub doc: &'static str,
    /// Parameters in order; the optional ones come last.
    pub params: &'static [Param],
    /// Type of the result, as [`Param::ty`].
    pub returns: &'static str,
    /// Kinds of errors it throws, by name.
    pub errors: &'static [&'static str],
    /// Rights that it needs.
    pub access: &'static [Rule],
    /// A script that runs on the scenario `minecraft` and whose last expression is `true`.
    pub example: &'static str,
}

/// A parameter of a host function.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Name as documentation and messages show it.
    pub name: &'static str,
    /// Script type: `string`, `int`, `bool`, `duration`, `count` (`3` or `"25%"`), `map`, `array`, `closure`, `any`, or
    /// a type of ours (`GameServerSet`, `GameServers`, …); alternatives are joined by ` | `.
    pub ty: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Whether it may be left out.
    pub optional: bool,
    /// Keys of a map; an unknown one is an error.
    pub keys: &'static [Key],
    /// Words that a string may be; any where empty.
    pub one_of: &'static [&'static str],
    /// Whether `not_<key>` is a key too.
    pub negatable: bool,
}

/// A key of a map parameter.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Name in the map.
    pub name: &'static str,
    /// Script type, as [`Param::ty`].
    pub ty: &'static str,
    /// What it means, with its default.
    pub doc: &'static str,
    /// Words that a string may be; any where empty.
    pub one_of: &'static [&'static str],
}

/// A right on the API server: an RBAC rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// API group; empty for core.
    pub group: &'static str,
    /// Plural, with its subresource where there is one: `gameservers`, `pods/log`. With [`Rule::argument`] empty.
    pub resource: &'static str,
    /// Kubernetes verbs.
    pub verbs: &'static [&'static str],
    /// Index of the argument that names the kind, where the caller chooses it (`kube_get`).
    pub argument: Option<usize>,
    /// Whether the function works without it, with a warning.
    pub comfort: bool,
}

/// Returns a required parameter.
pub const fn param(name: &'static str, ty: &'static str, doc: &'static str) -> Param {
    Param { name, ty, doc, optional: false, keys: &[], one_of: &[], negatable: false }
}

impl Param {
    /// Makes the parameter optional.
    pub const fn optional(mut self) -> Param {
        self.optional = true;
        self
    }

    /// Lists the keys of a map parameter.
    pub const fn keys(mut self, keys: &'static [Key]) -> Param {
        self.keys = keys;
        self
    }

    /// Lists the keys of a map parameter, each of which `not_` negates.
    pub const fn clauses(mut self, keys: &'static [Key]) -> Param {
        self.keys = keys;
        self.negatable = true;
        self
    }

    /// Lists the words that a string may be.
    pub const fn one_of(mut self, words: &'static [&'static str]) -> Param {
        self.one_of = words;
        self
    }
}

impl Key {
    /// Lists the words that a string may be.
    pub const fn one_of(mut self, words: &'static [&'static str]) -> Key {
        self.one_of = words;
        self
    }
}

/// Returns a key of a map parameter.
pub const fn key(name: &'static str, ty: &'static str, doc: &'static str) -> Key {
    Key { name, ty, doc, one_of: &[] }
}

/// Returns a right that the function cannot do without.
pub const fn rule(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Rule {
    Rule { group, resource, verbs, argument: None, comfort: false }
}

/// Returns a right on the kind that the argument at `index` names.
pub const fn rule_of_argument(index: usize, verbs: &'static [&'static str]) -> Rule {
    Rule { group: "", resource: "", verbs, argument: Some(index), comfort: false }
}

impl Rule {
    /// Makes it a right that only adds comfort.
    pub const fn comfort(mut self) -> Rule {
        self.comfort = true;
        self
    }
}

impl Binding {
    /// Returns how it is called: `gs_set_ops_state(rooms, ops_state[, opts])`.
    pub fn signature(&self) -> String {
        let mut text = format!("{}(", self.name);
        let mut open = 0;
        for (index, param) in self.params.iter().enumerate() {
            if param.optional {
                text.push('[');
                open += 1;
            }
            if index > 0 {
                text.push_str(", ");
            }
            text.push_str(param.name);
        }
        text.push_str(&"]".repeat(open));
        text.push(')');
        text
    }

    /// Returns how many arguments it takes: from, to.
    pub fn arity(&self) -> (usize, usize) {
        (self.params.iter().filter(|param| !param.optional).count(), self.params.len())
    }
}

/// Makes one function known to an engine.
type Register = Box<dyn Fn(&mut Engine) + Send + Sync>;

/// A family of functions: records and implementations side by side.
pub struct Bindings {
    /// Short name: `gs`, `gss`, `pods`, `flow`.
    pub family: &'static str,
    /// What the family is for, one sentence.
    pub doc: &'static str,
    records: Vec<&'static Binding>,
    register: Vec<Register>,
}

impl Bindings {
    /// Returns an empty family.
    pub fn new(family: &'static str, doc: &'static str) -> Bindings {
        Bindings { family, doc, records: Vec::new(), register: Vec::new() }
    }

    /// Adds a function under its record. A function with optional parameters is bound once for each arity.
    pub fn bind<A, const N: usize, const X: bool, R, const F: bool, FUNC>(
        mut self,
        record: &'static Binding,
        function: FUNC,
    ) -> Bindings
    where
        A: 'static,
        R: Variant + Clone,
        FUNC: RhaiNativeFunc<A, N, X, R, F> + Send + Sync + Clone + 'static,
    {
        let (least, most) = record.arity();
        assert!(
            (least..=most).contains(&N),
            "`{}` is bound with {N} parameters, its record says otherwise",
            record.name
        );
        if !self.records.iter().any(|known| known.name == record.name) {
            self.records.push(record);
        }
        self.register.push(Box::new(move |engine| {
            // Volatile: the result depends on the cluster, never only on the arguments.
            FuncRegistration::new(record.name).with_volatility(true).register_into_engine(engine, function.clone());
        }));
        self
    }

    /// Returns the records of the family, in the order they were bound.
    pub fn records(&self) -> &[&'static Binding] {
        &self.records
    }

    /// Makes the functions known to an engine.
    pub fn register(&self, engine: &mut Engine) {
        for register in &self.register {
            register(engine);
        }
    }
}

impl std::fmt::Debug for Bindings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bindings").field("family", &self.family).field("records", &self.records.len()).finish()
    }
}
