//! `okgscript plan`: a script is run against an overlay, and what it would do is shown and saved.
//!
//! It runs twice: as the cluster is, and as it would be without players. Rooms that only the second run touches are
//! those that the plan covers should their matches end first.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::global::{Form, Global};
use super::launch::Launch;
use super::run::{begins, print_document};
use super::stage::Show;
use super::terminal::out;
use super::{plan_file, preflight};
use crate::bindings::stage::{Event, Stage};
use crate::diagnostic::{Diagnostic, Kind};
use crate::exit_code::ExitCode;
use crate::plan::document::FORMAT;
use crate::plan::{Action, Next, Object, Place, Plan, Room, ScriptText, Set, forecast, objects, stale};
use crate::script::{Interrupt, Script};
use crate::session::{Desk, Session};

/// A script with its parameters and a cluster, to be planned.
pub struct Draft<'a> {
    /// The cluster.
    pub launch: &'a Launch,
    /// Ends it.
    pub interrupt: &'a Interrupt,
    /// The script.
    pub script: &'a Script,
    /// Values of its parameters.
    pub params: &'a BTreeMap<String, Value>,
}

/// Shows nothing.
struct Silent;

impl Stage for Silent {
    fn show(&self, _: &Event) {}
}

/// What one run against an overlay came to.
struct Foreseen {
    session: Session,
    script: Script,
    result: Result<(), Diagnostic>,
    objects: Vec<Object>,
    sets: Vec<Set>,
    put_back: Vec<String>,
}

impl Draft<'_> {
    /// Opens a session that sends nothing that changes anything.
    fn open(&self, stage: Arc<dyn Stage>) -> Result<(Session, Script), Diagnostic> {
        let desk = Desk::new(self.interrupt);
        let script = desk.compile(&self.script.name, &self.script.text)?;
        // Modules are loaded by the check: what they say is part of the plan.
        desk.check(&script);
        let mut parts = self.launch.parts(self.interrupt, &desk.sources, stage, self.params.clone());
        parts.plan = true;
        Ok((desk.open(parts), script))
    }

    fn foresee(&self, session: Session, script: Script) -> Result<Foreseen, Diagnostic> {
        let host = session.host().clone();
        let result = session.run(&script).map(|_| ());
        let changes = host.planned();
        let sets = if changes.is_empty() {
            Vec::new()
        } else {
            let told = |error| session.told_outside(error);
            let (cluster, changes) = (host.cluster().map_err(told)?, changes.clone());
            host.call(async move { forecast::sets(&cluster, &changes).await }).map_err(told)?
        };
        let (objects, put_back) = (objects::objects(&changes), objects::put_back(&changes));
        Ok(Foreseen { session, script, result, objects, sets, put_back })
    }

    /// Plans, shows the plan and saves it if there is a file for it.
    pub fn plan(&self, show: &Arc<Show>, global: &Global, file: Option<&Path>) -> Result<ExitCode, Diagnostic> {
        let (session, script) = self.open(show.clone())?;
        show.show(&begins(&script, session.host(), self.launch, self.params));
        let mut seen = self.foresee(session, script)?;
        let mut remarks = std::mem::take(&mut seen.put_back);
        if seen.result.is_ok() && seen.session.host().known_cluster().is_some() {
            remarks.extend(self.suppose_no_players(&mut seen)?);
            remarks.extend(rights(&seen, self.params)?);
        }
        let plan = self.document(&seen, global, remarks);
        if let (Some(file), Ok(())) = (file, &seen.result) {
            plan_file::save(&plan, file)?;
        }
        if show.one_document() {
            let error = seen.result.as_ref().err().map(Diagnostic::to_json);
            let document = json!({"results": show.results(), "plan": plan, "error": error});
            print_document(global.form(), &document)?;
        } else if seen.result.is_ok() {
            print(&plan, global.form());
            if let Some(file) = file {
                out(&format!("\nSaved. To carry it out: okgscript run --plan-file {}", file.display()));
            }
        }
        seen.result.map(|()| ExitCode::Done)
    }

    /// Adds the rooms that would be touched too if no room had players; says so where that cannot be foreseen.
    fn suppose_no_players(&self, seen: &mut Foreseen) -> Result<Option<String>, Diagnostic> {
        let (session, script) = self.open(Arc::new(Silent))?;
        session.host().suppose(forecast::without_players).map_err(|error| session.told_outside(error))?;
        let supposed = self.foresee(session, script)?;
        forecast::add_if_idle(&mut seen.sets, &supposed.sets);
        match supposed.result {
            Err(error) if error.kind == Kind::Interrupted => Err(error),
            Err(error) => {
                let what = "what happens should matches end first is not foreseen throughout";
                Ok(Some(format!("{what}: {}", error.what)))
            }
            Ok(()) => Ok(None),
        }
    }

    fn document(&self, seen: &Foreseen, global: &Global, remarks: Vec<String>) -> Plan {
        let host = seen.session.host();
        let place = match host.known_cluster() {
            Some(cluster) => Place {
                context: cluster.context().to_owned(),
                server: cluster.server().to_owned(),
                namespace: cluster.namespace().to_owned(),
                kubeconfig: global.kubeconfig.as_ref().map(|path| path.display().to_string()),
                as_user: global.as_user.clone(),
                as_groups: global.as_groups.clone(),
            },
            None => Place::default(),
        };
        Plan {
            format: FORMAT.to_owned(),
            okgscript: env!("CARGO_PKG_VERSION").to_owned(),
            made: host.now().to_string(),
            script: ScriptText {
                name: self.script.name.clone(),
                hash: self.script.hash(),
                modules: seen.session.sources().modules(&seen.script.name),
            },
            params: self.params.clone(),
            place,
            objects: seen.objects.clone(),
            sets: seen.sets.clone(),
            assumptions: host.ledger().assumptions.clone(),
            remarks,
        }
    }

    /// Refuses a plan that does not fit the cluster any more, or by which more would be touched now than it says.
    pub fn still_fits(&self, plan: &Plan) -> Result<(), Diagnostic> {
        if plan.place.server.is_empty() && plan.objects.is_empty() {
            return Ok(());
        }
        let (session, script) = self.open(Arc::new(Silent))?;
        let host = session.host().clone();
        let told = |error| session.told_outside(error);
        let cluster = host.cluster().map_err(told)?;
        stale::same_place(plan, &cluster)?;
        let planned = plan.clone();
        host.call(async move { stale::refuse(&planned, &cluster).await }).map_err(told)?;
        let seen = self.foresee(session, script)?;
        seen.result.map_err(|error| error.help("the plan does not fit any more. Nothing was sent."))?;
        stale::no_more(plan, &seen.objects, &seen.sets)?;
        if let Some(cluster) = host.known_cluster() {
            cluster.end_plan();
        }
        Ok(())
    }
}

