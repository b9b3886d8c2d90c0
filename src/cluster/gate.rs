//! May this go out? Reads always may; a write is held against every condition that somebody has set.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::diagnostic::{Diagnostic, Kind};

/// Name of the condition that [`Gate::close`] sets.
const CLOSED: &str = "closed";

type Condition = Arc<dyn Fn() -> Option<Diagnostic> + Send + Sync>;

/// The switch in front of every write of a [`Cluster`](super::Cluster); clones share it.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<BTreeMap<String, Condition>>>);

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&self.conditions().keys()).finish()
    }
}

impl Gate {
    /// Refuses every write from now on, saying why: "this command only reads".
    pub fn close(&self, why: impl Into<String>) {
        self.close_with(Diagnostic::new(Kind::Refused, "a write was refused before it was sent").why(why));
    }

    /// Refuses every write from now on with this diagnostic.
    pub fn close_with(&self, refusal: Diagnostic) {
        self.require(CLOSED, move || Some(refusal.clone()));
    }

    /// Takes back [`Gate::close`]; other conditions stay.
    pub fn open(&self) {
        self.release(CLOSED);
    }

    /// Asks a condition before every write from now on; what it returns refuses the write.
    pub fn require(&self, name: &str, condition: impl Fn() -> Option<Diagnostic> + Send + Sync + 'static) {
        self.conditions().insert(name.to_owned(), Arc::new(condition));
    }

    /// Asks the condition of this name no more.
    pub fn release(&self, name: &str) {
        self.conditions().remove(name);
    }

    /// Returns why a write would be refused now; nothing while writes pass.
    pub fn closed(&self) -> Option<Diagnostic> {
        self.closed_despite(None)
    }

    /// Returns why a write would be refused now, were it not for the condition of this name.
    pub(super) fn closed_despite(&self, name: Option<&str>) -> Option<Diagnostic> {
        let conditions = self.conditions();
        let asked = conditions.iter().filter(|(it, _)| Some(it.as_str()) != name).map(|(_, it)| it.clone());
        let asked: Vec<Condition> = asked.collect();
        drop(conditions);
        asked.iter().find_map(|condition| condition())
    }

    fn conditions(&self) -> MutexGuard<'_, BTreeMap<String, Condition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
