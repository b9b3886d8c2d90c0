//! `okgscript run`: a script from its first line to the receipt.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::global::{Form, Global};
use super::launch::Launch;
use super::plan::Draft;
use super::receipt::Receipt;
use super::script_args::{self, Loaded};
use super::stage::{self, Show};
use super::{plan_file, preflight, records, signals, terminal};
use crate::bindings::host::Host;
use crate::bindings::stage::{Event, Stage};
use crate::diagnostic::{Diagnostic, Kind};
use crate::exit_code::ExitCode;
use crate::script::{Interrupt, STACK_SIZE, Script, contain};
use crate::session::Session;

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// A file, `-` for stdin, or the name of a shipped script; its parameters become flags
    #[arg(value_name = "SCRIPT", required_unless_present = "plan_file")]
    script: Option<String>,
    /// File with values of parameters: a YAML or JSON map
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Write what happens to a file, as JSON lines
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Show what would change, and send nothing that changes anything
    #[arg(long, conflicts_with = "plan_file")]
    plan: bool,
    /// Save the plan, to be carried out with `run --plan-file FILE`
    #[arg(long, value_name = "FILE", conflicts_with = "plan_file")]
    out: Option<PathBuf>,
    /// Carry out a plan: its script with its parameters on its cluster; refused (exit code 4) when the set's template,
    /// replicas or identity changed since, or when more rooms than planned would be touched
    #[arg(long, value_name = "FILE")]
    plan_file: Option<PathBuf>,
    /// Say yes beforehand to whatever the script asks approval for; who says so, and why, may be given
    #[arg(long, value_name = "WHO", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    approve: Option<String>,
    /// Folder that the run's journal is written to; $XDG_STATE_HOME/okgscript/runs unless given, and none for a
    /// rehearsal
    #[arg(long, value_name = "FOLDER")]
    journal: Option<PathBuf>,
    /// Keep no journal: the run cannot be shown or resumed later
    #[arg(long, conflicts_with = "journal")]
    no_journal: bool,
}

impl Arguments {
    /// Returns the same as a plan.
    pub fn planning(mut self) -> Arguments {
        self.plan = true;
        self
    }
}

/// Runs the script on a thread with the stack that deep scripts need.
pub fn run(
    command: Arguments,
    global: Global,
    loaded: Option<Loaded>,
    given: BTreeMap<String, Value>,
) -> Result<ExitCode, Diagnostic> {
    let Some(loaded) = loaded else {
        let script = command.script.unwrap_or_default();
        let what = format!("the script `{script}` was not found on the command line");
        return Err(Diagnostic::new(Kind::Usage, what).help("write the script right after `run`"));
    };
    let interrupt = loaded.desk.interrupt.clone();
    on_script_thread(&interrupt, move || perform(&command, &global, loaded, given))
}

/// Runs `work` on a thread whose stack is deep enough for scripts, and listens for signals; a panic becomes an error
/// report.
pub fn on_script_thread<T: Send + 'static>(
    interrupt: &Interrupt,
    work: impl FnOnce() -> Result<T, Diagnostic> + Send + 'static,
) -> Result<T, Diagnostic> {
    let (ended, end) = mpsc::channel();
    let leaving = ended.clone();
    signals::listen(interrupt, move || {
        let what = "left at the third signal, whatever was under way";
        let _ = leaving.send(Err(Diagnostic::new(Kind::Interrupted, what)));
    });
    start_script_thread(ended, work)?;
    end.recv().unwrap_or_else(|_| Err(Diagnostic::new(Kind::Internal, "the script's thread ended without a word")))
}

/// Starts `work` on a thread whose stack is deep enough for scripts; its result is sent on `ended`.
pub fn start_script_thread<T: Send + 'static>(
    ended: mpsc::Sender<Result<T, Diagnostic>>,
    work: impl FnOnce() -> Result<T, Diagnostic> + Send + 'static,
) -> Result<(), Diagnostic> {
    let thread = std::thread::Builder::new().name("script".into()).stack_size(STACK_SIZE);
    let running = thread.spawn(move || {
        let _ = ended.send(contain(work).and_then(|result| result));
    });
    let failed =
        |error: std::io::Error| Diagnostic::new(Kind::Internal, "no thread could be started").why(error.to_string());
    running.map(|_| ()).map_err(failed)
}

fn perform(
    command: &Arguments,
    global: &Global,
    loaded: Loaded,
    given: BTreeMap<String, Value>,
) -> Result<ExitCode, Diagnostic> {
    let Loaded { script, desk } = loaded;
    if command.out.is_some() && !command.plan {
        let what = "`--out` saves a plan, and nothing is planned";
        return Err(Diagnostic::new(Kind::Usage, what).help("`okgscript plan SCRIPT --out FILE`"));
    }
    let plan = command.plan_file.as_deref().map(plan_file::read).transpose()?;
    if let Some(plan) = &plan {
        plan_file::same_script(plan, &script)?;
    }
    let wrong = desk.check(&script);
    if !wrong.is_empty() {
        wrong.iter().for_each(terminal::report);
        return Ok(ExitCode::Usage);
    }
    let file = params_file(command.params.as_deref())?;
    let events = stage::events_file(command.events.as_deref())?;
    let global = &match &plan {
        Some(plan) => {
            plan_file::same_modules(plan, &script, &desk.sources)?;
            plan_file::same_params(plan, &given, &file)?;
            plan_file::flags(plan, global)
        }
        None => global.clone(),
    };
    let launch = Launch::new(global)?;
    let _inside = launch.enter();
    let params = match &plan {
        Some(plan) => plan.params.clone(),
        None => script_args::settle(&script, given, file, &launch.params)?,
    };
    let show = Show::new(global.form(), global.verbose > 0, launch.clock, events).approved(command.approve.clone());
    let show = Arc::new(show);
    let draft = Draft { launch: &launch, interrupt: &desk.interrupt, script: &script, params: &params };
    if command.plan {
        return draft.plan(&show, global, command.out.as_deref());
    }
    if let Some(plan) = &plan {
        draft.still_fits(plan)?;
    }
    let mut parts = launch.parts(&desk.interrupt, &desk.sources, show.clone(), params.clone());
    let journalled = !command.no_journal && (command.journal.is_some() || !global.embedded());
    if journalled {
        let asked = command.journal.as_deref();
        let (run, record) = records::begin(asked, global, &launch, &script, &desk.sources, &params, plan.as_ref());
        (parts.run, parts.record) = (run, Some(record));
    }
    let session = desk.open(parts);
    let begun = session.host().now();
    let ready = match &plan {
        Some(plan) => plan_file::confine(&session, plan),
        None => Ok(()),
    };
    let play =
        Play { session: &session, script: &script, params: &params, show: &show, global, launch: &launch, begun };
    play.finish(ready)
}

