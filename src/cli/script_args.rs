//! A script's parameters as flags: the script is read before the command line is parsed, and never run for it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command, builder::ValueParser};
use serde_json::Value;

use super::{files, plan_file};
use crate::bindings::count::Count;
use crate::check;
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::script::{Interrupt, ParamDecl, Script, duration};
use crate::session::Desk;

/// Commands whose first free argument is a script with parameters.
const WITH_SCRIPT: &[&str] = &["run", "plan"];

/// Flags that take a value, which is no script.
const WITH_VALUE: &[&str] = &[
    "-n",
    "--namespace",
    "--context",
    "--kubeconfig",
    "--as",
    "--as-group",
    "--request-timeout",
    "-o",
    "--output",
    "--scenario",
    "--seed",
    "--params",
    "--events",
    "--journal",
    "--out",
    PLAN_FILE,
];

/// The flag that names a plan, in which the script stands.
const PLAN_FILE: &str = "--plan-file";

/// A script that the command line names, read.
pub struct Loaded {
    /// The script.
    pub script: Script,
    /// The engine that compiled it.
    pub desk: Desk,
}

/// Reads the script that the command line names, if it names one.
pub fn find(arguments: &[OsString]) -> Result<Option<Loaded>, Diagnostic> {
    let mut free = Vec::new();
    let mut skip = false;
    let mut planned: Option<String> = None;
    // A word behind a flag that only the script may know is its value, or the script.
    let mut unsure = false;
    for argument in arguments.iter().skip(1) {
        let text = argument.to_string_lossy();
        if std::mem::take(&mut skip) {
            if planned.as_deref() == Some("") {
                planned = Some(text.into_owned());
            }
            continue;
        }
        if text == "--" {
            break;
        }
        if text.starts_with('-') && text != "-" {
            skip = WITH_VALUE.contains(&text.as_ref());
            unsure = !skip && text.starts_with("--") && !text.contains('=');
            match text.strip_prefix(PLAN_FILE) {
                Some("") => planned = Some(String::new()),
                Some(rest) if rest.starts_with('=') => planned = Some(rest[1..].to_owned()),
                _ => {}
            }
            continue;
        }
        free.push((text.into_owned(), std::mem::take(&mut unsure)));
    }
    let [(command, _), words @ ..] = free.as_slice() else { return Ok(None) };
    if !WITH_SCRIPT.contains(&command.as_str()) {
        return Ok(None);
    }
    let name = match (words.first(), planned.filter(|file| !file.is_empty())) {
        (Some((word, false)), _) | (Some((word, _)), None) => word.clone(),
        (_, Some(file)) => plan_file::read(Path::new(&file))?.script.name,
        (None, None) => return Ok(None),
    };
    let (name, text) = files::read(&name)?;
    let desk = Desk::new(&Interrupt::new());
    let script = desk.compile(&name, &text)?;
    if let Some(wrong) = check::flags(&script, &desk.sources).into_iter().next() {
        return Err(wrong);
    }
    Ok(Some(Loaded { script, desk }))
}

/// Returns the flag of a parameter.
fn flag(param: &ParamDecl) -> String {
    param.name.replace('_', "-")
}

fn id(param: &ParamDecl) -> String {
    format!("param:{}", param.name)
}

/// Adds the script's parameters to its command, with its own help.
pub fn add(mut command: Command, loaded: &Loaded) -> Command {
    for name in WITH_SCRIPT {
        command = add_to(command, name, &loaded.script);
    }
    command
}

fn add_to(command: Command, subcommand: &str, script: &Script) -> Command {
    let mut usage = format!("okgscript {subcommand} {}", script.name);
    for param in script.params.iter().filter(|param| param.default.is_none()) {
        usage.push_str(&format!(" --{} <{}>", flag(param), flag(param).to_uppercase()));
    }
    usage.push_str(" [OPTIONS]");
    let doc = script.doc.clone();
    let args: Vec<Arg> = script.params.iter().map(arg).collect();
    command.mut_subcommand(subcommand, move |run| {
        let about = doc.lines().next().unwrap_or_default().to_owned();
        run.about(about).long_about(doc).override_usage(usage).args(args)
    })
}

