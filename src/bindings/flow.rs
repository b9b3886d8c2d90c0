//! Flow words: parameters, steps, branches, endings, output.

use rhai::{Array, Dynamic, FnPtr, ImmutableString, Map, NativeCallContext};

use super::binding::{Binding, Bindings, Key, key, param};
use super::display;
use super::host::{ScriptResult, host};
use super::options::Options;
use super::stage::Event;
use crate::diagnostic::{Diagnostic, Kind, closest};
use crate::script::{snapshot, throw, value};

/// The family of this file.
pub fn bindings() -> Bindings {
    Bindings::new("flow", "Flow words: parameters, steps, branches, endings, output.")
        .bind(&PARAM, |ctx: NativeCallContext, name: &str, _help: &str| param_value(&ctx, name))
        .bind(&PARAM, |ctx: NativeCallContext, name: &str, _default: Dynamic, _help: &str| param_value(&ctx, name))
        .bind(&STEP, step)
        .bind(&PARALLEL, |ctx: NativeCallContext, items: Dynamic, work: FnPtr| {
            parallel(&ctx, &items, &work, &Map::new())
        })
        .bind(&PARALLEL, |ctx: NativeCallContext, items: Dynamic, work: FnPtr, opts: Map| {
            parallel(&ctx, &items, &work, &opts)
        })
        .bind(&FINALLY, finally)
        .bind(&ON_FAILURE, on_failure)
        .bind(&FAIL, |message: &str| fail(message, &Map::new()))
        .bind(&FAIL, |message: &str, details: Map| fail(message, &details))
        .bind(&TABLE, |ctx: NativeCallContext, data: Dynamic| table(&ctx, &data))
        .bind(&OUTPUT, |ctx: NativeCallContext, data: Dynamic| output(&ctx, &data))
        .bind(&LOG, |ctx: NativeCallContext, message: Dynamic| -> ScriptResult<()> {
            host(&ctx)?.show(Event::Log { text: message.to_string() });
            Ok(())
        })
        .bind(&WARN, |ctx: NativeCallContext, message: Dynamic| -> ScriptResult<()> {
            host(&ctx)?.show(Event::Warning { text: message.to_string() });
            Ok(())
        })
        .bind(&EVENT, |ctx: NativeCallContext, name: &str, data: Dynamic| -> ScriptResult<()> {
            let data = value::to_json(&data).map_err(throw)?;
            host(&ctx)?.show(Event::Custom { name: name.to_owned(), data });
            Ok(())
        })
        .bind(&RUN_ID, |ctx: NativeCallContext| -> ScriptResult<String> { Ok(host(&ctx)?.run.clone()) })
        .bind(&NOW, |ctx: NativeCallContext| -> ScriptResult<String> { Ok(host(&ctx)?.now().to_string()) })
        .bind(&ENV, |name: &str| env(name, None))
        .bind(&ENV, |name: &str, default: &str| env(name, Some(default)))
}

const PARAM: Binding = Binding {
    name: "param",
    doc: "Returns the value of a parameter, which is a flag on the command line: `param(name, help)` is required, \
          `param(name, default, help)` is not. Stands at top level with literal arguments, so that `--help` never \
          runs the script.",
    params: &[
        param("name", "string", "name; the flag is `--name` with `-` for `_`"),
        param("default", "any", "default, which also gives the type; left out if the parameter is required"),
        param("help", "string", "what it means").optional(),
    ],
    returns: "any",
    errors: &["parameter"],
    access: &[],
    example: r#"let rooms = param("rooms", 3, "how many"); rooms == 3"#,
};

const STEP: Binding = Binding {
    name: "step",
    doc: "Runs a named part of the script and returns its value: the unit of progress, of the journal and of `resume`. \
          A run that is resumed gives the value of a finished step without running it again; what stands outside of \
          steps runs again.",
    params: &[param("name", "string", "what it does, in a few words"), param("work", "closure", "what is done")],
    returns: "any",
    errors: &[],
    access: &[],
    example: r#"step("count", || gs_count("minecraft")) == 3"#,
};

const PARALLEL_KEYS: &[Key] = &[key("limit", "int", "how many at once; default 8")];

