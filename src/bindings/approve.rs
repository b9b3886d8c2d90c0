//! Approval: a person says yes before a script goes on.

use std::sync::Arc;
use std::time::Duration;

use rhai::{Dynamic, Map, NativeCallContext};
use serde_json::Value;

use super::binding::{Binding, Bindings, Key, key, param, rule};
use super::host::{Host, ScriptResult, host};
use super::ledger::{Approval, Note};
use super::options::Options;
use super::reads::read_set;
use super::stage::{Answer, Event, Question};
use super::steps;
use super::wait::{Ended, Seen, Wait};
use crate::diagnostic::{Diagnostic, Kind};
use crate::okg::game_server_set::GameServerSet;
use crate::script::{duration, interrupted, throw, value};

/// Annotation of a GameServerSet by which a run is approved: the run's id, and who approves it.
pub const APPROVE: &str = "okgscript.io/approve";

/// The family of this file.
pub fn bindings() -> Bindings {
    Bindings::new("approval", "Approval: a person says yes before a script goes on.")
        .bind(&APPROVAL, |ctx: NativeCallContext, what: &str| approve(&ctx, what, &Map::new()))
        .bind(&APPROVAL, |ctx: NativeCallContext, what: &str, opts: Map| approve(&ctx, what, &opts))
}

const KEYS: &[Key] = &[
    key(
        "timeout",
        "duration",
        "how long to wait for the annotation where nobody can be asked; default \"0s\": refused at once",
    ),
    key("gss", "string", "GameServerSet that is annotated; default: the parameter `gss`"),
];

const APPROVAL: Binding = Binding {
    name: "approve",
    doc: "Goes on only when a person has said yes to `what`, and returns who: `#{ by, how, at }`. On a terminal it asks, \
          and anything but `y` is no. `--approve` or `--approve=\"Ann, CHG-12\"` says yes beforehand. Elsewhere it waits \
          for `timeout` until the GameServerSet has the annotation `okgscript.io/approve` with the run's id for a value; \
          a name may follow after a blank. Without an approval the run is refused (exit code 4). The journal and the \
          receipt record who approved, as far as that can be known: the user on this machine, the text given \
          beforehand, or the field manager that wrote the annotation. A plan takes the approval for granted; a run that \
          is resumed does not ask again for what was approved. To use it in a release, put it before the step that it \
          is about: `approve(`release ${image} to ${gss}`, #{ timeout: \"1h\" });`.",
    params: &[
        param("what", "string", "what is about to happen, in a few words"),
        param("opts", "map", "how").keys(KEYS).optional(),
    ],
    returns: "map",
    errors: &["refused", "not-found", "forbidden"],
    access: &[rule("game.kruise.io", "gameserversets", &["get", "list", "watch"]).comfort()],
    example: r#"gss_patch("minecraft", #{ metadata: #{ annotations: #{ "okgscript.io/approve": run_id() + " Ann" } } }); approve("restart the lobby", #{ gss: "minecraft", timeout: "1m" }).by == "Ann""#,
};

fn approve(ctx: &NativeCallContext, what: &str, opts: &Map) -> ScriptResult<Dynamic> {
    let host = host(ctx)?;
    let opts = Options::read("approve", opts, KEYS)?;
    let timeout = opts.duration("timeout")?.unwrap_or_default();
    let set = opts.text("gss")?;
    let set = set.or_else(|| host.params.get("gss").and_then(Value::as_str).map(str::to_owned));
    if what.trim().is_empty() {
        return Err(throw(Diagnostic::new(Kind::Invalid, "approve needs words for what is about to happen")));
    }
    // A step of its own: what was approved is not asked again.
    steps::run(&host, &format!("approve: {what}"), || {
        if host.planning() {
            host.assume(&format!("approval of “{what}”"));
            return Ok(given(&approval(&host, what, "", "assumed by the plan")));
        }
        let approval = obtain(&host, what, set.as_deref(), timeout)?;
        host.show(Event::Note { text: format!("by {} ({})", approval.by, approval.how) });
        host.note(Note::Approved(approval.clone()));
        Ok(given(&approval))
    })
}

fn approval(host: &Host, what: &str, by: &str, how: &str) -> Approval {
    Approval { what: what.to_owned(), by: by.to_owned(), how: how.to_owned(), at: host.now().to_string() }
}

