//! Specs as the server prints them when it refuses a change: its inner types as JSON, and what differs.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

/// Members of a type, in order, with their forms.
type Members = Vec<(&'static str, &'static str)>;

fn types() -> &'static BTreeMap<&'static str, Members> {
    static TYPES: OnceLock<BTreeMap<&'static str, Members>> = OnceLock::new();
    TYPES.get_or_init(|| {
        let lines = include_str!("inner.txt").lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| {
                let (name, members) = line.split_once(' ')?;
                Some((name, members.split(' ').filter_map(|member| member.split_once(':')).collect()))
            })
            .collect()
    })
}

/// Returns how two values of a type differ, with three lines around each change.
pub fn difference(kind: &str, old: &Value, new: &Value) -> String {
    let lines = |value: &Value| {
        let mut text = String::new();
        print(kind, Some(value), 0, &mut text);
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    unified(&lines(old), &lines(new))
}

/// Prints a value of a form: `*` may be missing, `[]` a list, `{}` a map, else a letter or a type.
fn print(form: &str, value: Option<&Value>, depth: usize, out: &mut String) {
    let value = value.filter(|value| !value.is_null());
    if let Some(inner) = form.strip_prefix('*') {
        return if value.is_some() { print(inner, value, depth, out) } else { out.push_str("null") };
    }
    if let Some(inner) = form.strip_prefix('[').and_then(|form| form.strip_suffix(']')) {
        let Some(list) = value.and_then(Value::as_array) else { return out.push_str("null") };
        return block(out, depth, ['[', ']'], list.iter().map(|item| (None, inner, Some(item))));
    }
    if let Some(inner) = form.strip_prefix('{').and_then(|form| form.strip_suffix('}')) {
        let Some(map) = value.and_then(Value::as_object) else { return out.push_str("null") };
        return block(out, depth, ['{', '}'], map.iter().map(|(key, value)| (Some(key.as_str()), inner, Some(value))));
    }
    match (form, types().get(form)) {
        ("s", _) => out.push_str(&scalar(value, "\"\"")),
        ("i" | "x", _) => out.push_str(&scalar(value, "0")),
        ("b", _) => out.push_str(&scalar(value, "false")),
        ("q", _) => out.push_str(&scalar(value, "\"0\"")),
        (_, Some(members)) => {
            let empty = Map::new();
            let map = value.and_then(Value::as_object).unwrap_or(&empty);
            let members = members.iter().map(|(name, form)| (Some(*name), *form, member(form, map, name)));
            block(out, depth, ['{', '}'], members);
        }
        // Selectors and the like are printed as they go over the wire.
        (_, None) => {
            let text = serde_json::to_string_pretty(value.unwrap_or(&Value::Null)).unwrap_or_default();
            for (index, line) in text.lines().enumerate() {
                let indent = (line.len() - line.trim_start().len()) / 2;
                if index > 0 {
                    out.push('\n');
                    out.push_str(&" ".repeat(depth + indent));
                }
                out.push_str(line.trim_start());
            }
        }
    }
}

/// Finds a member by its inner name. What the pod's security context has inside stands in the spec outside.
fn member<'a>(form: &str, map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if form == "*PodSecurityContext" {
        return Some(map.get("securityContext").unwrap_or(&Value::Null));
    }
    map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn scalar(value: Option<&Value>, zero: &str) -> String {
    let text = value.map_or_else(|| zero.to_owned(), Value::to_string);
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn block<'a>(
    out: &mut String,
    depth: usize,
    ends: [char; 2],
    members: impl Iterator<Item = (Option<&'a str>, &'a str, Option<&'a Value>)>,
) {
    out.push(ends[0]);
    let mut any = false;
    for (name, form, value) in members {
        out.push_str(if any { ",\n" } else { "\n" });
        any = true;
        out.push_str(&" ".repeat(depth + 1));
        if let Some(name) = name {
            out.push_str(&format!("{}: ", Value::from(name)));
        }
        print(form, value, depth + 1, out);
    }
    if any {
        out.push('\n');
        out.push_str(&" ".repeat(depth));
    }
    out.push(ends[1]);
}

/// Puts what a pod's spec says about the host into its security context, where the server has it inside.
pub fn with_inner_context(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for field in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"] {
        if let Some(value) = spec.as_object_mut().and_then(|spec| spec.remove(field)) {
            spec["securityContext"][field] = value;
        }
    }
    spec
}

