//! Every record tells the truth: its example runs on a fresh cluster and is true, its types are those of the function,
//! and the journal shows no right that was not declared.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};

use okgscript::bindings::binding::Binding;
use okgscript::bindings::{self, display};
use okgscript::reference;
use okgscript::sandbox::{Options, Sandbox};
use okgscript::script::{Dynamic, Interrupt, Scope};
use okgscript::session::{Desk, Session};

use crate::support::fresh::on_cluster;

/// Runs `work` in a session on a fresh `minecraft`.
fn on_minecraft<T: Send>(work: impl FnOnce(&Session, &Sandbox) -> T + Send) -> T {
    on_minecraft_with(|_| {}, work)
}

/// The same, with an engine that knows more.
fn on_minecraft_with<T: Send>(
    prepare: impl FnOnce(&mut Desk) + Send,
    work: impl FnOnce(&Session, &Sandbox) -> T + Send,
) -> T {
    let prepare = |desk: &mut Desk| {
        prepare(desk);
        BTreeMap::from([("rooms".to_owned(), 3.into())])
    };
    on_cluster(&Options::default(), prepare, work)
}

/// What a request needs: group, resource with subresource, verb; nothing for what every user may do.
fn right(method: &str, path: &str) -> Option<(String, String, String)> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let rest = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let (resource, name, subresource) = match rest {
        [] => return None,
        [resource] => (*resource, None, None),
        [resource, name] => (*resource, Some(name), None),
        [resource, name, sub, ..] => (*resource, Some(name), Some(*sub)),
    };
    if group == "authorization.k8s.io" {
        return None;
    }
    let verb = match (method, name) {
        ("GET", None) if query.contains("watch=") => "watch",
        ("GET", None) => "list",
        ("GET", Some(_)) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        _ => return None,
    };
    let resource = subresource.map_or_else(|| resource.to_owned(), |sub| format!("{resource}/{sub}"));
    Some((group.to_owned(), resource, verb.to_owned()))
}

/// Runs an example; says what is wrong with it.
fn example(record: &'static Binding) -> Option<String> {
    on_minecraft(|session, _| {
        let name = format!("example of {}", record.name);
        let before = session.host().known_cluster()?.journal().totals().requests;
        let script = match session.desk().compile(&name, record.example) {
            Ok(script) => script,
            Err(error) => return Some(error.draw(false)),
        };
        match session.evaluate(&mut Scope::new(), &script) {
            Ok(value) if value.as_bool() == Ok(true) => {}
            Ok(value) => return Some(format!("{name} is not true but {value}")),
            Err(error) => return Some(format!("{name}: {}", error.draw(false))),
        }
        let desk = session.desk();
        let needs = reference::needs(&script, &desk.engine, &desk.sources, &bindings::ALL, &|word| {
            okgscript::cluster::known_kind(word).map(|kind| (kind.group.into_owned(), kind.plural.into_owned()))
        });
        // Where only the argument tells the kind when the script runs, the verbs are what can be declared.
        let open: BTreeSet<&str> = if needs.unknown.is_empty() {
            BTreeSet::new()
        } else {
            let rules = record.access.iter().filter(|rule| rule.argument.is_some());
            rules.flat_map(|rule| rule.verbs.iter().copied()).collect()
        };
        let declared: BTreeSet<(String, String, String)> = [&needs.rules, &needs.comfort]
            .into_iter()
            .flatten()
            .flat_map(|((group, resource), verbs)| {
                verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone()))
            })
            .collect();
        let journal = session.host().known_cluster()?.journal().entries();
        let journal = journal.iter().filter(|entry| entry.id > before);
        let used: BTreeSet<_> = journal.filter_map(|entry| right(&entry.method, &entry.path)).collect();
        let missing: Vec<String> = used
            .difference(&declared)
            .filter(|(.., verb)| !open.contains(verb.as_str()))
            .map(|(group, resource, verb)| format!("{verb} {resource}.{group}"))
            .collect();
        (!missing.is_empty()).then(|| format!("{name} uses rights that no record declares: {}", missing.join(", ")))
    })
}

#[test]
fn every_example_is_true_and_uses_only_declared_rights() {
    let wrong: Vec<String> = bindings::records().filter_map(example).collect();
    assert!(wrong.is_empty(), "{} of {} examples:\n{}", wrong.len(), bindings::records().count(), wrong.join("\n"));
}

