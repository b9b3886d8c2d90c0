//! The run: the drain protocol, one request a step.

use serde_json::{Value, json};

use super::patches::{Patches, Template};
use super::world::{Ids, ORDINALS, Ops, Pod, Scope, Server, Set, Step, Steps, Workload, World, each_uid};

/// How rooms are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Hold, grace, verify, WaitToBeDeleted.
    Mark,
    /// Hold, grace, verify, one patch of the set.
    Retire,
    /// A guarded mark of what is idle.
    FastMark,
    /// The same without guards.
    BlindMark,
}

/// Which tests of the patches reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guards {
    /// All that the bindings send.
    AsSent,
    /// All but those of this path; `of the set`: all tests of the set's generation and replicas.
    Dropped(&'static str),
}

impl Guards {
    fn keep(self, operations: Vec<Value>, of_set: bool) -> Vec<Value> {
        let Guards::Dropped(path) = self else { return operations };
        let dropped = |operation: &Value| match path {
            "of the set" => of_set && operation["path"] != "/metadata/uid",
            path => operation["path"] == path,
        };
        operations.into_iter().filter(|operation| operation["op"] != "test" || !dropped(operation)).collect()
    }
}

/// What one look at the cluster is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    Judge,
    Verify,
}

/// Where the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    /// Looks for rooms that an earlier run held.
    Adopt,
    /// Reads, one collection a request.
    ReadSet(Look),
    ReadPods(Look),
    ReadServers(Look),
    /// Has read everything and decides.
    Decide(Look),
    Hold(usize),
    Grace,
    End(usize),
    /// Sets back what it holds.
    Release,
    /// Waits until retired rooms are gone, and frees their ids.
    Free,
    Over,
}

/// What was read; versions of the set are told by [`Seen::set_current`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    set: Option<(Set, Workload)>,
    set_current: bool,
    pods: [Option<Pod>; ORDINALS],
    servers: [Option<Server>; ORDINALS],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    number: u8,
    at: At,
    seen: Seen,
    /// Uids of the pods that are judged idle and about to be held.
    judged: [Option<u8>; ORDINALS],
    /// Uids of the pods that it says it has taken away.
    retired: [Option<u8>; ORDINALS],
}

impl Run {
    pub fn new(number: u8) -> Run {
        Run { number, at: At::Adopt, seen: Seen::default(), judged: [None; ORDINALS], retired: [None; ORDINALS] }
    }

    pub fn over(&self) -> bool {
        self.at == At::Over
    }

    pub fn set_is_stale(&mut self) {
        self.seen.set_current = false;
    }

    /// Returns what the receipt says and is not so, once nothing moves any more.
    pub fn lies(&self, world: &World) -> Option<String> {
        let there =
            |room: &usize| self.retired[*room].is_some() && world.pods[*room].map(|pod| pod.uid) == self.retired[*room];
        (0..ORDINALS).find(there).map(|room| format!("{room} is said to be retired and is there"))
    }

    /// Visits every uid that it remembers, in an order that depends on nothing else.
    pub fn each_uid(&mut self, visit: &mut impl FnMut(&mut u8)) {
        each_uid(&mut self.seen.pods, &mut self.seen.servers, visit);
        self.judged.iter_mut().chain(&mut self.retired).flatten().for_each(visit);
    }

    /// Forgets what was read: it counts for one decision.
    fn go(&mut self, at: At) {
        self.at = at;
        self.seen = Seen::default();
    }

    fn hold(&self) -> Ops {
        Ops::Held(self.number)
    }

    /// Returns whether what was read is a set in which a scale-in would take exactly the rooms meant.
    fn saw_settled(&self) -> bool {
        let Some((set, workload)) = &self.seen.set else { return false };
        let pods = i32::try_from(self.seen.pods.iter().flatten().count()).unwrap();
        let going = self.seen.pods.iter().flatten().any(|pod| pod.terminating);
        set.observed && set.replicas == workload.replicas && set.replicas == pods && !going
    }

    /// Returns the rooms that are judged idle by what was read.
    fn idle(&self) -> [Option<u8>; ORDINALS] {
        std::array::from_fn(|room| {
            let (pod, server) = (self.seen.pods[room]?, self.seen.servers[room]?);
            let idle = server.ops == Ops::None && server.ready && server.owner == pod.uid;
            (idle && pod.old && !pod.terminating).then_some(pod.uid)
        })
    }

