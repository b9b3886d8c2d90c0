//! What must be known before a release: whether the set can be released without losing a player.

use std::collections::BTreeSet;

use rhai::{Map, NativeCallContext};
use serde_json::Value;

use super::binding::{Binding, Bindings, Key, key, param, rule};
use super::gss::find_container;
use super::host::{Host, ScriptResult, host};
use super::options::Options;
use super::reads::{PATIENCE_SECONDS, SetView, read_taken_over};
use super::stage::Event;
use crate::cluster::{Selector, kind};
use crate::diagnostic::{Diagnostic, Kind};
use crate::okg::{gitops, ops_state};
use crate::script::{throw, value};

/// The family of this file.
pub fn bindings() -> Bindings {
    Bindings::new("release", "What must be known before a release.")
        .bind(&GSS_CHECK_RELEASE, |ctx: NativeCallContext, name: &str| check_release(&ctx, name, &Map::new()))
        .bind(&GSS_CHECK_RELEASE, |ctx: NativeCallContext, name: &str, opts: Map| check_release(&ctx, name, &opts))
}

const CHECK_KEYS: &[Key] = &[
    key("container", "string", "container whose image changes; \"\" for the only one"),
    key("image", "string", "the new image"),
    key("end", "string", "how the drain shall end: \"auto\" (default), \"mark\" or \"retire\""),
    key("block", "bool", "the drain shall block scale-ins; default false"),
    key("allow_recreate", "bool", "go on although OKG recreates rooms, players or not; default false"),
    key("allow_reverted", "bool", "go on although a GitOps tool would put image or replicas back; default false"),
];

const GSS_CHECK_RELEASE: Binding = Binding {
    name: "gss_check_release",
    doc: "Looks before the first write and refuses what would throw players out or be undone: a set that is not really \
          OnDelete (any `rollingUpdate`, even `{}`, counts), an unknown container, OKG not taking changes over, a \
          GitOps owner of image or replicas. Says who lowers replicas.",
    params: &[
        param("name", "string", "GameServerSet"),
        param("opts", "map", "what the release will change").keys(CHECK_KEYS).optional(),
    ],
    returns: "map",
    errors: &["refused", "not-found", "forbidden"],
    access: &[
        rule("game.kruise.io", "gameserversets", &["get"]),
        rule("game.kruise.io", "gameservers", &["list"]),
        rule("apps.kruise.io", "statefulsets", &["get"]),
        rule("", "pods", &["list"]),
        rule("keda.sh", "scaledobjects", &["list"]).comfort(),
        rule("autoscaling", "horizontalpodautoscalers", &["list"]).comfort(),
    ],
    example: r#"gss_check_release("minecraft", #{ image: "acs/minecraft-demo:1.12.3" }).lowered_by == "KEDA""#,
};

