//! Pods of a GameServerSet.

use rhai::{Array, Dynamic, Map, NativeCallContext};

use super::binding::{Binding, Bindings, Key, key, param};
use super::filter::Images;
use super::gs::reading;
use super::host::{Host, ScriptResult, host};
use super::options::Options;
use super::reads::{SetView, read_judged, read_pods, read_set};
use super::values::PodValue;
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::okg::pod::Pod;
use crate::script::throw;

/// The family of this file.
pub fn bindings() -> Bindings {
    Bindings::new("pods", "Pods of a GameServerSet: one a room.")
        .bind(&PODS_LIST, pods_list)
        .bind(&PODS_READY, |ctx: NativeCallContext, gss: &str| pods_ready(&ctx, gss, &Map::new()))
        .bind(&PODS_READY, |ctx: NativeCallContext, gss: &str, filter: Map| pods_ready(&ctx, gss, &filter))
}

const PODS_LIST: Binding = Binding {
    name: "pods_list",
    doc: "Returns the pods of a GameServerSet by name, those without a GameServer included.",
    params: &[param("gss", "string", "GameServerSet")],
    returns: "array",
    errors: &["not-found", "forbidden"],
    access: reading::LIST,
    example: r#"pods_list("minecraft").map(|pod| pod.phase) == ["Running", "Running", "Running"]"#,
};

const READY_KEYS: &[Key] = &[
    key("version", "string", "\"current\" or \"old\", by the pod's revision"),
    key("image", "string | map", "image of the only container, or `#{container: image}`; compared exactly"),
];

const PODS_READY: Binding = Binding {
    name: "pods_ready",
    doc: "Returns how many pods of a GameServerSet are Running and Ready, not terminating, and match the filter.",
    params: &[
        param("gss", "string", "GameServerSet"),
        param("filter", "map", "which pods; none counts all").keys(READY_KEYS).optional(),
    ],
    returns: "int",
    errors: &["not-found", "unknown-key", "invalid", "forbidden"],
    access: reading::LIST,
    example: r#"pods_ready("minecraft", #{ version: "current", image: "acs/minecraft-demo:1.12.2" }) == 3"#,
};

fn pods_list(ctx: NativeCallContext, gss: &str) -> ScriptResult<Array> {
    let host = host(&ctx)?;
    read_set(&host, gss)?;
    let read_at = host.now();
    let pods = read_pods(&host, gss)?;
    Ok(pods.into_values().map(|pod| Dynamic::from(PodValue { pod, read_at })).collect())
}

fn pods_ready(ctx: &NativeCallContext, gss: &str, filter: &Map) -> ScriptResult<i64> {
    let host = host(ctx)?;
    let opts = Options::read("pods_ready", filter, READY_KEYS)?;
    let version = opts.text("version")?;
    if let Some(word) = version.as_deref().filter(|word| !matches!(*word, "old" | "current")) {
        let mut diagnostic = Diagnostic::new(Kind::Invalid, format!("pods_ready: there is no version `{word}`"));
        if let Some(near) = closest(word, ["old", "current"]) {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
        }
        return Err(throw(diagnostic.why("known are old and current")));
    }
    let wrong = || {
        let what = "pods_ready: `image` takes an image or #{container: image}";
        throw(Diagnostic::new(Kind::WrongArguments, what))
    };
    let images = filter.get("image").map(|value| Images::read(value).ok_or_else(wrong)).transpose()?;
    let view = read_judged(&host, gss)?;
    if let Some(images) = &images {
        check_containers(&host, gss, &view, images)?;
    }
    let ready = view.pods.values().filter(|pod| {
        pod.ready()
            && version.as_deref().is_none_or(|word| is_version(&view, pod, word))
            && images.as_ref().is_none_or(|images| images.run_in(pod))
    });
    Ok(i64::try_from(ready.count()).unwrap_or(i64::MAX))
}

fn is_version(view: &SetView, pod: &Pod, word: &str) -> bool {
    view.rooms.iter().any(|room| room.name() == pod.metadata.name && room.version.word() == word)
}

/// A container that no pod has would make the count 0 for ever.
fn check_containers(host: &Host, gss: &str, view: &SetView, images: &Images) -> ScriptResult<()> {
    let template = view.set.containers();
    let known: Vec<&str> = template.iter().map(|container| container.name.as_str()).collect();
    if images.leaves_container_open() && known.len() > 1 {
        let what = format!("rooms of `{gss}` have {} containers: say which one has the image", known.len());
        return Err(throw(
            Diagnostic::new(Kind::Invalid, what)
                .why(format!("containers: {}", known.join(", ")))
                .help("#{ image: #{ container: \"image\" } }"),
        ));
    }
    for container in images.containers() {
        let there = known.contains(&container.as_str()) || view.pods.values().any(|pod| pod.image(container).is_some());
        if !there {
            let namespace = host.cluster()?.namespace().to_owned();
            let what = format!("no room of `{namespace}/{gss}` has a container `{container}`");
            let mut diagnostic = Diagnostic::new(Kind::NotFound, what).why(format!("containers: {}", known.join(", ")));
            if let Some(near) = closest(container, known.iter().copied()) {
                diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
            }
            return Err(throw(diagnostic));
        }
    }
    Ok(())
}
