//! What a scenario says of containers: answers of commands, lines of logs.

use serde_json::Value;

use super::fields::{Document, Fields};
use crate::diagnostic::Diagnostic;
use crate::sandbox::containers::{Command, Containers, Log, Place};

const COMMAND: &[&str] = &["namespace", "pod", "container", "command", "stdout", "stderr", "exitCode", "takes"];
const LOG: &[&str] = &["namespace", "pod", "container", "lines", "every", "then"];

/// Reads `commands` and `logs`.
pub fn read(document: Document<'_>, fields: &Fields<'_>, containers: &mut Containers) -> Result<(), Diagnostic> {
    for (path, value) in fields.list("commands")? {
        containers.commands.push(command(&Fields::open(document, &path, value, COMMAND)?)?);
    }
    for (path, value) in fields.list("logs")? {
        containers.logs.push(log(&Fields::open(document, &path, value, LOG)?)?);
    }
    Ok(())
}

fn place(fields: &Fields<'_>) -> Result<Place, Diagnostic> {
    let text = |key: &str| fields.text(key).map(|text| text.map(str::to_owned));
    Ok(Place { namespace: text("namespace")?, pod: text("pod")?, container: text("container")? })
}

fn command(fields: &Fields<'_>) -> Result<Command, Diagnostic> {
    let words = match fields.get("command") {
        Some(Value::Array(_)) => Some(fields.texts("command")?.join(" ")),
        _ => fields.text("command")?.map(str::to_owned),
    };
    let text = |key: &str| fields.text(key).map(|text| text.unwrap_or_default().to_owned());
    let code = fields.number("exitCode", 0.0, 255.0)?.unwrap_or(0.0);
    let exit_code = (0..=u8::MAX).find(|candidate| f64::from(*candidate) == code);
    Ok(Command {
        place: place(fields)?,
        words,
        stdout: text("stdout")?,
        stderr: text("stderr")?,
        exit_code: exit_code.ok_or_else(|| fields.fault("exitCode", &format!("is {code}")).help("a whole number"))?,
        takes: fields.duration("takes")?.unwrap_or_default(),
    })
}

fn log(fields: &Fields<'_>) -> Result<Log, Diagnostic> {
    let then = fields.texts("then")?;
    let again = match fields.duration("every")? {
        Some(every) if every.is_zero() => return Err(fields.fault("every", "is zero")),
        Some(every) => Some((every, then)),
        None if then.is_empty() => None,
        None => return Err(fields.fault("then", "needs `every`: how often these lines come")),
    };
    Ok(Log { place: place(fields)?, lines: fields.texts("lines")?, again })
}