const PARALLEL: Binding = Binding {
    name: "parallel",
    doc: "Calls a closure with each item, several at once, and returns the results in order. Each branch sees a copy \
          of what the closure captured. The first error ends the call when the branches under way have ended.",
    params: &[
        param("items", "array | GameServers", "what is worked on"),
        param("work", "closure", "`|item| …`"),
        param("opts", "map", "how").keys(PARALLEL_KEYS).optional(),
    ],
    returns: "array",
    errors: &[],
    access: &[],
    example: r#"parallel(["minecraft-0", "minecraft-1"], |name| gs_get(name).state) == ["Ready", "Ready"]"#,
};

const FINALLY: Binding = Binding {
    name: "finally",
    doc: "Runs a closure when the script ends, however it ends; the last one declared runs first.",
    params: &[param("work", "closure", "what is done at the end")],
    returns: "()",
    errors: &[],
    access: &[],
    example: r#"finally(|| log("over")); true"#,
};

const ON_FAILURE: Binding = Binding {
    name: "on_failure",
    doc: "Runs a closure when the script fails or is interrupted; it is given the error as a map. The last one \
          declared runs first, before any `finally`.",
    params: &[param("work", "closure", "`|error| …` or `|| …`")],
    returns: "()",
    errors: &[],
    access: &[],
    example: r#"on_failure(|error| log(`failed: ${error.kind}`)); true"#,
};

const FAIL: Binding = Binding {
    name: "fail",
    doc: "Ends the script with an error of your own.",
    params: &[
        param("message", "string", "what went wrong"),
        param("details", "map", "further keys of the error map; `kind` sets its kind, `help` what to do").optional(),
    ],
    returns: "()",
    errors: &["failed"],
    access: &[],
    example: r#"let kind = ""; try { fail("no") } catch (e) { kind = e.kind; } kind == "failed""#,
};

const TABLE: Binding = Binding {
    name: "table",
    doc: "Prints rooms, sets, pods, an outcome, or a list of maps as a table on stdout; with `-o json` or `-o yaml` as \
          data.",
    params: &[param("data", "any", "what is printed")],
    returns: "()",
    errors: &[],
    access: &[],
    example: r#"table(gs_list("minecraft")); true"#,
};

const OUTPUT: Binding = Binding {
    name: "output",
    doc: "Prints a result on stdout: text as it is, anything else as JSON; with `-o json` or `-o yaml` as data.",
    params: &[param("data", "any", "what is printed")],
    returns: "()",
    errors: &[],
    access: &[],
    example: r#"output(#{ rooms: gs_count("minecraft") }); true"#,
};

const LOG: Binding = Binding {
    name: "log",
    doc: "Writes a line to the log on stderr.",
    params: &[param("message", "any", "the line")],
    returns: "()",
    errors: &[],
    access: &[],
    example: r#"log("hello"); true"#,
};

const WARN: Binding = Binding {
    name: "warn",
    doc: "Writes a warning to the log on stderr.",
    params: &[param("message", "any", "the line")],
    returns: "()",
    errors: &[],
    access: &[],
    example: r#"warn("look here"); true"#,
};

const EVENT: Binding = Binding {
    name: "event",
    doc: "Writes an event of your own to `--events FILE`.",
    params: &[param("name", "string", "name of the event"), param("data", "any", "what belongs to it")],
    returns: "()",
    errors: &[],
    access: &[],
    example: r#"event("checked", #{ rooms: 3 }); true"#,
};

const RUN_ID: Binding = Binding {
    name: "run_id",
    doc: "Returns the id of this run: what `okgscript runs` lists, and what an approval names.",
    params: &[],
    returns: "string",
    errors: &[],
    access: &[],
    example: r#"run_id() != """#,
};

const NOW: Binding = Binding {
    name: "now",
    doc: "Returns the time as RFC 3339; on the embedded cluster its simulated time.",
    params: &[],
    returns: "string",
    errors: &[],
    access: &[],
    example: r#"now().contains("T")"#,
};

const ENV: Binding = Binding {
    name: "env",
    doc: "Returns an environment variable.",
    params: &[
        param("name", "string", "name of the variable"),
        param("default", "string", "value where it is not set; without one that is an error").optional(),
    ],
    returns: "string",
    errors: &["not-found"],
    access: &[],
    example: r#"env("OKGSCRIPT_SURELY_NOT_SET", "no") == "no""#,
};