    /// Returns which rooms show the hold on the pod that was judged, and whether some label is behind.
    fn shown(&self) -> ([bool; ORDINALS], bool) {
        let mut lagging = false;
        let shown = std::array::from_fn(|room| {
            let (Some(pod), Some(server)) = (self.seen.pods[room], self.seen.servers[room]) else { return false };
            let ours = server.ops == self.hold() && server.note == Some((self.number, pod.uid));
            let there = ours && server.owner == pod.uid && !pod.terminating;
            lagging |= there && pod.label != self.hold();
            there && pod.label == self.hold()
        });
        (shown, lagging)
    }
}

impl World {
    /// Adds what the run does next.
    pub fn run_steps(&self, scope: &Scope, patches: &Patches, steps: &mut Steps) {
        let (Some(run), Some(ending)) = (&self.run, scope.ending) else { return };
        if run.over() {
            return;
        }
        if self.deaths_left > 0 {
            let mut next = self.clone();
            next.deaths_left -= 1;
            next.run = Some(Run::new(run.number + 1));
            steps.push((Step("run {} is killed, another begins", i32::from(run.number)), next));
        }
        let mut next = self.clone();
        let context = Context { scope, patches, ending };
        if let Some(name) = next.advance(run, &context) {
            steps.push((name, next));
        }
        // Any wait of the run may time out.
        if matches!(run.at, At::ReadSet(_)) {
            let mut next = self.clone();
            next.run.as_mut().expect("a run").go(At::Release);
            steps.push((Step("run {} gives up waiting", i32::from(run.number)), next));
        }
        if run.at == At::Free {
            let mut next = self.clone();
            next.run.as_mut().expect("a run").go(At::Over);
            steps.push((Step("run {} leaves the ids", i32::from(run.number)), next));
        }
    }

    /// Makes the run's next step; `None` while it waits.
    fn advance(&mut self, before: &Run, context: &Context<'_>) -> Option<Step> {
        let mut run = before.clone();
        let name = match run.at {
            At::Adopt => self.set_back(&mut run, context, |held, run| held != run.number, At::ReadSet(Look::Judge)),
            At::ReadSet(look) => {
                run.seen.set = Some((self.set, self.workload));
                run.seen.set_current = true;
                run.at = At::ReadPods(look);
                Step("run: reads the set", 0)
            }
            At::ReadPods(look) => {
                run.seen.pods = self.pods;
                run.at = At::ReadServers(look);
                Step("run: reads the pods", 0)
            }
            At::ReadServers(look) => {
                run.seen.servers = self.servers;
                run.at = At::Decide(look);
                Step("run: reads the GameServers", 0)
            }
            At::Decide(Look::Judge) => judge(&mut run, context.ending),
            At::Hold(room) => {
                let name = self.hold_room(&mut run, room, context);
                run.at = if room + 1 == ORDINALS { At::Grace } else { At::Hold(room + 1) };
                if run.at == At::Grace {
                    run.go(At::Grace);
                    run.judged = [None; ORDINALS];
                }
                name
            }
            At::Grace => {
                let waits = context.scope.assumed.grace && self.chosen.is_some_and(|(_, before)| before);
                if waits {
                    return None;
                }
                run.go(At::ReadSet(Look::Verify));
                Step("run: the grace is over", 0)
            }
            At::Decide(Look::Verify) => {
                let (shown, lagging) = run.shown();
                if lagging || !run.saw_settled() {
                    run.go(At::ReadSet(Look::Verify));
                    Step("run: waits for labels or for the set", 0)
                } else if shown.iter().any(|shown| *shown) {
                    run.at = At::End(0);
                    Step("run: has verified", 0)
                } else {
                    run.go(At::Release);
                    Step("run: holds nothing", 0)
                }
            }
            At::End(room) => self.end(&mut run, room, context),
            At::Release => self.set_back(&mut run, context, |held, run| held == run.number, At::Free),
            At::Free => {
                let there = (0..ORDINALS).any(|room| self.set.ours.has(room) && self.pods[room].is_some());
                if there {
                    return None;
                }
                if self.set.ours != Ids::default() {
                    let rest: Vec<i32> = self.set.reserved.without(self.set.ours).iter().collect();
                    self.write_set(
                        &context.patches.free,
                        context,
                        true,
                        &[("add /spec/reserveGameServerIds", json!(rest))],
                    );
                    self.set.ours = Ids::default();
                }
                run.at = At::Over;
                Step("run: frees the ids", 0)
            }
            At::Over => return None,
        };
        self.run = Some(run);
        Some(name)
    }

