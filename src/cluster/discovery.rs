//! Which kinds there are, and which of them a word means: `pods`, `po`, `Pod`, `deployments.apps`, `apps/v1/Deployment`.

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use super::client::Cluster;
use super::kind::{self, Kind};
use crate::diagnostic::{self, Diagnostic};

/// What servers since 1.26 answer with two lists of everything; older ones give the plain list of groups.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// Requests for the resources of single groups that are open at once.
const AT_ONCE: usize = 8;

/// Words of kubectl for kinds that are known without asking.
const SHORT: &[(&str, &Kind)] = &[
    ("gss", &kind::GAME_SERVER_SET),
    ("gs", &kind::GAME_SERVER),
    ("asts", &kind::STATEFUL_SET),
    ("po", &kind::POD),
    ("ev", &kind::EVENT),
    ("cm", &kind::CONFIG_MAP),
    ("svc", &kind::SERVICE),
    ("ns", &kind::NAMESPACE),
    ("no", &kind::NODE),
    ("deploy", &kind::DEPLOYMENT),
    ("so", &kind::SCALED_OBJECT),
    ("hpa", &kind::HORIZONTAL_POD_AUTOSCALER),
    ("crd", &kind::CUSTOM_RESOURCE_DEFINITION),
];

/// A kind that the server has, and its other names.
#[derive(Clone, Debug)]
pub(super) struct Found {
    kind: Kind,
    singular: String,
    short: Vec<String>,
}

impl Found {
    /// Whether a word without a group means this kind.
    fn named(&self, word: &str) -> bool {
        let same = |name: &str| name.eq_ignore_ascii_case(word);
        same(&self.kind.plural)
            || same(&self.kind.kind)
            || (!self.singular.is_empty() && same(&self.singular))
            || self.short.iter().any(|short| same(short))
    }
}

/// A word taken apart: the name, and the group and version where they are given.
struct Word<'a> {
    name: &'a str,
    group: Option<&'a str>,
    version: Option<&'a str>,
}

fn take_apart(word: &str) -> Word<'_> {
    if let Some((api_version, name)) = word.rsplit_once('/') {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        return Word { name, group: Some(group), version: Some(version) };
    }
    match word.split_once('.') {
        Some((name, group)) => match group.split_once('.') {
            // `deployments.v1.apps`
            Some((version, group)) if is_version(version) => Word { name, group: Some(group), version: Some(version) },
            _ => Word { name, group: Some(group), version: None },
        },
        None => Word { name: word, group: None, version: None },
    }
}

fn is_version(text: &str) -> bool {
    text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

impl Word<'_> {
    fn meets(&self, found: &Found) -> bool {
        found.named(self.name)
            && self.group.is_none_or(|group| found.kind.group == group)
            && self.version.is_none_or(|version| found.kind.version == version)
    }
}

/// Returns the kind that a word means without asking the server.
fn known(word: &Word<'_>) -> Option<Kind> {
    let short = SHORT.iter().filter(|(name, _)| name.eq_ignore_ascii_case(word.name)).map(|(_, kind)| *kind);
    let named = kind::ALL.iter().filter(|kind| {
        // Without its group, the name means Kubernetes' own StatefulSet.
        let twice = **kind == kind::STATEFUL_SET && word.group.is_none();
        !twice && (kind.plural.eq_ignore_ascii_case(word.name) || kind.kind.eq_ignore_ascii_case(word.name))
    });
    short
        .chain(named)
        .find(|kind| {
            word.group.is_none_or(|group| kind.group == group)
                && word.version.is_none_or(|version| kind.version == version)
        })
        .cloned()
}

/// Returns the kind that a word means, where it is one of those that OKG's work meets; no server is asked.
pub fn known_kind(word: &str) -> Option<Kind> {
    known(&take_apart(word))
}

