//! The door to an API server: in process against scripted answers, and over real TLS.

mod binary;
mod collection;
mod discovery;
mod faults;
mod journal_file;
mod lock;
mod overlay;
mod real;
mod requests;
mod scripted;
mod tls;
