//! A cluster in a process of its own, with a proxy before it and a folder for runs.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::proxy::{Kill, Proxy, ask, get};

pub const OLD: &str = "acs/minecraft-demo:1.12.2";
pub const NEW: &str = "acs/minecraft-demo:1.12.2-new";

const OBJECTS: &str = "/apis/game.kruise.io/v1alpha1/namespaces/default";

/// What a process did.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub struct World {
    pub folder: TempDir,
    pub proxy: Proxy,
    pub server: SocketAddr,
    process: Child,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn binary(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_okgscript"));
    command
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("KUBECONFIG", folder.join("kubeconfig"))
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl World {
    /// Serves a set of three rooms on the old image; players are in the first. Nobody else lowers replicas.
    pub fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let set = json!({
            "apiVersion": "game.kruise.io/v1alpha1", "kind": "GameServerSet",
            "metadata": {"name": "minecraft", "namespace": "default"},
            "spec": {"replicas": 3, "updateStrategy": {"type": "OnDelete"}, "gameServerTemplate": {"spec": {
                "containers": [{"name": "minecraft", "image": OLD}]}}},
        });
        let own = folder.path().join("server");
        let mut process = binary(folder.path())
            .args(["sandbox", "--empty", "--speed", "200", "--kubeconfig"])
            .arg(&own)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut served = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut served).unwrap();
        let config = std::fs::read_to_string(&own).unwrap();
        let at = config.find("http://").unwrap() + "http://".len();
        let server: String = config[at..].chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        let address: SocketAddr = server.parse().unwrap();
        let proxy = Proxy::new(address);
        let through = config.replace(&server, &proxy.address.to_string());
        std::fs::write(folder.path().join("kubeconfig"), through).unwrap();
        let world = World { folder, proxy, server: address, process };
        let made = ask(address, "POST", &format!("{OBJECTS}/gameserversets"), "application/json", &set.to_string());
        assert_eq!(made["kind"], "GameServerSet", "{made}");
        let script = r#"
            gs_wait("minecraft", #{ matchable: true }, 3, "60s");
            gs_set_ops_state("minecraft-0", "Allocated");
            let label = "game.kruise.io/gs-opsState";
            wait_until(#{ timeout: "10s" }, || {
                gss_unsettled("minecraft") == "" && pods_list("minecraft")[0].labels[label] == "Allocated"
            });
        "#;
        let ended = world.run(&["eval", script]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        world.proxy.clear();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the binary to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.run_killed(args, Kill::Never)
    }

    /// Runs the binary and kills it at a request.
    pub fn run_killed(&self, args: &[&str], kill: Kill) -> Ended {
        self.proxy.arm(kill);
        let mut child = binary(self.folder.path()).args(args).spawn().unwrap();
        self.proxy.victim(child.id());
        let mut err = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        });
        let mut out = String::new();
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        let code = child.wait().unwrap().code();
        Ended { code, out, err: errors.join().unwrap() }
    }

    /// Returns what a release comes to: the set, its rooms, the Lease; nothing that differs from run to run.
    pub fn end_state(&self) -> Value {
        let set = get(self.server, &format!("{OBJECTS}/gameserversets/minecraft"));
        let rooms = get(self.server, &format!("{OBJECTS}/gameservers"));
        let lease = get(self.server, "/apis/coordination.k8s.io/v1/namespaces/default/leases/okgscript-minecraft");
        let row =
            |room: &Value| json!([room["metadata"]["name"], room["spec"]["opsState"], room["status"]["currentState"]]);
        let rooms: Vec<Value> = rooms["items"].as_array().unwrap().iter().map(row).collect();
        json!({
            "image": set.pointer("/spec/gameServerTemplate/spec/containers/0/image"),
            "replicas": set["spec"]["replicas"],
            "reserved": set["spec"]["reserveGameServerIds"].as_array().cloned().unwrap_or_default(),
            "note": set["metadata"]["annotations"]["okgscript.io/drain"],
            "rooms": rooms,
            "lease": lease["spec"]["holderIdentity"],
        })
    }

    /// The journal of the only run.
    pub fn journal(&self) -> PathBuf {
        let mut journals = std::fs::read_dir(self.path("state/okgscript/runs")).unwrap();
        let journal = journals.next().unwrap().unwrap().path();
        assert!(journals.next().is_none(), "more than one run");
        journal
    }
}
