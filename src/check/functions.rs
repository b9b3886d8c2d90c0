//! Rule: every call means a function that exists, with as many arguments as it takes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checker, File, label};
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::script::calls::{Call, Function, Outline, Shape};

/// What the language knows beside the engine's functions: name, numbers of parameters.
pub(super) fn of_the_language() -> BTreeMap<String, BTreeSet<usize>> {
    let known = [("print", 0..2), ("debug", 0..2), ("type_of", 1..2), ("Fn", 1..2), ("is_shared", 1..2)];
    let more = [("is_def_var", 1..2), ("is_def_fn", 2..3), ("call", 1..20), ("curry", 1..20), ("exit", 0..2)];
    known.into_iter().chain(more).map(|(name, params)| (name.to_owned(), params.collect())).collect()
}

pub(super) fn check(checker: &Checker, file: &File, found: &mut Vec<Diagnostic>) {
    for call in &file.outline.calls {
        let wrong = match (call.namespace.as_slice(), call.method) {
            ([], false) => plain(checker, file, call),
            ([], true) => method(checker, file, call),
            ([module], _) => qualified(checker, file, call, module),
            _ => None,
        };
        found.extend(wrong);
        found.extend(pointer(checker, file, call));
    }
    for (module, name, position) in &file.outline.qualified {
        let Some(Some(outline)) = file.modules.get(module) else { continue };
        if outline.exports.contains(name) {
            continue;
        }
        let what = format!("module `{module}` exports no value `{name}`");
        let mut wrong = checker.at(file.name, *position, Kind::UnknownVariable, what);
        if outline.functions.iter().any(|function| function.name == *name) {
            wrong = wrong
                .help(format!("a function of a module is no value; wrap it in a closure: `|x| {module}::{name}(x)`"));
        } else if let Some(meant) = closest(name, outline.exports.iter().map(String::as_str)) {
            wrong = label(wrong, format!("did you mean `{module}::{meant}`?"));
        }
        found.push(wrong);
    }
}

/// Returns how a function of a script is called.
fn signature(function: &Function) -> String {
    format!("{}({})", function.name, function.params.join(", "))
}

fn signatures<'f>(functions: impl Iterator<Item = &'f Function>) -> String {
    functions.map(|function| format!("`{}`", signature(function))).collect::<Vec<_>>().join(" or ")
}

fn plain(checker: &Checker, file: &File, call: &Call) -> Option<Diagnostic> {
    let (name, count) = (call.name.as_str(), call.args.len());
    let mut own = file.outline.functions.iter().filter(|function| function.name == name).peekable();
    if own.peek().is_some() {
        let own: Vec<&Function> = own.collect();
        if own.iter().any(|function| function.params.len() == count) || checker.takes(name, count) {
            return None;
        }
        return Some(wrong_count(checker, file, call, &signatures(own.into_iter())));
    }
    if let Some(record) = checker.records.get(name) {
        let (least, most) = record.arity();
        return (!(least..=most).contains(&count))
            .then(|| wrong_count(checker, file, call, &format!("`{}`", record.signature())));
    }
    if checker.takes(name, count) {
        return None;
    }
    if let Some(counts) = checker.functions.get(name) {
        let counts: Vec<String> = counts.iter().map(ToString::to_string).collect();
        return Some(wrong_count(checker, file, call, &format!("it takes {} arguments", counts.join(" or "))));
    }
    // A variable that holds a closure is called by `f.call(…)`.
    let variable = file.outline.globals.iter().any(|(global, _)| global == name);
    let mut wrong = unknown(checker, file, call, &file.outline);
    if variable {
        wrong = wrong.help(format!("`{name}` is a variable; a closure in it is called by `{name}.call(…)`"));
    }
    Some(wrong)
}

fn method(checker: &Checker, file: &File, call: &Call) -> Option<Diagnostic> {
    let (name, count) = (call.name.as_str(), call.args.len() + 1);
    let own: Vec<&Function> = file.outline.functions.iter().filter(|function| function.name == name).collect();
    if checker.takes(name, count) || own.iter().any(|function| [count, count - 1].contains(&function.params.len())) {
        return None;
    }
    if let Some(record) = checker.records.get(name) {
        let (least, most) = record.arity();
        return (!(least..=most).contains(&count))
            .then(|| wrong_count(checker, file, call, &format!("`{}`", record.signature())));
    }
    // A closure in a map is called like a method: `o.run(1)`.
    let loaded = file.modules.values().flatten();
    let unknown_module = file.modules.values().any(Option::is_none);
    if unknown_module || std::iter::once(&file.outline).chain(loaded).any(|outline| outline.keys.contains(name)) {
        return None;
    }
    if let Some(counts) = checker.functions.get(name) {
        let counts: Vec<String> =
            counts.iter().filter(|count| **count > 0).map(|count| (count - 1).to_string()).collect();
        return Some(wrong_count(
            checker,
            file,
            call,
            &format!("as a method it takes {} arguments", counts.join(" or ")),
        ));
    }
    Some(unknown(checker, file, call, &file.outline))
}

