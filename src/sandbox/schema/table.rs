//! Reads the compact tables of types: those of the built-in kinds, and those that our CRDs are made of.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::{ListType, Schema, Shape};

/// Scalars that are pointers in Go, so that zero and absent differ; all others vanish when they are zero.
const POINTERS: &str = include_str!("pointers.txt");

/// The types of the built-in kinds by full name.
pub fn builtin() -> &'static BTreeMap<String, Arc<Schema>> {
    static TYPES: OnceLock<BTreeMap<String, Arc<Schema>>> = OnceLock::new();
    TYPES.get_or_init(|| Table::read(include_str!("types.txt")).resolve())
}

/// Returns the metadata of every object.
pub fn object_meta() -> &'static Arc<Schema> {
    static META: OnceLock<Arc<Schema>> = OnceLock::new();
    META.get_or_init(|| builtin().get("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").cloned().unwrap_or_default())
}

type Fields<'a> = Vec<&'a str>;

#[derive(Default)]
struct Table<'a> {
    /// Package by alias.
    packages: BTreeMap<&'a str, &'a str>,
    /// Field lines by full name, with the alias of the package.
    types: BTreeMap<String, (&'a str, Fields<'a>)>,
    pointers: Vec<&'a str>,
}

impl<'a> Table<'a> {
    fn read(text: &'a str) -> Table<'a> {
        let mut table = Table { pointers: POINTERS.split_whitespace().collect(), ..Table::default() };
        let (mut package, mut alias, mut current) = ("", "", String::new());
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(rest) = line.strip_prefix("@ ") {
                (package, alias) = rest.split_once(' ').unwrap_or((rest, ""));
                table.packages.insert(alias, package);
            } else if let Some(field) = line.strip_prefix(' ') {
                if let Some((_, fields)) = table.types.get_mut(&current) {
                    fields.push(field);
                }
            } else {
                current = format!("{package}.{line}");
                table.types.insert(current.clone(), (alias, Vec::new()));
            }
        }
        table
    }

    fn resolve(&self) -> BTreeMap<String, Arc<Schema>> {
        let mut done = BTreeMap::new();
        for name in self.types.keys() {
            self.type_named(name, &mut done);
        }
        done
    }

    fn type_named(&self, name: &str, done: &mut BTreeMap<String, Arc<Schema>>) -> Arc<Schema> {
        if let Some(found) = done.get(name) {
            return found.clone();
        }
        let Some((alias, fields)) = self.types.get(name) else { return Arc::default() };
        let mut schema = Schema { name: name.to_owned(), ..Schema::default() };
        let mut members = BTreeMap::new();
        for line in fields {
            let mut words = line.split(' ');
            let (field, form) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let flags: Vec<&str> = words.collect();
            if flags.contains(&"!") {
                schema.required.push(field.to_owned());
            }
            let place = format!("{}.{field}", name.rsplit('.').next().unwrap_or(""));
            let pointer = self.pointers.contains(&place.as_str());
            members.insert(field.to_owned(), self.form(form, alias, &flags, pointer, done));
        }
        schema.shape = Shape::Object(members);
        let schema = Arc::new(schema);
        done.insert(name.to_owned(), schema.clone());
        schema
    }

    fn form(
        &self,
        form: &str,
        alias: &str,
        flags: &[&str],
        pointer: bool,
        done: &mut BTreeMap<String, Arc<Schema>>,
    ) -> Arc<Schema> {
        if let Some(items) = form.strip_prefix("[]") {
            let mut schema = Schema::of(Shape::List(self.form(items, alias, &[], false, done)));
            for flag in flags {
                match flag.split_once('=') {
                    None if *flag == "set" => {
                        schema.list = ListType::Set;
                        schema.merge_key = Some(String::new());
                    }
                    Some(("keys", keys)) => {
                        let keys: Vec<String> = keys.split(',').map(str::to_owned).collect();
                        schema.merge_key = schema.merge_key.or(keys.first().cloned());
                        schema.list = ListType::Map(keys);
                    }
                    Some(("merge", "-")) => schema.merge_key = None,
                    Some(("merge", key)) => schema.merge_key = Some(key.to_owned()),
                    _ => {}
                }
            }
            return Arc::new(schema);
        }
        if let Some(values) = form.strip_prefix("{}") {
            let mut schema = Schema::of(Shape::Map(self.form(values, alias, &[], false, done)));
            schema.atomic = flags.contains(&"atomic");
            return Arc::new(schema);
        }
        if let Some(mut schema) = scalar(form) {
            schema.pointer = pointer;
            return Arc::new(schema);
        }
        let name = match form.split_once('.') {
            Some((alias, name)) => format!("{}.{name}", self.packages.get(alias).copied().unwrap_or("")),
            None => format!("{}.{form}", self.packages.get(alias).copied().unwrap_or("")),
        };
        self.type_named(&name, done)
    }
}

