//! Reading a GameServerSet with its rooms: once from two lists, or from watched collections while a wait's condition
//! is evaluated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::host::{Host, ScriptResult, current_reads};
use super::ledger::{FirstSeen, Note};
use crate::cluster::{Cluster, Collection, Listed, Selector, kind};
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::okg::game_server::{GameServer, Room, TAKING_OVER, Version, join};
use crate::okg::game_server_set::{GameServerSet, Workload};
use crate::okg::names;
use crate::okg::pod::Pod;
use crate::script::throw;
use futures::future::{BoxFuture, FutureExt as _, select_all, try_join_all};

/// How long OKG and Kruise get to take a change over before they count as standing still, in seconds.
pub const PATIENCE_SECONDS: i64 = 15;

/// How often is looked whether they have.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long changes are gathered before a condition is evaluated again.
const TOGETHER: Duration = Duration::from_millis(10);

/// A GameServerSet as it was read at about one moment.
#[derive(Clone, Debug)]
pub struct SetView {
    /// The GameServerSet.
    pub set: Arc<GameServerSet>,
    /// Its Advanced StatefulSet, if OKG has made it.
    pub workload: Option<Arc<Workload>>,
    /// GameServers with their pods, by ordinal.
    pub rooms: Vec<Room>,
    /// Pods by name, those without a GameServer included.
    pub pods: BTreeMap<String, Arc<Pod>>,
}

impl SetView {
    fn new(
        set: Arc<GameServerSet>,
        workload: Option<Arc<Workload>>,
        servers: Vec<Arc<GameServer>>,
        pods: BTreeMap<String, Arc<Pod>>,
    ) -> SetView {
        let rooms = join(servers, &pods, workload.as_deref(), set.observed());
        SetView { set, workload, rooms, pods }
    }

    /// Returns whether versions can be told: OKG and Kruise have both seen the present template.
    pub fn versions_known(&self) -> bool {
        self.set.observed() && self.workload.as_ref().is_some_and(|workload| workload.update_revision().is_some())
    }
}

/// The collections that a wait's condition reads: each is listed once and then watched.
#[derive(Default)]
pub struct Reads {
    inner: tokio::sync::Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    sets: BTreeMap<String, Collection<GameServerSet>>,
    workloads: BTreeMap<String, Collection<Workload>>,
    servers: BTreeMap<String, Collection<GameServer>>,
    pods: BTreeMap<String, Collection<Pod>>,
}

/// Returns the collection of that key, started.
async fn started<T>(
    map: &mut BTreeMap<String, Collection<T>>,
    key: &str,
    make: impl FnOnce() -> Collection<T>,
) -> Result<Collection<T>, Diagnostic>
where
    T: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    if let Some(collection) = map.get(key) {
        return Ok(collection.clone());
    }
    let collection = make();
    collection.start().await?;
    map.insert(key.to_owned(), collection.clone());
    Ok(collection)
}

impl Reads {
    async fn set(&self, cluster: &Cluster, name: &str) -> Result<Arc<GameServerSet>, Diagnostic> {
        let mut inner = self.inner.lock().await;
        let namespace = cluster.namespace().to_owned();
        let make = || cluster.collection(&kind::GAME_SERVER_SET, &namespace, &by_name(name));
        let collection = started(&mut inner.sets, name, make).await?;
        drop(inner);
        match collection.items().get(name) {
            Some(set) => Ok(set.clone()),
            None => Err(no_such_set(cluster, name).await),
        }
    }

    async fn pods(&self, cluster: &Cluster, name: &str) -> Result<BTreeMap<String, Arc<Pod>>, Diagnostic> {
        let mut inner = self.inner.lock().await;
        let make = || cluster.collection(&kind::POD, cluster.namespace(), &of_set(name));
        Ok(started(&mut inner.pods, name, make).await?.items().as_ref().clone())
    }

