//! Who is tried: the endings of the shipped drain, its fast mode, and the two ways that it replaces.

use std::time::Duration;

use okgscript::sandbox::api::Api;
use okgscript::sandbox::object::{self, Actor, Patch};
use serde_json::{Value, json};

use super::{SET, World};

const GS: &str = "gameservers.game.kruise.io";

/// What drains rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Nobody: what is lost then is lost without any tool.
    Nothing,
    /// `okg/drain`, ending retire.
    Retire,
    /// The same with a block on all rooms.
    Block,
    /// `okg/drain`, ending mark.
    Mark,
    /// `okg/drain`, mode fast: the plain guarded mark.
    Fast,
    /// The algorithm of GameServers-Updater, the last step of OKG's workflow guide.
    Updater,
    /// A merge patch of opsState on every room that a list showed idle.
    Blind,
}

impl Subject {
    /// Returns how tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Nothing => "no tool",
            Subject::Retire => "retire",
            Subject::Block => "retire with block",
            Subject::Mark => "mark",
            Subject::Fast => "fast mark",
            Subject::Updater => "GameServers-Updater",
            Subject::Blind => "blind merge patch",
        }
    }

    /// Returns the field manager whose writes are the tool's.
    pub fn manager(name: &str) -> bool {
        ["okgscript", UPDATER, BLIND].contains(&name)
    }

    /// Returns the script of a run: rounds of refilling and draining. Its value lists what went wrong.
    pub fn script(self, world: &World) -> String {
        let World { rooms, batch, grace, rounds, .. } = world;
        let drain = match self {
            Subject::Retire => format!("#{{ end: \"retire\", batch: {batch}, grace: \"{grace}\" }}"),
            Subject::Block => format!("#{{ end: \"retire\", batch: {batch}, grace: \"{grace}\", block: true }}"),
            Subject::Mark => format!("#{{ end: \"mark\", batch: {batch}, grace: \"{grace}\" }}"),
            Subject::Fast => "#{ mode: \"fast\" }".to_owned(),
            Subject::Nothing | Subject::Updater | Subject::Blind => String::new(),
        };
        let drain = if drain.is_empty() {
            "sleep(\"20s\");".to_owned()
        } else {
            format!("drain::retire(\"{SET}\", #{{}}, {drain});")
        };
        let hook = match self {
            Subject::Block => format!("gss_set_image(\"{SET}\", \"\", \"arena:2\", #{{ block: true }});"),
            _ => String::new(),
        };
        // A mark is over when whoever lowers replicas has come round to it.
        let follow = match self {
            Subject::Retire | Subject::Block => "",
            _ => {
                "try { wait_until(#{ timeout: \"60s\" }, || gs_count(SET, #{ ops_state: \"WaitToBeDeleted\" }) == 0) } catch {}"
            }
        };
        let follow = follow.replace("SET", &format!("\"{SET}\""));
        format!(
            r#"
            import "okg/drain" as drain;
            let aborts = [];
            {hook}
            for round in 0..{rounds} {{
                if gss_get("{SET}").replicas < {rooms} {{ gss_scale("{SET}", {rooms}); }}
                try {{
                    wait_until(#{{ timeout: "60s" }}, || gss_unsettled("{SET}") == "" && gs_count("{SET}", #{{ state: "Ready" }}) > 0);
                }} catch {{ }}
                try {{ {drain} }} catch (error) {{
                    aborts.push(`${{error.kind}}: ${{error.what}}`);
                    gs_release("{SET}");
                }}
                {follow}
            }}
            aborts
            "#
        )
    }

    /// Starts what is no script of ours.
    pub fn start(self, api: &Api, seed: u64) {
        let (api, rng) = (api.clone(), fastrand::Rng::with_seed(seed ^ 0x6773_7570));
        match self {
            Subject::Updater => drop(tokio::spawn(updater(api, rng))),
            Subject::Blind => drop(tokio::spawn(blind(api, rng))),
            _ => {}
        }
    }
}

const UPDATER: &str = "gs-updater";
const BLIND: &str = "kubectl-patch";

/// One request of a client outside the cluster.
async fn transit(rng: &mut fastrand::Rng) {
    tokio::time::sleep(Duration::from_millis(rng.u64(1..4))).await;
}

fn idle(api: &Api) -> Vec<object::Object> {
    let none = |room: &object::Object| room["spec"]["opsState"] == "None";
    api.list(GS, Some("default")).into_iter().filter(none).collect()
}

/// GameServers-Updater, started each minute: one list, one look at each pod, then one update after the other with the
/// resourceVersion of the list; at the first error everything once more after 5 s, for 300 s at most.
async fn updater(api: Api, mut rng: fastrand::Rng) {
    let actor = Actor::controller(UPDATER);
    loop {
        for _attempt in 0..60 {
            transit(&mut rng).await;
            let mut selected = Vec::new();
            for room in idle(&api) {
                transit(&mut rng).await;
                if api.get("pods", "default", object::name(&room)).is_none() {
                    // The real one gives up the round here, as at any error.
                    continue;
                }
                selected.push(room);
            }
            let mut done = true;
            for room in selected {
                transit(&mut rng).await;
                let mut wanted = (*room).clone();
                wanted["spec"]["opsState"] = json!("WaitToBeDeleted");
                if api.replace(&actor, GS, "", wanted).is_err() {
                    done = false;
                    break;
                }
            }
            if done {
                break;
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

/// A loop of `kubectl patch --type merge` over the rooms that one list showed idle, each minute.
async fn blind(api: Api, mut rng: fastrand::Rng) {
    let actor = Actor::controller(BLIND);
    let patch: Value = json!({"spec": {"opsState": "WaitToBeDeleted"}});
    loop {
        transit(&mut rng).await;
        for room in idle(&api) {
            // A process each.
            tokio::time::sleep(Duration::from_millis(rng.u64(40..120))).await;
            let _ = api.patch(&actor, GS, "", "default", object::name(&room), &Patch::Merge(patch.clone()));
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}
