//! Which ordinals Kruise's Advanced StatefulSet keeps, makes and deletes (`K:pkg/controller/statefulset`).

use std::collections::BTreeSet;

/// Returns the ordinals that exist: the first `replicas` integers from 0 that are not reserved.
pub fn first_free(replicas: i32, reserved: &BTreeSet<i32>) -> Vec<i32> {
    let count = usize::try_from(replicas).unwrap_or(0);
    (0..).filter(|ordinal| !reserved.contains(ordinal)).take(count).collect()
}

/// What the workload will do with the pods there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ordinals {
    /// Ordinals without a pod, in the order of creation.
    pub missing: Vec<i32>,
    /// Ordinals whose pod is deleted, from the highest down.
    pub condemned: Vec<i32>,
}

impl Ordinals {
    /// Compares the ordinals wanted with those that have a pod.
    pub fn compare(replicas: i32, reserved: &BTreeSet<i32>, pods: &BTreeSet<i32>) -> Ordinals {
        let wanted: BTreeSet<i32> = first_free(replicas, reserved).into_iter().collect();
        Ordinals {
            missing: wanted.difference(pods).copied().collect(),
            condemned: pods.iter().rev().filter(|ordinal| !wanted.contains(ordinal)).copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ordinals_are_skipped() {
        assert_eq!(first_free(3, &[1, 2].into()), [0, 3, 4]);
        assert_eq!(first_free(0, &BTreeSet::new()), [0; 0]);
    }

    #[test]
    fn condemned_from_the_highest_down() {
        let ordinals = Ordinals::compare(2, &[1].into(), &[0, 1, 3, 4].into());
        assert_eq!(ordinals, Ordinals { missing: vec![2], condemned: vec![4, 3, 1] });
    }
}
