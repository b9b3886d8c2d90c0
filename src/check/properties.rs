//! Rule: a property exists on the type that the value has, as far as the text tells where it comes from.

use super::functions::nothing_sent;
use super::{Checker, File, label};
use crate::diagnostic::{Kind, closest};
use crate::script::calls::Origin;

pub(super) fn check(checker: &Checker, file: &File, found: &mut Vec<crate::diagnostic::Diagnostic>) {
    for access in &file.outline.accesses {
        let Some(ty) = checker.type_of(&access.origin) else { continue };
        let Some(record) = checker.types.iter().find(|record| record.name == ty) else { continue };
        let names: Vec<&str> = record.properties.iter().map(|(name, ..)| *name).collect();
        let property = access.property.as_str();
        if names.contains(&property) {
            continue;
        }
        let what = format!("a {ty} has no property `{property}`");
        let mut wrong = checker.at(file.name, access.position, Kind::UnknownProperty, what);
        if let Some(meant) = closest(property, names.iter().copied()) {
            wrong = label(wrong, format!("did you mean `{meant}`?"));
        } else if checker.functions.contains_key(property) {
            wrong = label(wrong, format!("it is a function: `{property}(…)`"));
        }
        found.push(nothing_sent(wrong.help(format!("`okgscript doc {ty}` lists the properties"))));
    }
}

impl Checker<'_> {
    /// Returns the type of a value by where it comes from.
    fn type_of(&self, origin: &Origin) -> Option<&'static str> {
        match origin {
            Origin::Unknown | Origin::Caught => None,
            Origin::Call(name, closure) => {
                let record = self.records.get(name.as_str())?;
                // `step` and the waits return what their closure returns.
                let passes_on = record.returns == "any" && record.params.iter().any(|param| param.ty == "closure");
                if passes_on { self.type_of(closure) } else { self.own(record.returns) }
            }
            Origin::Element(list) => (self.type_of(list)? == "GameServers").then_some("GameServer"),
            Origin::Property(of, name) => {
                let ty = self.type_of(of)?;
                let record = self.types.iter().find(|record| record.name == ty)?;
                record.properties.iter().find(|(property, ..)| property == name).and_then(|(_, ty, _)| self.own(ty))
            }
            Origin::Method(of, name) => {
                let ty = self.type_of(of)?;
                (ty == "GameServers" && matches!(name.as_str(), "filter" | "take" | "skip")).then_some(ty)
            }
            Origin::Given(name) => {
                let record = self.records.get(name.as_str())?;
                let takes_room = |doc: &str| doc.contains("|gs|");
                record.params.iter().any(|param| takes_room(param.doc)).then_some("GameServer")
            }
        }
    }

    fn own(&self, ty: &'static str) -> Option<&'static str> {
        self.types.iter().any(|record| record.name == ty).then_some(ty)
    }
}
