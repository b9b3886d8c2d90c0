//! The one door to an API server: client, gate, journal and watch cache.
//!
//! A [`Cluster`] is reached over TLS with what a kubeconfig or a service account says ([`Cluster::connect`]), or in
//! process ([`Cluster::in_process`]); the rest of the program cannot tell which. It must not know any OKG rule, and
//! it retries nothing by itself: an error goes to the caller, who knows what may be repeated. Two exceptions heal on
//! their own, because nothing can be done twice by it: a [`Collection`] survives broken watches, and a request refused
//! with 401 is sent once more with fresh credentials where they can be fetched.
//!
//! ```text
//! let cluster = Cluster::connect(&Connect::default(), Clock::wall()).await?;
//! let set: Value = cluster.get(&kind::GAME_SERVER_SET, cluster.namespace(), "minecraft").await?;
//! ```

pub mod access;
pub mod client;
pub mod collection;
pub mod confine;
pub mod connect;
mod connector;
mod credentials;
pub mod diff;
mod discovery;
mod door;
mod errors;
pub mod exec;
pub mod gate;
pub mod journal;
pub mod journal_file;
pub mod kind;
pub mod list;
pub mod lock;
pub mod overlay;
mod proxy;
mod transport;

pub use access::{Access, Verdict};
pub use client::{Cluster, DeleteOptions, LogOptions, Patch};
pub use collection::Collection;
pub use confine::Outgoing;
pub use connect::Connect;
pub use diff::FieldChange;
pub use discovery::known_kind;
pub use exec::{Command, Ran};
pub use gate::Gate;
pub use journal::{Entry, Journal, Outcome};
pub use journal_file::{JournalFile, Recording};
pub use kind::{Kind, Selector};
pub use list::Listed;
pub use lock::{Lock, LockRequest};
pub use overlay::{Change, Overlay};
