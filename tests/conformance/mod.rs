//! Recordings of real servers, played against the embedded cluster.

mod api;
mod okg;
mod unify;
