//! The faults of a scenario: from their words to what the server does.

use std::time::Duration;

use serde_json::Value;

use super::fields::{Document, Fields};
use crate::diagnostic::{Diagnostic, closest};
use crate::sandbox::faults::{CONTROLLERS, Fault, GROUPS};
use crate::sandbox::kinds::{self, Kind};
use crate::sandbox::{builtin_crds, crd};

/// A sort of fault: its word, the status that it answers, the verbs that it meets, and fields of its own.
struct Sort {
    word: &'static str,
    status: Option<u16>,
    verbs: &'static [&'static str],
    own: &'static [&'static str],
}

const READS: [&str; 3] = ["get", "list", "watch"];
const WRITES: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];
const ALL: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

const fn answer(word: &'static str, status: u16, verbs: &'static [&'static str]) -> Sort {
    Sort { word, status: Some(status), verbs, own: &["message", "retryAfter", "applied"] }
}

const fn other(word: &'static str, verbs: &'static [&'static str], own: &'static [&'static str]) -> Sort {
    Sort { word, status: None, verbs, own }
}

const SORTS: &[Sort] = &[
    answer("forbidden", 403, ALL),
    answer("conflict", 409, WRITES),
    answer("invalid", 422, WRITES),
    answer("tooManyRequests", 429, ALL),
    answer("serverError", 500, ALL),
    answer("unavailable", 503, ALL),
    answer("timeout", 504, ALL),
    other("reset", ALL, &["applied"]),
    other("slow", ALL, &["delay", "applied"]),
    other("staleList", &["list"], &["lag"]),
    other("watchEnds", &["watch"], &["after"]),
    other("watchSilent", &["watch"], &["after"]),
    other("watchGone", &["watch"], &[]),
    other("labelLag", &[], &["lag"]),
    other("down", &[], &["controller"]),
];

const WHEN: &[&str] = &["kind", "from", "until"];
const HOW_OFTEN: &[&str] = &["probability", "nth", "times"];
const WHOM: &[&str] = &["verb", "resource", "client"];
const WHERE: &[&str] = &["namespace", "name"];

/// Reads the list.
pub fn read(document: Document<'_>, fields: &Fields<'_>) -> Result<Vec<Fault>, Diagnostic> {
    let list = fields.list("faults")?;
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let known = Known::new();
    let one = |(path, value): (String, &Value)| {
        // The sort says which fields there may be.
        let any: Vec<&str> = SORTS.iter().flat_map(|sort| sort.own).copied().chain(everywhere()).collect();
        let fields = Fields::open(document, &path, value, &any)?;
        fields.needed("kind")?;
        let words: Vec<&str> = SORTS.iter().map(|sort| sort.word).collect();
        let word = fields.one_of("kind", &words)?;
        let Some(sort) = SORTS.iter().find(|sort| Some(sort.word) == word) else { return Ok(Fault::default()) };
        let about = if sort.word == "down" { WHEN.to_vec() } else { [WHEN, HOW_OFTEN, WHERE].concat() };
        let about = if sort.verbs.is_empty() { about } else { [&about, WHOM].concat() };
        let allowed = [&about, sort.own].concat();
        if let Some(stranger) = fields.keys().find(|key| !allowed.contains(&key.as_str())) {
            let fault = fields.fault(stranger, &format!("means nothing to `{}`", sort.word));
            return Err(fault.help(format!("allowed here: {}", allowed.join(", "))));
        }
        fault(sort, &fields, &known)
    };
    list.into_iter().map(one).collect()
}

fn everywhere() -> impl Iterator<Item = &'static str> {
    [WHEN, HOW_OFTEN, WHOM, WHERE].into_iter().flatten().copied()
}

fn fault(sort: &Sort, fields: &Fields<'_>, known: &Known) -> Result<Fault, Diagnostic> {
    let needed = |key: &str| fields.duration(key)?.ok_or_else(|| fields.fault(key, "is missing"));
    let after = || fields.duration("after").map(Option::unwrap_or_default);
    let own = |word: &str| sort.word == word;
    let applied = fields.truth("applied")?.unwrap_or(false);
    let fault = Fault {
        verbs: verbs(sort, fields, applied)?,
        resources: resources(fields, known)?,
        namespace: fields.text("namespace")?.map(str::to_owned),
        name: fields.text("name")?.map(str::to_owned),
        clients: fields.words("client")?.into_iter().map(|(_, client)| client).collect(),
        from: fields.duration("from")?,
        until: fields.duration("until")?,
        nth: fields.counts("nth")?,
        probability: fields.number("probability", 0.0, 1.0)?,
        times: Some(fields.counts("times")?.first().copied().unwrap_or(0)),
        status: sort.status,
        message: fields.text("message")?.map(str::to_owned),
        retry_after: fields.duration("retryAfter")?.map(whole_seconds),
        after_applying: applied,
        reset: own("reset"),
        delay: own("slow").then(|| needed("delay")).transpose()?,
        stale: own("staleList").then(|| needed("lag")).transpose()?,
        watch_ends: own("watchEnds").then(after).transpose()?,
        watch_silent: own("watchSilent").then(after).transpose()?,
        watch_gone: own("watchGone"),
        label_lag: own("labelLag").then(|| needed("lag")).transpose()?,
        down: if own("down") { controllers(fields)? } else { Vec::new() },
        ..Fault::default()
    };
    if fields.get("times").is_some_and(Value::is_array) {
        return Err(fields.fault("times", "is a list, not a whole number from 1"));
    }
    if let (Some(from), Some(until)) = (fault.from, fault.until)
        && from >= until
    {
        return Err(fields.fault("until", "is not after `from`").help("both count from the cluster's start"));
    }
    Ok(fault)
}

/// A header knows whole seconds only.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn verbs(sort: &Sort, fields: &Fields<'_>, applied: bool) -> Result<Vec<String>, Diagnostic> {
    let given = fields.words("verb")?;
    let may = if applied { WRITES } else { sort.verbs };
    for (key, verb) in &given {
        fields.check(key, verb, ALL)?;
        if !may.contains(&verb.as_str()) {
            let why = if applied && READS.contains(&verb.as_str()) {
                format!("is `{verb}`: only a write can be done although it fails")
            } else {
                format!("is `{verb}`, which `{}` does not meet", sort.word)
            };
            return Err(fields.fault(key, &why).help(format!("allowed here: {}", may.join(", "))));
        }
    }
    let given: Vec<String> = given.into_iter().map(|(_, verb)| verb).collect();
    let all = || if may.len() == ALL.len() { Vec::new() } else { may.iter().map(|verb| (*verb).to_owned()).collect() };
    Ok(if given.is_empty() { all() } else { given })
}

fn controllers(fields: &Fields<'_>) -> Result<Vec<String>, Diagnostic> {
    let given = fields.words("controller")?;
    if given.is_empty() {
        return Err(fields.fault("controller", "is missing").help(format!("one of: {}", stoppable().join(", "))));
    }
    for (key, word) in &given {
        fields.check(key, word, &stoppable())?;
    }
    Ok(given.into_iter().map(|(_, word)| word).collect())
}

/// What can be down.
fn stoppable() -> Vec<&'static str> {
    let groups = GROUPS.iter().map(|(group, _)| *group).filter(|group| ["okg", "kruise"].contains(group));
    groups.chain(CONTROLLERS.iter().map(|(word, _)| *word)).collect()
}

