//! Whether a plan still fits the cluster: the same sets, with the same template and replicas; and no room beyond those
//! that it covers. Rooms that merely got or lost players do not count: the guards judge them again.

use serde_json::{Value, json};

use super::{Action, Object, Plan, Set};
use crate::cluster::{Cluster, FieldChange, diff, kind};
use crate::diagnostic::{Diagnostic, Kind};

/// Refuses a cluster, context or namespace that is not the plan's.
pub fn same_place(plan: &Plan, cluster: &Cluster) -> Result<(), Diagnostic> {
    let then = &plan.place;
    let parts = [
        ("cluster", then.server.as_str(), cluster.server()),
        ("namespace", then.namespace.as_str(), cluster.namespace()),
        ("context", then.context.as_str(), cluster.context()),
    ];
    let others: Vec<_> = parts.iter().filter(|(_, then, now)| then != now).collect();
    let [(what, ..), ..] = others.as_slice() else { return Ok(()) };
    let refusal = Diagnostic::new(Kind::Refused, format!("the plan was made for another {what}"));
    let told = others.iter().map(|(what, then, now)| format!("{what}: the plan's is `{then}`, this is `{now}`"));
    Err(told.fold(refusal, Diagnostic::why).help(
        "leave `--context`, `-n` and `--kubeconfig` out: the plan knows them; or make a new plan. Nothing was sent.",
    ))
}

/// Refuses sets that are not as they were when the plan was made, listing the difference.
pub async fn refuse(plan: &Plan, cluster: &Cluster) -> Result<(), Diagnostic> {
    let mut differs = Vec::new();
    for set in &plan.sets {
        let now = cluster.find::<Value>(&kind::GAME_SERVER_SET, &set.namespace, &set.name).await?;
        differs.extend(changed(set, now.as_ref()));
    }
    if differs.is_empty() {
        return Ok(());
    }
    Err(stale("the cluster is not as it was when the plan was made", differs))
}

fn changed(set: &Set, now: Option<&Value>) -> Vec<String> {
    let name = format!("GameServerSet {}/{}", set.namespace, set.name);
    let Some(now) = now else { return vec![format!("{name} is gone")] };
    if now.pointer("/metadata/uid").and_then(Value::as_str) != Some(&set.uid) {
        return vec![format!("{name} is another set of that name: the one of then is gone")];
    }
    let fields = diff::changes(&json!({"spec": set.spec}), &json!({"spec": now["spec"]}));
    fields.iter().map(|field| format!("{name}: {} was {}, is {}", field.path, field.from, field.to)).collect()
}

fn stale(what: &str, differs: Vec<String>) -> Diagnostic {
    let mut refusal = Diagnostic::new(Kind::Refused, what);
    let count = differs.len();
    for line in differs.iter().take(20) {
        refusal = refusal.why(line.clone());
    }
    if count > 20 {
        refusal = refusal.why(format!("and {} more", count - 20));
    }
    refusal.help("look at what has changed and make a new plan. Nothing was sent.").with("differences", differs)
}

/// Refuses when the same script would do more now than the plan says, listing the difference: more rooms, other
/// objects, other changes of a set.
pub fn no_more(plan: &Plan, objects: &[Object], sets: &[Set]) -> Result<(), Diagnostic> {
    let mut more = Vec::new();
    for set in sets {
        let (namespace, name) = (&set.namespace, &set.name);
        let Some(planned) = plan.set(namespace, name) else {
            more.push(format!("GameServerSet {namespace}/{name}: not in the plan"));
            continue;
        };
        for room in &set.rooms {
            let becomes = room.becomes.join("; ");
            match planned.covered(&room.name) {
                None => more.push(format!("room {namespace}/{}: not in the plan ({becomes})", room.name)),
                Some(then) if then.uid != room.uid => {
                    more.push(format!("room {namespace}/{}: another room has the name now ({becomes})", room.name));
                }
                Some(_) => {}
            }
        }
    }
    for object in objects {
        let kind = object.object.split(' ').next().unwrap_or_default();
        if kind == "GameServer" {
            continue;
        }
        let then = plan.objects.iter().find(|it| it.path == object.path && it.action == object.action);
        if kind == "GameServerSet" && object.action == Action::Change {
            let known = |field: &&FieldChange| then.is_some_and(|then| then.changes.contains(field));
            for field in object.changes.iter().filter(|field| !follows_rooms(&field.path) && !known(field)) {
                let FieldChange { path, from, to } = field;
                more.push(format!("{}: {path}: {from} -> {to}: not in the plan", object.object));
            }
        } else if then.is_none() && (object.action != Action::Create || !plan.creates_like(&object.path)) {
            more.push(format!("{}: not in the plan", object.object));
        }
    }
    if more.is_empty() { Ok(()) } else { Err(stale("more would be touched now than the plan says", more)) }
}

/// Whether a field of a set follows its rooms, which are judged again: replicas, reserved ids.
pub fn follows_rooms(path: &str) -> bool {
    path == "spec.replicas" || path.starts_with("spec.reserveGameServerIds")
}

impl Plan {
    /// Whether the plan makes an object with a name like this one's: names that the server gives end differently each
    /// time.
    pub fn creates_like(&self, path: &str) -> bool {
        let created = self.objects.iter().filter(|object| object.action == Action::Create);
        let mut prefixes = created.filter_map(|object| {
            let prefix = object.path.trim_end_matches(|c: char| c.is_ascii_digit());
            prefix.ends_with('-').then_some(prefix)
        });
        prefixes.any(|prefix| path.starts_with(prefix))
    }
}