fn check_release(ctx: &NativeCallContext, name: &str, opts: &Map) -> ScriptResult<rhai::Dynamic> {
    let host = host(ctx)?;
    let opts = Options::read("gss_check_release", opts, CHECK_KEYS)?;
    let container = opts.text("container")?.unwrap_or_default();
    let view = observed(&host, name)?;
    let set = &view.set;
    let namespace = host.cluster()?.namespace().to_owned();
    // A container that is not there is known before anything is written: the release is refused.
    let (_, container, former) = find_container(set, &container).map_err(|mut error| {
        error.kind = Kind::Refused;
        throw(error.help("Nothing was sent."))
    })?;
    let update = if set.update_type().is_empty() { "RollingUpdate" } else { set.update_type() };
    let recreates = set.rolling_update() || update != "OnDelete";
    if recreates && !opts.flag("allow_recreate")?.unwrap_or(false) {
        return Err(throw(recreating(&view, &namespace, update)));
    }
    if recreates {
        host.show(Event::Warning { text: format!("OKG will recreate every room of {name}, players or not") });
    }
    let owners = gitops_owners(&set.object, &container);
    if !owners.is_empty() && !opts.flag("allow_reverted")?.unwrap_or(false) {
        return Err(throw(reverted(name, &namespace, &owners)));
    }
    let lowered = who_lowers(&host, name)?;
    let blocks = set.blocks() || opts.flag("block")?.unwrap_or(false);
    let ending = match opts.text("end")?.as_deref() {
        None | Some("auto") if blocks => ("retire", "a block goes with it alone".to_owned()),
        Some("mark") if blocks => return Err(throw(blocked_mark(name, set.blocks()))),
        None | Some("auto") => choose_ending(&view, &lowered),
        Some("mark") => ("mark", "asked for".to_owned()),
        Some("retire") => ("retire", "asked for".to_owned()),
        Some(other) => {
            let what = format!("there is no ending `{other}` of a drain");
            return Err(throw(
                Diagnostic::new(Kind::Invalid, what).help("write auto, mark or retire. Nothing was sent."),
            ));
        }
    };
    let count = |state: &str| view.rooms.iter().filter(|room| room.server.ops_state() == state).count();
    let (allocated, idle) = (count(ops_state::ALLOCATED), count(ops_state::NONE));
    let other = view.rooms.len() - allocated - idle;
    let mut rooms = format!("{} rooms ({allocated} Allocated, {idle} None", view.rooms.len());
    if other > 0 {
        rooms.push_str(&format!(", {other} other"));
    }
    rooms.push(')');
    let update = if recreates { format!("{update}, recreating") } else { update.to_owned() };
    let (ending, why) = ending;
    host.show(Event::Note { text: format!("{update}, {rooms}, {}; drain ends by {ending}: {why}", lowered.text) });
    if let Some(warning) = lowered.warning.as_ref().filter(|_| ending == "mark") {
        host.show(Event::Warning { text: warning.clone() });
    }
    let result = serde_json::json!({
        "container": container,
        "former_image": former,
        "replicas": set.replicas(),
        "rooms": view.rooms.len(),
        "allocated": allocated,
        "idle": idle,
        "lowered_by": lowered.who,
        "lowered_by_name": lowered.name,
        "min_replicas": lowered.least,
        "max_replicas": lowered.most,
        "block": blocks,
        "ending": ending,
        "ending_why": why,
        "summary": format!("{update}, {rooms}, {}", lowered.text),
    });
    Ok(value::from_json(&result))
}

/// Reads the set when OKG has taken its present specification over; if that does not happen, the release is refused.
fn observed(host: &Host, name: &str) -> ScriptResult<SetView> {
    let view = read_taken_over(host, name)?;
    if view.versions_known() {
        return Ok(view);
    }
    let namespace = host.cluster()?.namespace().to_owned();
    let what = format!("OKG does not take changes of GameServerSet `{namespace}/{name}` over");
    let (seen, now) = (view.set.observed_generation(), view.set.metadata.generation);
    Err(throw(
        Diagnostic::new(Kind::Refused, what)
            .why(format!("observedGeneration stood at {seen} of generation {now} for {PATIENCE_SECONDS}s"))
            .why("Kruise may refuse the template, or the OKG manager is down; neither gives an event")
            .help("look at the logs of the OKG and Kruise managers. Nothing was sent."),
    ))
}

fn recreating(view: &SetView, namespace: &str, update: &str) -> Diagnostic {
    let name = &view.set.metadata.name;
    let allocated: Vec<&str> = view
        .rooms
        .iter()
        .filter(|room| room.server.ops_state() == ops_state::ALLOCATED)
        .map(|room| room.name())
        .collect();
    let what = format!("a new image would make OKG recreate the rooms of `{namespace}/{name}`, players or not");
    let mut diagnostic = Diagnostic::new(Kind::Refused, what);
    diagnostic = if view.set.rolling_update() {
        diagnostic
            .why(format!("updateStrategy.rollingUpdate is present: OKG then does RollingUpdate, whatever type says ({update})"))
            .help(format!("remove it: gss_patch(\"{name}\", #{{ spec: #{{ updateStrategy: #{{ type: \"OnDelete\", rollingUpdate: () }} }} }})"))
    } else {
        diagnostic.why(format!("updateStrategy.type is {update}, not OnDelete")).help(format!(
            "set it first: gss_patch(\"{name}\", #{{ spec: #{{ updateStrategy: #{{ type: \"OnDelete\" }} }} }})"
        ))
    };
    if !allocated.is_empty() {
        let shown: Vec<&str> = allocated.iter().take(8).copied().collect();
        let more = if allocated.len() > 8 { ", …" } else { "" };
        diagnostic = diagnostic.why(format!("{} Allocated: {}{more}", allocated.len(), shown.join(", ")));
    }
    diagnostic.help("`allow_recreate: true` (`--allow-recreate` of lossless_release) means it. Nothing was sent.")
}

