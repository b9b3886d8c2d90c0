//! OKG's and Kruise's kinds, declared as their CustomResourceDefinitions do, in our own words.

use super::kinds::Kind;

/// Returns the kinds that are served from the start.
pub fn kinds() -> Vec<Kind> {
    const GAME: &str = "game.kruise.io";
    const APPS: &str = "apps.kruise.io";
    let mut kinds = vec![
        Kind::declared(GAME, &["v1alpha1"], "gameservers", "GameServer", &["gs"]),
        Kind::declared(GAME, &["v1alpha1"], "gameserversets", "GameServerSet", &["gss"]),
        Kind::declared(APPS, &["v1beta1", "v1alpha1"], "statefulsets", "StatefulSet", &["sts", "asts"]),
        Kind::declared(APPS, &["v1alpha1"], "podprobemarkers", "PodProbeMarker", &[]),
        Kind::declared(APPS, &["v1alpha1"], "nodepodprobes", "NodePodProbe", &[]),
        Kind::declared("keda.sh", &["v1alpha1"], "scaledobjects", "ScaledObject", &["so"]),
    ];
    for kind in &mut kinds {
        kind.namespaced = kind.plural != "nodepodprobes";
    }
    kinds
}
