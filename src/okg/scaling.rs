//! Scale-in and scale-out as OKG computes them (`computeToScaleGs`): which ids are reserved, which rooms go.
//!
//! OKG only chooses what to reserve; the ordinals that exist are Kruise's ([`super::ordinals`]). The two agree only
//! if every ordinal below the highest has a live pod or is reserved.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use serde_json::Value;

use super::int_or_string::priority;
use super::{names, ops_state, ordinals, reserve};

/// What a scale step knows of a pod: its labels, which lag behind the GameServer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScalePod {
    /// Number after the last dash of the name.
    pub ordinal: i32,
    /// Label gs-opsState.
    pub ops_state: String,
    /// Label gs-delete-priority, as text.
    pub deletion_priority: String,
    /// Whether it has a deletionTimestamp.
    pub terminating: bool,
    /// Whether its lifecycle is PreparingDelete.
    pub preparing_delete: bool,
}

impl ScalePod {
    /// A pod of a healthy idle room.
    pub fn new(ordinal: i32) -> ScalePod {
        ScalePod { ordinal, ops_state: ops_state::NONE.into(), deletion_priority: "0".into(), ..ScalePod::default() }
    }

    /// Reads a pod object; `None` if its name has no ordinal.
    pub fn read(pod: &Value) -> Option<ScalePod> {
        let label = |key: &str| pod["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned();
        Some(ScalePod {
            ordinal: names::ordinal(pod["metadata"]["name"].as_str()?)?,
            ops_state: label(names::GS_OPS_STATE),
            deletion_priority: label(names::GS_DELETE_PRIORITY),
            terminating: !pod["metadata"]["deletionTimestamp"].is_null(),
            preparing_delete: label(names::LIFECYCLE_STATE) == "PreparingDelete",
        })
    }

    /// Sets the label gs-opsState.
    #[must_use]
    pub fn ops_state(mut self, ops_state: &str) -> ScalePod {
        self.ops_state = ops_state.to_owned();
        self
    }

    /// Sets the label gs-delete-priority.
    #[must_use]
    pub fn deletion_priority(mut self, priority: i32) -> ScalePod {
        self.deletion_priority = priority.to_string();
        self
    }

    /// Marks it as terminating.
    #[must_use]
    pub fn terminating(mut self) -> ScalePod {
        self.terminating = true;
        self
    }

    /// Marks it as kept by a preDelete hook.
    #[must_use]
    pub fn preparing_delete(mut self) -> ScalePod {
        self.preparing_delete = true;
        self
    }
}

/// `scaleStrategy.scaleDownStrategyType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The default, and any unknown value: ids of rooms that went are reserved in the workload only.
    #[default]
    General,
    /// Ids of rooms that went are written into `spec.reserveGameServerIds`.
    ReserveIds,
}

impl Strategy {
    /// Reads the field's text.
    pub fn from_text(text: &str) -> Strategy {
        if text == "ReserveIds" { Strategy::ReserveIds } else { Strategy::General }
    }
}

/// One scale step: what it starts from.
#[derive(Clone, Debug, Default)]
pub struct Scaling<'a> {
    /// `spec.reserveGameServerIds`.
    pub explicit: BTreeSet<i32>,
    /// Annotation reserve-ids: the explicit list applied last.
    pub applied: BTreeSet<i32>,
    /// `reserveOrdinals` of the workload, all of them.
    pub workload: BTreeSet<i32>,
    /// `spec.replicas`.
    pub target: i32,
    /// The pods with the set's owner label.
    pub pods: &'a [ScalePod],
}

/// What a scale step decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Ids reserved because their room went.
    pub implicit: BTreeSet<i32>,
    /// Ids reserved by the user.
    pub explicit: BTreeSet<i32>,
    /// Ids of live rooms given up, in the order of the choice.
    pub dropped: Vec<i32>,
    /// Ids to open.
    pub added: Vec<i32>,
    /// Ids of all pods that are not to stay: those given up, and those terminating, in PreDelete or reserved.
    pub unmanaged: Vec<i32>,
}

