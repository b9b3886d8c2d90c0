//! `okgscript resume [RUN]`: goes on with a run that did not come to its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::global::Global;
use super::launch::Launch;
use super::plan_file;
use super::records::{self, State};
use super::run::{Play, on_script_thread};
use super::script_changes;
use super::stage::{self, Show};
use super::terminal::note;
use crate::bindings::meanwhile;
use crate::bindings::record::Record;
use crate::bindings::replay::Past;
use crate::bindings::settle;
use crate::cluster::JournalFile;
use crate::cluster::journal_file::Run;
use crate::diagnostic::{Diagnostic, Kind};
use crate::exit_code::ExitCode;
use crate::plan::Plan;
use crate::script::{Interrupt, Script, Sources};
use crate::session::Desk;

/// Arguments of `resume`.
#[derive(Clone, Debug, Args)]
#[command(
    long_about = "Go on with a run that did not come to its end, whatever ended it: an error, Ctrl-C, a crash.\n\n\
    The script runs as it was when the run began, with the same parameters, on the same cluster. Steps that are \
    finished give the value that they gave; the unfinished one runs again on what the cluster says now. What stands \
    outside of steps runs again. Nothing is done twice: writes are held to what was judged, rooms that the run holds \
    are its own, and writes whose answer was lost are looked up first."
)]
pub struct Arguments {
    /// Name of the run, or the beginning of one; the newest that is unfinished unless given
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Folder of the journals; $XDG_STATE_HOME/okgscript/runs unless given
    #[arg(long, value_name = "FOLDER")]
    journal: Option<PathBuf>,
    /// Say yes beforehand to whatever the script asks approval for; who says so, and why, may be given
    #[arg(long, value_name = "WHO", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    approve: Option<String>,
    /// Write what happens to a file, as JSON lines
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

/// Resumes on a thread with the stack that deep scripts need.
pub fn run(arguments: &Arguments, global: &Global) -> Result<ExitCode, Diagnostic> {
    let (arguments, global, interrupt) = (arguments.clone(), global.clone(), Interrupt::new());
    on_script_thread(&interrupt.clone(), move || resume(&arguments, &global, &interrupt))
}

fn resume(arguments: &Arguments, global: &Global, interrupt: &Interrupt) -> Result<ExitCode, Diagnostic> {
    let folder = records::folder(arguments.journal.as_deref())?;
    let chosen = match &arguments.run {
        Some(name) => records::find(&folder, name)?,
        None => newest(&folder)?,
    };
    // From here on no other process can go on with it.
    let (file, recording) = JournalFile::open(&folder, &chosen.id)?;
    let past = Past::read(&recording)?;
    refuse(&past)?;
    no_newer(&folder, &past)?;
    go_home(&past);
    let desk = Desk::new(interrupt);
    let name = past.begin["script"]["name"].as_str().unwrap_or_default();
    let text = past.begin["script"]["text"].as_str().unwrap_or_default();
    let script = desk.compile(name, text)?;
    if let Some(wrong) = desk.check(&script).into_iter().next() {
        return Err(wrong.help("this okgscript does not take the script as it was; use the one that began the run"));
    }
    same_modules(&past, &script, &desk.sources)?;
    if let Some(now) = std::fs::read_to_string(name).ok().filter(|now| now != text) {
        note(&format!("  {name} has changed since: the run goes on with the text that it began with"));
        script_changes::between(&script, &now).iter().for_each(|change| note(&format!("    {change}")));
    }
    let then = past.begin["okgscript"].as_str().unwrap_or_default();
    if then != env!("CARGO_PKG_VERSION") {
        note(&format!("  the run was begun by okgscript {then}; this is {}", env!("CARGO_PKG_VERSION")));
    }
    let global = flags(&past, global);
    let events = stage::events_file(arguments.events.as_deref())?;
    let launch = Launch::new(&global)?;
    let _inside = launch.enter();
    let params: BTreeMap<String, Value> = serde_json::from_value(past.begin["params"].clone()).unwrap_or_default();
    let begun = past.begin["at"].as_str().and_then(|at| at.parse().ok()).unwrap_or_else(|| launch.clock.now());
    let show = Show::new(global.form(), global.verbose > 0, launch.clock, events).approved(arguments.approve.clone());
    let show = Arc::new(show);
    let mut parts = launch.parts(interrupt, &desk.sources, show.clone(), params.clone());
    past.run().clone_into(&mut parts.run);
    let plan = serde_json::from_value::<Option<Plan>>(past.begin["plan"].clone()).map_err(|error| {
        Diagnostic::new(Kind::Refused, "the plan that the run began with cannot be read").why(error.to_string())
    })?;
    let again = json!({
        "type": "resumed",
        "part": past.parts + 1,
        "at": launch.clock.now().to_string(),
        "okgscript": env!("CARGO_PKG_VERSION"),
        "process": std::process::id(),
    });
    parts.record = Some(Record::resume(file, past, &again)?);
    let session = desk.open(parts);
    let ready = match &plan {
        Some(plan) => plan_file::confine(&session, plan),
        None => Ok(()),
    };
    let settled = || settle::open_writes(session.host()).map_err(|error| session.told_outside(error));
    let ready = ready.and_then(|()| settled());
    let play = Play {
        session: &session,
        script: &script,
        params: &params,
        show: &show,
        global: &global,
        launch: &launch,
        begun,
    };
    play.finish(ready)
}

/// Returns the newest run that did not come to its end.
fn newest(folder: &Path) -> Result<Run, Diagnostic> {
    let unfinished = JournalFile::runs(folder).into_iter().filter_map(|run| {
        let past = Past::read(&JournalFile::read(folder, &run.id).ok()?).ok()?;
        let resumable = matches!(State::of(&past, run.live), State::Failed | State::Interrupted | State::Died);
        let begun = past.begin["at"].as_str().unwrap_or_default().to_owned();
        (resumable && past.begin["flags"]["embedded"] != true).then_some((begun, run))
    });
    let newest = unfinished.max_by(|left, right| left.0.cmp(&right.0)).map(|(_, run)| run);
    newest.ok_or_else(|| {
        Diagnostic::new(Kind::Refused, "there is no run to resume")
            .why(format!("every run in `{}` has come to its end or goes on", folder.display()))
            .help("`okgscript runs` lists the runs")
    })
}

/// Refuses when the journals of this machine tell of a later run on the same sets. Others are told by the Lease.
fn no_newer(folder: &Path, past: &Past) -> Result<(), Diagnostic> {
    let Some(cluster) = &past.cluster else { return Ok(()) };
    let ours = past.sets();
    for run in JournalFile::runs(folder).into_iter().filter(|run| run.id != past.run()) {
        let other = JournalFile::read(folder, &run.id).and_then(|recording| Past::read(&recording));
        let Ok(other) = other else { continue };
        let there = other.cluster.as_ref();
        let same = there.is_some_and(|there| ["server", "namespace"].iter().all(|key| there[*key] == cluster[*key]));
        if !same || other.last <= past.last {
            continue;
        }
        if let Some(set) = other.sets().intersection(&ours).next() {
            return Err(meanwhile::after(set, other.run()));
        }
    }
    Ok(())
}

fn refuse(past: &Past) -> Result<(), Diagnostic> {
    let run = past.run();
    if past.begin["flags"]["embedded"] == true {
        return Err(Diagnostic::new(Kind::Refused, format!("run `{run}` was a rehearsal"))
            .why("its embedded cluster ended with it")
            .help("run it again"));
    }
    let form = past.begin["journal"].as_u64().unwrap_or(records::FORM);
    if form > records::FORM {
        let what = format!("the journal of run `{run}` was written in a form that this okgscript does not know");
        return Err(Diagnostic::new(Kind::Refused, what)
            .why(format!("it has form {form}, this okgscript knows form {}", records::FORM))
            .help("use the okgscript that began the run, or a later one. Nothing was sent."));
    }
    if State::of(past, false) == State::Done {
        return Err(Diagnostic::new(Kind::Refused, format!("run `{run}` has come to its end"))
            .help(format!("`okgscript runs show {run}` shows what it did")));
    }
    Ok(())
}

/// Goes to the folder that the run began in, where its imports and files lie.
fn go_home(past: &Past) {
    if let Some(folder) = past.begin["folder"].as_str()
        && std::env::set_current_dir(folder).is_err()
    {
        note(&format!("  the folder `{folder}` that the run began in is gone"));
    }
}

/// Refuses modules that read otherwise than when the run began: only the script's own text is in the journal.
fn same_modules(past: &Past, script: &Script, sources: &Sources) -> Result<(), Diagnostic> {
    let now = sources.modules(&script.name);
    let then = past.begin["modules"].as_object().into_iter().flatten();
    for (name, hash) in then.filter(|(name, _)| **name != script.name) {
        if now.get(name).map(String::as_str) != hash.as_str() {
            return Err(Diagnostic::new(Kind::Refused, format!("the module `{name}` has changed since the run began"))
                .why("finished steps were done with the former text")
                .help("put the former text back, or start a new run: what is done already is not done twice"));
        }
    }
    Ok(())
}

/// Returns the flags of the run; what is said now about the way to the cluster counts more.
fn flags(past: &Past, now: &Global) -> Global {
    let then = &past.begin["flags"];
    let text = |key: &str| then[key].as_str().map(str::to_owned);
    let cluster = |key: &str| past.cluster.as_ref().and_then(|it| it[key].as_str()).map(str::to_owned);
    let groups = then["asGroups"].as_array().into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned));
    let in_cluster = text("kubeconfig").is_none()
        && text("context").is_none()
        && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    Global {
        kubeconfig: now.kubeconfig.clone().or_else(|| text("kubeconfig").map(PathBuf::from)),
        // The context of then, although the kubeconfig may have chosen another meanwhile.
        context: now.context.clone().or_else(|| text("context")).or_else(|| cluster("context").filter(|_| !in_cluster)),
        namespace: now.namespace.clone().or_else(|| text("namespace")).or_else(|| cluster("namespace")),
        as_user: now.as_user.clone().or_else(|| text("as")),
        as_groups: if now.as_groups.is_empty() { groups.collect() } else { now.as_groups.clone() },
        request_timeout: now.request_timeout.clone().or_else(|| text("requestTimeout")),
        ..now.clone()
    }
}
