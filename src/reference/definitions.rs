//! `.d.rhai`: the functions as editors read them.

use super::text::typed_signature;
use crate::bindings::binding::Bindings;

/// Returns a definition file of all families: one `fn` with its documentation for each number of parameters.
pub fn definitions(families: &[Bindings]) -> String {
    let mut text = String::from("module static;\n");
    for record in families.iter().flat_map(|family| family.records().iter()) {
        let (least, most) = record.arity();
        for count in least..=most {
            text.push('\n');
            record.doc.lines().for_each(|line| text.push_str(&format!("/// {}\n", line.trim())));
            text.push_str(&format!("///\n/// `{}`\n", typed_signature(record)));
            // Optional parameters that stand before required ones go first.
            let mut spare = most - count;
            let params = record.params.iter().rev().filter(|param| {
                let left_out = param.optional && spare > 0;
                spare -= usize::from(left_out);
                !left_out
            });
            let mut params: Vec<String> =
                params.map(|param| format!("{}: {}", param.name, rhai_type(param.ty))).collect();
            params.reverse();
            text.push_str(&format!("fn {}({}) -> {};\n", record.name, params.join(", "), rhai_type(record.returns)));
        }
    }
    text
}

/// Returns a type as definition files write it.
fn rhai_type(ty: &str) -> String {
    let one = |ty: &str| match ty.trim() {
        "string" | "duration" => "String".to_owned(),
        "count" => "int | String".to_owned(),
        "map" => "Map".to_owned(),
        "array" => "Array".to_owned(),
        "closure" => "Fn".to_owned(),
        "any" => "?".to_owned(),
        other => other.to_owned(),
    };
    ty.split('|').map(one).collect::<Vec<_>>().join(" | ")
}
