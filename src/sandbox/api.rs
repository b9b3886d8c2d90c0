//! The API behind the wire: what HTTP routes and controllers both call. Every call is synchronous and atomic.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::authorize;
use super::builtin_crds;
use super::containers::Containers;
use super::crd;
use super::delete;
use super::faults::Age;
use super::kinds::{self, Kind};
use super::object::{Actor, Change, DeleteOptions, Object, Patch};
use super::status::Status;
use super::store::{self, Store};
use super::webhooks::Webhooks;
use super::witness::{Attempt, Wish, Witness};
use super::write;
use crate::clock::Clock;

/// The API of one cluster. Clones share the cluster.
///
/// A resource is named `<plural>.<group>`, or `<plural>` for core kinds: `pods`, `gameserversets.game.kruise.io`.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    clock: Clock,
    state: Mutex<State>,
    wake: watch::Sender<u64>,
    witness: OnceLock<Witness>,
}

/// What a write may change: the objects and the source of names and uids.
pub(super) struct State {
    pub store: Store,
    pub webhooks: Option<Arc<Webhooks>>,
    pub rng: fastrand::Rng,
    pub clock: Clock,
    /// The newest version at each time that something was written.
    times: VecDeque<(Timestamp, u64)>,
    pub containers: Arc<Containers>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("version", &self.version()).finish_non_exhaustive()
    }
}

/// How unknown and repeated fields of a body are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped in silence.
    Ignore,
    /// They are dropped, with a warning each.
    Warn,
    /// They are refused.
    Strict,
}

/// What goes with a write beside its body.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Judge the request, store nothing.
    pub dry_run: bool,
    /// How unknown fields are treated.
    pub validation: FieldValidation,
    /// The version of the API that the caller speaks; the stored one if none.
    pub version: Option<String>,
    /// Whether the write shows in managedFields.
    pub tracked: bool,
    /// Findings of the decoder, which count by `validation`: `unknown field "spec.x"`.
    pub findings: Vec<String>,
}

impl Default for WriteOptions {
    fn default() -> WriteOptions {
        WriteOptions {
            dry_run: false,
            validation: FieldValidation::Ignore,
            version: None,
            tracked: false,
            findings: Vec::new(),
        }
    }
}

/// The outcome of a write.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object after the write.
    pub object: Object,
    /// Whether it was created.
    pub created: bool,
    /// Warnings for the client.
    pub warnings: Vec<String>,
}

/// The outcome of a deletion.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// The object's last state.
    pub object: Object,
    /// Whether it is gone; otherwise finalizers or a grace period hold it.
    pub gone: bool,
}

impl Api {
    /// A cluster with the built-in kinds, OKG's and Kruise's, and the namespaces that every cluster has.
    pub fn new(clock: Clock, seed: u64) -> Api {
        let mut store = Store::new();
        for kind in kinds::built_in() {
            store.serve(kind);
        }
        let rng = fastrand::Rng::with_seed(seed ^ 0x6f6b_6773);
        let state = State { store, webhooks: None, rng, clock, containers: Arc::default(), times: VecDeque::new() };
        let (wake, _) = watch::channel(state.store.version());
        let api = Api(Arc::new(Shared { clock, state: Mutex::new(state), wake, witness: OnceLock::new() }));
        let actor = Actor::controller("kube-apiserver");
        for definition in builtin_crds::definitions() {
            if let Err(status) = api.create(&actor, crd::KEY, definition.clone()) {
                tracing::error!("definition `{}`: {}", super::object::name(definition), status.message);
            }
        }
        for (resource, body) in authorize::bootstrap() {
            if let Err(status) = api.create(&actor, resource, body) {
                tracing::error!("{resource}: {}", status.message);
            }
        }
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            if let Err(status) = api.create(&actor, "namespaces", body) {
                tracing::error!("namespace `{name}`: {}", status.message);
            }
        }
        api
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts admission webhooks in front of every write.
    pub(super) fn set_webhooks(&self, webhooks: Webhooks) {
        self.state().webhooks = Some(Arc::new(webhooks));
    }

