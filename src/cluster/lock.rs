//! One release at a time: a Lease for each GameServerSet, held by a run and renewed while it goes on.
//!
//! The Lease keeps runs of okgscript apart, nobody else. Nothing on the API server's side holds our writes against
//! it; instead no write leaves once the Lease may have passed to somebody else, by this machine's clock. A Lease that
//! looks expired is watched for one renewal before it is taken over, because the clocks of two machines differ; one
//! that expired long ago is taken at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::client::Cluster;
use super::kind::LEASE;
use crate::diagnostic::{Diagnostic, Kind};

/// Time for which a Lease holds without renewal.
pub const DURATION: SignedDuration = SignedDuration::from_secs(30);
/// Pause between renewals.
const RENEWAL: Duration = Duration::from_secs(10);
/// Our writes stop this long before the Lease expires.
const MARGIN: SignedDuration = SignedDuration::from_secs(5);
/// A Lease that expired this long ago is taken over without a further look.
const LONG_AGO: SignedDuration = SignedDuration::from_mins(5);
/// A renewal must show within this time while a Lease that looks expired is watched.
const LOOK: Duration = Duration::from_secs(12);
/// Attempts to win a Lease that others write to at the same time.
const ATTEMPTS: usize = 5;
/// Annotation that tells people who holds it.
const WHO: &str = "okgscript.io/holder";
/// Annotation that keeps the run that held it last, after it was given back.
const RUN: &str = "okgscript.io/run";

/// What is to be locked, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRequest {
    /// Namespace of the GameServerSet.
    pub namespace: String,
    /// Name of the GameServerSet.
    pub set: String,
    /// Id of the run: the same run gets its own Lease back at once.
    pub run: String,
    /// Who runs it, for people: `ops@build-7`.
    pub who: String,
}

/// How the names of our Leases begin.
const PREFIX: &str = "okgscript-";

/// Returns the set that a Lease of ours is about.
pub fn set_of(lease: &str) -> Option<&str> {
    lease.strip_prefix(PREFIX)
}

impl LockRequest {
    /// Returns the Lease's name.
    pub fn lease(&self) -> String {
        format!("{PREFIX}{}", self.set)
    }
}

/// Who held a Lease last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastHolder {
    /// Id of the run.
    pub run: String,
    /// Who ran it, for people.
    pub who: String,
    /// When it last said so.
    pub renewed: Option<Timestamp>,
    /// Whether it may hold it still.
    pub holds: bool,
}

/// Returns who held the Lease of a set last, if anybody did.
pub async fn last_holder(cluster: &Cluster, namespace: &str, set: &str) -> Result<Option<LastHolder>, Diagnostic> {
    let lease: Option<Value> = cluster.find(&LEASE, namespace, &format!("{PREFIX}{set}")).await?;
    let Some(lease) = lease else { return Ok(None) };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (annotations, holder) = (&lease["metadata"]["annotations"], text(&lease["spec"]["holderIdentity"]));
    let run = if holder.is_empty() { text(&annotations[RUN]) } else { holder.clone() };
    let holds = !holder.is_empty() && expiry(&lease).is_some_and(|until| until > cluster.clock().now());
    let renewed = text(&lease["spec"]["renewTime"]).parse().ok();
    let last = LastHolder { run, who: text(&annotations[WHO]), renewed, holds };
    Ok((!last.run.is_empty()).then_some(last))
}

/// A Lease that is held; dropped without [`Lock::release`], it expires by itself.
#[derive(Debug)]
pub struct Lock {
    cluster: Cluster,
    request: LockRequest,
    held: Arc<Mutex<Held>>,
    renewal: AbortHandle,
}

#[derive(Debug)]
struct Held {
    lease: Value,
    /// Until when nobody else can have it.
    until: Timestamp,
    lost: Option<Diagnostic>,
}

