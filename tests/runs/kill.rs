//! SIGKILL between any two requests of a release, then `resume`: the same end, and a true receipt.

use serde_json::Value;

use super::proxy::Kill;
use super::truth;
use super::world::{NEW, World};

/// The release, short enough to be done many times.
fn release(end: &'static str) -> Vec<&'static str> {
    let mut args = vec!["run", "lossless_release", "--gss", "minecraft", "--image", NEW];
    args.extend(["--grace", "50ms", "--end", end, "-o", "json"]);
    args
}

fn receipt(out: &str) -> Value {
    let document: Value = serde_json::from_str(out).unwrap_or_else(|error| panic!("{error}: {out}"));
    document["receipt"].clone()
}

/// The release without a kill: its end state, its writes, its requests.
fn undisturbed(end: &'static str) -> (Value, usize, usize) {
    let world = World::new();
    let ended = world.run(&release(end));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let log = world.proxy.log();
    truth::check(&receipt(&ended.out), &log).unwrap_or_else(|wrong| panic!("{wrong}"));
    (world.end_state(), log.iter().filter(|it| it.write()).count(), log.len())
}

/// Kills a release at a point and resumes it.
fn killed_at(end: &'static str, kill: Kill, expected: &Value) {
    let world = World::new();
    let ended = world.run_killed(&release(end), kill);
    assert_eq!(ended.code, None, "{kill:?}: it was not killed: {ended:?}");
    let shown = world.run(&["runs"]);
    assert!(shown.out.contains(" died "), "{kill:?}: {}", shown.out);
    let resumed = world.run(&["resume", "-o", "json"]);
    assert_eq!(resumed.code, Some(0), "{kill:?}: {}\n{}", resumed.err, ended.err);
    assert_eq!(world.end_state(), *expected, "{kill:?}: {}\n{}", ended.err, resumed.err);
    let receipt = receipt(&resumed.out);
    truth::check(&receipt, &world.proxy.log())
        .unwrap_or_else(|wrong| panic!("{kill:?}: {wrong}\n{}\n{}", ended.err, resumed.err));
    let shown = world.run(&["runs", "show", receipt_run(&world).as_str(), "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["receipt"], receipt, "{kill:?}: the journal alone gives another receipt");
}

fn receipt_run(world: &World) -> String {
    world.journal().file_stem().unwrap().to_string_lossy().into_owned()
}

fn everywhere(end: &'static str) {
    let (expected, writes, requests) = undisturbed(end);
    let mut kills: Vec<Kill> = (1..=writes).flat_map(|n| [Kill::BeforeWrite(n), Kill::AfterWrite(n)]).collect();
    // A sample of all requests: what lies between two writes differs only in what was read.
    kills.extend((1..requests * 9 / 10).step_by(requests / 8).map(Kill::BeforeRequest));
    let next = std::sync::Mutex::new(kills.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let kill = next.lock().unwrap().next();
                    let Some(kill) = kill else { break };
                    killed_at(end, kill, &expected);
                }
            });
        }
    });
}

#[test]
fn a_release_that_retires() {
    everywhere("retire");
}

#[test]
fn a_release_that_marks() {
    everywhere("mark");
}
