//! The built-in scenario.

use okgscript::clock::Clock;
use okgscript::sandbox::{Options, Sandbox};

use crate::support::Test;

const SAFE: &str = "\
NAME          STATE   OPSSTATE          DP   UP   AGE
minecraft-0   Ready   Allocated         0    0    2m
minecraft-1   Ready   WaitToBeDeleted   0    0    2m
minecraft-2   Ready   WaitToBeDeleted   0    0    2m
minecraft-3   Ready   None              0    0    s
minecraft-4   Ready   None              0    0    s
minecraft-5   Ready   None              0    0    s
";

/// The first table on stdout, ages cut down to minutes.
fn table(stdout: &str) -> String {
    let lines = stdout.lines().take(7).map(|line| {
        let Some((rest, age)) = line.rsplit_once(' ') else { return line.to_owned() };
        let age = if age.starts_with("2m") { "2m" } else { age.trim_start_matches(|c: char| c.is_ascii_digit()) };
        format!("{rest} {age}")
    });
    lines.map(|line| line + "\n").collect()
}

#[test]
fn the_release_prints_the_table_of_the_design() {
    for mode in ["safe", "fast"] {
        let ran = Test::new().args(["run", "lossless_release.rhai", "--sandbox", "--drain", mode]);
        let ran = ran.stdout_any().stderr_has("drain ends by mark: stabilization window 300s").ok();
        assert_eq!(table(&ran.stdout), SAFE, "{mode}");
    }
}

#[test]
fn followed_every_old_room_goes_and_one_seed_gives_one_output() {
    for end in ["mark", "retire"] {
        let run = || {
            let args = ["run", "lossless_release.rhai", "--sandbox", "--follow", "1h", "--end", end, "--seed", "5"];
            Test::new().args(args).stdout_any().stderr_any().ok()
        };
        let (first, again) = (run(), run());
        assert_eq!(first.stdout, again.stdout, "{end}");
        let gone = if end == "mark" { "None -> WaitToBeDeleted, gone" } else { "None -> retired, gone" };
        for room in 0..3 {
            let line = first.stdout.lines().find(|line| line.starts_with(&format!("minecraft-{room}   -")));
            assert!(line.is_some_and(|line| line.ends_with(gone)), "{end}, minecraft-{room}:\n{}", first.stdout);
        }
        assert!(first.stdout.contains("3 rooms") && first.stdout.contains("(3 gone)"), "{}", first.stdout);
    }
}

#[tokio::test(start_paused = true)]
async fn in_any_time_everything_is_there_at_once() {
    let simulated = Clock::simulated("2026-01-05T04:00:00Z".parse().unwrap());
    for clock in [simulated, Clock::wall()] {
        let sandbox = Sandbox::start(&Options::default(), clock).await.unwrap();
        assert_eq!(sandbox.params()["gss"], "minecraft");
        let api = sandbox.api();
        let pod = api.get("pods", "default", "minecraft-0").unwrap();
        assert_eq!(pod["metadata"]["labels"]["game.kruise.io/gs-opsState"], "Allocated");
        assert_eq!(pod["metadata"]["labels"]["game.kruise.io/gs-state"], "Ready");
        let room = api.get("gameservers.game.kruise.io", "default", "minecraft-0").unwrap();
        assert_eq!(room["metadata"]["ownerReferences"][0]["uid"], pod["metadata"]["uid"]);
        let made: jiff::Timestamp = pod["metadata"]["creationTimestamp"].as_str().unwrap().parse().unwrap();
        let age = clock.now().duration_since(made).as_secs();
        assert!((119..=122).contains(&age), "{age}");
        let set = api.get("gameserversets.game.kruise.io", "default", "minecraft").unwrap();
        assert_eq!(
            (&set["status"]["readyReplicas"], &set["status"]["observedGeneration"]),
            (&3.into(), &set["metadata"]["generation"])
        );
        assert_eq!(sandbox.players().ledger().playing(pod["metadata"]["uid"].as_str().unwrap()), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn empty_leaves_the_objects_out_and_keeps_the_nodes() {
    let options = Options { empty: true, ..Options::default() };
    let clock = Clock::simulated("2026-01-05T04:00:00Z".parse().unwrap());
    let sandbox = Sandbox::start(&options, clock).await.unwrap();
    assert_eq!(sandbox.api().list("pods", None).len(), 0);
    assert_eq!(sandbox.api().list("scaledobjects.keda.sh", None).len(), 0);
    assert_eq!(sandbox.api().list("nodes", None).len(), 1);
    assert!(
        Sandbox::start(&Options { controllers: false, ..Options::default() }, clock)
            .await
            .unwrap()
            .api()
            .list("pods", None)
            .is_empty()
    );
}