/// Returns a scalar by its word in the tables.
fn scalar(word: &str) -> Option<Schema> {
    let formatted = |shape, format: &str| Schema { shape, format: format.to_owned(), ..Schema::default() };
    Some(match word {
        "string" => Schema::of(Shape::Text),
        "bool" | "boolean" => Schema::of(Shape::Boolean),
        "integer" => Schema::of(Shape::Integer),
        "int32" | "int64" => formatted(Shape::Integer, word),
        "number" => Schema::of(Shape::Number),
        "bytes" => formatted(Shape::Bytes, "byte"),
        "any" => Schema::of(Shape::Any),
        "quantity" => Schema::of(Shape::Quantity),
        "time" => formatted(Shape::Time, "date-time"),
        "microtime" => formatted(Shape::MicroTime, "date-time"),
        "date-time" => formatted(Shape::Text, "date-time"),
        "intorstring" => Schema::of(Shape::IntOrString),
        _ => return None,
    })
}

/// Reads the indented lines of a CRD's table into a schema with those members.
pub fn indented(lines: &[&str]) -> Schema {
    let (schema, _) = block(lines, 0);
    schema
}

fn block(lines: &[&str], depth: usize) -> (Schema, usize) {
    let mut members = BTreeMap::new();
    let mut required = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let indent = line.len() - line.trim_start().len();
        if indent < depth {
            break;
        }
        let mut words = line.trim_start().split(' ');
        let (field, form) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let flags: Vec<&str> = words.collect();
        let (inner, used) = block(&lines[at + 1..], depth + 1);
        at += 1 + used;
        if flags.contains(&"!") {
            required.push(field.to_owned());
        }
        members.insert(field.to_owned(), Arc::new(written(form, &flags, inner)));
    }
    (Schema { shape: Shape::Object(members), required, ..Schema::default() }, at)
}

/// Returns the schema of a form such as `[]object`, with its flags; those with a star belong to the items.
fn written(form: &str, flags: &[&str], inner: Schema) -> Schema {
    let (own, of_items): (Vec<&str>, Vec<&str>) = flags.iter().partition(|flag| !flag.starts_with('*'));
    let of_items: Vec<&str> = of_items.iter().map(|flag| &flag[1..]).collect();
    let mut schema = if let Some(items) = form.strip_prefix("[]") {
        Schema::of(Shape::List(Arc::new(written(items, &of_items, inner))))
    } else if let Some(values) = form.strip_prefix("{}") {
        Schema::of(Shape::Map(Arc::new(written(values, &of_items, inner))))
    } else if form == "object" {
        inner
    } else {
        scalar(form).unwrap_or_default()
    };
    for flag in own {
        let (key, text) = flag.split_once('=').unwrap_or((flag, ""));
        let value = || serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
        match key {
            "open" => schema.open = true,
            "set" => schema.list = ListType::Set,
            "atomic" => drop(schema.rules.insert("x-kubernetes-list-type".into(), "atomic".into())),
            "keys" => schema.list = ListType::Map(text.split(',').map(str::to_owned).collect()),
            "map" => {
                schema.atomic = text == "atomic";
                schema.rules.insert("x-kubernetes-map-type".into(), text.into());
            }
            "default" => schema.default = Some(value()),
            "min" => drop(schema.rules.insert("minimum".into(), value())),
            "max" => drop(schema.rules.insert("maximum".into(), value())),
            "minlen" => drop(schema.rules.insert("minLength".into(), value())),
            "maxlen" => drop(schema.rules.insert("maxLength".into(), value())),
            "pattern" => drop(schema.rules.insert("pattern".into(), value())),
            "enum" => drop(schema.rules.insert("enum".into(), value())),
            _ => {}
        }
    }
    schema
}