    /// Runs a write and wakes those who wait for it.
    pub(super) fn write<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let before = state.store.version();
        let result = work(&mut state);
        let after = state.store.version();
        if after != before {
            state.wrote(self.0.clock.now(), after);
            self.0.wake.send_replace(after);
        }
        result
    }

    /// Tells somebody of every write to an object that exists, right after it was tried. There is one witness at most,
    /// the first.
    pub fn witnessed_by(&self, witness: Witness) {
        // Another one would keep another score.
        let _ = self.0.witness.set(witness);
    }

    fn before(&self, resource: &str, namespace: &str, name: &str) -> Option<Object> {
        self.0.witness.get().and_then(|_| self.get(resource, namespace, name))
    }

    fn testify(&self, attempt: Attempt<'_>) {
        if let Some(witness) = self.0.witness.get() {
            witness(&attempt);
        }
    }

    /// Reads the store.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Store) -> T) -> T {
        work(&self.state().store)
    }

    /// Returns the cluster's clock.
    pub fn clock(&self) -> Clock {
        self.0.clock
    }

    /// Returns a kind by `<plural>[.<group>]`.
    pub fn kind(&self, resource: &str) -> Option<Arc<Kind>> {
        self.read(|store| store.kind(resource))
    }

    /// Returns the name of the resource of a kind, as `apiVersion` and `kind` of an object tell it.
    pub fn resource_of(&self, api_version: &str, kind: &str) -> Option<Arc<str>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.read(|store| {
            let found = store.kinds().find(|k| k.group == group && k.kind == kind && has(&k.versions, version));
            found.map(|kind| kind.key.clone())
        })
    }

    /// Returns an object; `namespace` is empty for cluster-scoped kinds.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Object> {
        self.read(|store| store.get(shelf(resource), namespace, name))
    }

    /// Returns objects of one namespace or of all, ordered by namespace and name.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Object> {
        self.read(|store| store.list(shelf(resource), namespace))
    }

    /// Returns the newest resourceVersion.
    pub fn version(&self) -> u64 {
        self.read(Store::version)
    }

    /// Says that what was written so far lies before the first request.
    pub(super) fn begin(&self) {
        let now = self.0.clock.now();
        let mut state = self.state();
        state.times.clear();
        let version = state.store.version();
        state.wrote(now, version);
    }

    /// Returns the newest version of so many writes and so long ago.
    pub(super) fn version_of(&self, age: Age) -> u64 {
        let state = self.state();
        let newest = state.store.version().saturating_sub(age.writes);
        if age.time.is_zero() {
            return newest;
        }
        let then = self.0.clock.now() - age.time;
        let index = state.times.partition_point(|(time, _)| *time <= then);
        // Before the first request there is nothing to see but the cluster as it started.
        let then = state.times.get(index.saturating_sub(1));
        newest.min(then.map_or(newest, |(_, version)| *version))
    }

    /// Returns the changes after a version, oldest first.
    pub fn changes(&self, after: u64) -> Vec<Change> {
        self.read(|store| store.changes(after).cloned().collect())
    }

    /// Returns the oldest version that `changes` can still be asked for without a gap.
    pub fn oldest(&self) -> u64 {
        self.read(Store::oldest)
    }

    /// Follows the changes after a version without ever losing one, as those do who live inside the cluster.
    pub fn follow(&self, after: u64) -> Follower {
        let mut state = self.state();
        let (reader, first) = state.store.add_reader(after);
        let seen = if first.is_some() { state.store.version() } else { after };
        Follower { api: self.clone(), reader, seen, first }
    }

    /// Keeps so many changes for watches and old lists; 40,000 unless told otherwise.
    pub fn keep_changes(&self, count: usize) {
        self.state().store.keep(count);
    }

    /// Waits until something was written after a version.
    pub async fn changed(&self, after: u64) {
        let mut wake = self.0.wake.subscribe();
        // The sender lives as long as `self`.
        let _ = wake.wait_for(|version| *version > after).await;
    }

    /// Creates an object.
    pub fn create(&self, actor: &Actor, resource: &str, body: Value) -> Result<Object, Status> {
        let namespace = super::object::namespace(&body).to_owned();
        self.create_with(actor, resource, &namespace, body, &WriteOptions::default()).map(|written| written.object)
    }

    /// Creates an object in a namespace, with the options of the wire.
    pub fn create_with(
        &self,
        actor: &Actor,
        resource: &str,
        namespace: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        self.write(|state| {
            let kind = served(state, resource)?;
            write::create(state, &kind, actor, namespace, body, options)
        })
    }

    /// Replaces an object, or a subresource of it. A `resourceVersion` in the body must be the current one.
    pub fn replace(&self, actor: &Actor, resource: &str, subresource: &str, body: Value) -> Result<Object, Status> {
        let (namespace, name) = (super::object::namespace(&body).to_owned(), super::object::name(&body).to_owned());
        let options = WriteOptions::default();
        self.replace_with(actor, resource, subresource, &namespace, &name, body, &options).map(|w| w.object)
    }

    /// Replaces an object or a subresource, with the options of the wire.
    #[allow(clippy::too_many_arguments)]
    pub fn replace_with(
        &self,
        actor: &Actor,
        resource: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let before = self.before(resource, namespace, name);
        let written = self.write(|state| {
            let kind = served(state, resource)?;
            write::replace(state, &kind, actor, subresource, namespace, name, body, options)
        });
        let outcome = written.as_ref().map(|written| &written.object);
        let manager = &actor.manager;
        let before = before.as_ref();
        self.testify(Attempt { manager, wish: Wish::Replace, resource, subresource, name, before, outcome });
        written
    }

    /// Patches an object, or a subresource of it.
    pub fn patch(
        &self,
        actor: &Actor,
        resource: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
        patch: &Patch,
    ) -> Result<Object, Status> {
        let options = WriteOptions::default();
        self.patch_with(actor, resource, subresource, namespace, name, patch, &options).map(|w| w.object)
    }

    /// Patches an object or a subresource, with the options of the wire.
    #[allow(clippy::too_many_arguments)]
    pub fn patch_with(
        &self,
        actor: &Actor,
        resource: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let before = self.before(resource, namespace, name);
        let written = self.write(|state| {
            let kind = served(state, resource)?;
            write::patch(state, &kind, actor, subresource, namespace, name, patch, options)
        });
        let outcome = written.as_ref().map(|written| &written.object);
        let (manager, wish, before) = (&actor.manager, Wish::Patch(patch), before.as_ref());
        self.testify(Attempt { manager, wish, resource, subresource, name, before, outcome });
        written
    }

    /// Deletes an object. Returns it while finalizers or a grace period hold it, `None` when it is gone.
    pub fn delete(
        &self,
        actor: &Actor,
        resource: &str,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Option<Object>, Status> {
        let deleted = self.delete_with(actor, resource, namespace, name, options)?;
        Ok(if deleted.gone { None } else { Some(deleted.object) })
    }

    /// Says what goes on in containers.
    pub fn set_containers(&self, containers: Containers) {
        self.state().containers = Arc::new(containers);
    }

    /// Returns what goes on in containers.
    pub fn containers(&self) -> Arc<Containers> {
        self.state().containers.clone()
    }

    /// Gives a pod its node, as a scheduler does.
    pub fn bind(&self, namespace: &str, pod: &str, node: &str) -> Result<Object, Status> {
        self.write(|state| {
            let kind = served(state, "pods")?;
            write::bind(state, &kind, namespace, pod, node)
        })
    }

    /// Deletes an object and returns its last state.
    pub fn delete_with(
        &self,
        actor: &Actor,
        resource: &str,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let before = self.before(resource, namespace, name);
        let deleted = self.write(|state| {
            let kind = served(state, resource)?;
            delete::delete(state, &kind, namespace, name, options)
        });
        let outcome = deleted.as_ref().map(|deleted| &deleted.object);
        let (manager, wish, before) = (&actor.manager, Wish::Delete, before.as_ref());
        self.testify(Attempt { manager, wish, resource, subresource: "", name, before, outcome });
        deleted
    }
}

