//! `okgscript policy`: the admission policy that makes every client respect what a run holds and marks.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::global::{Form, Global};
use super::terminal::out;
use crate::diagnostic::{Diagnostic, Kind};
use crate::exit_code::ExitCode;
use crate::okg::ops_state;

/// Arguments of `policy`.
#[derive(Debug, Args)]
#[command(
    long_about = "Print a ValidatingAdmissionPolicy and its binding, for cluster admins (Kubernetes 1.30 or later): \
    `okgscript policy --service-account games/okgscript | kubectl apply -f -`.\n\n\
    With it nobody but the run's identity takes a room out of a hold (`Draining-…`) or a mark (WaitToBeDeleted): a \
    matchmaker that allocates from a stale cache is refused by the API server, and so is a service quality that writes \
    None over a mark. Such a GameServer cannot be deleted by others either: OKG would make it anew, free for players. \
    Garbage collection, the deletion of a namespace and OKG itself may delete it.\n\n\
    OKG's controllers write opsState for one reason only, service qualities. Refused, the controller tries again, and \
    that room's status stands still until then. Titles whose service qualities mark rooms and take the marks back by \
    themselves need `--service-qualities`; for them a mark is as weak as before. Everything else that OKG writes to a \
    GameServer leaves opsState alone and passes."
)]
pub struct Arguments {
    /// User that may leave holds and marks; may be repeated
    #[arg(long = "user", value_name = "NAME")]
    users: Vec<String>,
    /// Group that may; may be repeated
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// Service account that may; may be repeated
    #[arg(long = "service-account", value_name = "NAMESPACE/NAME")]
    service_accounts: Vec<String>,
    /// Let OKG's service qualities leave holds and marks too
    #[arg(long)]
    service_qualities: bool,
    /// User that OKG's controllers are
    #[arg(
        long,
        value_name = "NAME",
        default_value = "system:serviceaccount:kruise-game-system:kruise-game-controller-manager"
    )]
    okg_user: String,
    /// Namespaces that it holds for, by labels as in kubectl's -l; `-n NAME` means one, and all are meant otherwise
    #[arg(long, value_name = "SELECTOR")]
    namespace_selector: Option<String>,
    /// What happens when the policy itself cannot be evaluated
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = FailurePolicy::Fail)]
    failure_policy: FailurePolicy,
    /// What happens to a write that does not respect it; may be repeated: audit beside deny or warn
    #[arg(long = "action", value_enum, value_name = "ACTION")]
    actions: Vec<Action>,
    /// Name of the policy and of its binding
    #[arg(long, value_name = "NAME", default_value = "okgscript-hold-and-mark")]
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailurePolicy {
    /// The write is refused.
    Fail,
    /// The write passes.
    Ignore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Action {
    /// It is refused.
    Deny,
    /// It passes, and the client is warned.
    Warn,
    /// It passes, and stands in the audit log.
    Audit,
}

/// Who deletes GameServers in the ordinary course of things, beside OKG.
const DELETERS: [&str; 2] = [
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
];

/// Prints the policy and its binding.
pub fn run(arguments: &Arguments, global: &Global) -> Result<ExitCode, Diagnostic> {
    let (policy, binding) = (policy(arguments)?, binding(arguments, global)?);
    let failed = |error: String| Diagnostic::new(Kind::Internal, "the policy cannot be written down").why(error);
    if global.form() == Form::Json {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [policy, binding]});
        out(&serde_json::to_string_pretty(&list).map_err(|error| failed(error.to_string()))?);
        return Ok(ExitCode::Done);
    }
    let yaml = |object: &Value| serde_saphyr::to_string(object).map_err(|error| failed(error.to_string()));
    out(
        "# Nobody but the identities named below takes a room out of a hold (Draining-...) or a mark (WaitToBeDeleted).",
    );
    out(yaml(&policy)?.trim_end());
    out("---");
    out(yaml(&binding)?.trim_end());
    Ok(ExitCode::Done)
}

/// Writes a text of CEL.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(text).collect();
    format!("[{}]", words.join(", "))
}

/// Returns the users that may leave holds and marks.
fn identities(arguments: &Arguments) -> Result<Vec<String>, Diagnostic> {
    let mut users = arguments.users.clone();
    for account in &arguments.service_accounts {
        match account.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                users.push(format!("system:serviceaccount:{namespace}:{name}"));
            }
            _ => {
                let what = format!("`{account}` is no service account");
                return Err(Diagnostic::new(Kind::Usage, what).help("write NAMESPACE/NAME"));
            }
        }
    }
    if users.is_empty() && arguments.groups.is_empty() {
        let what = "nobody is named who may take a room out of a hold or a mark";
        return Err(Diagnostic::new(Kind::Usage, what)
            .why("not even the runs that hold and mark could go on")
            .help("name who runs okgscript: `--service-account NAMESPACE/NAME`, `--user NAME` or `--group NAME`")
            .help("`kubectl auth whoami` shows whom the server sees"));
    }
    if arguments.service_qualities {
        users.push(arguments.okg_user.clone());
    }
    Ok(users)
}