    async fn view(&self, cluster: &Cluster, name: &str) -> Result<SetView, Diagnostic> {
        let set = self.set(cluster, name).await?;
        let mut inner = self.inner.lock().await;
        let namespace = cluster.namespace();
        let make = || cluster.collection(&kind::STATEFUL_SET, namespace, &by_name(name));
        let workload = started(&mut inner.workloads, name, make).await?.items().get(name).cloned();
        let make = || cluster.collection(&kind::GAME_SERVER, namespace, &of_set(name));
        let servers = started(&mut inner.servers, name, make).await?.items().values().cloned().collect();
        drop(inner);
        let pods = self.pods(cluster, name).await?;
        Ok(SetView::new(set, workload, servers, pods))
    }

    /// Returns whether anything was read that can be watched.
    pub async fn any(&self) -> bool {
        let inner = self.inner.lock().await;
        !(inner.sets.is_empty() && inner.workloads.is_empty() && inner.servers.is_empty() && inner.pods.is_empty())
    }

    /// Waits until one of the collections has changed since this last returned; an error that never heals ends the
    /// wait. Changes that come together are reported once.
    pub async fn changed(&self) -> Result<(), Diagnostic> {
        let mut inner = self.inner.lock().await;
        let mut changes = inner.changes();
        if changes.is_empty() {
            return std::future::pending().await;
        }
        select_all(changes.drain(..)).await.0?;
        drop(changes);
        tokio::time::sleep(TOGETHER).await;
        for change in inner.changes() {
            change.now_or_never().transpose()?;
        }
        Ok(())
    }

    /// Returns since when the server cannot be watched, and why; nothing while all is well.
    pub async fn trouble(&self) -> Vec<String> {
        let inner = self.inner.lock().await;
        let all = (inner.sets.values().map(Collection::trouble))
            .chain(inner.workloads.values().map(Collection::trouble))
            .chain(inner.servers.values().map(Collection::trouble))
            .chain(inner.pods.values().map(Collection::trouble));
        let mut told: Vec<String> =
            all.flatten().map(|(since, error)| format!("not watched since {since:.0}: {error}")).collect();
        told.dedup();
        told
    }

    /// Returns the resourceVersions that the collections are at, by resource and set.
    pub async fn versions(&self) -> BTreeMap<String, String> {
        fn of<T: serde::de::DeserializeOwned + Send + Sync + 'static>(
            plural: &str,
            collections: &BTreeMap<String, Collection<T>>,
        ) -> Vec<(String, String)> {
            collections.iter().map(|(set, it)| (format!("{plural}/{set}"), it.version())).collect()
        }
        let inner = self.inner.lock().await;
        let mut versions = of("gameserversets", &inner.sets);
        versions.extend(of("statefulsets", &inner.workloads));
        versions.extend(of("gameservers", &inner.servers));
        versions.extend(of("pods", &inner.pods));
        versions.into_iter().collect()
    }

    /// Lists every collection anew. A watch can be silent; a success is reported only on a fresh list.
    pub async fn refresh(&self) -> Result<(), Diagnostic> {
        let mut lists: Vec<BoxFuture<'static, Result<(), Diagnostic>>> = Vec::new();
        {
            let inner = self.inner.lock().await;
            lists.extend(inner.sets.values().map(list_again));
            lists.extend(inner.workloads.values().map(list_again));
            lists.extend(inner.servers.values().map(list_again));
            lists.extend(inner.pods.values().map(list_again));
        }
        try_join_all(lists).await.map(|_| ())
    }
}

impl Inner {
    fn changes(&mut self) -> Vec<BoxFuture<'_, Result<(), Diagnostic>>> {
        let mut changes = Vec::new();
        changes.extend(self.sets.values_mut().map(|collection| collection.changed().boxed()));
        changes.extend(self.workloads.values_mut().map(|collection| collection.changed().boxed()));
        changes.extend(self.servers.values_mut().map(|collection| collection.changed().boxed()));
        changes.extend(self.pods.values_mut().map(|collection| collection.changed().boxed()));
        changes
    }
}

fn list_again<T>(collection: &Collection<T>) -> BoxFuture<'static, Result<(), Diagnostic>>
where
    T: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let collection = collection.clone();
    async move { collection.refresh().await.map(|_| ()) }.boxed()
}