#[test]
fn requests_are_read_as_rights() {
    let cases = [
        ("GET", "/api/v1/namespaces/default/pods?limit=500", ("", "pods", "list")),
        ("GET", "/api/v1/namespaces/default/pods?watch=1", ("", "pods", "watch")),
        ("GET", "/api/v1/namespaces/default/pods/a/log?tail=1", ("", "pods/log", "get")),
        (
            "PATCH",
            "/apis/game.kruise.io/v1alpha1/namespaces/d/gameservers/a",
            ("game.kruise.io", "gameservers", "patch"),
        ),
        ("GET", "/api/v1/namespaces/default", ("", "namespaces", "get")),
    ];
    for (method, path, (group, resource, verb)) in cases {
        assert_eq!(right(method, path), Some((group.into(), resource.into(), verb.into())), "{path}");
    }
    assert_eq!(right("GET", "/apis"), None);
}

/// Script type of a parameter of a Rust function, where it is one of Rhai's own.
fn script_type(id: TypeId) -> Option<&'static str> {
    let known = [
        (TypeId::of::<i64>(), "int"),
        (TypeId::of::<f64>(), "float"),
        (TypeId::of::<bool>(), "bool"),
        (TypeId::of::<rhai::ImmutableString>(), "string"),
        (TypeId::of::<rhai::Map>(), "map"),
        (TypeId::of::<rhai::Array>(), "array"),
        (TypeId::of::<rhai::FnPtr>(), "closure"),
    ];
    known.into_iter().find(|(known, _)| *known == id).map(|(_, name)| name)
}

#[test]
fn types_are_those_of_the_functions() {
    let desk = Desk::new(&Interrupt::new());
    let mut wrong = Vec::new();
    for record in bindings::records() {
        let functions = desk.engine.collect_fn_metadata(
            None,
            |info| (info.metadata.name == record.name).then(|| info.metadata.param_types.to_vec()),
            false,
        );
        for (index, param) in record.params.iter().enumerate() {
            // With optional parameters in the middle, only the longest form has each at its place.
            let most = record.arity().1;
            let mut bound: BTreeSet<&str> = BTreeSet::new();
            for types in functions.iter().filter(|types| types.len() == most) {
                bound.insert(types.get(index).and_then(|id| script_type(*id)).unwrap_or("any"));
            }
            // `sleep(10)` is bound too: it says that the unit is missing.
            if param.ty == "duration" {
                bound.retain(|ty| !matches!(*ty, "int" | "float"));
            }
            let alternatives: BTreeSet<&str> = param
                .ty
                .split('|')
                .map(str::trim)
                .map(|ty| match ty {
                    "duration" => "string",
                    ty => ty,
                })
                .collect();
            let open = bound.contains("any");
            let fits = open || bound.iter().all(|ty| alternatives.contains(ty));
            let exact = bound.len() == 1 && !open;
            if functions.is_empty() || !fits || (exact && alternatives.len() > 1) {
                wrong
                    .push(format!("{}: `{}` is said to be {}, bound are {bound:?}", record.name, param.name, param.ty));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_type_that_a_record_names_is_documented() {
    let types: BTreeSet<&str> = display::types().iter().map(|record| record.name).collect();
    let plain = ["any", "string", "int", "float", "bool", "map", "array", "closure", "duration", "count", "()"];
    for record in bindings::records() {
        let named = record.params.iter().map(|param| param.ty).chain([record.returns]);
        let keys = record.params.iter().flat_map(|param| param.keys).map(|key| key.ty);
        for ty in named.chain(keys).flat_map(|ty| ty.split('|')).map(str::trim) {
            assert!(types.contains(ty) || plain.contains(&ty), "{}: what is a `{ty}`?", record.name);
        }
    }
}

#[test]
fn a_panic_in_a_function_is_a_report_and_the_session_goes_on() {
    let desk = |desk: &mut Desk| {
        desk.engine.register_fn("boom", || -> i64 { panic!("out of luck") });
    };
    on_minecraft_with(desk, |session, _| {
        let script = session.desk().compile("a", "parallel([1, 2], |n| n); boom()").unwrap();
        let error = session.evaluate(&mut Scope::new(), &script).unwrap_err();
        assert_eq!((error.kind.name(), error.what.as_str()), ("internal", "okgscript itself failed"));
        let script = session.desk().compile("b", "gss_get(\"minecraft\").name").unwrap();
        assert_eq!(session.evaluate(&mut Scope::new(), &script).unwrap().to_string(), "minecraft");
    });
}

#[test]
fn wrong_types_at_run_time_show_the_signature() {
    on_minecraft(|session, _| {
        let script = session.desk().compile("a", "let n = 1;\ngs_get(n)").unwrap();
        let error = session.evaluate(&mut Scope::new(), &script).unwrap_err();
        let drawn = error.draw(false);
        assert_eq!(error.kind.name(), "wrong-arguments", "{drawn}");
        assert!(drawn.contains("`gs_get` does not take (int)"), "{drawn}");
        assert!(drawn.contains("gs_get(name: string) -> GameServer"), "{drawn}");
        let unit = Dynamic::UNIT;
        assert!(display::text(&unit).is_empty());
    });
}
