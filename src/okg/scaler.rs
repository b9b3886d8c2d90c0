//! The external scaler that KEDA asks (`pkg/externalscaler`), and the arithmetic of the autoscaler above it.

use serde_json::Value;

use super::{names, ops_state};

/// What the scaler counts: pods with the set's owner label, terminating ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All pods.
    pub total: i32,
    /// Pods labelled None.
    pub none: i32,
    /// Pods labelled WaitToBeDeleted whose gs-state is not Deleting.
    pub wait_to_be_deleted: i32,
}

impl Counts {
    /// Counts pod objects by their labels.
    pub fn of<'a>(pods: impl IntoIterator<Item = &'a Value>) -> Counts {
        let mut counts = Counts::default();
        for pod in pods {
            let labels = &pod["metadata"]["labels"];
            let label = |key: &str| labels[key].as_str().unwrap_or_default();
            counts.total += 1;
            match label(names::GS_OPS_STATE) {
                ops_state::NONE => counts.none += 1,
                ops_state::WAIT_TO_BE_DELETED if label(names::GS_STATE) != "Deleting" => counts.wait_to_be_deleted += 1,
                _ => {}
            }
        }
        counts
    }
}

/// Metadata of the ScaledObject's trigger that the scaler cannot read, in the scaler's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidMetadata(pub String);

/// Returns the least number of available rooms that `minAvailable` means for the rooms there are.
///
/// Absent means 0; from 1 up it is a number, below 1 a fraction of the rooms.
pub fn min_available(text: Option<&str>, counts: Counts) -> Result<i32, InvalidMetadata> {
    let Some(text) = text else { return Ok(0) };
    let n: f64 =
        text.parse().map_err(|_| InvalidMetadata(format!("strconv.ParseFloat: parsing {text:?}: invalid syntax")))?;
    let (total, none) = (f64::from(counts.total), f64::from(counts.none));
    if n == 0.0 || n >= 1.0 {
        return Ok(whole(n.ceil()));
    }
    if !(0.0..1.0).contains(&n) {
        let why = "invalid min number: must be greater than 0 or a valid percentage between 0 and 1";
        return Err(InvalidMetadata(why.to_owned()));
    }
    let more = (total * n - none) / (1.0 - n);
    if more <= 0.0 { Ok(0) } else { Ok(whole(((more * 100.0).round() / 100.0).ceil()) + counts.none) }
}

#[allow(clippy::cast_possible_truncation)]
fn whole(number: f64) -> i32 {
    number as i32
}

/// Returns the metric `gssReplicas`: the replicas that the scaler wants.
///
/// Scaling out comes first: as long as fewer rooms than `min` are available, marked rooms are not taken away.
pub fn desired_replicas(
    replicas: i32,
    counts: Counts,
    min: Option<&str>,
    max: Option<&str>,
) -> Result<i32, InvalidMetadata> {
    // A maximum that is no number is none.
    let max: Option<i32> = max.and_then(|text| text.parse().ok());
    let mut min = min_available(min, counts)?;
    if let Some(max) = max {
        min = min.min(max);
    }
    if counts.none < min {
        return Ok(replicas + min - counts.none);
    }
    if counts.wait_to_be_deleted > 0 {
        return Ok(replicas - counts.wait_to_be_deleted);
    }
    match max {
        Some(max) if counts.none > max => Ok(replicas - (counts.none - max)),
        _ => Ok(replicas),
    }
}

/// Returns `IsActive`: whether KEDA keeps the set above zero.
pub fn is_active(min: Option<&str>, current: i32, wait_to_be_deleted: i32) -> bool {
    min.and_then(|text| text.parse::<f64>().ok()).is_some_and(|min| min > 0.0) || current - wait_to_be_deleted > 0
}

/// Returns the replicas that a HorizontalPodAutoscaler asks for, given a metric with an AverageValue target of 1.
///
/// Within the tolerance (0.1 = 10 %) of what there is, nothing changes.
pub fn autoscaler_wants(current: i32, metric: i32, min: i32, max: i32, tolerance: f64) -> i32 {
    let ratio = if current == 0 { f64::INFINITY } else { f64::from(metric) / f64::from(current) };
    let wanted = if (ratio - 1.0).abs() <= tolerance { current } else { metric };
    wanted.clamp(min, max.max(min))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn min(total: i32, none: i32, text: &str) -> Result<i32, InvalidMetadata> {
        min_available(Some(text), Counts { total, none, wait_to_be_deleted: 0 })
    }

    #[test]
    fn min_available_vectors() {
        assert_eq!(min(10, 5, "0.5"), Ok(0));
        assert_eq!(min(10, 2, "0.5"), Ok(8));
        assert_eq!(min(5, 1, "0.8"), Ok(16));
        assert_eq!(min(19, 9, "0.5"), Ok(10));
        assert_eq!(min(100, 10, "0.2"), Ok(23));
        assert_eq!(min(10, 2, "3.1"), Ok(4));
        assert_eq!(min(10, 2, "1.0"), Ok(1));
        assert!(min(10, 2, "-1").is_err());
        assert!(min(10, 2, "x").is_err());
        assert_eq!(min_available(None, Counts::default()), Ok(0));
    }

    #[test]
    fn scaling_out_comes_before_marked_rooms() {
        let counts = Counts { total: 6, none: 3, wait_to_be_deleted: 2 };
        assert_eq!(desired_replicas(6, counts, Some("3"), None), Ok(4));
        assert_eq!(desired_replicas(6, counts, Some("5"), None), Ok(8));
        assert_eq!(desired_replicas(6, counts, Some("5"), Some("2")), Ok(4));
        let idle = Counts { total: 6, none: 6, wait_to_be_deleted: 0 };
        assert_eq!(desired_replicas(6, idle, None, Some("2")), Ok(2));
        assert_eq!(desired_replicas(6, idle, None, None), Ok(6));
    }

    #[test]
    fn tolerance_hides_one_mark_in_twenty() {
        assert_eq!(autoscaler_wants(20, 19, 0, 100, 0.1), 20);
        assert_eq!(autoscaler_wants(6, 4, 3, 100, 0.1), 4);
        assert_eq!(autoscaler_wants(6, 1, 3, 100, 0.1), 3);
        assert!(is_active(Some("1"), 0, 0) && is_active(None, 3, 2) && !is_active(None, 2, 2));
    }
}
