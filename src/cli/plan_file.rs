//! A plan from its file: read, held against script, parameters and flags, and kept to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::global::Global;
use crate::diagnostic::{Diagnostic, Kind};
use crate::plan::bounds::Bounds;
use crate::plan::{Plan, document};
use crate::script::{Script, Sources};
use crate::session::Session;

/// Reads a plan.
pub fn read(path: &Path) -> Result<Plan, Diagnostic> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Diagnostic::new(Kind::Missing, format!("the plan `{shown}` cannot be read"))
            .why(error.to_string())
            .help("`okgscript plan SCRIPT --out FILE` makes one")
    })?;
    document::read(&shown, &text)
}

/// Saves a plan: whole or not at all.
pub fn save(plan: &Plan, path: &Path) -> Result<(), Diagnostic> {
    let text = document::write(plan)?;
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| {
        Diagnostic::new(Kind::Missing, format!("the plan cannot be saved as `{}`", path.display()))
            .why(error.to_string())
    })
}

fn refused(what: String) -> Diagnostic {
    Diagnostic::new(Kind::Refused, what).help("make a new plan: `okgscript plan SCRIPT --out FILE`. Nothing was sent.")
}

/// Refuses a script that is not the plan's.
pub fn same_script(plan: &Plan, script: &Script) -> Result<(), Diagnostic> {
    if script.hash() == plan.script.hash {
        return Ok(());
    }
    let what = if script.name == plan.script.name {
        format!("the script `{}` has changed since the plan was made", script.name)
    } else {
        format!("the plan was made of the script `{}`, and `{}` reads otherwise", plan.script.name, script.name)
    };
    let why = "the plan says what its script would do, and nothing of what another one does";
    Err(refused(what).why(why))
}

/// Refuses modules that read otherwise than when the plan was made.
pub fn same_modules(plan: &Plan, script: &Script, sources: &Sources) -> Result<(), Diagnostic> {
    let now = sources.modules(&script.name);
    let differing = plan.script.modules.iter().find(|(name, hash)| now.get(*name) != Some(hash));
    match differing {
        None => Ok(()),
        Some((name, _)) => Err(refused(format!("the module `{name}` has changed since the plan was made"))
            .why("modules that come with okgscript change with its version")),
    }
}

/// Refuses parameters that are given beside the plan and differ from its own.
pub fn same_params(
    plan: &Plan,
    given: &BTreeMap<String, Value>,
    file: &BTreeMap<String, Value>,
) -> Result<(), Diagnostic> {
    let said = file.iter().chain(given);
    let differing = said.filter(|(name, value)| plan.params.get(*name) != Some(value));
    let mut refusal = None::<Diagnostic>;
    for (name, value) in differing {
        let what = || refused("parameters are given that are not the plan's".to_owned());
        let planned = plan.params.get(name).map_or_else(|| "not set".to_owned(), Value::to_string);
        refusal = Some(refusal.take().unwrap_or_else(what).why(format!("{name} is {value}; the plan has {planned}")));
    }
    match refusal {
        None => Ok(()),
        Some(refusal) => Err(refusal.help("leave parameters out: the plan has them all")),
    }
}

/// Returns the flags by which the plan's cluster is reached; what is said now about the way there counts more.
pub fn flags(plan: &Plan, now: &Global) -> Global {
    let then = &plan.place;
    if now.embedded() {
        return Global { namespace: now.namespace.clone().or_else(|| Some(then.namespace.clone())), ..now.clone() };
    }
    let in_cluster = then.context.is_empty() || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Global {
        kubeconfig: now.kubeconfig.clone().or_else(|| then.kubeconfig.as_ref().map(PathBuf::from)),
        context: now.context.clone().or_else(|| text(&then.context).filter(|_| !in_cluster)),
        namespace: now.namespace.clone().or_else(|| text(&then.namespace)),
        as_user: now.as_user.clone().or_else(|| then.as_user.clone()),
        as_groups: if now.as_groups.is_empty() { then.as_groups.clone() } else { now.as_groups.clone() },
        ..now.clone()
    }
}

/// Keeps a session to a plan: writes beyond it are refused before they are sent.
pub fn confine(session: &Session, plan: &Plan) -> Result<(), Diagnostic> {
    let host = session.host();
    let cluster = host.cluster().map_err(|error| session.told_outside(error))?;
    host.confine(Bounds::confine(plan, &cluster));
    Ok(())
}
