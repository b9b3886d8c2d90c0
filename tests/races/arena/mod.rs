//! Dense worlds in which drains are contested as a rule: many rooms, short matches, matchmakers whose lag comes close to
//! the grace; and the score of what a tool did in them, kept by a witness of every write.
//!
//! One run is one cluster, one seed, one session of the shipped bindings and many drains. Tests and `cargo bench --bench
//! races` share this folder.

mod book;
mod score;
mod subjects;

use std::sync::{Arc, Mutex};

use okgscript::diagnostic::Diagnostic;
use okgscript::sandbox::Options;
use okgscript::script::Dynamic;

pub use self::score::Score;
pub use self::subjects::Subject;

use self::book::Book;
use crate::support::fresh::on_cluster;

/// The set that every world is about.
pub const SET: &str = "arena";

/// One dense world. The default keeps every assumption of the protocol.
#[derive(Clone, Debug)]
pub struct World {
    /// Rooms of the set.
    pub rooms: u32,
    /// Rooms of one batch.
    pub batch: u32,
    /// The drain's grace.
    pub grace: &'static str,
    /// Rounds of draining and refilling.
    pub rounds: u32,
    /// Matches a minute that a blind matchmaker begins, and how late it writes.
    pub blind: (u32, &'static str),
    /// The same of a guarded one.
    pub guarded: (u32, &'static str),
    /// The same of a slow one, which is blind too.
    pub slow: (u32, &'static str),
    /// How long matches last.
    pub matches: &'static str,
    /// Writes of None over whatever is neither None nor Allocated, an hour.
    pub flaps: u32,
    /// Crashes an hour.
    pub crashes: u32,
    /// Players a minute who play in a room without anybody telling OKG.
    pub unheard: u32,
    /// How late labels follow.
    pub label_lag: &'static str,
    /// How long a pod takes to end.
    pub termination: &'static str,
    /// OKG's requests a second.
    pub qps: u32,
    /// KEDA's window in seconds and its poll, if there is KEDA.
    pub keda: Option<(u32, &'static str)>,
    /// Fewest rooms that KEDA keeps available.
    pub min_available: u32,
    /// More matchmakers, in the scenario's words.
    pub own: String,
}

impl Default for World {
    fn default() -> World {
        World {
            rooms: 40,
            batch: 40,
            grace: "10s",
            rounds: 6,
            blind: (70, "8s"),
            guarded: (500, "6s"),
            slow: (0, "9s"),
            matches: "{ from: 1s, to: 4s }",
            flaps: 0,
            crashes: 0,
            unheard: 0,
            label_lag: "0s",
            termination: "1s",
            qps: 300,
            keda: None,
            min_available: 0,
            own: String::new(),
        }
    }
}

impl World {
    /// The world of an ending with its assumptions kept: a mark needs somebody who lowers replicas, late enough.
    pub fn kept(subject: Subject) -> World {
        match subject {
            Subject::Retire | Subject::Block => World::default(),
            _ => World { keda: Some((30, "5s")), ..World::default() },
        }
    }

    /// Returns the scenario.
    pub fn scenario(&self) -> String {
        let crowd = |kind: &str, (per_minute, lag): (u32, &str)| {
            format!(
                "- {{ gss: {SET}, matchmaker: {kind}, lag: {lag}, perMinute: {per_minute}, match: {}, patience: 0s }}\n",
                self.matches
            )
        };
        let crowds = [("blind", self.blind), ("guarded", self.guarded), ("slow", self.slow)];
        let mut players: String = crowds.into_iter().map(|(kind, numbers)| crowd(kind, numbers)).collect();
        players.push_str(&self.own);
        let keda = self.keda.map(|(window, _)| {
            format!(
                "---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{ name: {SET} }}\nspec:\n  \
                 scaleTargetRef: {{ apiVersion: game.kruise.io/v1alpha1, kind: GameServerSet, name: {SET} }}\n  \
                 minReplicaCount: 1\n  maxReplicaCount: 500\n  advanced:\n    horizontalPodAutoscalerConfig:\n      \
                 behavior: {{ scaleDown: {{ stabilizationWindowSeconds: {window} }} }}\n  triggers:\n  \
                 - type: external\n    metricType: AverageValue\n    metadata: {{ scalerAddress: x, minAvailable: \"{}\" }}\n",
                self.min_available
            )
        });
        format!(
            "apiVersion: game.kruise.io/v1alpha1\nkind: GameServerSet\nmetadata: {{ name: {SET} }}\nspec:\n  \
             replicas: {rooms}\n  updateStrategy: {{ type: OnDelete }}\n  gameServerTemplate:\n    spec:\n      \
             containers: [{{ name: game, image: \"arena:1\" }}]\n{keda}---\napiVersion: okgscript.io/v1\nkind: Scenario\n\
             metadata: {{ name: races }}\nworld:\n  podStart: 1s\n  termination: {termination}\n  labelLag: {lag}\n  \
             okg: {{ qps: {qps}, burst: {qps} }}\nautoscaler: {{ poll: {poll} }}\nplayers:\n{players}disturbances:\n\
             - {{ kind: serviceQuality, gss: {SET}, perHour: {flaps} }}\n- {{ kind: crash, gss: {SET}, perHour: {crashes} }}\n",
            rooms = self.rooms,
            keda = keda.unwrap_or_default(),
            termination = self.termination,
            lag = self.label_lag,
            qps = self.qps,
            poll = self.keda.map_or("15s", |(_, poll)| poll),
            flaps = self.flaps,
            crashes = self.crashes,
        )
    }

    /// Lets a subject work in this world for all its rounds.
    pub fn play(&self, subject: Subject, seed: u64) -> Score {
        let options =
            Options { scenario: Some(("races.yaml".to_owned(), self.scenario())), seed, ..Options::default() };
        let text = subject.script(self);
        on_cluster(
            &options,
            |_| Default::default(),
            |session, sandbox| {
                let api = sandbox.api();
                let book = Arc::new(Mutex::new(Book::new(api)));
                let kept = book.clone();
                api.witnessed_by(Arc::new(move |attempt| kept.lock().unwrap().witness(attempt)));
                subject.start(api, seed);
                book::unheard(self.unheard, seed, api, &book);
                let begun = api.clock().now();
                let script = session.desk().compile("race.rhai", &text);
                let result = session.run(&script.unwrap_or_else(|error| panic!("{}", error.draw(false))));
                let requests = session.host().known_cluster().map_or(0, |it| it.journal().totals().requests);
                let mut book = book.lock().unwrap();
                let mut score = book.score(sandbox.players().ledger(), &session.host().ledger());
                score.requests += requests;
                score.seconds = api.clock().now().duration_since(begun).as_secs_f64();
                take_result(&mut score, result);
                score
            },
        )
    }
}

/// A script's value is the list of its aborts.
fn take_result(score: &mut Score, result: Result<Dynamic, Diagnostic>) {
    match result {
        Ok(value) => {
            let aborts = value.into_array().unwrap_or_default();
            score.aborts += aborts.len();
            score.why.extend(aborts.into_iter().map(|abort| abort.to_string()));
        }
        Err(error) => {
            score.aborts += 1;
            score.why.insert(error.draw(false));
        }
    }
}