impl Cluster {
    /// Returns the kind that a word means. Kinds that OKG's work meets are known; for any other the server is asked
    /// once.
    ///
    /// Words: a plural, a singular, a kind or one of its short names; `plural.group`; `group/version/Kind`. Fails with
    /// `not-installed` when the server has no such kind.
    pub async fn resolve(&self, word: &str) -> Result<Kind, Diagnostic> {
        let parts = take_apart(word);
        if let Some(kind) = known(&parts) {
            return Ok(kind);
        }
        let all = self.discovered().await?;
        match all.iter().find(|found| parts.meets(found)) {
            Some(found) => Ok(found.kind.clone()),
            None => Err(self.origin().place(unknown(word, &parts, all))),
        }
    }

    /// Reads which kinds the server has, its own before those of extensions.
    pub(super) async fn discover(&self) -> Result<Vec<Found>, Diagnostic> {
        let mut all = Vec::new();
        for root in ["/api", "/apis"] {
            let answer = self.raw_as(root, Some(AGGREGATED)).await?;
            match answer["kind"].as_str() {
                Some("APIGroupDiscoveryList") => aggregated(&answer, &mut all),
                _ => self.group_by_group(root, &answer, &mut all).await?,
            }
        }
        Ok(all)
    }

    async fn group_by_group(&self, root: &str, answer: &Value, all: &mut Vec<Found>) -> Result<(), Diagnostic> {
        let core = list(&answer["versions"]).iter().filter_map(Value::as_str).map(str::to_owned);
        let groups = list(&answer["groups"]).iter();
        let groups = groups.filter_map(|group| group["preferredVersion"]["groupVersion"].as_str().map(str::to_owned));
        let paths: Vec<String> = core.chain(groups).collect();
        let reads = paths.into_iter().map(|path| async move {
            let resources = self.raw_as(&format!("{root}/{path}"), None).await?;
            Ok::<_, Diagnostic>((path, resources))
        });
        let answers: Vec<(String, Value)> = futures::stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        for (path, answer) in answers {
            let (group, version) = path.split_once('/').unwrap_or(("", &path));
            for resource in list(&answer["resources"]) {
                let plural = text(&resource["name"]);
                if !plural.contains('/') {
                    let namespaced = resource["namespaced"] == true;
                    all.push(found(
                        [group, version, &plural, &text(&resource["kind"])],
                        namespaced,
                        &resource["singularName"],
                        resource,
                    ));
                }
            }
        }
        Ok(())
    }
}

fn aggregated(answer: &Value, all: &mut Vec<Found>) {
    for group in list(&answer["items"]) {
        let name = text(&group["metadata"]["name"]);
        for version in list(&group["versions"]) {
            for resource in list(&version["resources"]) {
                let parts = [
                    name.as_str(),
                    &text(&version["version"]),
                    &text(&resource["resource"]),
                    &text(&resource["responseKind"]["kind"]),
                ];
                all.push(found(parts, resource["scope"] == "Namespaced", &resource["singularResource"], resource));
            }
        }
    }
}

fn found(parts: [&str; 4], namespaced: bool, singular: &Value, resource: &Value) -> Found {
    let [group, version, plural, kind] = parts.map(|part| part.to_owned().into());
    Found {
        kind: Kind { group, version, plural, kind, namespaced },
        singular: text(singular),
        short: list(&resource["shortNames"]).iter().map(text).collect(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn unknown(word: &str, parts: &Word<'_>, all: &[Found]) -> Diagnostic {
    let diagnostic = Diagnostic::new(diagnostic::Kind::NotInstalled, format!("this cluster has no kind `{word}`"));
    let names = all.iter().flat_map(|found| [&*found.kind.plural, &*found.kind.kind]);
    match diagnostic::closest(parts.name, names) {
        Some(name) => diagnostic.help(format!("did you mean `{name}`? `kubectl api-resources` lists what there is")),
        None => diagnostic.help("`kubectl api-resources` lists what there is"),
    }
}