impl State {
    /// Notes when a version was written.
    fn wrote(&mut self, now: Timestamp, version: u64) {
        match self.times.back_mut() {
            Some((time, newest)) if *time == now => *newest = version,
            _ => self.times.push_back((now, version)),
        }
        if self.times.len() > store::KEPT {
            self.times.pop_front();
        }
    }
}

/// A reader of all changes. While it is behind, the changes that it has not seen are kept for it.
#[derive(Debug)]
pub struct Follower {
    api: Api,
    reader: u64,
    seen: u64,
    first: Option<Vec<Change>>,
}

impl Follower {
    /// Returns what was written since the last call, oldest first; waits until there is something. One that begins
    /// before the log does gets all objects first, as added.
    pub async fn next(&mut self) -> Vec<Change> {
        if let Some(first) = self.first.take() {
            return first;
        }
        self.api.changed(self.seen).await;
        let mut state = self.api.state();
        let changes: Vec<Change> = state.store.changes(self.seen).cloned().collect();
        self.seen = state.store.version();
        state.store.has_read(self.reader, self.seen);
        changes
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.api.state().store.remove_reader(self.reader);
    }
}

/// Events of both groups are the same objects.
fn shelf(resource: &str) -> &str {
    if resource == "events.events.k8s.io" { "events" } else { resource }
}

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|entry| entry == item)
}

fn served(state: &State, resource: &str) -> Result<Arc<Kind>, Status> {
    let missing = || Status::new(404, "NotFound", "the server could not find the requested resource", json!({}));
    state.store.kind(resource).ok_or_else(missing)
}
