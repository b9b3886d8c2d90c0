//! Rights, asked for before the first write: a release that may not mark rooms should not open new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::bindings;
use crate::bindings::host::Host;
use crate::bindings::stage::Event;
use crate::cluster::{Access, Verdict, known_kind};
use crate::diagnostic::{Diagnostic, Kind};
use crate::reference::{self, Needs};
use crate::script::Script;
use crate::session::{Desk, Session};

type Rules = BTreeMap<(String, String), BTreeSet<String>>;

/// Asks the API server whether the run has the rights that its script needs; nothing is asked for a script that needs
/// none. A right that only adds comfort is missed with a warning.
pub fn check(session: &Session, script: &Script, params: &BTreeMap<String, Value>) -> Result<(), Diagnostic> {
    let needs = needs(session.desk(), script);
    if needs.rules.is_empty() {
        return Ok(());
    }
    let host = session.host();
    let set = params.get("gss").and_then(Value::as_str).unwrap_or_default();
    let missing = match missing(host, session, &needs.rules, set) {
        // Who may not even ask is told so, and finds out as the script goes.
        Err(error) if error.kind == Kind::Forbidden => {
            host.show(Event::Warning { text: format!("rights could not be asked for beforehand: {error}") });
            return Ok(());
        }
        verdicts => verdicts?,
    };
    if !missing.is_empty() {
        return Err(refused(script, host, &missing));
    }
    let missed = self::missing(host, session, &needs.comfort, set)?;
    for verdict in missed {
        let consequence = match verdict.access.resource.as_str() {
            "leases" => "nothing keeps a second release out",
            "scaledobjects" | "horizontalpodautoscalers" => "who lowers replicas may not be seen",
            _ => "some comfort is missing",
        };
        host.show(Event::Warning { text: format!("not allowed to {}: {consequence}", words(&verdict)) });
    }
    Ok(())
}

/// Returns the rights that a script needs.
pub fn needs(desk: &Desk, script: &Script) -> Needs {
    reference::needs(script, &desk.engine, &desk.sources, &bindings::ALL, &target)
}

/// Returns group and plural of the kind that a word in a script means, where it is known without a server.
fn target(word: &str) -> Option<(String, String)> {
    known_kind(word).map(|kind| (kind.group.into_owned(), kind.plural.into_owned()))
}

fn missing(host: &Arc<Host>, session: &Session, rules: &Rules, set: &str) -> Result<Vec<Verdict>, Diagnostic> {
    let told = |error| session.told_outside(error);
    let cluster = host.cluster().map_err(told)?;
    let namespace = cluster.namespace().to_owned();
    let mut questions = Vec::new();
    for ((group, resource), verbs) in rules {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        for verb in verbs {
            // A Role may name the set; lists and watches cannot be limited so.
            let named = resource == "gameserversets" && matches!(verb.as_str(), "get" | "patch" | "update");
            questions.push(Access {
                verb: verb.clone(),
                group: group.clone(),
                resource: resource.to_owned(),
                subresource: subresource.to_owned(),
                namespace: namespace.clone(),
                name: if named { set.to_owned() } else { String::new() },
            });
        }
    }
    let verdicts = host.call(async move { cluster.allowed(&questions).await }).map_err(told)?;
    Ok(verdicts.into_iter().filter(|verdict| !verdict.allowed).collect())
}

fn words(verdict: &Verdict) -> String {
    let access = &verdict.access;
    let mut resource = access.resource.clone();
    if !access.group.is_empty() {
        resource = format!("{resource}.{}", access.group);
    }
    if !access.subresource.is_empty() {
        resource = format!("{resource}/{}", access.subresource);
    }
    format!("{} {resource}", access.verb)
}

fn refused(script: &Script, host: &Host, missing: &[Verdict]) -> Diagnostic {
    let cluster = host.known_cluster();
    let namespace = cluster.map(|cluster| cluster.namespace().to_owned()).unwrap_or_default();
    let what = format!("{} needs rights in namespace `{namespace}` that this user does not have", script.name);
    let mut diagnostic = Diagnostic::new(Kind::Forbidden, what);
    for verdict in missing {
        let reason = if verdict.reason.is_empty() { String::new() } else { format!(" ({})", verdict.reason) };
        diagnostic = diagnostic.why(format!("not allowed to {}{reason}", words(verdict)));
    }
    diagnostic.context = cluster.map(|cluster| format!("context {}", cluster.context()));
    diagnostic
        .help(format!("`okgscript rbac {}` prints the Role that it needs", script.name))
        .done("nothing was changed")
}
