//! The texts derived from the records say all that the records say.

use okgscript::bindings;
use okgscript::reference::{self, Extras, Sort};
use okgscript::script::shipped;

use crate::support::Test;

#[test]
fn the_reference_page_holds_every_function_parameter_key_and_property() {
    let page = Test::new().args(["doc", "-o", "markdown"]).stdout_any().ok().stdout;
    for record in bindings::records() {
        assert!(page.contains(&format!("\n### `{}`\n", record.name)), "{}", record.name);
        assert!(page.contains(record.doc), "{}", record.name);
        assert!(page.contains(&format!("```rhai\n{}\n```", record.example)), "{}", record.name);
        for param in record.params {
            assert!(page.contains(&format!("| `{}` |", param.name)), "{}: {}", record.name, param.name);
            for key in param.keys {
                assert!(page.contains(&format!("| `{}.{}` |", param.name, key.name)), "{}: {}", record.name, key.name);
            }
        }
    }
    for record in bindings::display::types() {
        assert!(page.contains(&format!("\n## `{}`\n", record.name)), "{}", record.name);
        for (name, ..) in record.properties {
            assert!(page.contains(&format!("| `{name}` |")), "{}.{name}", record.name);
        }
    }
    // A bar inside a cell would break the table.
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 4, "{line}");
    }
}

#[test]
fn definitions_hold_each_number_of_parameters() {
    let text = reference::definitions(&bindings::ALL);
    for record in bindings::records() {
        let (least, most) = record.arity();
        for count in least..=most {
            let start = format!("fn {}(", record.name);
            let lines = text.lines().filter(|line| line.starts_with(&start));
            let commas = |line: &str| line.split(") ->").next().unwrap_or_default().matches(": ").count();
            assert!(lines.clone().any(|line| commas(line) == count), "{} with {count} parameters", record.name);
        }
    }
    // The parameter that may be left out is not the last one.
    assert!(
        text.contains("fn param(name: String, help: String) -> ?;")
            || text.contains("fn param(name: String, default: ?) -> ?;")
    );
}

#[test]
fn completion_knows_functions_keys_properties_and_variables() {
    let properties: Vec<(&str, &str)> = bindings::display::types()
        .iter()
        .flat_map(|ty| ty.properties.clone())
        .map(|(name, _, doc)| (name, doc))
        .collect();
    let variables = ["gss_name".to_owned(), "rooms".to_owned()];
    let extras = Extras { properties: &properties, variables: &variables, methods: &[] };
    let complete = |before: &str| {
        let (start, found) = reference::candidates(before, &bindings::ALL, &extras);
        let texts: Vec<String> = found.iter().map(|candidate| candidate.text.clone()).collect();
        (start, texts, found.first().map(|candidate| candidate.sort))
    };
    let (start, texts, _) = complete("let x = gs_sel");
    assert_eq!((start, texts.as_slice()), (8, &["gs_select".to_owned()][..]));
    let (_, texts, sort) = complete("gs_select(\"a\", #{ ops");
    assert_eq!((texts.as_slice(), sort), (&["ops_state".to_owned()][..], Some(Sort::Key)));
    let (_, texts, sort) = complete("rooms[0].ops_s");
    assert_eq!((texts.as_slice(), sort), (&["ops_state".to_owned()][..], Some(Sort::Property)));
    let (_, texts, _) = complete("roo");
    assert_eq!(texts, ["rooms"]);
    assert!(complete("f(\"gs_sel").1.is_empty());
}

#[test]
fn a_role_is_the_union_of_what_can_be_reached() {
    let role = |text: &str| {
        let module = "fn used(n) { gs_get(n) }\nfn unused(n) { gs_set_ops_state(n, \"None\") }\n";
        Test::new().script(text).file("m.rhai", module).args(["rbac", "a.rhai"]).stdout_any().ok().stdout
    };
    let reading = role("import \"m\" as m;\nm::used(\"a\");");
    assert!(reading.contains("resources: [\"gameservers\"]"), "{reading}");
    assert!(!reading.contains("patch"), "{reading}");
    let writing = role("import \"m\" as m;\nlet f = || { m::unused(\"a\") };\nstep(\"x\", f);");
    assert!(writing.contains("\"patch\""), "{writing}");
    let pointed = role("fn mark(n) { gs_set_ops_state(n, \"None\") }\n[\"a\"].for_each(Fn(\"mark\"));");
    assert!(pointed.contains("\"patch\""), "{pointed}");
    let named = role("fn mark(n) { gs_set_ops_state(n, \"None\") }\nlet f = mark; f.call(\"a\");");
    assert!(named.contains("\"patch\""), "{named}");
    let own = role("fn later() { gss_get(\"a\") }\nprint(1);");
    assert!(own.contains("rules: []"), "{own}");
}

#[test]
fn a_role_is_yaml_that_kubernetes_would_take() {
    for (name, _) in shipped::SCRIPTS {
        let text = Test::new().args(["rbac", name]).stdout_any().ok().stdout;
        let role: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(role["kind"], "Role");
        for rule in role["rules"].as_array().unwrap() {
            assert!(rule["apiGroups"].is_array() && rule["resources"].is_array() && rule["verbs"].is_array(), "{text}");
        }
    }
}

#[test]
fn the_text_of_a_function_is_readable() {
    let record = bindings::records().find(|record| record.name == "gs_wait").unwrap();
    let text = reference::function(record);
    let start =
        "gs_wait(gss: string, filter: map, count: int, timeout: duration, opts?: map) -> GameServers\n\n  Waits until";
    assert!(text.starts_with(start), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    assert!(
        text.contains("\nRights:\n") && text.contains("\nExample:\n") && text.contains("\nErrors: timeout"),
        "{text}"
    );
}