fn given(approval: &Approval) -> Dynamic {
    let map = serde_json::json!({"by": approval.by, "how": approval.how, "at": approval.at});
    value::from_json(&map)
}

fn obtain(host: &Arc<Host>, what: &str, set: Option<&str>, timeout: Duration) -> ScriptResult<Approval> {
    let question = Question { what: what.to_owned(), run: host.run.clone(), done: host.ledger().in_short() };
    let interrupt = host.interrupt.clone();
    match host.stage.ask(&question, &move || interrupt.is_set()) {
        Answer::Yes { by, how } => Ok(approval(host, what, &by, how)),
        Answer::No { by } => Err(throw(
            Diagnostic::new(Kind::Refused, format!("“{what}” was not approved"))
                .why(format!("{by} said no"))
                .help("run it again when it shall be; what was done before stays done"),
        )),
        Answer::Interrupted => Err(interrupted()),
        Answer::Nobody => match set.filter(|_| !timeout.is_zero()) {
            Some(set) => annotated(host, what, set, timeout),
            None => Err(throw(unasked(what, timeout.is_zero()))),
        },
    }
}

fn unasked(what: &str, no_time: bool) -> Diagnostic {
    let refused = Diagnostic::new(Kind::Refused, format!("“{what}” needs an approval, and nobody can be asked"))
        .why("neither stdin nor stderr leads to a terminal with a person")
        .help("`--approve` or `--approve=\"WHO, WHY\"` says yes beforehand");
    if no_time {
        refused.help(format!("approve(…, #{{ timeout: \"1h\" }}) waits for the annotation `{APPROVE}` on the set"))
    } else {
        refused.help(format!(
            "approve(…, #{{ gss: \"NAME\", timeout: \"1h\" }}) names the set that is annotated `{APPROVE}`"
        ))
    }
}

/// Waits until the set is annotated with the run's id.
fn annotated(host: &Arc<Host>, what: &str, set: &str, timeout: Duration) -> ScriptResult<Approval> {
    let cluster = host.cluster()?;
    let command =
        format!("kubectl -n {} annotate gss {set} --overwrite '{APPROVE}={} YOUR NAME'", cluster.namespace(), host.run);
    host.show(Event::Log { text: format!("to approve “{what}”: {command}") });
    let wait =
        Wait { host, what: format!("the approval of “{what}”"), timeout, stable_for: Duration::ZERO, every: None };
    let ended = wait.run(
        || {
            let seen = read_set(host, set)?;
            Ok(match who(&seen, &host.run) {
                Some((by, how)) => Seen::Holds((by, how)),
                None => Seen::NotYet,
            })
        },
        |seconds| {
            host.show(Event::Waiting { text: wait.what.clone(), have: None, want: None, slowest: None, seconds });
        },
    )?;
    match ended {
        Ended::Held((by, how)) => Ok(approval(host, what, &by, &how)),
        Ended::Assumed => Ok(approval(host, what, "", "assumed by the plan")),
        Ended::TimedOut(trouble) => {
            let refused = Diagnostic::new(
                Kind::Refused,
                format!("“{what}” was not approved within {}", duration::exact(timeout)),
            )
            .help(command)
            .help("then run it again, or resume the run; what was done before stays done");
            Err(throw(trouble.into_iter().fold(refused, Diagnostic::why)))
        }
    }
}

/// Returns who approved a run by the set's annotation, and how that is known.
fn who(set: &GameServerSet, run: &str) -> Option<(String, String)> {
    let text = set.metadata.annotations.get(APPROVE)?.trim();
    let (id, name) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if id != run {
        return None;
    }
    // The API server does not say which user wrote; the client that did is in managedFields.
    let managed = set.object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let wrote = |entry: &&Value| {
        let annotations = &entry["fieldsV1"]["f:metadata"]["f:annotations"];
        annotations.get(format!("f:{APPROVE}")).is_some()
    };
    let entry = managed.into_iter().flatten().find(wrote);
    let manager = entry.and_then(|entry| entry["manager"].as_str()).unwrap_or("unknown");
    let time = entry.and_then(|entry| entry["time"].as_str()).map(|time| format!(", {time}")).unwrap_or_default();
    let by = if name.trim().is_empty() {
        format!("whoever annotated {}", set.metadata.name)
    } else {
        name.trim().to_owned()
    };
    Some((by, format!("annotation, written by client {manager}{time}")))
}
