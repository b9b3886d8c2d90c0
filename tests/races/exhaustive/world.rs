//! The state of the small world, and what everybody but the run does next.

use std::collections::BTreeSet;

use okgscript::okg::scaler::{Counts, desired_replicas};
use okgscript::okg::scaling::{ScalePod, Scaling, Strategy};
use okgscript::okg::{ops_state, ordinals};

use super::patches::Patches;
use super::run::{Ending, Guards, Run};

/// Ordinals that can exist: two rooms to begin with, and those that an autoscaler may add when both are reserved.
pub const ORDINALS: usize = 5;

/// Most replicas that the autoscaler asks for.
const MOST: i32 = 3;

/// A set of ordinals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ids(u8);

impl Ids {
    pub fn iter(self) -> impl Iterator<Item = i32> {
        (0..8).filter(move |id| self.0 & (1 << id) != 0)
    }

    pub fn has(self, room: usize) -> bool {
        self.0 & (1 << room) != 0
    }

    pub fn without(self, others: Ids) -> Ids {
        Ids(self.0 & !others.0)
    }

    pub fn with(self, others: Ids) -> Ids {
        Ids(self.0 | others.0)
    }

    fn all(self) -> BTreeSet<i32> {
        self.iter().collect()
    }
}

impl FromIterator<i32> for Ids {
    fn from_iter<T: IntoIterator<Item = i32>>(ids: T) -> Ids {
        Ids(ids.into_iter().fold(0, |all, id| {
            assert!((0..8).contains(&id), "the model has no ordinal {id}");
            all | (1 << id)
        }))
    }
}

/// A step, in words: `{}` stands for the number.
#[derive(Clone, Copy, Debug)]
pub struct Step(pub &'static str, pub i32);

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.replace("{}", &self.1.to_string()))
    }
}

/// States that one step leads to.
pub type Steps = Vec<(Step, World)>;

/// What is explored.
#[derive(Clone, Copy)]
pub struct Scope {
    /// What the run does; `None`: there is no run.
    pub ending: Option<Ending>,
    /// Which tests of its patches are sent.
    pub guards: Guards,
    /// What holds.
    pub assumed: Assumed,
    /// Whether an autoscaler polls.
    pub scaler: bool,
    /// Its least number of idle rooms.
    pub min: i32,
    /// How often the run dies and another begins.
    pub deaths: u8,
    /// How many matches begin.
    pub matches: u8,
    /// Whether ending a room whose pod nobody judged breaks a promise of its own.
    pub all_judged: bool,
}

/// The assumptions of the protocol.
#[derive(Clone, Copy)]
pub struct Assumed {
    /// G: the grace is longer than from a matchmaker's read to its write.
    pub grace: bool,
    /// D: the autoscaler lowers a settled set only.
    pub settled_scaler: bool,
    /// Q: nobody else writes over a hold or a mark.
    pub quiet: bool,
    /// C: no pod crashes.
    pub pods_stay: bool,
}

/// An opsState, on a GameServer or as a pod's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ops {
    /// A label that is not there yet.
    Unset,
    None,
    Allocated,
    Marked,
    /// Held by the run of this number.
    Held(u8),
}

impl Ops {
    pub fn text(self) -> String {
        match self {
            Ops::Unset => String::new(),
            Ops::None => ops_state::NONE.to_owned(),
            Ops::Allocated => ops_state::ALLOCATED.to_owned(),
            Ops::Marked => ops_state::WAIT_TO_BE_DELETED.to_owned(),
            Ops::Held(run) => format!("Draining-{run}"),
        }
    }