/// Says that a run begins: what, where.
pub fn begins(script: &Script, host: &Host, launch: &Launch, params: &BTreeMap<String, Value>) -> Event {
    let run = records::short(&host.run).to_owned();
    Event::Begun { script: title(&script.name), place: place(host, launch, params), run }
}

/// A run about to begin.
pub struct Play<'a> {
    /// Engine and host.
    pub session: &'a Session,
    /// The script.
    pub script: &'a Script,
    /// Values of its parameters.
    pub params: &'a BTreeMap<String, Value>,
    /// Where progress and results go.
    pub show: &'a Show,
    /// The global flags.
    pub global: &'a Global,
    /// The cluster.
    pub launch: &'a Launch,
    /// When the run began, earlier parts of it included.
    pub begun: Timestamp,
}

impl Play<'_> {
    /// Runs the script, closings included, and shows the receipt. `ready` is what had to be done first.
    pub fn finish(self, ready: Result<(), Diagnostic>) -> Result<ExitCode, Diagnostic> {
        let Play { session, script, params, show, global, launch, begun } = self;
        let host = session.host();
        show.show(&begins(script, host, launch, params));
        let result = ready.and_then(|()| preflight::check(session, script, params)).and_then(|()| session.run(script));
        // Whatever kept the script from running: what it holds already is given back.
        host.let_go();
        let receipt = Receipt::take(host, script, params, begun, result.as_ref().err());
        let code = match &result {
            Ok(_) if receipt.failed() => ExitCode::Partial,
            Ok(_) => ExitCode::Done,
            Err(diagnostic) => diagnostic.kind.exit_code(),
        };
        if let Some(record) = &host.record {
            let end = records::end(record, receipt.for_journal(), code, result.as_ref().err());
            if let Err(error) = record.append(&end, true) {
                show.show(&Event::Warning { text: format!("the end is not in the journal: {error}") });
            }
        }
        if show.one_document() {
            let error = result.as_ref().err().map(Diagnostic::to_json);
            let document = json!({"results": show.results(), "receipt": receipt.to_json(), "error": error});
            print_document(global.form(), &document)?;
        } else {
            receipt.print(global.form());
        }
        if let Err(mut diagnostic) = result {
            diagnostic.done.extend(receipt.in_short());
            if let Some(back) = receipt.way_back() {
                diagnostic.help.push(format!("{back}   # goes back"));
            }
            if host.record.is_some() && !global.embedded() && !receipt.untouched() {
                diagnostic.help.push(format!("okgscript resume {}   # goes on", host.run));
            }
            terminal::report(&diagnostic);
        }
        Ok(code)
    }
}

fn title(name: &str) -> String {
    Path::new(name).file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Says on which cluster a run is, before it does anything. The configuration is read for it, no request is sent.
fn place(host: &Host, launch: &Launch, params: &BTreeMap<String, Value>) -> String {
    let set = params.get("gss").and_then(Value::as_str);
    let (namespace, place) = match host.cluster() {
        Ok(cluster) if launch.place.starts_with("sandbox") => (cluster.namespace().to_owned(), launch.place.clone()),
        Ok(cluster) => (cluster.namespace().to_owned(), format!("context {}", cluster.context())),
        // What is wrong is told by the first call that needs the cluster.
        Err(_) => (String::new(), "no cluster".to_owned()),
    };
    match set {
        Some(set) if !namespace.is_empty() => format!("GameServerSet {namespace}/{set}, {place}"),
        Some(set) => format!("GameServerSet {set}, {place}"),
        None => place,
    }
}

/// Prints one document on stdout.
pub fn print_document(form: Form, document: &Value) -> Result<(), Diagnostic> {
    let failed = |error: String| Diagnostic::new(Kind::Internal, "the result cannot be written").why(error);
    let text = match form {
        Form::Yaml => serde_saphyr::to_string(document).map_err(|error| failed(error.to_string()))?,
        _ => serde_json::to_string_pretty(document).map_err(|error| failed(error.to_string()))?,
    };
    terminal::out(text.trim_end());
    Ok(())
}

fn params_file(path: Option<&Path>) -> Result<BTreeMap<String, Value>, Diagnostic> {
    let Some(path) = path else { return Ok(BTreeMap::new()) };
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Diagnostic::new(Kind::Missing, format!("the parameter file `{shown}` cannot be read")).why(error.to_string())
    })?;
    serde_saphyr::from_str(&text).map_err(|error| {
        Diagnostic::new(Kind::Parameter, format!("the parameter file `{shown}` is no map of values"))
            .why(error.to_string())
            .help("write `name: value` lines, YAML or JSON. Nothing was sent.")
    })
}