fn arg(param: &ParamDecl) -> Arg {
    let name = flag(param);
    let arg = Arg::new(id(param)).long(name.clone()).value_name(name.to_uppercase()).help_heading("Parameters");
    let (arg, default) = match &param.default {
        None => (arg, None),
        Some(Value::Bool(default)) => (
            arg.value_parser(clap::value_parser!(bool))
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
            Some(default.to_string()),
        ),
        Some(Value::Number(number)) if number.is_i64() => {
            (arg.value_parser(clap::value_parser!(i64)).allow_negative_numbers(true), Some(number.to_string()))
        }
        Some(Value::Number(number)) => {
            (arg.value_parser(clap::value_parser!(f64)).allow_negative_numbers(true), Some(number.to_string()))
        }
        Some(Value::Array(items)) => {
            let shown: Vec<String> = items.iter().map(shown).collect();
            (arg.action(ArgAction::Append).value_delimiter(','), Some(shown.join(",")))
        }
        // `--surge -1` is a wrong count, not a flag that does not exist.
        Some(other) => (arg.value_parser(ValueParser::string()).allow_negative_numbers(true), Some(shown(other))),
    };
    match default.filter(|default| !default.is_empty()) {
        Some(default) => arg.help(format!("{} [default: {default}]", param.help)),
        None => arg.help(param.help.clone()),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns the parameters that the command line gives.
pub fn values(matches: &ArgMatches, loaded: Option<&Loaded>) -> BTreeMap<String, Value> {
    let mut given = BTreeMap::new();
    let (Some(loaded), Some((_, matches))) = (loaded, matches.subcommand()) else { return given };
    for param in &loaded.script.params {
        let id = id(param);
        let value = match &param.default {
            Some(Value::Bool(_)) => matches.get_one::<bool>(&id).map(|value| Value::from(*value)),
            Some(Value::Number(number)) if number.is_i64() => {
                matches.get_one::<i64>(&id).map(|value| Value::from(*value))
            }
            Some(Value::Number(_)) => matches.get_one::<f64>(&id).map(|value| Value::from(*value)),
            Some(Value::Array(_)) => {
                matches.get_many::<String>(&id).map(|values| values.map(|value| Value::from(value.as_str())).collect())
            }
            _ => matches.get_one::<String>(&id).map(|value| Value::from(value.as_str())),
        };
        given.extend(value.map(|value| (param.name.clone(), value)));
    }
    given
}

/// Settles every parameter: command line, then `--params FILE`, then the scenario, then the default.
pub fn settle(
    script: &Script,
    given: BTreeMap<String, Value>,
    file: BTreeMap<String, Value>,
    scenario: &BTreeMap<String, Value>,
) -> Result<BTreeMap<String, Value>, Diagnostic> {
    let known: Vec<&str> = script.params.iter().map(|param| param.name.as_str()).collect();
    for name in file.keys() {
        if !known.contains(&name.as_str()) {
            let what = format!("{} has no parameter `{name}`, which the parameter file sets", script.name);
            let mut diagnostic =
                Diagnostic::new(Kind::Parameter, what).why(format!("parameters: {}", known.join(", ")));
            if let Some(near) = closest(name, known.iter().copied()) {
                diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
            }
            return Err(diagnostic.help("Nothing was sent."));
        }
    }
    let mut settled = BTreeMap::new();
    let mut missing = Vec::new();
    for param in &script.params {
        let from = [given.get(&param.name), file.get(&param.name), scenario.get(&param.name), param.default.as_ref()];
        match from.into_iter().flatten().next() {
            Some(value) => {
                check_type(script, param, value)?;
                settled.insert(param.name.clone(), value.clone());
            }
            None => missing.push(param),
        }
    }
    if missing.is_empty() {
        return Ok(settled);
    }
    let flags: Vec<String> = missing.iter().map(|param| format!("--{}", flag(param))).collect();
    let noun = if missing.len() == 1 { "parameter" } else { "parameters" };
    let what = format!("{} needs the {noun} {}", script.name, flags.join(", "));
    let mut diagnostic = Diagnostic::new(Kind::Parameter, what);
    for param in &missing {
        diagnostic = diagnostic.why(format!("--{}: {}", flag(param), param.help));
    }
    Err(diagnostic.help(format!("`okgscript run {} --help` shows them all. Nothing was sent.", script.name)))
}

fn check_type(script: &Script, param: &ParamDecl, value: &Value) -> Result<(), Diagnostic> {
    if let Some(Value::String(default)) = &param.default {
        check_meaning(script, param, default, value)?;
    }
    let fits = match param.default.as_ref() {
        Some(Value::Bool(_)) => value.is_boolean(),
        Some(Value::Number(number)) if number.is_i64() => value.is_i64(),
        Some(Value::Number(_)) => value.is_number(),
        Some(Value::String(_)) | None => value.is_string() || value.is_number(),
        Some(_) => true,
    };
    if fits {
        return Ok(());
    }
    let wanted = match &param.default {
        Some(Value::Bool(_)) => "true or false",
        Some(Value::Number(_)) => "a number",
        _ => "a text",
    };
    let what = format!("parameter `{}` of {} takes {wanted}, not `{}`", param.name, script.name, shown(value));
    Err(Diagnostic::new(Kind::Parameter, what).help("Nothing was sent."))
}

/// Holds a value to what the default is: a duration like `"10m"`, a count like `"25%"`. Known before the first write,
/// a mistake costs nothing.
fn check_meaning(script: &Script, param: &ParamDecl, default: &str, value: &Value) -> Result<(), Diagnostic> {
    let wrong = |why: String, help: &str| {
        let what = format!("parameter `{}` of {} cannot be `{}`", param.name, script.name, shown(value));
        Diagnostic::new(Kind::Parameter, what).why(why).help(help).help("Nothing was sent.")
    };
    let text = shown(value);
    if duration::parse(default).is_ok() {
        return match duration::parse(&text) {
            Ok(_) => Ok(()),
            Err(error) => Err(wrong(error.what.clone(), error.help.first().map_or("", String::as_str))),
        };
    }
    let is_count = |text: &str| Count::parse(text).is_some();
    if is_count(default) && !is_count(&text) {
        return Err(wrong(format!("its default `{default}` says that it is a count"), "write 3 or 25%"));
    }
    Ok(())
}