/// Lines of one side that have no partner on the other side, and those that have.
enum Line {
    Same(usize, usize),
    Old(usize),
    New(usize),
}

fn unified(old: &[String], new: &[String]) -> String {
    const AROUND: usize = 3;
    let lines = aligned(old, new);
    let changed = |line: &Line| !matches!(line, Line::Same(..));
    let mut out = String::new();
    let mut at = 0;
    while let Some(first) = lines[at..].iter().position(changed).map(|found| at + found) {
        let from = first.saturating_sub(AROUND).max(at);
        let mut end = first + 1;
        let mut last = first;
        while end < lines.len() && end <= last + 2 * AROUND + 1 {
            if changed(&lines[end]) {
                last = end;
            }
            end += 1;
        }
        let to = (last + 1 + AROUND).min(lines.len());
        hunk(&lines[from..to], old, new, &mut out);
        at = to;
    }
    out
}

fn hunk(lines: &[Line], old: &[String], new: &[String], out: &mut String) {
    let side = |pick: fn(&Line) -> Option<usize>| {
        let numbers: Vec<usize> = lines.iter().filter_map(pick).collect();
        match (numbers.first(), numbers.len()) {
            (Some(first), 1) => format!("{}", first + 1),
            (Some(first), count) => format!("{},{count}", first + 1),
            (None, _) => "0,0".to_owned(),
        }
    };
    let before = side(|line| match line {
        Line::Same(at, _) | Line::Old(at) => Some(*at),
        Line::New(_) => None,
    });
    let after = side(|line| match line {
        Line::Same(_, at) | Line::New(at) => Some(*at),
        Line::Old(_) => None,
    });
    out.push_str(&format!("@@ -{before} +{after} @@\n"));
    for line in lines {
        let (sign, text) = match line {
            Line::Same(at, _) => (' ', &old[*at]),
            Line::Old(at) => ('-', &old[*at]),
            Line::New(at) => ('+', &new[*at]),
        };
        out.push_str(&format!("{sign}{text}\n"));
    }
}

/// Pairs equal lines as the server's library does: the longest run that both sides have, then what is left of it and what
/// is right of it, in which long lists of lines leave the frequent ones out.
fn aligned(old: &[String], new: &[String]) -> Vec<Line> {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, line) in new.iter().enumerate() {
        places.entry(line).or_default().push(at);
    }
    if new.len() >= 200 {
        places.retain(|_, at| at.len() <= new.len() / 100 + 1);
    }
    let mut runs = Vec::new();
    let mut left = vec![(0, old.len(), 0, new.len())];
    while let Some((from, to, low, high)) = left.pop() {
        let (i, j, count) = longest(old, new, &places, (from, to, low, high));
        if count > 0 {
            runs.push((i, j, count));
            left.push((from, i, low, j));
            left.push((i + count, to, j + count, high));
        }
    }
    runs.sort_unstable();
    runs.push((old.len(), new.len(), 0));
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    for (start, other, count) in runs {
        out.extend((i..start).map(Line::Old));
        out.extend((j..other).map(Line::New));
        out.extend((0..count).map(|step| Line::Same(start + step, other + step)));
        (i, j) = (start + count, other + count);
    }
    out
}

/// Returns the longest run of equal lines within bounds, the first of several.
fn longest(
    old: &[String],
    new: &[String],
    places: &BTreeMap<&str, Vec<usize>>,
    (from, to, low, high): (usize, usize, usize, usize),
) -> (usize, usize, usize) {
    let (mut at, mut other, mut best) = (from, low, 0);
    let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
    for (i, line) in old.iter().enumerate().take(to).skip(from) {
        let mut next = BTreeMap::new();
        for &j in places.get(line.as_str()).into_iter().flatten().filter(|j| (low..high).contains(*j)) {
            let length = 1 + j.checked_sub(1).and_then(|before| lengths.get(&before)).copied().unwrap_or(0);
            next.insert(j, length);
            if length > best {
                (at, other, best) = (i + 1 - length, j + 1 - length, length);
            }
        }
        lengths = next;
    }
    while at > from && other > low && old[at - 1] == new[other - 1] {
        (at, other, best) = (at - 1, other - 1, best + 1);
    }
    while at + best < to && other + best < high && old[at + best] == new[other + best] {
        best += 1;
    }
    (at, other, best)
}