/// The kinds that a resource can name.
struct Known(Vec<Kind>);

impl Known {
    fn new() -> Known {
        let custom = builtin_crds::definitions().iter().map(crd::kind);
        Known(kinds::built_in().into_iter().chain(custom).collect())
    }

    /// Returns the plural of a word for a kind, as it stands in paths; `None` for an unknown one.
    fn plural(&self, word: &str) -> Option<String> {
        let exact = self.0.iter().find(|kind| &*kind.key == word || kind.plural == word);
        let found =
            exact.or_else(|| self.0.iter().find(|kind| kind.singular == word || kind.short.iter().any(|s| s == word)));
        found.map(|kind| if &*kind.key == word { word.to_owned() } else { kind.plural.clone() })
    }
}

fn resources(fields: &Fields<'_>, known: &Known) -> Result<Vec<String>, Diagnostic> {
    let one = |(key, word): (String, String)| {
        let (resource, subresource) = word.split_once('/').map_or((word.as_str(), None), |(r, s)| (r, Some(s)));
        // Whoever declares a kind by a CustomResourceDefinition writes its whole name.
        if let Some(plural) = known.plural(resource).or_else(|| resource.contains('.').then(|| resource.to_owned())) {
            return Ok(subresource.map_or_else(|| plural.clone(), |subresource| format!("{plural}/{subresource}")));
        }
        let mut fault = fields.fault(&key, &format!("is `{word}`, no kind of the embedded cluster"));
        let words = known.0.iter().flat_map(|kind| [kind.plural.as_str(), kind.singular.as_str()]);
        if let Some(near) = closest(resource, words) {
            fault = fault.help(format!("did you mean `{near}`?"));
        }
        Err(fault.help("write it as in a path: pods, gameservers, pods/exec, statefulsets.apps.kruise.io"))
    };
    fields.words("resource")?.into_iter().map(one).collect()
}