fn param_value(ctx: &NativeCallContext, name: &str) -> ScriptResult<Dynamic> {
    let host = host(ctx)?;
    match host.params.get(name) {
        Some(value) => Ok(value::from_json(value)),
        None => {
            let mut diagnostic = Diagnostic::new(Kind::Parameter, format!("the parameter `{name}` has no value"));
            if let Some(near) = closest(name, host.params.keys().map(String::as_str)) {
                diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
            }
            Err(throw(diagnostic.help("`param` stands at the top level of the main script")))
        }
    }
}

fn step(ctx: NativeCallContext, name: &str, work: FnPtr) -> ScriptResult<Dynamic> {
    super::steps::step(&ctx, &host(&ctx)?, name, &work)
}

fn parallel(ctx: &NativeCallContext, items: &Dynamic, work: &FnPtr, opts: &Map) -> ScriptResult<Array> {
    let host = host(ctx)?;
    let opts = Options::read("parallel", opts, PARALLEL_KEYS)?;
    let limit = opts.count("limit")?.map_or(8, |limit| usize::try_from(limit).unwrap_or(1).max(1));
    let items: Vec<Dynamic> = if let Some(rooms) = items.read_lock::<super::values::GameServers>() {
        rooms.clone().into_iter().collect()
    } else if let Some(array) = items.read_lock::<Array>() {
        array.iter().cloned().collect()
    } else {
        let given = value::type_name(items);
        return Err(throw(Diagnostic::new(Kind::WrongArguments, format!("parallel takes a list, not {given}"))));
    };
    host.branches(items.len(), limit, |index| {
        let item = items.get(index).map(Dynamic::flatten_clone).unwrap_or(Dynamic::UNIT);
        // A copy of what was captured: two branches on one captured value would be a data race.
        let copy = snapshot(work);
        // `parallel([|| …, || …], |f| f.call())` works too: a closure is an item like any other.
        copy.call_within_context::<Dynamic>(ctx, (item,))
    })
}

fn finally(ctx: NativeCallContext, work: FnPtr) -> ScriptResult<()> {
    host(&ctx)?.closings().finally.push(work);
    Ok(())
}

fn on_failure(ctx: NativeCallContext, work: FnPtr) -> ScriptResult<()> {
    host(&ctx)?.closings().on_failure.push(work);
    Ok(())
}

fn fail(message: &str, details: &Map) -> ScriptResult<()> {
    let mut kind = Kind::Failed;
    if let Some(name) = details.get("kind").and_then(|kind| kind.clone().into_string().ok()) {
        kind = Kind::from_name(&name).unwrap_or(Kind::Failed);
    }
    let mut diagnostic = Diagnostic::new(kind, message);
    for (key, detail) in details {
        match key.as_str() {
            "kind" => {}
            "help" => diagnostic = diagnostic.help(detail.to_string()),
            "why" => diagnostic = diagnostic.why(detail.to_string()),
            _ => diagnostic = diagnostic.with(key, value::to_json(detail).map_err(throw)?),
        }
    }
    Err(throw(diagnostic))
}

fn table(ctx: &NativeCallContext, data: &Dynamic) -> ScriptResult<()> {
    let event = Event::Output { text: display::table(data), value: display::data(data) };
    host(ctx)?.show(event);
    Ok(())
}

fn output(ctx: &NativeCallContext, data: &Dynamic) -> ScriptResult<()> {
    let value = display::data(data);
    let text = match data.clone().into_immutable_string() {
        Ok(text) => text.to_string(),
        Err(_) => serde_json::to_string_pretty(&value).unwrap_or_default(),
    };
    host(ctx)?.show(Event::Output { text, value });
    Ok(())
}

fn env(name: &str, default: Option<&str>) -> ScriptResult<ImmutableString> {
    match (std::env::var(name), default) {
        (Ok(value), _) => Ok(value.into()),
        (Err(_), Some(default)) => Ok(default.into()),
        (Err(_), None) => {
            let what = format!("the environment variable `{name}` is not set");
            Err(throw(Diagnostic::new(Kind::NotFound, what).help(format!("give a default: env(\"{name}\", \"…\")"))))
        }
    }
}