    fn hold_room(&mut self, run: &mut Run, room: usize, context: &Context<'_>) -> Step {
        let (Some(pod), Some(judged)) = (run.judged[room], run.seen.servers[room]) else {
            return said("run: leaves {} alone", room);
        };
        if matches!(context.ending, Ending::FastMark | Ending::BlindMark) {
            let marked = self.write_room(
                RoomWrite { room, judged, template: &context.patches.fast, from: Ops::None, to: Ops::Marked, pod },
                context,
            );
            self.judge_mark(room, pod, marked, context);
            return said(if marked { "run: marks {}" } else { "run: may not mark {}" }, room);
        }
        let written = self.write_room(
            RoomWrite { room, judged, template: &context.patches.hold, from: Ops::None, to: run.hold(), pod },
            context,
        );
        if written {
            if let Some(server) = &mut self.servers[room] {
                server.note = Some((run.number, pod));
            }
            if let Some((_, before)) = &mut self.chosen {
                *before = true;
            }
        } else {
            run.judged[room] = None;
        }
        said(if written { "run: holds {}" } else { "run: may not hold {}" }, room)
    }

    fn end(&mut self, run: &mut Run, room: usize, context: &Context<'_>) -> Step {
        let (shown, _) = run.shown();
        if context.ending == Ending::Retire {
            let ids: Vec<i32> = (0i32..).zip(shown).filter_map(|(id, shown)| shown.then_some(id)).collect();
            let (set, _) = run.seen.set.expect("the set was read");
            let all: Vec<i32> = set.reserved.iter().chain(ids.iter().copied()).collect();
            let lower = set.replicas - i32::try_from(ids.len()).unwrap();
            let written = self.write_set(
                &context.patches.retire,
                context,
                run.seen.set_current,
                &[
                    ("test /spec/replicas", json!(set.replicas)),
                    ("add /spec/reserveGameServerIds", json!(all)),
                    ("replace /spec/replicas", json!(lower)),
                ],
            );
            if written {
                self.set.ours = self.set.ours.with(ids.iter().copied().collect());
                for room in (0..ORDINALS).filter(|room| shown[*room]) {
                    let uid = run.seen.pods[room].expect("it was shown").uid;
                    run.retired[room] = Some(uid);
                    self.judge_mark(room, uid, true, context);
                }
                run.go(At::Release);
            } else {
                run.go(At::ReadSet(Look::Verify));
            }
            return said(if written { "run: retires {} rooms" } else { "run: may not retire {} rooms" }, ids.len());
        }
        let mut name = said("run: leaves {} alone", room);
        if let (true, Some(judged), Some(pod)) = (shown[room], run.seen.servers[room], run.seen.pods[room]) {
            let held = run.hold();
            let marked = self.write_room(
                RoomWrite { room, judged, template: &context.patches.mark, from: held, to: Ops::Marked, pod: pod.uid },
                context,
            );
            self.judge_mark(room, pod.uid, marked, context);
            name = said(if marked { "run: marks {}" } else { "run: may not mark {}" }, room);
        }
        if room + 1 == ORDINALS {
            run.go(At::Release);
        } else {
            run.at = At::End(room + 1);
        }
        name
    }

    /// A room that was marked or retired must be the one that was judged.
    fn judge_mark(&mut self, room: usize, judged: u8, written: bool, context: &Context<'_>) {
        if context.scope.all_judged && written && self.pods[room].is_some_and(|pod| pod.uid != judged) {
            self.broken = Some(format!("{room} is marked or retired, and nobody judged its pod"));
        }
    }

