//! Whatever is typed, it is judged without a panic, and what is said points into the text.

use okgscript::bindings;
use okgscript::check::Checker;
use okgscript::diagnostic::Diagnostic;
use okgscript::script::{Interrupt, Limits, Script, Sources, brackets, engine, shipped};
use proptest::prelude::*;

fn judge(text: &str) -> Vec<Diagnostic> {
    let sources = Sources::new();
    let mut engine = engine(&Limits::default(), &Interrupt::new(), &sources);
    bindings::register(&mut engine);
    match Script::compile(&engine, &sources, "main.rhai", text) {
        Ok(script) => Checker::new(&engine, &sources).check(&script),
        Err(error) => vec![error],
    }
}

/// Draws everything that is said, and holds places against the text.
fn holds(text: &str) -> Result<(), TestCaseError> {
    brackets::open(text);
    for diagnostic in judge(text) {
        prop_assert!(!diagnostic.draw(true).is_empty());
        for place in diagnostic.places.iter().filter(|place| place.source == "main.rhai") {
            let lines = text.split('\n').count().max(1);
            prop_assert!((1..=lines).contains(&place.line), "{}:{} of {lines}\n{text}", place.line, place.column);
        }
    }
    Ok(())
}

/// Pieces of scripts, right and wrong.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "let x = ",
        "x",
        "1",
        "10s",
        "\"a\"",
        "`a ${",
        "}`",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "#{",
        ":",
        ";",
        ",",
        "|",
        "||",
        "|x|",
        ".",
        "::",
        "=>",
        "=",
        "==",
        "if ",
        "else ",
        "for ",
        " in ",
        "while ",
        "loop ",
        "fn ",
        "f",
        "switch ",
        "try ",
        "catch ",
        "throw ",
        "import \"okg/drain\" as drain",
        "drain::retire",
        "gs_select",
        "gs_set_ops_state",
        "\"kill\"",
        "param",
        "step",
        "e.kind",
        "\n",
        " ",
        "// ",
        "/* ",
        "*/",
        "é",
        "部屋",
        "'",
        "\\",
        "return ",
        "break",
        "this",
        "global::",
        "null",
        "var ",
        "eval",
        "->",
        "++",
        "\u{0}",
        "🎮",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_in_any_order_are_judged(pieces in prop::collection::vec(piece(), 0..24)) {
        holds(&pieces.concat())?;
    }

    #[test]
    fn scripts_with_a_slip_are_judged(which in 0_usize..3, at in 0.0..1.0_f64, slip in prop::sample::select(vec!["", "(", "}", "\"", "`", "é", ";", "|"])) {
        let texts = [shipped::SCRIPTS[0].1, shipped::STDLIB[0].1, include_str!("language.rhai")];
        let text: Vec<char> = texts[which].chars().collect();
        let at = (at * (text.len() - 1) as f64) as usize;
        let before: String = text[..at].iter().collect();
        let after: String = text[at + 1..].iter().collect();
        holds(&format!("{before}{slip}{after}"))?;
    }
}