/// Selects the rooms of a set.
pub fn of_set(name: &str) -> Selector {
    Selector::all().labels(format!("{}={name}", names::OWNER_GSS))
}

fn by_name(name: &str) -> Selector {
    Selector::all().fields(format!("metadata.name={name}"))
}

/// Reads a GameServerSet.
pub fn read_set(host: &Host, name: &str) -> ScriptResult<Arc<GameServerSet>> {
    let (cluster, reads, name) = (host.cluster()?, current_reads(), name.to_owned());
    host.call(async move {
        match reads {
            Some(reads) => reads.set(&cluster, &name).await,
            None => get_set(&cluster, &name).await,
        }
    })
}

/// Reads a GameServerSet with its rooms: two lists, never one GET a room.
pub fn read_view(host: &Host, name: &str) -> ScriptResult<SetView> {
    let (cluster, reads, set) = (host.cluster()?, current_reads(), name.to_owned());
    let seen = host.call(async move {
        match reads {
            Some(reads) => reads.view(&cluster, &set).await,
            None => view(&cluster, &set).await,
        }
    })?;
    note_seen(host, name, &seen);
    Ok(seen)
}

/// Notes the rooms of a set at the first look, and pods that were not there at any look before.
fn note_seen(host: &Host, name: &str, seen: &SetView) {
    let (first, new) = {
        let ledger = host.ledger();
        let known = ledger.pods.get(name);
        let new = seen.pods.values().filter(|pod| known.is_none_or(|known| !known.contains_key(&pod.metadata.uid)));
        let new: BTreeMap<String, String> =
            new.map(|pod| (pod.metadata.uid.clone(), pod.metadata.name.clone())).collect();
        (!ledger.first_seen.contains_key(name), new)
    };
    let set = name.to_owned();
    if first {
        let uid = seen.set.metadata.uid.clone();
        host.note(Note::Seen { set: set.clone(), uid, rooms: first_seen(seen) });
    }
    if !new.is_empty() {
        host.note(Note::Pods { set, pods: new });
    }
}

fn first_seen(seen: &SetView) -> BTreeMap<String, FirstSeen> {
    let of_room = |room: &Room| FirstSeen {
        pod: room.pod.as_ref().map(|pod| pod.metadata.uid.clone()).unwrap_or_default(),
        ops_state: room.server.ops_state().to_owned(),
    };
    seen.rooms.iter().map(|room| (room.name().to_owned(), of_room(room))).collect()
}

/// Reads the pods of a GameServerSet by name.
pub fn read_pods(host: &Host, name: &str) -> ScriptResult<BTreeMap<String, Arc<Pod>>> {
    let (cluster, reads, name) = (host.cluster()?, current_reads(), name.to_owned());
    host.call(async move {
        match reads {
            Some(reads) => reads.pods(&cluster, &name).await,
            None => list_pods(&cluster, &name).await,
        }
    })
}

/// Reads a GameServerSet with its rooms afresh, whatever a wait has in its cache.
pub fn view_afresh(host: &Host, name: &str) -> ScriptResult<SetView> {
    let (cluster, set) = (host.cluster()?, name.to_owned());
    let seen = host.call(async move { view(&cluster, &set).await })?;
    note_seen(host, name, &seen);
    Ok(seen)
}

/// Reads a GameServerSet afresh, whatever a wait has in its cache.
pub fn set_afresh(host: &Host, name: &str) -> ScriptResult<Arc<GameServerSet>> {
    let (cluster, name) = (host.cluster()?, name.to_owned());
    host.call(async move { get_set(&cluster, &name).await })
}

async fn view(cluster: &Cluster, name: &str) -> Result<SetView, Diagnostic> {
    let namespace = cluster.namespace();
    let selector = of_set(name);
    let (workloads, game_servers) = (kind::STATEFUL_SET, kind::GAME_SERVER);
    let (set, workload, servers, pods) = futures::try_join!(
        get_set(cluster, name),
        cluster.find::<Workload>(&workloads, namespace, name),
        cluster.list::<GameServer>(&game_servers, namespace, &selector),
        list_pods(cluster, name),
    )?;
    let servers = servers.items.into_iter().map(Arc::new).collect();
    Ok(SetView::new(set, workload.map(Arc::new), servers, pods))
}

