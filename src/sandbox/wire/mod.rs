//! The wire: paths, queries and bodies in, answers out. What the objects mean stands outside, in `api` and `write`.

pub mod answer;
pub mod discovery;
pub mod dispatch;
pub mod list;
pub mod request;
pub mod reviews;
pub mod watch;