fn policy(arguments: &Arguments) -> Result<Value, Diagnostic> {
    let users = identities(arguments)?;
    let mut run = Vec::new();
    if !users.is_empty() {
        run.push(format!("request.userInfo.username in {}", list(users.iter().map(String::as_str))));
    }
    if !arguments.groups.is_empty() {
        let groups = list(arguments.groups.iter().map(String::as_str));
        run.push(format!("request.userInfo.groups.exists(group, group in {groups})"));
    }
    let state =
        |object: &str| format!("has({object}.spec) && has({object}.spec.opsState) ? {object}.spec.opsState : ''");
    let deleters = DELETERS.into_iter().chain([arguments.okg_user.as_str()]);
    let (hold, mark) = (text(ops_state::HOLD), text(ops_state::WAIT_TO_BE_DELETED));
    Ok(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": arguments.name},
        "spec": {
            "failurePolicy": format!("{:?}", arguments.failure_policy),
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["game.kruise.io"],
                "apiVersions": ["*"],
                "operations": ["UPDATE", "DELETE"],
                "resources": ["gameservers"],
            }]},
            "matchConditions": [{"name": "not-the-run", "expression": format!("!({})", run.join(" || "))}],
            "variables": [
                {"name": "before", "expression": state("oldObject")},
                {"name": "taken", "expression": format!(
                    "variables.before.startsWith({hold}) || variables.before == {mark}"
                )},
                // A deletion has no new object.
                {"name": "after", "expression": format!(
                    "request.operation == 'DELETE' ? variables.before : ({})", state("object")
                )},
            ],
            "validations": [
                {
                    "expression": "!variables.taken || variables.after == variables.before",
                    "messageExpression": "'this room is ' + variables.before + \
                        ': a release takes it out of service, and only its run may make it ' + \
                        (variables.after == '' ? 'anything else' : variables.after)",
                    "reason": "Forbidden",
                },
                {
                    "expression": format!(
                        "!variables.taken || request.operation != 'DELETE' || request.userInfo.username in {}",
                        list(deleters)
                    ),
                    "messageExpression": "'this room is ' + variables.before + \
                        ': deleted, its GameServer would come back free for players while its pod is about to go'",
                    "reason": "Forbidden",
                },
            ],
        },
    }))
}

fn binding(arguments: &Arguments, global: &Global) -> Result<Value, Diagnostic> {
    let mut actions = arguments.actions.clone();
    actions.sort_unstable();
    actions.dedup();
    if actions.is_empty() {
        actions.push(Action::Deny);
    }
    if actions.starts_with(&[Action::Deny, Action::Warn]) {
        let what = "a write cannot be refused and warned about";
        return Err(Diagnostic::new(Kind::Usage, what).help("choose `--action deny` or `--action warn`"));
    }
    let actions: Vec<String> = actions.iter().map(|action| format!("{action:?}")).collect();
    let mut binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": arguments.name},
        "spec": {"policyName": arguments.name, "validationActions": actions},
    });
    let mut selector = match &arguments.namespace_selector {
        Some(selector) => expressions(selector)?,
        None => Vec::new(),
    };
    if let Some(namespace) = &global.namespace {
        selector.push(json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": [namespace]}));
    }
    if !selector.is_empty() {
        binding["spec"]["matchResources"] = json!({"namespaceSelector": {"matchExpressions": selector}});
    }
    Ok(binding)
}

/// Reads a label selector in kubectl's notation: `team=games,tier in (a,b),!old`.
fn expressions(selector: &str) -> Result<Vec<Value>, Diagnostic> {
    let mut depth = 0;
    let terms = selector.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    terms
        .map(str::trim)
        .filter(|term| !term.is_empty())
        .map(|term| {
            expression(term).ok_or_else(|| {
                Diagnostic::new(Kind::Usage, format!("`{term}` is no part of a label selector"))
                    .help("write `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key` or `!key`")
            })
        })
        .collect()
}

fn expression(term: &str) -> Option<Value> {
    let of = |key: &str, operator: &str, values: &[&str]| {
        let key = key.trim();
        let plain = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        let values: Vec<&str> = values.iter().map(|value| value.trim()).collect();
        let fits = !key.is_empty() && plain(key) && values.iter().all(|value| plain(value));
        let mut expression = json!({"key": key, "operator": operator});
        if !values.is_empty() {
            expression["values"] = json!(values);
        }
        fits.then_some(expression)
    };
    if let Some(head) = term.strip_suffix(')') {
        let (head, values) = head.split_once('(')?;
        let values: Vec<&str> = values.split(',').collect();
        let (key, word) = head.trim_end().rsplit_once(' ')?;
        return match word {
            "in" => of(key, "In", &values),
            "notin" => of(key, "NotIn", &values),
            _ => None,
        };
    }
    if let Some((key, value)) = term.split_once("!=") {
        return of(key, "NotIn", &[value]);
    }
    if let Some((key, value)) = term.split_once('=') {
        return of(key, "In", &[value.trim_start_matches('=')]);
    }
    match term.strip_prefix('!') {
        Some(key) => of(key, "DoesNotExist", &[]),
        None => of(term, "Exists", &[]),
    }
}
