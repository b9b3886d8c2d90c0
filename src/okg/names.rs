//! Keys of labels and annotations, and how objects are named after each other.

/// Prefix of OKG's labels and annotations.
pub const PREFIX: &str = "game.kruise.io/";
/// Label on pods and GameServers: name of their GameServerSet.
pub const OWNER_GSS: &str = "game.kruise.io/owner-gss";
/// Pod label: state of the room as the GameServer controller sees it.
pub const GS_STATE: &str = "game.kruise.io/gs-state";
/// Pod label: opsState, copied from the GameServer.
pub const GS_OPS_STATE: &str = "game.kruise.io/gs-opsState";
/// Pod label: deletionPriority, copied from the GameServer.
pub const GS_DELETE_PRIORITY: &str = "game.kruise.io/gs-delete-priority";
/// Pod label: updatePriority, copied from the GameServer.
pub const GS_UPDATE_PRIORITY: &str = "game.kruise.io/gs-update-priority";
/// Pod label: networkDisabled, copied from the GameServer.
pub const NETWORK_DISABLED: &str = "game.kruise.io/network-disabled";
/// GameServer label under the policy Delete: the GameServer goes with its pod.
pub const GS_DELETING: &str = "game.kruise.io/gs-deleting";
/// GameServer label: node of the pod.
pub const NODE_NAME: &str = "game.kruise.io/node-name";
/// Prefix of labels and annotations that are copied from GameServer to pod (`gs-sync/…`).
pub const GS_SYNC: &str = "gs-sync/";
/// Our label, copied from GameServer to pod: while it is `"true"`, the preDelete hook keeps the room.
pub const BLOCK: &str = "gs-sync/okgscript-block";
/// Pod annotation: when the label gs-opsState changed.
pub const OPS_STATE_CHANGED: &str = "game.kruise.io/opsState-last-changed-time";
/// Pod annotation: when the label gs-state changed.
pub const STATE_CHANGED: &str = "game.kruise.io/state-last-changed-time";
/// Template and pod annotation: type of network plugin.
pub const NETWORK_TYPE: &str = "game.kruise.io/network-type";
/// Template and pod annotation: configuration of the network plugin, a JSON array.
pub const NETWORK_CONF: &str = "game.kruise.io/network-conf";
/// Pod annotation: what the network plugin reports, JSON.
pub const NETWORK_STATUS: &str = "game.kruise.io/network-status";
/// Pod annotation: last time the plugin was provoked.
pub const NETWORK_TRIGGER_TIME: &str = "game.kruise.io/network-trigger-time";
/// Pod annotation: containers under update.
pub const UPDATING_CONTAINERS: &str = "game.kruise.io/gs-updating-containers";
/// GameServer annotation: hash of the template's labels and annotations.
pub const TEMPLATE_METADATA_HASH: &str = "game.kruise.io/gsTemplate-metadata-hash";
/// GameServerSet annotation: explicit reserve list applied last.
pub const RESERVE_IDS: &str = "game.kruise.io/reserve-ids";
/// Annotation of the Advanced StatefulSet: hash of what it was made from.
pub const ASTS_HASH: &str = "game.kruise.io/asts-hash";
/// Annotation of the PodProbeMarker: hash of what it was made from.
pub const PPM_HASH: &str = "game.kruise.io/ppm-hash";
/// Label that networkConf `AllowNotReadyContainers` adds to the inPlaceUpdate hook.
pub const NOT_READY_BLOCKER: &str = "game.kruise.io/inplace-update-not-ready-blocker";
/// Kruise's pod label: state of its lifecycle.
pub const LIFECYCLE_STATE: &str = "lifecycle.apps.kruise.io/state";
/// Kruise's pod annotation: when the lifecycle state changed.
pub const LIFECYCLE_TIME: &str = "lifecycle.apps.kruise.io/timestamp";
/// Kruise's pod label: recreate this pod.
pub const SPECIFIED_DELETE: &str = "apps.kruise.io/specified-delete";
/// Pod label: full name of its ControllerRevision.
pub const REVISION: &str = "controller-revision-hash";
/// Pod label: its own name.
pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// Pod label: its ordinal.
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// Returns the ordinal of a room: the number after the last dash.
///
/// ```
/// assert_eq!(okgscript::okg::names::ordinal("mine-craft-12"), Some(12));
/// assert_eq!(okgscript::okg::names::ordinal("minecraft"), None);
/// ```
pub fn ordinal(room: &str) -> Option<i32> {
    let (_, digits) = room.rsplit_once('-')?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Returns the name of the GameServerSet that a room's name says it belongs to.
pub fn set_of(room: &str) -> Option<&str> {
    ordinal(room)?;
    room.rsplit_once('-').map(|(set, _)| set)
}

/// Returns the name of a room: GameServer and pod alike.
pub fn room(set: &str, ordinal: i32) -> String {
    format!("{set}-{ordinal}")
}

/// Returns the name of a room's claim on a volume.
pub fn claim(template: &str, room: &str) -> String {
    format!("{template}-{room}")
}