    pub fn read(text: &str) -> Ops {
        match text {
            ops_state::NONE => Ops::None,
            ops_state::ALLOCATED => Ops::Allocated,
            ops_state::WAIT_TO_BE_DELETED => Ops::Marked,
            held => Ops::Held(held.strip_prefix("Draining-").and_then(|run| run.parse().ok()).expect("a hold")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    pub uid: u8,
    pub old: bool,
    pub ready: bool,
    pub terminating: bool,
    /// Label gs-opsState.
    pub label: Ops,
    /// Whether label gs-state is Deleting.
    pub deleting: bool,
    pub players: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub uid: u8,
    /// Uid of the pod that owns it.
    pub owner: u8,
    pub ops: Ops,
    /// What the run's annotation says: which run, which pod.
    pub note: Option<(u8, u8)>,
    /// Whether `status.currentState` is Ready.
    pub ready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Set {
    pub replicas: i32,
    /// `spec.reserveGameServerIds`.
    pub reserved: Ids,
    /// Annotation reserve-ids.
    pub applied: Ids,
    /// Whether observedGeneration is the generation.
    pub observed: bool,
    /// Ids that a run reserved and did not free.
    pub ours: Ids,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    pub replicas: i32,
    pub reserved: Ids,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub set: Set,
    pub workload: Workload,
    pub pods: [Option<Pod>; ORDINALS],
    pub servers: [Option<Server>; ORDINALS],
    next_uid: u8,
    /// The room that the matchmaker has chosen, and whether a hold was written since it read.
    pub chosen: Option<(usize, bool)>,
    matches_left: u8,
    /// The number that the autoscaler is about to write.
    wished: Option<i32>,
    foreign_writes_left: u8,
    crashes_left: u8,
    pub deaths_left: u8,
    pub run: Option<Run>,
    written_over: bool,
    /// The promise that is broken.
    pub broken: Option<String>,
}

impl World {
    /// Two idle old rooms.
    pub fn new(scope: &Scope) -> World {
        let pod = |uid| Pod {
            uid,
            old: true,
            ready: true,
            terminating: false,
            label: Ops::None,
            deleting: false,
            players: false,
        };
        let server = |uid, owner| Server { uid, owner, ops: Ops::None, note: None, ready: true };
        World {
            set: Set {
                replicas: 2,
                reserved: Ids::default(),
                applied: Ids::default(),
                observed: true,
                ours: Ids::default(),
            },
            workload: Workload { replicas: 2, reserved: Ids::default() },
            pods: [Some(pod(1)), Some(pod(2)), None, None, None],
            servers: [Some(server(3, 1)), Some(server(4, 2)), None, None, None],
            next_uid: 5,
            chosen: None,
            matches_left: scope.matches,
            wished: None,
            foreign_writes_left: u8::from(!scope.assumed.quiet),
            crashes_left: u8::from(!scope.assumed.pods_stay),
            deaths_left: scope.deaths,
            run: scope.ending.map(|_| Run::new(1)),
            written_over: false,
            broken: None,
        }
    }

    /// Returns whether somebody has written over a hold.
    pub fn contested(&self) -> bool {
        self.written_over
    }

    /// Returns whether replicas, workload and pods agree and nothing is on its way.
    pub fn settled(&self) -> bool {
        let pods = i32::try_from(self.pods.iter().flatten().count()).unwrap();
        let going = self.pods.iter().flatten().any(|pod| pod.terminating);
        self.set.observed && self.set.replicas == self.workload.replicas && self.set.replicas == pods && !going
    }

    /// Writes the set's specification as a change of its generation: what was read before is stale.
    pub fn set_changed(&mut self) {
        self.set.observed = false;
        if let Some(run) = &mut self.run {
            run.set_is_stale();
        }
    }

    /// Returns every state that one step leads to.
    pub fn steps(&self, scope: &Scope, patches: &Patches) -> Steps {
        let mut steps = Vec::new();
        self.matchmaker(&mut steps);
        if scope.scaler {
            self.autoscaler(scope, &mut steps);
        }
        self.okg(&mut steps);
        self.kruise_and_kubelet(&mut steps);
        self.chance(&mut steps);
        self.run_steps(scope, patches, &mut steps);
        // Which number a uid is means nothing: states that differ in that alone are one.
        steps.iter_mut().for_each(|(_, world)| world.renumber());
        steps.retain(|(_, world)| world != self);
        steps
    }

    /// Returns what is wrong with a state in which nothing moves any more.
    pub fn at_rest(&self, next: &[(Step, World)]) -> Option<String> {
        if !next.is_empty() {
            return None;
        }
        let held = self.servers.iter().flatten().any(|server| matches!(server.ops, Ops::Held(_)));
        if held {
            return Some("a room stays held for ever".to_owned());
        }
        let run = self.run.as_ref()?;
        if !run.over() {
            return Some(format!("the run never ends: {run:?}"));
        }
        run.lies(self)
    }

    fn step(&self, steps: &mut Steps, name: &'static str, number: usize, change: impl FnOnce(&mut World)) {
        let mut next = self.clone();
        change(&mut next);
        steps.push((Step(name, i32::try_from(number).unwrap()), next));
    }

    /// Blind: it reads who is idle, and later writes Allocated to that name.
    fn matchmaker(&self, steps: &mut Steps) {
        if self.chosen.is_none() && self.matches_left > 0 {
            for room in 0..ORDINALS {
                if self.servers[room].is_some_and(|server| server.ops == Ops::None && server.ready) {
                    self.step(steps, "matchmaker reads: {} is idle", room, |world| {
                        world.chosen = Some((room, false));
                        world.matches_left -= 1;
                    });
                }
            }
        }
        if let Some((room, _)) = self.chosen {
            self.step(steps, "matchmaker writes: {} Allocated", room, |world| world.allocate(room));
        }
        for room in 0..ORDINALS {
            if self.pods[room].is_some_and(|pod| pod.players && !pod.terminating) {
                self.step(steps, "the match in {} ends", room, |world| {
                    if let Some(pod) = &mut world.pods[room] {
                        pod.players = false;
                    }
                    if let Some(server) = world.servers[room].as_mut().filter(|server| server.ops == Ops::Allocated) {
                        server.ops = Ops::None;
                    }
                });
            }
        }
    }

    fn allocate(&mut self, room: usize) {
        self.chosen = None;
        let Some(server) = &mut self.servers[room] else { return };
        self.written_over |= matches!(server.ops, Ops::Held(_));
        server.ops = Ops::Allocated;
        // A0: nobody is sent to a GameServer that is about to be collected.
        let owner = server.owner;
        if let Some(pod) = self.pods[room].as_mut().filter(|pod| pod.uid == owner) {
            pod.players = true;
            if pod.terminating {
                self.broken = Some(format!("players were sent to {room}, which is going"));
            }
        }
    }

    /// It counts labels, and later writes the number that follows from them.
    fn autoscaler(&self, scope: &Scope, steps: &mut Steps) {
        if let Some(wished) = self.wished {
            let lowers = wished < self.set.replicas;
            if !lowers || !scope.assumed.settled_scaler || self.settled() {
                self.step(steps, "autoscaler writes: replicas {}", usize::try_from(wished).unwrap_or(0), |world| {
                    world.wished = None;
                    if wished != world.set.replicas {
                        world.set.replicas = wished;
                        world.set_changed();
                    }
                });
            }
            return;
        }
        let pods = || self.pods.iter().flatten();
        let count = |wanted: &dyn Fn(&&Pod) -> bool| i32::try_from(pods().filter(wanted).count()).unwrap();
        let counts = Counts {
            total: count(&|_| true),
            none: count(&|pod| pod.label == Ops::None),
            wait_to_be_deleted: count(&|pod| pod.label == Ops::Marked && !pod.deleting),
        };
        let min = (scope.min > 0).then(|| scope.min.to_string());
        let wanted = desired_replicas(self.set.replicas, counts, min.as_deref(), None).unwrap();
        let wanted = wanted.clamp(scope.min, MOST);
        let lowers = wanted < self.set.replicas;
        if wanted != self.set.replicas && (!lowers || !scope.assumed.settled_scaler || self.settled()) {
            self.step(steps, "autoscaler reads: it wants {}", usize::try_from(wanted).unwrap_or(0), |world| {
                world.wished = Some(wanted)
            });
        }
    }

    /// A pass over the set, and one over each room.
    fn okg(&self, steps: &mut Steps) {
        if self.set.replicas != self.workload.replicas || self.set.reserved != self.set.applied {
            self.step(steps, "OKG scales", 0, World::scale);
        } else if !self.set.observed {
            self.step(steps, "OKG has seen the set", 0, |world| world.set.observed = true);
        }
        for room in 0..ORDINALS {
            match (self.pods[room], self.servers[room]) {
                (Some(pod), None) => self.step(steps, "OKG makes GameServer {}", room, |world| {
                    let uid = world.uid();
                    let server = Server { uid, owner: pod.uid, ops: Ops::None, note: None, ready: false };
                    world.servers[room] = Some(server);
                }),
                (Some(pod), Some(server)) => {
                    self.step(steps, "OKG copies the labels of {}", room, |world| {
                        world.pods[room] = Some(Pod { label: server.ops, deleting: pod.terminating, ..pod });
                        world.servers[room] = Some(Server { ready: pod.ready && !pod.terminating, ..server });
                    });
                }
                (None, _) => {}
            }
            let owned = self.servers[room].is_some_and(|s| self.pods[room].is_some_and(|pod| pod.uid == s.owner));
            let played = self.pods[room].is_some_and(|pod| pod.players);
            if self.servers[room].is_some() && !owned && !played {
                self.step(steps, "GameServer {} is collected", room, |world| world.servers[room] = None);
            }
        }
    }

    fn scale(&mut self) {
        let pods: Vec<ScalePod> = (0i32..)
            .zip(&self.pods)
            .filter_map(|(ordinal, pod)| {
                let pod = (*pod)?;
                let seen = ScalePod::new(ordinal).ops_state(&pod.label.text());
                Some(if pod.terminating { seen.terminating() } else { seen })
            })
            .collect();
        let scaling = Scaling {
            explicit: self.set.reserved.all(),
            applied: self.set.applied.all(),
            workload: self.workload.reserved.all(),
            target: self.set.replicas,
            pods: &pods,
        };
        let written = scaling.plan().strategy(Strategy::General);
        self.workload = Workload { replicas: self.set.replicas, reserved: written.reserve.into_iter().collect() };
        self.set.applied = written.annotation.into_iter().collect();
    }

    fn kruise_and_kubelet(&self, steps: &mut Steps) {
        let wanted: Ids =
            ordinals::first_free(self.workload.replicas, &self.workload.reserved.all()).into_iter().collect();
        assert!(wanted.0 >> ORDINALS == 0, "more ordinals than the model has: {wanted:?}");
        self.step(steps, "Kruise makes and deletes pods", 0, |world| {
            for room in 0..ORDINALS {
                match world.pods[room] {
                    None if wanted.has(room) => {
                        let uid = world.uid();
                        world.pods[room] = Some(Pod {
                            uid,
                            old: false,
                            ready: false,
                            terminating: false,
                            label: Ops::Unset,
                            deleting: false,
                            players: false,
                        });
                    }
                    Some(pod) if !wanted.has(room) && !pod.terminating => {
                        world.pods[room] = Some(Pod { terminating: true, ..pod });
                        if pod.players {
                            world.broken = Some(format!("the players in {room} are thrown out"));
                        }
                    }
                    _ => {}
                }
            }
        });
        for room in 0..ORDINALS {
            let Some(pod) = self.pods[room] else { continue };
            if pod.terminating {
                self.step(steps, "pod {} is gone", room, |world| world.pods[room] = None);
            } else if !pod.ready {
                self.step(steps, "pod {} is ready", room, |world| {
                    world.pods[room] = Some(Pod { ready: true, ..pod });
                });
            }
        }
    }

    /// What happens where an assumption does not hold.
    fn chance(&self, steps: &mut Steps) {
        for room in 0..ORDINALS {
            if self.crashes_left > 0 && self.pods[room].is_some_and(|pod| !pod.terminating) {
                self.step(steps, "pod {} crashes", room, |world| {
                    world.crashes_left -= 1;
                    world.pods[room] = None;
                });
            }
            let ours = |server: Server| matches!(server.ops, Ops::Held(_) | Ops::Marked);
            if self.foreign_writes_left > 0 && self.servers[room].is_some_and(ours) {
                self.step(steps, "a service quality writes None to {}", room, |world| {
                    world.foreign_writes_left -= 1;
                    world.servers[room] = world.servers[room].map(|server| Server { ops: Ops::None, ..server });
                });
            }
        }
    }

    fn renumber(&mut self) {
        let mut known: Vec<u8> = Vec::new();
        let mut rename = |uid: &mut u8| {
            let place = known.iter().position(|it| it == uid).unwrap_or_else(|| {
                known.push(*uid);
                known.len() - 1
            });
            *uid = u8::try_from(place + 1).unwrap();
        };
        each_uid(&mut self.pods, &mut self.servers, &mut rename);
        if let Some(run) = &mut self.run {
            run.each_uid(&mut rename);
        }
        self.next_uid = u8::try_from(known.len() + 1).unwrap();
    }

    fn uid(&mut self) -> u8 {
        let uid = self.next_uid;
        self.next_uid += 1;
        uid
    }
}

/// Visits every uid in pods and GameServers.
pub fn each_uid(
    pods: &mut [Option<Pod>; ORDINALS],
    servers: &mut [Option<Server>; ORDINALS],
    visit: &mut impl FnMut(&mut u8),
) {
    pods.iter_mut().flatten().for_each(|pod| visit(&mut pod.uid));
    for server in servers.iter_mut().flatten() {
        visit(&mut server.uid);
        visit(&mut server.owner);
        if let Some((_, pod)) = &mut server.note {
            visit(pod);
        }
    }
}
