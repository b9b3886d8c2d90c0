//! What became of a run's sets while nobody worked on it: a resumed run goes on only where it left off.
//!
//! Rooms that came, went or changed are no matter: steps that run again judge them anew, and the guards hold each write
//! to what was judged. A set that was made anew, an image that somebody else has set, and a newer run are: the finished
//! steps say nothing of them any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::host::{Host, ScriptResult};
use super::ledger::ImageChange;
use super::stage::Event;
use crate::cluster::{Cluster, kind, lock};
use crate::diagnostic::{Diagnostic, Kind};
use crate::okg::game_server_set::GameServerSet;
use crate::script::throw;

/// Where to go from a run that cannot go on.
const ANEW: &str =
    "start a new run: what is done already is not done twice, and rooms that are still held are set free";

/// Compares the cluster with what an earlier part of the run left, before anything is taken or written. Says what
/// keeps the run from going on (`refused`).
pub fn look(host: &Arc<Host>) -> ScriptResult<()> {
    let Some(record) = &host.record else { return Ok(()) };
    let past = record.past();
    let mut sets: BTreeSet<String> = past.ledger.uids.keys().cloned().collect();
    sets.extend(past.sets());
    for set in sets {
        let cluster = host.cluster()?;
        let name = set.clone();
        // A Lease that was ours once and is another's says so by itself; else the times tell.
        let mine = Mine { run: host.run.clone(), owned: past.owned.contains(&set), last: past.last.parse().ok() };
        let seen = host.call(async move {
            newer_run(&cluster, &name, &mine).await?;
            cluster.find::<GameServerSet>(&kind::GAME_SERVER_SET, cluster.namespace(), &name).await
        })?;
        let uid = past.ledger.uids.get(&set).map(String::as_str);
        let now = seen.ok_or_else(|| throw(gone(&set, &host.run)))?;
        if let Some(uid) = uid.filter(|uid| *uid != now.metadata.uid) {
            return Err(throw(made_anew(&set, uid, &now.metadata.uid)));
        }
        let Some(change) = past.ledger.sets.get(&set) else { continue };
        let containers = now.containers();
        for image in &change.images {
            let present = containers.iter().find(|it| it.name == image.container).map(|it| it.image.as_str());
            if present != Some(image.to.as_str()) {
                return Err(throw(another_image(&set, image, present)));
            }
        }
        if let Some((_, to)) = change.replicas.filter(|(_, to)| *to != now.replicas()) {
            let text = format!("replicas of {set} are {} now; this run left them at {to}", now.replicas());
            host.show(Event::Warning { text });
        }
    }
    Ok(())
}

/// What is known of this run's own Lease.
struct Mine {
    run: String,
    /// Whether it has had it.
    owned: bool,
    /// When the run was last heard of.
    last: Option<Timestamp>,
}

/// Refuses when another run has had the set's Lease since. Where Leases may not be read, nobody can tell.
async fn newer_run(cluster: &Cluster, set: &str, mine: &Mine) -> Result<(), Diagnostic> {
    let last = match lock::last_holder(cluster, cluster.namespace(), set).await {
        Err(error) if error.kind == Kind::Forbidden => return Ok(()),
        last => last?,
    };
    // One that goes on is told by the Lease itself.
    let Some(last) = last.filter(|last| last.run != mine.run && !last.holds) else { return Ok(()) };
    if !mine.owned && last.renewed <= mine.last {
        return Ok(());
    }
    let since = last.renewed.map_or("an unknown time".to_owned(), |at| at.strftime("%F %T UTC").to_string());
    Err(after(set, &last.run).why(format!("`{}` ran it, last heard of at {since}", last.who)))
}

/// Says that another run has worked on a set since.
pub fn after(set: &str, run: &str) -> Diagnostic {
    Diagnostic::new(Kind::Refused, format!("run `{run}` has worked on GameServerSet `{set}` since"))
        .why("what this run remembers is from before that")
        .help(ANEW)
        .with("run", run)
}

fn gone(set: &str, run: &str) -> Diagnostic {
    Diagnostic::new(Kind::Refused, format!("GameServerSet `{set}` is gone"))
        .why("somebody has deleted it since the run began")
        .help(format!("`okgscript runs show {run}` shows what the run did. Nothing more was written."))
}

fn made_anew(set: &str, then: &str, now: &str) -> Diagnostic {
    Diagnostic::new(Kind::Refused, format!("GameServerSet `{set}` is not the one that the run began on"))
        .why(format!("it was deleted and made anew: its uid was {then} and is {now}"))
        .help(ANEW)
}

fn another_image(set: &str, image: &ImageChange, now: Option<&str>) -> Diagnostic {
    let ImageChange { container, to, .. } = image;
    let now = now.map_or_else(|| "is gone".to_owned(), |now| format!("has `{now}` now"));
    Diagnostic::new(Kind::Refused, format!("somebody has changed the image of GameServerSet `{set}` since"))
        .why(format!("this run set `{container}` to `{to}`; it {now}"))
        .help(ANEW)
}
