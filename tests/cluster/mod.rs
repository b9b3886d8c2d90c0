//! The door to an API server: in process against scripted answers, on each server, and over real TLS.

mod binary;
mod both;
mod collection;
mod discovery;
mod faults;
mod journal_file;
mod lock;
mod overlay;
mod real;
mod requests;
mod scripted;
pub mod tls;