impl Scaling<'_> {
    /// Decides which ids are reserved afterwards.
    pub fn plan(&self) -> Plan {
        let held: BTreeSet<i32> = self.workload.difference(&self.applied).copied().collect();
        let newly: BTreeSet<i32> = self.explicit.difference(&self.applied).copied().collect();
        let mut implicit: BTreeSet<i32> = held.difference(&newly).copied().collect();
        implicit.extend(self.applied.difference(&self.explicit));
        let preparing: BTreeSet<i32> =
            self.pods.iter().filter(|pod| pod.preparing_delete).map(|pod| pod.ordinal).collect();
        let mut live: Vec<&ScalePod> = self
            .pods
            .iter()
            .filter(|pod| !pod.terminating && !pod.preparing_delete && !self.explicit.contains(&pod.ordinal))
            .collect();
        let target = usize::try_from(self.target).unwrap_or(0);
        let mut plan = Plan { explicit: self.explicit.clone(), ..Plan::default() };
        if live.len() < target {
            let taken: BTreeSet<i32> = live.iter().map(|pod| pod.ordinal).collect();
            plan.added = (0..)
                .filter(|id| !taken.contains(id) && !self.explicit.contains(id) && !preparing.contains(id))
                .take(target - live.len())
                .collect();
            for id in &plan.added {
                implicit.remove(id);
            }
        } else if live.len() > target {
            sort(&mut live);
            plan.dropped = live[..live.len() - target].iter().map(|pod| pod.ordinal).collect();
            implicit.extend(&plan.dropped);
        }
        plan.implicit = implicit;
        let mut managed: BTreeSet<i32> = live.iter().map(|pod| pod.ordinal).chain(plan.added.iter().copied()).collect();
        managed.retain(|id| !plan.dropped.contains(id));
        let all = self.pods.iter().map(|pod| pod.ordinal);
        plan.unmanaged = all.filter(|id| !managed.contains(id)).collect();
        plan
    }
}

/// Returns whether `a` goes before `b`: by rank, then deletionPriority, then ordinal, each from the highest down.
///
/// Priorities that differ as text but not as numbers (`""`, `"abc"`, `"0"`) skip the ordinal: neither goes first.
fn goes_before(a: &ScalePod, b: &ScalePod) -> bool {
    let key = |pod: &ScalePod| (ops_state::rank(&pod.ops_state), priority(&pod.deletion_priority));
    match key(a).cmp(&key(b)) {
        Ordering::Equal => a.deletion_priority == b.deletion_priority && a.ordinal > b.ordinal,
        order => order == Ordering::Greater,
    }
}

