//! Runs on a served cluster: their journals, their receipts, and how they go on after any end.

mod kill;
mod proxy;
mod truth;
mod world;
