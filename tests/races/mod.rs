//! Releases while players come and go: what the drain protocol loses and what it does not, by the cluster's own book of
//! who played where.

// The bench uses the rest.
#[allow(dead_code)]
pub mod arena;
mod drain;
mod exhaustive;
mod suite;

use std::collections::BTreeMap;

use okgscript::diagnostic::Diagnostic;
use okgscript::sandbox::Options;
use okgscript::session::Desk;
use serde_json::Value;

use crate::support::fresh::on_cluster;

/// What a run under players came to.
#[derive(Debug, Default, PartialEq)]
pub struct Score {
    /// Matches that began.
    pub matches: usize,
    /// Matches whose room was taken away under their players.
    pub lost: usize,
    /// Rooms that somebody took between the judgement and the end of their drain.
    pub contested: usize,
    /// Old rooms that are left.
    pub old_rooms: usize,
    /// How the script failed, if it did.
    pub failure: Option<String>,
}

impl std::ops::AddAssign for Score {
    fn add_assign(&mut self, other: Score) {
        self.matches += other.matches;
        self.lost += other.lost;
        self.contested += other.contested;
        self.old_rooms += other.old_rooms;
        self.failure = self.failure.take().or(other.failure);
    }
}

/// Runs a script on a scenario and reads the cluster's own book afterwards.
pub fn play(scenario: &str, seed: u64, script: &str, params: &[(&str, Value)]) -> Score {
    let options =
        Options { scenario: Some(("races.yaml".to_owned(), scenario.to_owned())), seed, ..Options::default() };
    let compile =
        |desk: &Desk| desk.compile("race.rhai", script).unwrap_or_else(|error| panic!("{}", error.draw(false)));
    let settle = |desk: &mut Desk| {
        let declared = compile(desk).params.into_iter().filter_map(|param| Some((param.name, param.default?)));
        let mut settled: BTreeMap<String, Value> = declared.collect();
        settled.extend(params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        settled
    };
    on_cluster(&options, settle, |session, sandbox| {
        let result = session.run(&compile(session.desk()));
        let ledger = session.host().ledger();
        let contested = ledger.skipped.iter().filter(|remark| remark.reason.contains("became Allocated")).count();
        let old = result.as_ref().ok().and_then(|value| value.as_int().ok()).unwrap_or(0);
        let books = sandbox.players().ledger();
        Score {
            matches: books.matches().len(),
            lost: books.lost().len(),
            contested,
            old_rooms: usize::try_from(old).unwrap_or(0),
            failure: result.err().map(|error: Diagnostic| error.draw(false)),
        }
    })
}