/// Sorts pods as the controller does: it inserts each where it belongs, up to a dozen pods; more need an order that
/// holds throughout, so that there the ordinal always counts.
fn sort(pods: &mut [&ScalePod]) {
    if pods.len() > 12 {
        let key = |pod: &ScalePod| (ops_state::rank(&pod.ops_state), priority(&pod.deletion_priority), pod.ordinal);
        pods.sort_by_key(|pod| Reverse(key(pod)));
        return;
    }
    for start in 1..pods.len() {
        let mut at = start;
        while at > 0 && goes_before(pods[at], pods[at - 1]) {
            pods.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// Returns the ordinals in the order in which scale-ins take the rooms.
pub fn deletion_order(pods: &[ScalePod]) -> Vec<i32> {
    let mut sorted: Vec<&ScalePod> = pods.iter().collect();
    sort(&mut sorted);
    sorted.iter().map(|pod| pod.ordinal).collect()
}

/// What a scale step writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// New `reserveOrdinals` of the workload.
    pub reserve: BTreeSet<i32>,
    /// New annotation reserve-ids of the GameServerSet.
    pub annotation: BTreeSet<i32>,
    /// New `spec.reserveGameServerIds`, if it is written at all.
    pub spec: Option<BTreeSet<i32>>,
}

impl Written {
    /// Returns the ordinals that Kruise will keep.
    pub fn ordinals(&self, replicas: i32) -> Vec<i32> {
        ordinals::first_free(replicas, &self.reserve)
    }

    /// Returns the `reserveOrdinals` as they stand in the object.
    pub fn encoded(&self) -> Vec<Value> {
        reserve::encode(&self.reserve)
    }
}

impl Plan {
    /// Returns what is written under a scale-down strategy.
    pub fn strategy(&self, strategy: Strategy) -> Written {
        let reserve: BTreeSet<i32> = self.implicit.union(&self.explicit).copied().collect();
        match strategy {
            Strategy::General => Written { annotation: self.explicit.clone(), spec: None, reserve },
            Strategy::ReserveIds => Written { annotation: reserve.clone(), spec: Some(reserve.clone()), reserve },
        }
    }
}

/// Returns the rooms that a change to `target` replicas takes away, as the cluster stands now: OKG's choice of ids,
/// then Kruise's ordinals. The two differ where a room is terminating or not yet created.
pub fn victims(scaling: &Scaling<'_>, strategy: Strategy) -> Vec<i32> {
    let kept: BTreeSet<i32> = scaling.plan().strategy(strategy).ordinals(scaling.target).into_iter().collect();
    let gone = scaling.pods.iter().filter(|pod| !pod.terminating && !kept.contains(&pod.ordinal));
    let mut gone: Vec<i32> = gone.map(|pod| pod.ordinal).collect();
    gone.sort_unstable_by_key(|ordinal| Reverse(*ordinal));
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> BTreeSet<i32> {
        if text == "-" { BTreeSet::new() } else { reserve::parse_annotation(text) }
    }

    fn pods(text: &str) -> Vec<ScalePod> {
        text.split_whitespace().filter(|word| *word != "-").map(pod).collect()
    }

    fn pod(word: &str) -> ScalePod {
        let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        let pod = ScalePod::new(word[..digits].parse().unwrap());
        match &word[digits..] {
            "" => pod,
            "K" => pod.ops_state("Kill"),
            "W" => pod.ops_state("WaitToBeDeleted"),
            "A" => pod.ops_state("Allocated"),
            "M" => pod.ops_state("Maintaining"),
            "!" => pod.terminating(),
            "~" => pod.preparing_delete(),
            mark if mark.starts_with('@') => pod.deletion_priority(mark[1..].parse().unwrap()),
            text => pod.ops_state(text),
        }
    }

    /// name, S, A, I, n, pods, reserve after, ids after.
    const VECTORS: &str = "
        U0|2,3,4|2,3|5|3|0@10 1M 4W 6|2-5|0,1,6
        U1|0,2,3|0,4,5|-|3|1 2 3 6 7|0,2-5|1,6,7
        U2|0|0,4,5|-|1|1 2 3 6 7|0,2-7|1
        U3|0,2,3|0,4,5|-|4|1 2 3 6 7|0,2,3,5|1,4,6,7
        U4|0,3,5|0,3,5|-|1|1 2 4 6|0,2-6|1
        U5|1,2|-|1,2|2|0 3|1,2|0,3
        U6|-|-|-|3|-|-|0,1,2
        U7|1,2|-|-|3|-|1,2|0,3,4
        U8|0|-|0|1|-|0|1
        U9|-|1|-|2|0 2|1|0,2
        U10|0|-|2,3,4|4|1|0|1,2,3,4
        U11|-|-|2,3,4|4|0 1 2! 3~|3|0,1,2,4
        S0|1|1|-|3|0@10 2W 3 4M|1,2|0,3,4
        S1|0,1|1|-|3|0@10 2W 3 4M|0,1|2,3,4
        S2|-|1|-|5|0 2 3 4|-|0-4
        S3|-|1|3|5|0 2 4|-|0-4
        S4|-|-|3,4,5|5|0 1 2 3~|3|0,1,2,4,5
        E1|-|-|-|4|0 1 2W 3 4|2|0,1,3,4
        E2|-|-|2|3|0 1 3@100 4|2,3|0,1,4
        E3|3-4|-|-|5|0 1 2 3 4|3,4|0,1,2,5,6
        E4|3-6|3,4|-|3|0 1 2 5 6|3-6|0,1,2
        E7|-|-|-|2|0 1K 2|1|0,2
        E8|-|-|1|3|0 2|-|0,1,2
        F1|4|4|1|6|0 2 3 5|4|0,1,2,3,5,6
        F2|-|4|1|4|0 2 3 5|1,4|0,2,3,5
        #152|0,4|0,2|-|3|1 3 4 5 6|0,2,4,6|1,3,5
        R1|-|-|-|4|0 1 2! 3 4A|-|0,1,2,3
        R3|-|-|-|3|0 3 4A|-|0,1,2";

    #[test]
    fn vectors() {
        let rows: Vec<&str> = VECTORS.lines().map(str::trim).filter(|row| !row.is_empty()).collect();
        assert_eq!(rows.len(), 28);
        for row in rows {
            let cells: Vec<&str> = row.split('|').collect();
            let [name, explicit, applied, held, target, pod_list, reserve, ids] = cells[..] else { panic!("{row}") };
            let applied = set(applied);
            let workload: BTreeSet<i32> = set(held).union(&applied).copied().collect();
            let pods = pods(pod_list);
            let scaling =
                Scaling { explicit: set(explicit), applied, workload, target: target.parse().unwrap(), pods: &pods };
            let written = scaling.plan().strategy(Strategy::General);
            assert_eq!(written.reserve, set(reserve), "{name}: reserve");
            assert_eq!(written.ordinals(scaling.target), Vec::from_iter(set(ids)), "{name}: ids");
            assert_eq!((written.annotation, written.spec), (scaling.explicit.clone(), None), "{name}");
        }
    }

    #[test]
    fn reserve_ids_writes_the_whole_set_back() {
        let (five, three) = (pods("0 1 2 3 4"), pods("0 1 2"));
        let scaling = Scaling { target: 3, pods: &five, ..Scaling::default() };
        let written = scaling.plan().strategy(Strategy::ReserveIds);
        assert_eq!((written.spec, written.annotation), (Some([3, 4].into()), [3, 4].into()));
        let scaling =
            Scaling { explicit: [3].into(), applied: [3, 4].into(), workload: [3, 4].into(), target: 4, pods: &three };
        let written = scaling.plan().strategy(Strategy::ReserveIds);
        assert_eq!((written.ordinals(4), written.spec), (vec![0, 1, 2, 4], Some([3].into())));
    }

    #[test]
    fn a_terminating_room_below_makes_another_go() {
        let pods = pods("0 1 2! 3 4A");
        let scaling = Scaling { target: 4, pods: &pods, ..Scaling::default() };
        assert_eq!(scaling.plan().dropped, [0; 0]);
        assert_eq!(victims(&scaling, Strategy::General), [4]);
        let pods = self::pods("0 1~");
        let scaling = Scaling { target: 2, pods: &pods, ..Scaling::default() };
        assert_eq!(scaling.plan().added, [2]);
        assert_eq!(scaling.plan().strategy(Strategy::General).ordinals(2), [0, 1]);
    }

    #[test]
    fn deletion_order_by_rank_priority_ordinal() {
        assert_eq!(deletion_order(&pods("0@10 1M 2W 3")), [2, 0, 3, 1]);
        assert_eq!(deletion_order(&pods("0A 1M 2W 3")), [2, 3, 0, 1]);
        assert_eq!(deletion_order(&pods("0A 1M 2W 3 4K 5user-define")), [4, 2, 5, 3, 0, 1]);
    }
}
