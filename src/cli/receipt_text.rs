//! The receipt as people read it: tables on a terminal, or Markdown; the same lines in both.

use super::global::Form;
use super::receipt::{Receipt, Vanished};
use super::terminal::out;
use crate::bindings::ledger::{Approval, RoomChange};
use crate::bindings::table;

impl Receipt {
    /// Prints the receipt on stdout.
    pub fn print(&self, form: Form) {
        let line = |text: String| out(&if form == Form::Markdown { format!("- {text}") } else { text });
        let draw = |headers: &[&str], rows: &[Vec<String>]| match form {
            Form::Markdown => out(&format!("\n{}\n", table::markdown(headers, rows).trim_end())),
            _ => {
                out("\n");
                out(&table::draw(headers, rows));
            }
        };
        for unknown in &self.unknown {
            line(format!("sent, and its answer is not known: {unknown}"));
        }
        for Approval { what, by, how, at } in &self.ledger.approvals {
            line(format!("approved: “{what}” by {by} ({how}) at {at}"));
        }
        if self.ledger.untouched() {
            if !self.stopped && self.requests > 0 {
                line(format!("Nothing was changed. {}", self.effort()));
            }
            return;
        }
        for (set, look) in &self.looks {
            draw(&["NAME", "STATE", "OPSSTATE", "VERSION", "AGE", "THIS RUN"], &self.rows(set, look));
        }
        let written: Vec<Vec<String>> = self.ledger.rooms.iter().map(written).collect();
        if !written.is_empty() {
            draw(&["WRITTEN", "UID", "FIELD", "BEFORE", "AFTER", "RESOURCEVERSION"], &written);
        }
        let gone = self.looks.iter().flat_map(|(set, look)| self.gone(set, look));
        let gone: Vec<Vec<String>> = gone.map(|Vanished { name, pod, what }| vec![name, pod, what]).collect();
        if !gone.is_empty() {
            draw(&["VANISHED", "POD", "HOW"], &gone);
        }
        self.of_sets().into_iter().chain(self.ledger.others.iter().cloned()).for_each(line);
        line(self.sums());
        line(format!("Allocated rooms touched: {}.{}", self.allocated_touched(), self.still_playing()));
        for remark in &self.ledger.failed {
            line(format!("failed: {}: {}", remark.name, remark.reason));
        }
        for remark in &self.ledger.skipped {
            line(format!("skipped: {}: {}", remark.name, remark.reason));
        }
        if let Some(held) = self.still_held() {
            line(held);
        }
        if !self.ledger.rested_on.is_empty() {
            line(format!("No player is thrown out by this run as long as {}.", self.ledger.rested_on.join("; ")));
        }
        if let Some(back) = &self.way_back {
            line(format!("To go back: {back}"));
        }
    }

    /// Says which rooms are still held, and who lets them go.
    fn still_held(&self) -> Option<String> {
        let held: Vec<&str> = self.held().into_keys().collect();
        let (run, names) = (&self.run, held.join(", "));
        (!held.is_empty()).then(|| {
            format!(
                "still held, so that no player is sent there: {names}. `okgscript resume {run}` goes on with them; any \
                 later run that drains this set gives them back first."
            )
        })
    }
}

/// A row of what was written to rooms.
fn written(change: &RoomChange) -> Vec<String> {
    let RoomChange { name, uid, field, before, after, version } = change;
    let version = if version.is_empty() { "not known" } else { version };
    [name, uid, field, before, after, version].map(str::to_owned).to_vec()
}