impl Lock {
    /// Takes the Lease, or says who holds it and until when (`refused`).
    ///
    /// Fails with `forbidden` when Leases may not be written here: then nothing keeps a second release out.
    pub async fn acquire(cluster: &Cluster, request: LockRequest) -> Result<Lock, Diagnostic> {
        let mut tries = 0;
        let lease = loop {
            tries += 1;
            match claim(cluster, &request).await {
                Ok(lease) => break lease,
                // After a lost answer the Lease may be ours already.
                Err(error) if matches!(error.kind, Kind::Conflict | Kind::Unknown) && tries < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        };
        let until = expiry(&lease).unwrap_or_default();
        let held = Arc::new(Mutex::new(Held { lease, until, lost: None }));
        let (clock, watched, words) = (cluster.clock(), held.clone(), request.clone());
        cluster.gate().require(&request.lease(), move || {
            let held = lock(&watched);
            held.lost.clone().or_else(|| (clock.now() + MARGIN >= held.until).then(|| words.overdue(held.until)))
        });
        let renewal = tokio::spawn(renew(cluster.clone(), request.clone(), held.clone())).abort_handle();
        Ok(Lock { cluster: cluster.clone(), request, held, renewal })
    }

    /// Returns why the Lease is not ours any more; nothing while it is.
    pub fn lost(&self) -> Option<Diagnostic> {
        lock(&self.held).lost.clone()
    }

    /// Gives the Lease back, so that the next run need not wait for its end.
    pub async fn release(self) -> Result<(), Diagnostic> {
        self.renewal.abort();
        let (mut lease, lost) = {
            let held = lock(&self.held);
            (held.lease.clone(), held.lost.is_some())
        };
        if lost {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            lease["spec"]["holderIdentity"] = json!("");
            lease["spec"]["leaseDurationSeconds"] = json!(1);
            match store(&self.cluster, &self.request, &lease).await {
                // Somebody else has it by now, or our own last write was done though its answer was lost.
                Err(error) if matches!(error.kind, Kind::Conflict | Kind::Unknown) => {
                    match look(&self.cluster, &self.request).await {
                        Ok(ours) => lease = ours,
                        Err(error) if error.kind == Kind::Refused => return Ok(()),
                        Err(error) => return Err(error),
                    }
                }
                written => return written.map(|_| ()),
            }
        }
        let what = format!("the Lease `{}` could not be given back", self.request.lease());
        Err(Diagnostic::new(Kind::Unavailable, what).help("it expires by itself within half a minute"))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.renewal.abort();
        self.cluster.gate().release(&self.request.lease());
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tries once to make the Lease ours.
async fn claim(cluster: &Cluster, request: &LockRequest) -> Result<Value, Diagnostic> {
    let name = request.lease();
    let found: Option<Value> = cluster.find(&LEASE, &request.namespace, &name).await?;
    let Some(mut lease) = found else {
        let mut lease = json!({
            "apiVersion": LEASE.api_version(),
            "kind": LEASE.kind,
            "metadata": { "name": name, "namespace": request.namespace },
            "spec": { "leaseTransitions": 0 },
        });
        request.sign(&mut lease, cluster.clock().now(), true);
        return cluster.create(&LEASE, &request.namespace, &lease).await;
    };
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
    if !holder.is_empty() && holder != request.run {
        let now = cluster.clock().now();
        let until = expiry(&lease).unwrap_or(now);
        if until > now {
            return Err(request.refusal(&lease, until, now));
        }
        if until + LONG_AGO > now {
            sleep(LOOK).await;
            let again: Value = cluster.get(&LEASE, &request.namespace, &name).await?;
            let free = again["spec"]["holderIdentity"].as_str().is_none_or(str::is_empty);
            if !free && again["spec"]["renewTime"] != lease["spec"]["renewTime"] {
                let now = cluster.clock().now();
                return Err(request.refusal(&again, now + DURATION, now));
            }
            lease = again;
        }
    }
    if holder != request.run {
        let transitions = lease["spec"]["leaseTransitions"].as_i64().unwrap_or(0);
        lease["spec"]["leaseTransitions"] = json!(transitions + 1);
    }
    request.sign(&mut lease, cluster.clock().now(), holder != request.run);
    store(cluster, request, &lease).await
}

/// Writes the Lease unless it has changed. The condition that no write may leave without it does not hold here: this
/// is the write that it waits for.
async fn store(cluster: &Cluster, request: &LockRequest, lease: &Value) -> Result<Value, Diagnostic> {
    cluster.replace_despite(&LEASE, &request.namespace, &request.lease(), lease, &request.lease()).await
}

/// Renews the Lease until it is lost or the task is aborted.
async fn renew(cluster: Cluster, request: LockRequest, held: Arc<Mutex<Held>>) {
    loop {
        sleep(RENEWAL).await;
        let lease = lock(&held).lease.clone();
        let written = match sign_again(&cluster, &request, lease).await {
            // Somebody wrote to it, or our own last write was done though its answer was lost.
            Err(error) if matches!(error.kind, Kind::Conflict | Kind::Unknown | Kind::NotFound) => {
                match look(&cluster, &request).await {
                    Ok(lease) => sign_again(&cluster, &request, lease).await,
                    Err(error) => Err(error),
                }
            }
            written => written,
        };
        let mut held = lock(&held);
        match written {
            Ok(lease) => {
                held.until = expiry(&lease).unwrap_or(held.until);
                held.lease = lease;
            }
            // Nothing is known yet: the time that is left decides.
            Err(error) if error.kind.passes() => {}
            Err(error) => {
                held.lost = Some(error);
                return;
            }
        }
    }
}

async fn sign_again(cluster: &Cluster, request: &LockRequest, mut lease: Value) -> Result<Value, Diagnostic> {
    request.sign(&mut lease, cluster.clock().now(), false);
    store(cluster, request, &lease).await
}

/// Reads the Lease, if it is still ours.
async fn look(cluster: &Cluster, request: &LockRequest) -> Result<Value, Diagnostic> {
    match cluster.find::<Value>(&LEASE, &request.namespace, &request.lease()).await? {
        Some(lease) if lease["spec"]["holderIdentity"] == request.run.as_str() => Ok(lease),
        other => Err(request.taken(&other.unwrap_or_default())),
    }
}

fn expiry(lease: &Value) -> Option<Timestamp> {
    let renewed: Timestamp = lease["spec"]["renewTime"].as_str()?.parse().ok()?;
    let seconds = lease["spec"]["leaseDurationSeconds"].as_i64().unwrap_or(0);
    renewed.checked_add(SignedDuration::from_secs(seconds)).ok()
}

impl LockRequest {
    fn sign(&self, lease: &mut Value, now: Timestamp, acquired: bool) {
        let now = json!(format!("{now:.6}"));
        lease["metadata"]["annotations"][WHO] = json!(self.who);
        lease["metadata"]["annotations"][RUN] = json!(self.run);
        lease["spec"]["holderIdentity"] = json!(self.run);
        lease["spec"]["leaseDurationSeconds"] = json!(DURATION.as_secs());
        if acquired {
            lease["spec"]["acquireTime"] = now.clone();
        }
        lease["spec"]["renewTime"] = now;
    }

    fn refusal(&self, lease: &Value, until: Timestamp, now: Timestamp) -> Diagnostic {
        let run = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let who = lease["metadata"]["annotations"][WHO].as_str().unwrap_or("somebody");
        let left = until.duration_since(now).as_secs().max(0);
        Diagnostic::new(
            Kind::Refused,
            format!("another run is at work on GameServerSet `{}/{}`", self.namespace, self.set),
        )
        .why(format!(
            "run `{run}` of `{who}` holds the Lease `{}` until {}, {left}s from now, unless it renews it",
            self.lease(),
            until.strftime("%H:%M:%S UTC")
        ))
        .help("wait for that run, or stop it; after a crash the Lease is taken over when it has expired")
        .with("run", run)
        .with("holder", who)
        .with("until", until.to_string())
    }

    fn taken(&self, lease: &Value) -> Diagnostic {
        let diagnostic = Diagnostic::new(
            Kind::Refused,
            format!("the lock on GameServerSet `{}/{}` is not ours any more", self.namespace, self.set),
        )
        .help("nothing more was written; look at what the other run did before this one is resumed");
        match lease["spec"]["holderIdentity"].as_str().filter(|run| !run.is_empty()) {
            Some(run) => {
                let who = lease["metadata"]["annotations"][WHO].as_str().unwrap_or("somebody");
                diagnostic.why(format!("run `{run}` of `{who}` has taken the Lease `{}` over", self.lease()))
            }
            None => diagnostic.why(format!("somebody has removed or emptied the Lease `{}`", self.lease())),
        }
    }

    fn overdue(&self, until: Timestamp) -> Diagnostic {
        Diagnostic::new(
            Kind::Refused,
            format!("the lock on GameServerSet `{}/{}` may have passed to another run", self.namespace, self.set),
        )
        .why(format!(
            "the Lease `{}` holds until {} and could not be renewed",
            self.lease(),
            until.strftime("%H:%M:%S UTC")
        ))
        .help("run again when the API server answers")
    }
}
