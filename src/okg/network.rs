//! Networks of rooms: types, states, and when a network counts as ready.

use serde_json::Value;

use super::names;

/// The network types that OKG offers as it is shipped, in the order in which it may name them.
pub const TYPES: [&str; 18] = [
    "Kubernetes-Ingress",
    "Kubernetes-NodePort",
    "Kubernetes-HostPort",
    "AlibabaCloud-NLB-SharedPort",
    "AlibabaCloud-SLB",
    "AlibabaCloud-AutoNLBs-V2",
    "AlibabaCloud-EIP",
    "AlibabaCloud-Multi-NLBs",
    "AlibabaCloud-NATGW",
    "AlibabaCloud-SLB-SharedPort",
    "AlibabaCloud-AutoNLBs",
    "AlibabaCloud-NLB",
    "Volcengine-CLB",
    "Volcengine-EIP",
    "TencentCloud-CLB",
    "HwCloud-CCE-EIP",
    "HwCloud-ELB",
    "HwCloud-CCE-ELB",
];

/// Returns the network state that a pod is to have: NotReady if its label network-disabled is true.
pub fn desired_state(pod: &Value) -> &'static str {
    if pod["metadata"]["labels"][names::NETWORK_DISABLED] == "true" { "NotReady" } else { "Ready" }
}

/// Returns whether the GameServer's network is ready; a room without a network has none to wait for.
pub fn ready(game_server: &Value) -> bool {
    let status = &game_server["status"]["networkStatus"];
    match status["networkType"].as_str() {
        None | Some("") => true,
        Some(_) => status["currentNetworkState"] == "Ready" && status["desiredNetworkState"] == "Ready",
    }
}

/// Returns the value of an entry of networkConf.
pub fn conf<'a>(network_conf: &'a Value, name: &str) -> Option<&'a str> {
    network_conf.as_array()?.iter().find(|entry| entry["name"] == name)?["value"].as_str()
}