/// Reads a GameServerSet afresh; if there is none of that name, the error lists those there are.
async fn get_set(cluster: &Cluster, name: &str) -> Result<Arc<GameServerSet>, Diagnostic> {
    match cluster.find::<GameServerSet>(&kind::GAME_SERVER_SET, cluster.namespace(), name).await? {
        Some(set) => Ok(Arc::new(set)),
        None => Err(no_such_set(cluster, name).await),
    }
}

async fn list_pods(cluster: &Cluster, name: &str) -> Result<BTreeMap<String, Arc<Pod>>, Diagnostic> {
    let pods: Listed<Pod> = cluster.list(&kind::POD, cluster.namespace(), &of_set(name)).await?;
    Ok(pods.items.into_iter().map(|pod| (pod.metadata.name.clone(), Arc::new(pod))).collect())
}

async fn no_such_set(cluster: &Cluster, name: &str) -> Diagnostic {
    let namespace = cluster.namespace();
    let what = format!("there is no GameServerSet `{namespace}/{name}`");
    let mut diagnostic = Diagnostic::new(Kind::NotFound, what);
    let listed = cluster.list::<GameServerSet>(&kind::GAME_SERVER_SET, namespace, &Selector::all()).await;
    match listed {
        Ok(sets) if sets.items.is_empty() => {
            diagnostic = diagnostic.why(format!("namespace `{namespace}` has no GameServerSet"));
            diagnostic = diagnostic.help("choose the namespace with `-n` and the cluster with `--context`");
        }
        Ok(sets) => {
            let names: Vec<&str> = sets.items.iter().map(|set| set.metadata.name.as_str()).collect();
            diagnostic = diagnostic.why(format!("namespace `{namespace}` has {}", names.join(", ")));
            if let Some(near) = closest(name, names.iter().copied()) {
                diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
            }
        }
        // The list only serves the message; what matters is that the set is not there.
        Err(_) => {}
    }
    diagnostic
}

/// Judges versions as they will be once OKG has taken a planned template over: then every room that there is now is
/// old.
fn as_planned(mut view: SetView) -> SetView {
    let template: BTreeMap<String, String> =
        view.set.containers().into_iter().map(|container| (container.name, container.image)).collect();
    let changed = view.workload.as_ref().is_some_and(|workload| workload.images() != template);
    if changed {
        for room in &mut view.rooms {
            if matches!(room.version, Version::Current | Version::Unknown(TAKING_OVER)) {
                room.version = Version::Old;
            }
        }
    }
    view
}

/// Reads rooms whose version must be known: waits a little for OKG and Kruise to take a change over.
pub fn read_judged(host: &Host, name: &str) -> ScriptResult<SetView> {
    let view = read_view(host, name)?;
    if host.planning() {
        return Ok(as_planned(view));
    }
    if view.versions_known() || current_reads().is_some() {
        return Ok(view);
    }
    let view = read_taken_over(host, name)?;
    if view.versions_known() {
        return Ok(view);
    }
    let why = format!(
        "for {PATIENCE_SECONDS}s OKG has not pushed the present template to the workload, or Kruise has not seen it"
    );
    let what = format!("old and current rooms of `{name}` cannot be told apart");
    Err(throw(
        Diagnostic::new(Kind::Unavailable, what)
            .why(why)
            .help("look at the OKG and Kruise controllers; a template that Kruise refuses looks the same"),
    ))
}

/// Reads a set once OKG and Kruise have seen its present specification, or as it is when they have not after
/// [`PATIENCE_SECONDS`].
pub fn read_taken_over(host: &Host, name: &str) -> ScriptResult<SetView> {
    let deadline = host.now() + jiff::SignedDuration::from_secs(PATIENCE_SECONDS);
    loop {
        let view = read_view(host, name)?;
        if view.versions_known() || host.now() >= deadline {
            return Ok(view);
        }
        host.call(async {
            tokio::time::sleep(LOOK_AGAIN).await;
            Ok(())
        })?;
    }
}