fn qualified(checker: &Checker, file: &File, call: &Call, module: &str) -> Option<Diagnostic> {
    let Some(known) = file.modules.get(module) else {
        let what = format!("there is no module `{module}` here");
        let mut wrong = checker.at(file.name, call.position, Kind::UnknownModule, what);
        wrong = match closest(module, file.modules.keys().map(String::as_str)) {
            Some(meant) => wrong.help(format!("did you mean `{meant}::{}`?", call.name)),
            None => wrong.help(format!("import it first: `import \"okg/{module}\" as {module};`")),
        };
        return Some(nothing_sent(wrong));
    };
    let outline = known.as_ref()?;
    let same: Vec<&Function> = outline.functions.iter().filter(|function| function.name == call.name).collect();
    let public: Vec<&Function> = same.iter().copied().filter(|function| !function.private).collect();
    if public.iter().any(|function| function.params.len() == call.args.len()) {
        return None;
    }
    if !public.is_empty() {
        return Some(wrong_count(checker, file, call, &signatures(public.into_iter())));
    }
    // Values of a module may hold closures, but those are not called this way.
    let what = if same.is_empty() {
        format!("module `{module}` has no function `{}`", call.name)
    } else {
        format!("function `{}` of module `{module}` is private", call.name)
    };
    let mut wrong = checker.at(file.name, call.position, Kind::UnknownFunction, what);
    let names = outline.functions.iter().filter(|function| !function.private);
    if let Some(meant) = closest(&call.name, names.clone().map(|function| function.name.as_str())) {
        wrong = label(wrong, format!("did you mean {}?", signatures(names.filter(|function| function.name == meant))));
    }
    Some(nothing_sent(wrong.help(format!("`okgscript doc` shows what `{module}` offers"))))
}

/// `Fn("name")` names a function as a string.
fn pointer(checker: &Checker, file: &File, call: &Call) -> Option<Diagnostic> {
    let [arg] = call.args.as_slice() else { return None };
    let name = arg.text().filter(|_| call.name == "Fn" && call.namespace.is_empty() && !call.method)?;
    let known = checker.functions.contains_key(name) || checker.records.contains_key(name);
    if known || file.outline.functions.iter().any(|function| function.name == name) {
        return None;
    }
    let wrong = checker.at(file.name, arg.position, Kind::UnknownFunction, format!("there is no function `{name}`"));
    Some(nothing_sent(suggest(wrong, checker, name, &file.outline)))
}

fn unknown(checker: &Checker, file: &File, call: &Call, outline: &Outline) -> Diagnostic {
    let what = if call.method { "method" } else { "function" };
    let what = format!("there is no {what} `{}`", call.name);
    let wrong = checker.at(file.name, call.position, Kind::UnknownFunction, what);
    nothing_sent(suggest(wrong, checker, &call.name, outline))
}

fn suggest(wrong: Diagnostic, checker: &Checker, name: &str, outline: &Outline) -> Diagnostic {
    match checker.meant(name, outline) {
        Some(meant) => label(wrong, format!("did you mean `{meant}`?")),
        None => wrong,
    }
    .help(family_help(checker, name))
}

/// Points at the family that a name belongs to.
fn family_help(checker: &Checker, name: &str) -> String {
    let family = name.split('_').next().unwrap_or_default();
    let prefix = format!("{family}_");
    match checker.records.keys().any(|known| known.starts_with(&prefix)) {
        true => format!("`okgscript doc {family}` lists the family"),
        false => "`okgscript doc` lists every function".to_owned(),
    }
}

fn wrong_count(checker: &Checker, file: &File, call: &Call, takes: &str) -> Diagnostic {
    let count = call.args.len();
    let plural = if count == 1 { "argument" } else { "arguments" };
    let what = format!("`{}` is called with {count} {plural}", call.name);
    let mut wrong = label(checker.at(file.name, call.position, Kind::WrongArguments, what), takes.to_owned());
    // The classic: a closure's `||` forgotten.
    if call.args.iter().any(|arg| matches!(arg.shape, Shape::Other)) && takes.contains("closure") {
        wrong = wrong.help("a closure is written `|| …`");
    }
    nothing_sent(wrong)
}

pub(super) fn nothing_sent(diagnostic: Diagnostic) -> Diagnostic {
    diagnostic.done("nothing was sent to the cluster")
}

impl Checker<'_> {
    /// Returns whether the engine has a function of that name and number of parameters.
    pub(super) fn takes(&self, name: &str, count: usize) -> bool {
        self.functions.get(name).is_some_and(|counts| counts.contains(&count))
    }

    /// Returns the call that was probably meant: a signature where one is known.
    pub(super) fn meant(&self, name: &str, outline: &Outline) -> Option<String> {
        let own = outline.functions.iter().map(|function| function.name.as_str());
        let word = |name: &&str| name.starts_with(|c: char| c.is_alphabetic());
        let engine = self.functions.keys().map(String::as_str).filter(word);
        // Ours first: of two names that come equally near, a binding is more likely.
        let meant = closest(name, self.records.keys().copied().chain(own))
            .or_else(|| closest(name, engine.filter(|known| !known.contains('$'))))?;
        let function = outline.functions.iter().find(|function| function.name == meant);
        let record = self.records.get(meant).map(|record| record.signature());
        Some(record.or_else(|| function.map(signature)).unwrap_or_else(|| meant.to_owned()))
    }
}
