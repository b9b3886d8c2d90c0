//! The rights that a script needs, as an RBAC Role.

use std::collections::{BTreeMap, BTreeSet};

use crate::bindings::binding::{Binding, Bindings};
use crate::script::calls::{Call, Outline, outline};
use crate::script::{Engine, Script, Sources, find_module};

/// What a script needs: rules by group and resource, and what cannot be known before it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Verbs by group and resource.
    pub rules: BTreeMap<(String, String), BTreeSet<String>>,
    /// The same, for rights that only add comfort.
    pub comfort: BTreeMap<(String, String), BTreeSet<String>>,
    /// Calls whose kind is chosen when the script runs, as they are written in messages.
    pub unknown: Vec<String>,
}

/// Returns what a script needs: the union of the records of every call that it can reach, through modules too.
///
/// `resolve` turns the literal name of a kind, as `kube_get` takes it, into group and plural.
pub fn needs(
    script: &Script,
    engine: &Engine,
    sources: &Sources,
    families: &[Bindings],
    resolve: &dyn Fn(&str) -> Option<(String, String)>,
) -> Needs {
    let records = families.iter().flat_map(|family| family.records().iter().map(|record| (record.name, *record)));
    let mut reach = Reach {
        engine,
        sources,
        records: records.collect(),
        resolve,
        needs: Needs::default(),
        outlines: BTreeMap::new(),
        done: BTreeSet::new(),
    };
    reach.outlines.insert(script.name.clone(), outline(&script.ast));
    reach.within(&script.name, None);
    reach.needs
}

struct Reach<'a> {
    engine: &'a Engine,
    sources: &'a Sources,
    records: BTreeMap<&'static str, &'static Binding>,
    resolve: &'a dyn Fn(&str) -> Option<(String, String)>,
    needs: Needs,
    outlines: BTreeMap<String, Outline>,
    done: BTreeSet<(String, Option<String>)>,
}

impl Reach<'_> {
    /// Adds what the calls of a file's own statements or of one of its functions need.
    fn within(&mut self, file: &str, function: Option<&str>) {
        if !self.done.insert((file.to_owned(), function.map(str::to_owned))) {
            return;
        }
        let Some(outline) = self.outlines.get(file).cloned() else { return };
        // What a module does when it is imported counts too.
        let modules = self.modules(file, &outline);
        modules.values().for_each(|module| self.within(module, None));
        for (name, by) in &outline.mentioned {
            if by.as_deref() == function && outline.functions.iter().any(|known| known.name == *name) {
                self.within(file, Some(name));
            }
        }
        for call in outline.calls.iter().filter(|call| call.within.as_deref() == function) {
            let own = outline.functions.iter().any(|known| known.name == call.name);
            match call.namespace.as_slice() {
                [] if own => self.within(file, Some(&call.name)),
                [] => self.call(call),
                [module] => {
                    if let Some(module) = modules.get(module) {
                        self.within(module, Some(&call.name));
                    }
                }
                _ => {}
            }
        }
    }

    fn modules(&mut self, file: &str, outline: &Outline) -> BTreeMap<String, String> {
        let mut modules = BTreeMap::new();
        for import in &outline.imports {
            let Some(found) = import.path.as_deref().and_then(|path| find_module(self.sources, file, path)) else {
                continue;
            };
            self.sources.add(&found.name, &found.text, found.embedded);
            if !self.outlines.contains_key(&found.name)
                && let Ok(ast) = self.engine.compile(&found.text)
            {
                self.outlines.insert(found.name.clone(), crate::script::calls::outline(&ast));
            }
            modules.insert(import.alias.clone(), found.name);
        }
        modules
    }

    fn call(&mut self, call: &Call) {
        let Some(record) = self.records.get(call.name.as_str()) else { return };
        for rule in record.access {
            let target = match rule.argument {
                None => Some((rule.group.to_owned(), rule.resource.to_owned())),
                Some(index) => {
                    let index = index.checked_sub(usize::from(call.method));
                    let kind = index.and_then(|index| call.args.get(index)).and_then(|arg| arg.text());
                    kind.and_then(self.resolve)
                }
            };
            let Some(target) = target else {
                let line = call.position.line().unwrap_or(0);
                let note = format!("{} in line {line}: {}", record.signature(), rule.verbs.join(", "));
                if !self.needs.unknown.contains(&note) {
                    self.needs.unknown.push(note);
                }
                continue;
            };
            let rules = if rule.comfort { &mut self.needs.comfort } else { &mut self.needs.rules };
            rules.entry(target).or_default().extend(rule.verbs.iter().map(|verb| (*verb).to_owned()));
        }
    }
}

/// Returns a Role with what a script needs, as YAML. Rights that only add comfort are included and marked.
pub fn role(name: &str, namespace: Option<&str>, needs: &Needs) -> String {
    let mut text = String::from("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n");
    text.push_str(&format!("  name: {name}\n"));
    if let Some(namespace) = namespace {
        text.push_str(&format!("  namespace: {namespace}\n"));
    }
    let comfort: BTreeMap<_, BTreeSet<String>> = needs
        .comfort
        .iter()
        .map(|(target, verbs)| {
            let needed = needs.rules.get(target).cloned().unwrap_or_default();
            (target.clone(), verbs.difference(&needed).cloned().collect())
        })
        .filter(|(_, verbs): &(_, BTreeSet<String>)| !verbs.is_empty())
        .collect();
    text.push_str(if needs.rules.is_empty() && comfort.is_empty() { "rules: []\n" } else { "rules:\n" });
    for ((group, resource), verbs) in &needs.rules {
        text.push_str(&rule(group, resource, verbs));
    }
    for ((group, resource), verbs) in &comfort {
        text.push_str("  # Works without it, with a warning.\n");
        text.push_str(&rule(group, resource, verbs));
    }
    for note in &needs.unknown {
        text.push_str(&format!("  # The kind is chosen when the script runs; add a rule for {note}\n"));
    }
    text
}

fn rule(group: &str, resource: &str, verbs: &BTreeSet<String>) -> String {
    let verbs: Vec<String> = ordered(verbs).iter().map(|verb| format!("\"{verb}\"")).collect();
    format!("  - apiGroups: [\"{group}\"]\n    resources: [\"{resource}\"]\n    verbs: [{}]\n", verbs.join(", "))
}

/// Returns verbs in the order that people write them.
fn ordered(verbs: &BTreeSet<String>) -> Vec<&str> {
    const ORDER: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
    let known = ORDER.iter().copied().filter(|verb| verbs.contains(*verb));
    let others = verbs.iter().map(String::as_str).filter(|verb| !ORDER.contains(verb));
    known.chain(others).collect()
}