    /// Sets one held room back; goes on when there is none.
    fn set_back(&mut self, run: &mut Run, context: &Context<'_>, which: impl Fn(u8, &Run) -> bool, then: At) -> Step {
        let reserved = |room: usize| self.set.ours.has(room);
        let held = (0..ORDINALS).find_map(|room| match self.servers[room] {
            Some(server) if !reserved(room) => match server.ops {
                Ops::Held(number) if which(number, run) => Some((room, server)),
                _ => None,
            },
            _ => None,
        });
        let Some((room, judged)) = held else {
            run.go(then);
            return Step("run: no room is held", 0);
        };
        self.write_room(
            RoomWrite { room, judged, template: &context.patches.release, from: judged.ops, to: Ops::None, pod: 0 },
            context,
        );
        said("run: sets {} back", room)
    }

    /// Sends a patch of a room, as the bindings do; returns whether the server took it.
    fn write_room(&mut self, write: RoomWrite<'_>, context: &Context<'_>) -> bool {
        let RoomWrite { room, judged, template, from, to, pod } = write;
        let Some(server) = &mut self.servers[room] else { return false };
        if context.ending == Ending::BlindMark {
            server.ops = to;
            return true;
        }
        let note = json!({"pod": format!("pod-{pod}")}).to_string();
        let operations = template.fill(&[
            ("test /metadata/uid", json!(format!("server-{}", judged.uid))),
            ("test /metadata/ownerReferences/0/uid", json!(format!("pod-{}", judged.owner))),
            ("test /spec/opsState", json!(from.text())),
            ("add /spec/opsState", json!(to.text())),
        ]);
        let mut object = json!({
            "metadata": {
                "uid": format!("server-{}", server.uid),
                "ownerReferences": [{"kind": "Pod", "uid": format!("pod-{}", server.owner)}],
                "annotations": {"okgscript.io/drain": note},
            },
            "spec": {"opsState": server.ops.text()},
            "status": {"currentState": if server.ready { "Ready" } else { "NotReady" }},
        });
        if !apply(&mut object, context.scope.guards.keep(operations, false)) {
            return false;
        }
        server.ops = Ops::read(object["spec"]["opsState"].as_str().expect("an opsState"));
        true
    }

    /// Sends a patch of the set; returns whether the server took it.
    fn write_set(
        &mut self,
        template: &Template,
        context: &Context<'_>,
        current: bool,
        values: &[(&str, Value)],
    ) -> bool {
        // Only whether the generation is the one that was read matters.
        let mut values = values.to_vec();
        values.push(("test /metadata/uid", json!("set")));
        values.push(("test /metadata/generation", json!(if current { 2 } else { 1 })));
        let operations = template.fill(&values);
        let mut object = json!({
            "metadata": {"uid": "set", "generation": 2, "annotations": {"okgscript.io/drain": ""}},
            "spec": {"replicas": self.set.replicas, "reserveGameServerIds": self.set.reserved.iter().collect::<Vec<_>>()},
        });
        if !apply(&mut object, context.scope.guards.keep(operations, true)) {
            return false;
        }
        self.set.replicas = number(&object["spec"]["replicas"]);
        let reserved = object["spec"]["reserveGameServerIds"].as_array();
        self.set.reserved = reserved.into_iter().flatten().map(number).collect();
        self.set_changed();
        true
    }
}

fn said(name: &'static str, number: usize) -> Step {
    Step(name, i32::try_from(number).unwrap())
}

/// A write of a room's opsState.
struct RoomWrite<'a> {
    room: usize,
    /// The GameServer as it was read.
    judged: Server,
    template: &'a Template,
    from: Ops,
    to: Ops,
    /// Uid of the pod that the annotation names.
    pod: u8,
}

struct Context<'a> {
    scope: &'a Scope,
    patches: &'a Patches,
    ending: Ending,
}

fn judge(run: &mut Run, ending: Ending) -> Step {
    let fast = matches!(ending, Ending::FastMark | Ending::BlindMark);
    if !fast && !run.saw_settled() {
        run.go(At::ReadSet(Look::Judge));
        return Step("run: waits for the set", 0);
    }
    run.judged = run.idle();
    run.at = At::Hold(0);
    Step("run: judges", 0)
}

fn number(value: &Value) -> i32 {
    i32::try_from(value.as_i64().expect("a number")).unwrap()
}

/// Applies a JSON Patch as the server does: all of it, or nothing.
fn apply(object: &mut Value, operations: Vec<Value>) -> bool {
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(operations)).expect("a JSON Patch");
    json_patch::patch(object, &patch).is_ok()
}
