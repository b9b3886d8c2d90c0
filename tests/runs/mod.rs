//! Runs on a served cluster: their journals, their receipts, and how they go on after any end.

mod kill;
pub mod proxy;
pub mod truth;
pub mod world;
