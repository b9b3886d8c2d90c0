//! OKG's and Kruise's definitions, from tables of ours.

use std::sync::OnceLock;

use serde_json::Value;

use super::crd;

const TABLES: [&str; 7] = [
    include_str!("crds/gameserversets.txt"),
    include_str!("crds/gameservers.txt"),
    include_str!("crds/statefulsets.txt"),
    include_str!("crds/podprobemarkers.txt"),
    include_str!("crds/nodepodprobes.txt"),
    include_str!("crds/containerrecreaterequests.txt"),
    include_str!("crds/sidecarsets.txt"),
];

/// Kinds of Kruise that are served for the sake of discovery: their objects are stored without being looked into.
const OPEN: &str = include_str!("crds/open.txt");

/// Returns the definitions that are there from the start.
pub fn definitions() -> &'static [Value] {
    static DEFINITIONS: OnceLock<Vec<Value>> = OnceLock::new();
    DEFINITIONS.get_or_init(|| {
        let mut all: Vec<Value> = TABLES.iter().map(|table| crd::from_table(table)).collect();
        all.extend(
            OPEN.split("kind ").filter(|part| !part.is_empty()).map(|part| crd::from_table(&format!("kind {part}"))),
        );
        all
    })
}
