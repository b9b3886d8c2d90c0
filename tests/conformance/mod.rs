//! Recordings of real servers, played against the embedded cluster.

mod okg;