fn reverted(name: &str, namespace: &str, owners: &BTreeSet<(String, &'static str)>) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(
        Kind::Refused,
        format!("what a release writes to GameServerSet `{namespace}/{name}` would be put back"),
    );
    for (field, tool) in owners {
        diagnostic = diagnostic.why(format!("{tool} owns `{field}` (metadata.managedFields)"));
    }
    diagnostic
        .help("release through that tool, or let it ignore these fields (Argo CD: ignoreDifferences)")
        .help("`allow_reverted: true` (`--allow-reverted` of lossless_release) goes on all the same. Nothing was sent.")
}

fn blocked_mark(name: &str, there: bool) -> Diagnostic {
    let whose = if there { "GameServerSet has the hook already" } else { "block was asked for" };
    Diagnostic::new(Kind::Refused, format!("rooms of `{name}` cannot be marked while a hook blocks scale-ins"))
        .why(format!("{whose}, and OKG's scaler counts marked rooms again while they wait in PreDelete"))
        .why("with every look of it healthy rooms would go, those with players last")
        .help("`end: \"retire\"` (`--end retire` of lossless_release), or auto. Nothing was sent.")
}

/// Returns the fields of a release that a GitOps tool owns: the template's schema is open, so that its containers are
/// one field, or one a container where a tool lists them.
fn gitops_owners(object: &Value, container: &str) -> BTreeSet<(String, &'static str)> {
    let containers = "spec.gameServerTemplate.spec.containers";
    let fields = [("spec.replicas", "spec.replicas"), (containers, &format!("{containers}[{container}].image"))];
    let owners = fields
        .into_iter()
        .flat_map(|(shown, field)| gitops::owners(object, field).into_iter().map(move |tool| (shown.to_owned(), tool)));
    owners.collect()
}

/// How long a room takes to start where no room tells, in seconds.
const START_SECONDS: i64 = 30;

/// Chooses how a drain ends: marking is the workflow guide's way, but safe only while the scaler never lowers an
/// unsettled set; retiring takes exactly the rooms meant, whoever lowers replicas.
fn choose_ending(view: &SetView, lowered: &Lowered) -> (&'static str, String) {
    let Some(window) = lowered.window else {
        let why =
            if lowered.who == "nobody" { "nobody lowers replicas" } else { "it is not known who lowers replicas" };
        return ("retire", why.to_owned());
    };
    let grace = view.set.object.pointer("/spec/gameServerTemplate/spec/terminationGracePeriodSeconds");
    let grace = grace.and_then(Value::as_i64).unwrap_or(30);
    let start = start_seconds(view).unwrap_or(START_SECONDS);
    let labels = 2 * i64::try_from(view.rooms.len()).unwrap_or(i64::MAX / 2) / 5;
    let needed = grace + start + labels;
    let sums = format!(
        "stabilization window {window}s, settling takes up to {needed}s (termination {grace}s, start {start}s, labels {labels}s)"
    );
    if window > needed {
        ("mark", sums)
    } else {
        ("retire", format!("the scaler might lower an unsettled set: {sums}"))
    }
}

/// Returns how long the rooms took from creation to Ready, the median, if any tells.
fn start_seconds(view: &SetView) -> Option<i64> {
    let mut taken: Vec<i64> = view
        .pods
        .values()
        .filter_map(|pod| {
            let ready = pod.condition("Ready").filter(|condition| condition.status == "True")?;
            Some(ready.last_transition_time?.duration_since(pod.metadata.creation_timestamp?).as_secs().max(0))
        })
        .collect();
    taken.sort_unstable();
    taken.get(taken.len() / 2).copied()
}

/// Who lowers replicas, so that marked rooms go.
struct Lowered {
    who: &'static str,
    name: String,
    least: i64,
    most: i64,
    text: String,
    warning: Option<String>,
    /// Stabilization window of its scale-down, in seconds.
    window: Option<i64>,
}