/// Says which rights whoever carries the plan out needs and whoever makes it has not.
fn rights(seen: &Foreseen, params: &BTreeMap<String, Value>) -> Result<Option<String>, Diagnostic> {
    match preflight::check(&seen.session, &seen.script, params) {
        Err(error) if error.kind == Kind::Forbidden => Ok(Some(format!("{}: {}", error.what, error.why.join("; ")))),
        other => other.map(|()| None),
    }
}

/// Prints a plan on stdout, for people.
fn print(plan: &Plan, form: Form) {
    let markdown = form == Form::Markdown;
    let (head, item) = if markdown { ("### ", "- ") } else { ("", "  ") };
    let code = |text: &str| if markdown { format!("`{text}`") } else { text.to_owned() };
    if plan.objects.is_empty() {
        out("Nothing would be changed.");
    }
    for object in &plan.objects {
        let what = match object.action {
            Action::Change => "",
            Action::Create => " (created)",
            Action::Delete => " (deleted)",
        };
        out(&format!("{head}{}{what}", object.object));
        for change in &object.changes {
            out(&format!("{item}{}: {} -> {}", code(&change.path), code(&change.from), code(&change.to)));
        }
        if markdown {
            out("\n");
        }
    }
    if !plan.objects.is_empty() {
        out(&format!("\nWould change {}. Nothing was sent.", counted(&plan.objects)));
    }
    for set in &plan.sets {
        out(&format!("\n{head}Rooms of {}/{}", set.namespace, set.name));
        for line in about(set) {
            out(&format!("{item}{line}"));
        }
    }
    for (title, lines) in [("Taken for granted:", &plan.assumptions), ("To be known:", &plan.remarks)] {
        if !lines.is_empty() {
            out(&format!("\n{head}{title}"));
            for line in lines {
                out(&format!("{}{line}", if markdown { "- " } else { "  - " }));
            }
        }
    }
}

fn counted(objects: &[Object]) -> String {
    let kinds = objects.iter().fold(BTreeMap::<&str, usize>::new(), |mut counts, object| {
        *counts.entry(object.object.split(' ').next().unwrap_or_default()).or_default() += 1;
        counts
    });
    let counted: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    counted.join(", ")
}

/// Names that are shown in one line.
const SHOWN: usize = 12;

fn listed(names: Vec<String>) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN).cloned().collect();
    let more = if names.len() > SHOWN { format!(", … ({} in all)", names.len()) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// Says what a plan means for the rooms of a set.
fn about(set: &Set) -> Vec<String> {
    let names = |rooms: &[Room]| listed(rooms.iter().map(|room| room.name.clone()).collect());
    let order = |next: &[Next]| listed(next.iter().map(|it| format!("{} {}", it.name, it.ops_state)).collect());
    let mut said = Vec::new();
    said.push(match set.rooms.as_slice() {
        [] => "touched: none".to_owned(),
        rooms => format!("touched: {}", names(rooms)),
    });
    let gone: Vec<String> = set
        .rooms
        .iter()
        .filter(|it| it.becomes.iter().any(|it| it.starts_with("goes")))
        .map(|it| it.name.clone())
        .collect();
    if !gone.is_empty() {
        said.push(format!("go by it: {}", listed(gone)));
    }
    if !set.rooms_if_idle.is_empty() {
        said.push(format!("touched too, should their matches end first: {}", names(&set.rooms_if_idle)));
    }
    if !set.opens.is_empty() {
        said.push(format!("opened: {}", listed(set.opens.clone())));
    }
    if !set.next_now.is_empty() {
        said.push(format!("next to go, were replicas lowered now: {}", order(&set.next_now)));
    }
    if !set.next_then.is_empty() {
        said.push(format!("next to go then: {}", order(&set.next_then)));
    }
    said.extend(set.autoscaler.iter().cloned());
    said
}
