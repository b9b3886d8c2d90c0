//! The assumptions that the drain rests on, each switched off alone, and what the model check says then.

use crate::arena::{SET, Subject, World};

/// What a drain rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assumption {
    /// Whoever plays or is sent to a room has a GameServer that is not None.
    A0,
    /// No matchmaker writes later after it has read than the grace.
    G,
    /// Nobody else writes over a hold or a mark.
    Q,
    /// No pod of the set crashes, is evicted or recreated meanwhile.
    C,
    /// Whoever lowers replicas never does so while the set is unsettled.
    D,
}

/// All of them.
pub const ALL: [Assumption; 5] = [Assumption::A0, Assumption::G, Assumption::Q, Assumption::C, Assumption::D];

/// The endings of the shipped drain.
pub const ENDINGS: [Subject; 3] = [Subject::Mark, Subject::Retire, Subject::Block];

impl Assumption {
    /// Returns whether the model check loses players with this one off.
    pub fn model_loses(self, ending: Subject) -> bool {
        match (self, ending) {
            (Assumption::A0 | Assumption::G, _) | (_, Subject::Mark) => true,
            (Assumption::D, _) | (_, Subject::Block) => false,
            (Assumption::Q | Assumption::C, _) => true,
        }
    }

    /// Returns the assumption in words, and how it is broken here.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Assumption::A0 => ("players have a GameServer that is not None", "players in rooms that stay None"),
            Assumption::G => {
                ("no matchmaker is later than the grace", "a matchmaker writes 8 s late, the grace is 1 s")
            }
            Assumption::Q => ("nobody writes over hold or mark", "a service quality writes None over them"),
            Assumption::C => ("no pod crashes meanwhile", "pods crash"),
            Assumption::D => ("no scale-in while unsettled", "KEDA without window, rooms that end slowly"),
        }
    }

    /// Returns a dense world with this assumption off and the others kept.
    pub fn off(self, ending: Subject) -> World {
        let kept = World::kept(ending);
        match self {
            Assumption::A0 => World { unheard: 60, ..kept },
            Assumption::G => World { grace: "1s", ..kept },
            // A matchmaker that is quick, and labels or an OKG that are not: time to take what was freed.
            Assumption::Q => {
                World { flaps: 4000, guarded: (1500, "20ms"), label_lag: "2s", qps: 20, termination: "2s", ..kept }
            }
            Assumption::C => World { crashes: 400, termination: "2s", ..kept },
            Assumption::D => {
                let own = format!(
                    "- {{ gss: {}, matchmaker: guarded, perMinute: 20, match: 2s, patience: 0s, afterMatch: WaitToBeDeleted }}\n",
                    SET
                );
                // A retire marks nothing: without marks of the title's own the scaler would never lower.
                let own = if ending == Subject::Mark { String::new() } else { own };
                World { keda: Some((0, "1s")), termination: "8s", own, ..kept }
            }
        }
    }
}