fn who_lowers(host: &Host, name: &str) -> ScriptResult<Lowered> {
    let cluster = host.cluster()?;
    let (scaled, hpas) = host.call(async move {
        let namespace = cluster.namespace();
        let all = Selector::all();
        let scaled = cluster.list::<Value>(&kind::SCALED_OBJECT, namespace, &all).await.map(|list| list.items);
        let hpas =
            cluster.list::<Value>(&kind::HORIZONTAL_POD_AUTOSCALER, namespace, &all).await.map(|list| list.items);
        Ok((scaled, hpas))
    })?;
    let targets = |object: &&Value| {
        let target = &object["spec"]["scaleTargetRef"];
        target["name"] == name && target["kind"] == "GameServerSet"
    };
    let mut unknown = Vec::new();
    let mut found = |what: &str, list: Result<Vec<Value>, Diagnostic>| match list {
        Ok(items) => items.iter().find(targets).cloned(),
        Err(error) => {
            // Without the kind's CRD there is no such autoscaler; anything else leaves the question open.
            if error.kind != Kind::NotInstalled && error.kind != Kind::NotFound {
                unknown.push(format!("{what}: {}", error.what));
            }
            None
        }
    };
    let keda = found("ScaledObjects", scaled);
    let hpa = found("HorizontalPodAutoscalers", hpas);
    let text_of = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if let Some(keda) = keda {
        let least = keda["spec"]["minReplicaCount"].as_i64().unwrap_or(0);
        let most = keda["spec"]["maxReplicaCount"].as_i64().unwrap_or(100);
        let paused = keda["metadata"]["annotations"]
            .as_object()
            .is_some_and(|annotations| annotations.keys().any(|key| key.starts_with("autoscaling.keda.sh/paused")));
        let warning = paused.then(|| "KEDA is paused: marked rooms stay until it resumes".to_owned());
        let text = format!("KEDA lowers replicas (min {least}, max {most})");
        let window = &keda["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"];
        let window = Some(window["stabilizationWindowSeconds"].as_i64().unwrap_or(300));
        return Ok(Lowered { who: "KEDA", name: text_of(&keda), least, most, text, warning, window });
    }
    if let Some(hpa) = hpa {
        let least = hpa["spec"]["minReplicas"].as_i64().unwrap_or(1);
        let most = hpa["spec"]["maxReplicas"].as_i64().unwrap_or(0);
        let window = hpa["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"].as_i64().unwrap_or(300);
        let text = format!("an HPA lowers replicas (min {least}, max {most}, window {window}s)");
        let window = Some(window);
        return Ok(Lowered { who: "HPA", name: text_of(&hpa), least, most, text, warning: None, window });
    }
    let warning = if unknown.is_empty() {
        Some("nobody lowers replicas: marked rooms stay until you do".to_owned())
    } else {
        Some(format!("it is not known who lowers replicas ({})", unknown.join("; ")))
    };
    let (who, text) = if unknown.is_empty() {
        ("nobody", "nobody lowers replicas")
    } else {
        ("unknown", "who lowers replicas is not known")
    };
    Ok(Lowered { who, name: String::new(), least: 0, most: 0, text: text.to_owned(), warning, window: None })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gitops_owner_of_replicas_or_image_is_found() {
        let object = json!({"metadata": {"managedFields": [
            {"manager": "argocd-controller", "fieldsV1": {"f:spec": {"f:replicas": {},
                "f:gameServerTemplate": {"f:spec": {"f:containers": {}}}}}},
            {"manager": "kubectl-client-side-apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        ]}});
        let owners: Vec<String> =
            gitops_owners(&object, "minecraft").into_iter().map(|(field, tool)| format!("{tool} {field}")).collect();
        assert_eq!(owners, ["Argo CD spec.gameServerTemplate.spec.containers", "Argo CD spec.replicas"]);
        let other = json!({"metadata": {"managedFields": [{"manager": "argocd", "fieldsV1": {"f:metadata": {}}}]}});
        assert!(gitops_owners(&other, "minecraft").is_empty());
    }
}
