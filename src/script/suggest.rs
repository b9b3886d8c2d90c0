//! "Did you mean": the known name that comes nearest to a mistyped one.

use strsim::damerau_levenshtein;

/// Returns the known name that was probably meant, if any comes near enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = simplify(name);
    let allowed = match plain.chars().count() {
        0..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let simple = simplify(candidate);
        let distance = if simple == plain {
            0
        } else if plain.len() >= 5 && (simple.contains(&plain) || plain.contains(&simple)) && simple.len() >= 5 {
            2
        } else {
            damerau_levenshtein(&plain, &simple)
        };
        let better = best.is_none_or(|(least, first)| (distance, candidate) < (least, first));
        if distance <= allowed && candidate != name && better {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Makes `opsState`, `ops-state` and `OPS_STATE` the same as `ops_state`.
fn simplify(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["gs_set_ops_state", "gs_get", "gss_get", "sort", "ops_state", "gs_select"];
        let cases = [("gs_set_opstate", Some("gs_set_ops_state")), ("set_ops_state", Some("gs_set_ops_state"))];
        let more = [("opsState", Some("ops_state")), ("gs_selct", Some("gs_select")), ("zork", None), ("drain", None)];
        for (name, meant) in cases.into_iter().chain(more) {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
    }
}
