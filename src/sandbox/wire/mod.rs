//! The wire: paths, queries and bodies in, answers out. What the objects mean stands outside, in `api` and `write`.

pub mod accept;
pub mod answer;
mod columns;
mod discovery;
pub mod dispatch;
mod json;
mod list;
mod logs;
pub mod memory;
mod openapi;
mod options;
mod protobuf;
pub mod request;
mod reviews;
mod streams;
mod subresources;
mod swagger;
mod table;
mod watch;
mod yaml;
