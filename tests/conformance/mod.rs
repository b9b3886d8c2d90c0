//! Recordings of real servers, played against the embedded cluster.

mod api;
pub mod kubectl;
mod okg;
mod record;
mod unify;
