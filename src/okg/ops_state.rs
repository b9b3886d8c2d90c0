//! opsState: free text of which OKG acts on five values.

/// OKG lowers the replicas itself and deletes the room.
pub const KILL: &str = "Kill";
/// First choice of a scale-down; the external scaler asks for one.
pub const WAIT_TO_BE_DELETED: &str = "WaitToBeDeleted";
/// The default, and what the external scaler counts as available.
pub const NONE: &str = "None";
/// Players are in the room; kept over None in a scale-down, but not protected.
pub const ALLOCATED: &str = "Allocated";
/// Last to go in a scale-down.
pub const MAINTAINING: &str = "Maintaining";

/// How the opsState of a room begins that a run holds: private to the run, ranked as None, taken by no matchmaker.
pub const HOLD: &str = "Draining-";

/// Returns whether an opsState is one by which a run holds a room.
pub fn is_hold(ops_state: &str) -> bool {
    ops_state.starts_with(HOLD)
}

/// The values that OKG acts on, in the order in which a scale-down takes them.
pub const KNOWN: [&str; 5] = [KILL, WAIT_TO_BE_DELETED, NONE, ALLOCATED, MAINTAINING];

/// Returns the rank of an opsState in a scale-down: the higher, the sooner the room goes. Other text ranks as None.
pub fn rank(ops_state: &str) -> i32 {
    match ops_state {
        KILL => 100,
        WAIT_TO_BE_DELETED => 1,
        ALLOCATED => -1,
        MAINTAINING => -2,
        _ => 0,
    }
}
