//! May this go out? Closed, the gate lets reads through and refuses writes.

use std::sync::{Arc, Mutex, PoisonError};

use crate::diagnostic::{Diagnostic, Kind};

/// The switch in front of every write of a [`Cluster`](super::Cluster).
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<Option<Diagnostic>>>);

impl Gate {
    /// Refuses every write from now on, saying why: "this command only reads".
    pub fn close(&self, why: impl Into<String>) {
        self.close_with(Diagnostic::new(Kind::Refused, "a write was refused before it was sent").why(why));
    }

    /// Refuses every write from now on with this diagnostic.
    pub fn close_with(&self, refusal: Diagnostic) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    /// Lets writes through again.
    pub fn open(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns why writes are refused; nothing while they pass.
    pub fn closed(&self) -> Option<Diagnostic> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
