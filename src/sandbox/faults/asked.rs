//! Whom a fault meets: what is asked, of what, by whom; and which controllers it stops.

use super::Fault;

/// Words for several controllers or clients at once, with what they stand for.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("okg", &["gameserverset", "gameserver", "network"]),
    ("kruise", &["statefulset", "podprobemarker"]),
    ("players", PLAYERS),
    ("controllers", &["okg-manager", "kruise-manager", "kube-controller-manager", "horizontal-pod-autoscaler"]),
];

/// Whoever sends players to rooms, or speaks for a game server.
pub const PLAYERS: &[&str] = &["matchmaker", "game-server"];

/// What can be down: its word, the name it runs under, and what it is.
pub const CONTROLLERS: &[(&str, &str)] = &[
    ("gameserverset", "gameserverset-controller"),
    ("gameserver", "gameserver-controller"),
    ("network", "okg-network"),
    ("statefulset", "statefulset-controller"),
    ("podprobemarker", "podprobemarker-controller"),
    ("scheduler", "default-scheduler"),
    ("kubelet", "kubelet"),
    ("volume", "persistentvolume-binder"),
    ("namespace", "namespace-controller"),
    ("garbage", "garbage-collector"),
    ("scaler", "okg-external-scaler"),
    ("hpa", "horizontal-pod-autoscaler"),
];

/// A request as faults see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The HTTP method; empty for the cluster's own actors, as are the paths.
    pub method: &'a str,
    /// The path with its query.
    pub whole: &'a str,
    /// The verb, as roles have it.
    pub verb: &'a str,
    /// `pods`, `gameservers.game.kruise.io`.
    pub resource: &'a str,
    /// The subresource, empty for none.
    pub subresource: &'a str,
    /// The namespace, empty for none.
    pub namespace: &'a str,
    /// The object's name, empty for none.
    pub name: &'a str,
    /// The first part of the user agent, or the name of one of the cluster's own actors.
    pub agent: &'a str,
    /// The user.
    pub user: &'a str,
    /// Whether one of the cluster's own actors asks.
    pub inside: bool,
}

impl<'a> Asked<'a> {
    /// A request of one of the cluster's own actors.
    pub fn inside(agent: &'a str, verb: &'a str, resource: &'a str, at: (&'a str, &'a str)) -> Asked<'a> {
        Asked { agent, verb, resource, namespace: at.0, name: at.1, inside: true, ..Asked::default() }
    }

    /// The same for a subresource.
    #[must_use]
    pub fn of(self, subresource: &'a str) -> Asked<'a> {
        Asked { subresource, ..self }
    }
}

impl Fault {
    /// Returns whether a request is of those that the fault is about.
    pub(super) fn meets(&self, asked: &Asked<'_>) -> bool {
        let path = asked.whole.split('?').next().unwrap_or_default();
        self.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(asked.method))
            && self.path.as_ref().is_none_or(|pattern| fits(pattern, asked.whole) || fits(pattern, path))
            && any(&self.verbs, |verb| verb == asked.verb)
            && any(&self.resources, |resource| of_resource(resource, asked))
            && self.namespace.as_ref().is_none_or(|namespace| namespace == asked.namespace)
            && self.name.as_ref().is_none_or(|pattern| fits(pattern, asked.name))
            && self.meets_client(asked)
    }

    fn meets_client(&self, asked: &Asked<'_>) -> bool {
        if self.clients.is_empty() {
            return !asked.inside;
        }
        self.clients.iter().any(|client| match GROUPS.iter().find(|(group, _)| group == client) {
            Some((_, members)) => asked.inside && members.contains(&asked.agent),
            None => fits(client, asked.agent) || fits(client, asked.user),
        })
    }
}

fn any(list: &[String], fits: impl Fn(&str) -> bool) -> bool {
    list.is_empty() || list.iter().any(|item| fits(item))
}

/// Returns whether a request is of `pods`, `pods/exec`, `gameservers.game.kruise.io`.
fn of_resource(wanted: &str, asked: &Asked<'_>) -> bool {
    let (resource, subresource) = match wanted.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource)),
        None => (wanted, None),
    };
    let plural = asked.resource.split('.').next().unwrap_or_default();
    (resource == asked.resource || resource == plural) && subresource.is_none_or(|wanted| wanted == asked.subresource)
}

/// Returns whether a fault stops the controller that runs under a name.
pub fn stops(fault: &Fault, name: &str) -> bool {
    let Some((word, _)) = CONTROLLERS.iter().find(|(_, known)| *known == name) else { return false };
    fault.down.iter().any(|down| match GROUPS.iter().find(|(group, _)| group == down) {
        Some((_, members)) => members.contains(word),
        None => down == word,
    })
}

/// Returns whether a text fits a pattern in which `*` stands for any text.
pub(in crate::sandbox) fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => {
            let Some(text) = text.strip_prefix(head) else { return false };
            (0..=text.len()).any(|at| text.is_char_boundary(at) && fits(rest, &text[at..]))
        }
    }
}
