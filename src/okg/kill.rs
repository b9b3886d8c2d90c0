//! opsState Kill: the GameServerSet controller lowers the replicas itself (`GetReplicasAfterKilling`).

use super::ops_state::KILL;
use super::scaling::ScalePod;

/// Returns the replicas that remain once the rooms labelled Kill are taken away.
///
/// Nothing happens unless set, workload and pods agree in number and no pod is terminating: one terminating pod, or
/// one kept by a preDelete hook, delays every Kill.
pub fn replicas_after_killing(replicas: i32, workload_replicas: i32, pods: &[ScalePod]) -> i32 {
    let count = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    if replicas != workload_replicas || replicas != count || pods.iter().any(|pod| pod.terminating) {
        return replicas;
    }
    let killed = pods.iter().filter(|pod| pod.ops_state == KILL).count();
    replicas - i32::try_from(killed).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_must_agree_and_nothing_may_terminate() {
        let pods = [ScalePod::new(0), ScalePod::new(1).ops_state("Kill"), ScalePod::new(2).ops_state("Kill")];
        assert_eq!(replicas_after_killing(3, 3, &pods), 1);
        assert_eq!(replicas_after_killing(4, 3, &pods), 4);
        assert_eq!(replicas_after_killing(2, 2, &pods), 2);
        let terminating = [ScalePod::new(0).terminating(), ScalePod::new(1).ops_state("Kill")];
        assert_eq!(replicas_after_killing(2, 2, &terminating), 2);
    }
}
