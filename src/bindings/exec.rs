//! Commands in the containers of pods.

use rhai::{Array, Dynamic, Map, NativeCallContext};

use super::binding::{Binding, Bindings, Key, key, param, rule};
use super::host::{ScriptResult, host};
use super::ledger::Note;
use super::options::Options;
use super::stage::Event;
use crate::cluster::{Command, Ran};
use crate::diagnostic::{Diagnostic, Kind};
use crate::script::throw;

/// The family of this file.
pub fn bindings() -> Bindings {
    Bindings::new("pod", "One pod: what its containers say and do.")
        .bind(&POD_EXEC, |ctx: NativeCallContext, pod: &str, command: Dynamic| {
            pod_exec(&ctx, pod, &command, &Map::new())
        })
        .bind(&POD_EXEC, |ctx: NativeCallContext, pod: &str, command: Dynamic, opts: Map| {
            pod_exec(&ctx, pod, &command, &opts)
        })
}

/// Longest wait for a command, unless told otherwise.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

const EXEC_KEYS: &[Key] = &[
    key("container", "string", "container; may be left out if the pod has only one"),
    key("stdin", "string", "what the command reads; default: it has no input"),
    key("timeout", "duration", "longest wait for its end; default \"30s\""),
    key("planned", "string", "output that a plan goes on with, since it runs nothing; default empty"),
];

const POD_EXEC: Binding = Binding {
    name: "pod_exec",
    doc: "Runs a command in a container and returns `#{ stdout, stderr, exit_code }` when it has ended; an exit code \
          other than 0 is no error. The words are the program and its arguments: no shell reads them, so pipes need \
          `[\"sh\", \"-c\", \"…\"]`. A plan runs nothing and assumes that the command succeeds. A run that is resumed \
          inside its step runs the command again.",
    params: &[
        param("pod", "string", "name of the pod"),
        param("command", "string | array", "the program and its arguments; a string is split at its blanks"),
        param("opts", "map", "how").keys(EXEC_KEYS).optional(),
    ],
    returns: "map",
    errors: &["not-found", "invalid", "timeout", "unknown-outcome", "limit", "forbidden"],
    access: &[rule("", "pods/exec", &["get", "create"])],
    example: r#"pod_exec("minecraft-0", ["list", "players"], #{ timeout: "5s" }).exit_code == 0"#,
};

/// Reads the words of a command.
fn words(command: &Dynamic) -> ScriptResult<Vec<String>> {
    let wrong = || {
        let what = "pod_exec takes a command as a string or as an array of strings";
        throw(Diagnostic::new(Kind::WrongArguments, what).help("pod_exec(pod, [\"sh\", \"-c\", \"…\"])"))
    };
    let words: Vec<String> = if let Some(items) = command.read_lock::<Array>() {
        let word = |item: &Dynamic| item.clone().into_string().map_err(|_| wrong());
        items.iter().map(word).collect::<ScriptResult<_>>()?
    } else {
        let text = command.clone().into_immutable_string().map_err(|_| wrong())?;
        text.split_whitespace().map(str::to_owned).collect()
    };
    if words.is_empty() {
        return Err(throw(Diagnostic::new(Kind::Invalid, "pod_exec: the command is empty")));
    }
    Ok(words)
}

fn pod_exec(ctx: &NativeCallContext, pod: &str, command: &Dynamic, opts: &Map) -> ScriptResult<Map> {
    let host = host(ctx)?;
    let opts = Options::read("pod_exec", opts, EXEC_KEYS)?;
    let command = Command {
        words: words(command)?,
        container: opts.text("container")?,
        stdin: opts.text("stdin")?,
        timeout: opts.duration("timeout")?.unwrap_or(TIMEOUT),
    };
    let planned = opts.text("planned")?.unwrap_or_default();
    let line = command.words.join(" ");
    let cluster = host.cluster()?;
    let place = format!("pod {}/{pod}", cluster.namespace());
    if host.planning() {
        host.assume(&format!("`{line}` in {place} ends with exit code 0"));
        return Ok(map(Ran { stdout: planned, ..Ran::default() }));
    }
    let name = pod.to_owned();
    // A command has begun once its stream stands: an interrupt need not wait for its end to know that.
    let ran = host.call(async move { cluster.exec(cluster.namespace(), &name, &command).await })?;
    let text = format!("ran `{line}` in {place}: exit code {}", ran.exit_code);
    host.show(Event::Note { text: text.clone() });
    host.note(Note::Other { text });
    Ok(map(ran))
}

fn map(ran: Ran) -> Map {
    let mut map = Map::new();
    map.insert("stdout".into(), ran.stdout.into());
    map.insert("stderr".into(), ran.stderr.into());
    map.insert("exit_code".into(), ran.exit_code.into());
    map
}
