//! The verbs of kubectl on a served cluster, with the kubectl of this machine: one test a verb.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::conformance::kubectl::normal;
use crate::support::dedent;
use crate::support::served::Served;

/// A served cluster with the classic demo on it, and kubectl.
struct World {
    folder: TempDir,
    served: Served,
}

/// What a call of kubectl did; ages, times and uids are replaced by words.
struct Did {
    code: i32,
    out: String,
    err: String,
}

/// Serves a cluster; nothing, said aloud, where there is no kubectl.
#[expect(clippy::print_stdout, reason = "what was skipped, for who asks for it with --nocapture")]
fn world(verb: &str) -> Option<World> {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        println!("skipped: {verb}, kubectl is not on the PATH");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let served = Served::new(folder.path(), &["--speed", "20"]);
    Some(World { folder, served })
}

impl World {
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), dedent(text)).unwrap();
    }

    fn run(&self, line: &str) -> Did {
        self.run_with(line, &[])
    }

    /// Runs kubectl with words split at blanks; `'…'` holds words together.
    fn run_with(&self, line: &str, env: &[(&str, &str)]) -> Did {
        let mut words = Vec::new();
        for (index, part) in line.split('\'').enumerate() {
            if index % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        let home: &Path = self.folder.path();
        let mut command = Command::new("kubectl");
        command.args(words).current_dir(home).env_clear().env("HOME", home).env("KUBECONFIG", home.join("kubeconfig"));
        command.env("PATH", std::env::var("PATH").unwrap_or_default()).env("TMPDIR", home);
        command.envs(env.iter().copied()).stdin(Stdio::null());
        let output = command.output().unwrap();
        let server = format!("http://{}", self.served.address());
        let text = |bytes: &[u8]| normal(&String::from_utf8_lossy(bytes), &server);
        Did { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Runs kubectl and compares exit code, stdout and stderr.
    #[track_caller]
    fn does(&self, line: &str, code: i32, out: &str, err: &str) {
        let did = self.run(line);
        let (out, err) = (dedent(out), dedent(err));
        let same = (did.code, did.out.trim_end(), did.err.trim_end()) == (code, out.trim_end(), err.trim_end());
        assert!(same, "kubectl {line}: {}\n{}\n{}\n--- expected {code}\n{out}\n{err}", did.code, did.out, did.err);
    }
}

const SEASON: &str = "
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: season}
    data: {number: \"7\"}
";

#[test]
fn get() {
    let Some(world) = world("get") else { return };
    world.does(
        "get gss,gs,pods",
        0,
        "
        NAME  DESIRED  CURRENT  UPDATED  READY  MAINTAINING  WAITTOBEDELETED  PREDELETE  AGE
        gameserverset.game.kruise.io/minecraft  3  3  3  3  0  0  0  <age>

        NAME  STATE  OPSSTATE  DP  UP  AGE
        gameserver.game.kruise.io/minecraft-0  Ready  Allocated  0  0  <age>
        gameserver.game.kruise.io/minecraft-1  Ready  None  0  0  <age>
        gameserver.game.kruise.io/minecraft-2  Ready  None  0  0  <age>

        NAME  READY  STATUS  RESTARTS  AGE
        pod/minecraft-0  1/1  Running  0  <age>
        pod/minecraft-1  1/1  Running  0  <age>
        pod/minecraft-2  1/1  Running  0  <age>
        ",
        "",
    );
    world.does("get gs -o jsonpath={.items[*].spec.opsState}", 0, "Allocated None None", "");
    world.does("get gs -l game.kruise.io/owner-gss=minecraft,none -o name", 0, "", "");
    let none = "Error from server (NotFound): gameservers.game.kruise.io \"minecraft-9\" not found";
    world.does("get gs minecraft-9", 1, "", none);
    world.does("get rooms", 1, "", "error: the server doesn't have a resource type \"rooms\"");
    world.does(
        "get gss minecraft --subresource=scale",
        0,
        "
        NAME  DESIRED  AVAILABLE  AGE
        minecraft  3  3  <age>
        ",
        "",
    );
}

#[test]
fn describe() {
    let Some(world) = world("describe") else { return };
    let room = world.run("describe gs minecraft-0");
    assert_eq!(room.code, 0, "{}", room.err);
    for part in [
        "Name:  minecraft-0\nNamespace:  default\n",
        "Kind:  GameServer\n",
        "Spec:\n  Deletion Priority:  0\n  Network Disabled:  false\n  Ops State:  Allocated\n  Update Priority:  0\n",
        "Events:\n  Type  Reason  Age  From  Message\n",
        "Normal  GsStateChanged  <age>  gameserver-controller  OpsState turn from None to Allocated",
    ] {
        assert!(room.out.contains(part), "{part}\n---\n{}", room.out);
    }
    let pod = world.run("describe pod minecraft-0").out;
    for part in
        ["Controlled By:  StatefulSet/minecraft\n", "Readiness Gates:\n  Type  Status\n  InPlaceUpdateReady  True"]
    {
        assert!(pod.contains(part), "{part}\n---\n{pod}");
    }
    assert!(world.run("describe node node-0").out.contains("Non-terminated Pods:  (3 in total)"));
}

#[test]
fn explain() {
    let Some(world) = world("explain") else { return };
    let policy = world.run("explain pod.spec.restartPolicy").out;
    assert!(
        policy.starts_with("KIND:  Pod\nVERSION:  v1\n\nFIELD: restartPolicy <string>\nENUM:\n    Always\n    Never\n"),
        "{policy}"
    );
    let update = world.run("explain gss.spec.updateStrategy").out;
    assert!(update.contains("  rollingUpdate\t<Object>\n    How a rolling update goes."), "{update}");
    let room = world.run("explain gs --output=plaintext-openapiv2").out;
    assert!(room.contains("KIND:  GameServer\nVERSION:  game.kruise.io/v1alpha1\n"), "{room}");
    assert!(room.contains("spec\t<Object>\n     What people and programs want of the room."), "{room}");
    let missing = world.run("explain gs.spec.opsStat");
    assert_eq!((missing.code, missing.err.trim()), (1, "error: field \"opsStat\" does not exist"));
}

#[test]
fn apply() {
    let Some(world) = world("apply") else { return };
    world.write("cm.yaml", SEASON);
    world.does("apply -f cm.yaml", 0, "configmap/season created", "");
    world.does("apply -f cm.yaml", 0, "configmap/season unchanged", "");
    world.write("cm.yaml", &SEASON.replace('7', "8"));
    world.does("apply -f cm.yaml --dry-run=server", 0, "configmap/season configured (server dry run)", "");
    world.does("get cm season -o jsonpath={.data.number}", 0, "7", "");
    world.does("apply -f cm.yaml", 0, "configmap/season configured", "");
    world.does("get cm season -o jsonpath={.data.number}", 0, "8", "");
    world.does("apply --server-side -f cm.yaml", 0, "configmap/season serverside-applied", "");
    world.write("cm.yaml", &SEASON.replace('7', "9"));
    let other = world.run("apply --server-side --field-manager=other -f cm.yaml");
    assert_eq!(other.code, 1);
    assert!(other.err.starts_with("error: Apply failed with "), "{}", other.err);
    assert!(other.err.contains(".data.number"), "{}", other.err);
    world.write("cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: season}\ndatum: {}\n");
    let unknown = world.run("apply -f cm.yaml");
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("strict decoding error: unknown field \"datum\""), "{}", unknown.err);
}

#[test]
fn create() {
    let Some(world) = world("create") else { return };
    world.write("cm.yaml", SEASON);
    world.does("create -f cm.yaml", 0, "configmap/season created", "");
    let taken =
        "Error from server (AlreadyExists): error when creating \"cm.yaml\": configmaps \"season\" already exists";
    world.does("create -f cm.yaml", 1, "", taken);
    world.does("create configmap x --from-literal=a=b", 0, "configmap/x created", "");
    world.does("create namespace arena", 0, "namespace/arena created", "");
    world.does("create serviceaccount ops -n arena", 0, "serviceaccount/ops created", "");
    world.does("create quota most --hard=pods=1 -n arena", 0, "resourcequota/most created", "");
    let did = world.run("create configmap x -n nowhere");
    assert!(did.code == 1 && did.err.contains("namespaces \"nowhere\" not found"), "{}", did.err);
}

#[test]
fn edit() {
    let Some(world) = world("edit") else { return };
    world.does("create configmap season --from-literal=number=seven", 0, "configmap/season created", "");
    let edit = |line: &str, script: &str| world.run_with(line, &[("KUBE_EDITOR", script)]);
    let did = edit("edit cm season", "sed -i s/seven/eight/");
    assert_eq!((did.code, did.out.trim(), did.err.trim()), (0, "configmap/season edited", ""));
    world.does("get cm season -o jsonpath={.data.number}", 0, "eight", "");
    let did = edit("edit cm season", "true");
    assert_eq!((did.code, did.err.trim()), (0, "Edit cancelled, no changes made."));
    let did = edit("edit gs minecraft-1", "sed -i s/opsState:.None/opsState:\\ Maintaining/");
    assert_eq!((did.code, did.out.trim()), (0, "gameserver.game.kruise.io/minecraft-1 edited"), "{}", did.err);
    world.does("get gs minecraft-1 -o jsonpath={.spec.opsState}", 0, "Maintaining", "");
    let did = edit("edit gss minecraft", "sed -i s/replicas:.3/replicas:\\ many/");
    assert_eq!(did.code, 1);
    assert!(did.err.starts_with("error: gameserversets.game.kruise.io \"minecraft\" is invalid\n"), "{}", did.err);
    world.does("get gss minecraft -o jsonpath={.spec.replicas}", 0, "3", "");
}

#[test]
fn patch() {
    let Some(world) = world("patch") else { return };
    let maintain = "patch gs minecraft-1 --type merge -p '{\"spec\":{\"opsState\":\"Maintaining\"}}'";
    world.does(maintain, 0, "gameserver.game.kruise.io/minecraft-1 patched", "");
    world.does(maintain, 0, "gameserver.game.kruise.io/minecraft-1 patched (no change)", "");
    let guarded =
        "patch gs minecraft-1 --type json -p '[{\"op\":\"test\",\"path\":\"/spec/opsState\",\"value\":\"None\"}]'";
    world.does(
        guarded,
        1,
        "",
        "The request is invalid: the server rejected our request due to an error in our request",
    );
    let strategic = "patch gs minecraft-1 -p '{\"spec\":{\"opsState\":\"None\"}}'";
    let did = world.run(strategic);
    assert_eq!(did.code, 1);
    assert!(
        did.err.contains("application/strategic-merge-patch+json is not supported by game.kruise.io/v1alpha1"),
        "{}",
        did.err
    );
    let negative = "patch gss minecraft --type merge -p '{\"spec\":{\"replicas\":-1}}'";
    let invalid = "
        The GameServerSet \"minecraft\" is invalid:
        * spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0
        * .spec.replicas: Invalid value: -1: should be a non-negative integer
    ";
    world.does(negative, 1, "", invalid);
    let pod = "patch pod minecraft-1 -p '{\"metadata\":{\"labels\":{\"a\":\"b\"}}}'";
    world.does(pod, 0, "pod/minecraft-1 patched", "");
}

#[test]
fn label() {
    let Some(world) = world("label") else { return };
    world.does("label gs minecraft-1 zone=a", 0, "gameserver.game.kruise.io/minecraft-1 labeled", "");
    world.does("label gs minecraft-1 zone=b", 1, "", "error: 'zone' already has a value (a), and --overwrite is false");
    world.does("label gs minecraft-1 zone=b --overwrite", 0, "gameserver.game.kruise.io/minecraft-1 labeled", "");
    world.does("get gs -l zone=b -o name", 0, "gameserver.game.kruise.io/minecraft-1", "");
    world.does("label gs minecraft-1 zone-", 0, "gameserver.game.kruise.io/minecraft-1 unlabeled", "");
    let did = world.run("label gs minecraft-1 zone=-x");
    assert!(did.code == 1 && did.err.contains("a valid label must be an empty string or consist of"), "{}", did.err);
}

#[test]
fn annotate() {
    let Some(world) = world("annotate") else { return };
    world.does("annotate gs minecraft-1 'note=hello world'", 0, "gameserver.game.kruise.io/minecraft-1 annotated", "");
    world.does("annotate gs minecraft-1 note=b", 1, "", "error: --overwrite is false but found the following declared annotation(s): 'note' already has a value (hello world)");
    world.does("annotate gs minecraft-1 note=b --overwrite", 0, "gameserver.game.kruise.io/minecraft-1 annotated", "");
    world.does("get gs minecraft-1 -o jsonpath={.metadata.annotations.note}", 0, "b", "");
}

#[test]
fn scale() {
    let Some(world) = world("scale") else { return };
    world.does("scale gss minecraft --replicas 4", 0, "gameserverset.game.kruise.io/minecraft scaled", "");
    world.does(
        "scale gss minecraft --current-replicas 3 --replicas 5",
        1,
        "",
        "error: Expected replicas to be 3, was 4",
    );
    world.does("get gss minecraft -o jsonpath={.spec.replicas}", 0, "4", "");
}

#[test]
fn delete() {
    let Some(world) = world("delete") else { return };
    world.does("create configmap a", 0, "configmap/a created", "");
    world.does("create configmap b", 0, "configmap/b created", "");
    world.does("delete cm a b", 0, "configmap \"a\" deleted\nconfigmap \"b\" deleted", "");
    world.does("delete cm a", 1, "", "Error from server (NotFound): configmaps \"a\" not found");
    world.does("delete cm a --ignore-not-found", 0, "", "");
    world.does("delete pod minecraft-2 --now", 0, "pod \"minecraft-2\" deleted", "");
    world.does("delete gss minecraft", 0, "gameserverset.game.kruise.io \"minecraft\" deleted", "");
    let gone = world.run("wait pod --all --for=delete --timeout=20s");
    assert_eq!(gone.code, 0, "{}", gone.err);
    world.does("get gss,gs,pods", 0, "", "No resources found in default namespace.");
}

#[test]
fn wait() {
    let Some(world) = world("wait") else { return };
    world.does("wait pod minecraft-1 --for=condition=Ready --timeout=10s", 0, "pod/minecraft-1 condition met", "");
    world.does("scale gss minecraft --replicas 4", 0, "gameserverset.game.kruise.io/minecraft scaled", "");
    let ready = "wait gs minecraft-3 --for=jsonpath={.status.currentState}=Ready --timeout=20s";
    world.does("wait pod minecraft-3 --for=create --timeout=10s", 0, "pod/minecraft-3 condition met", "");
    world.does(ready, 0, "gameserver.game.kruise.io/minecraft-3 condition met", "");
    let did = world.run("wait pod minecraft-1 --for=delete --timeout=1s");
    assert!(
        did.code == 1 && did.err.ends_with("error: timed out waiting for the condition on pods/minecraft-1"),
        "{}",
        did.err
    );
    world.does("scale gss minecraft --replicas 3", 0, "gameserverset.game.kruise.io/minecraft scaled", "");
    let gone = world.run("wait pod minecraft-3 --for=delete --timeout=20s");
    assert_eq!(gone.code, 0, "{}", gone.err);
}

#[test]
fn logs() {
    let Some(world) = world("logs") else { return };
    let all = world.run("logs minecraft-1");
    assert!(all.out.starts_with("loading world of minecraft-1\nready for players\nsaved world (1)"), "{}", all.out);
    world.does("logs minecraft-1 --tail 0", 0, "", "");
    let stamped = world.run("logs minecraft-1 --timestamps --limit-bytes 59").out;
    assert!(stamped.ends_with(" loading world of minecraft-1"), "{stamped}");
    world.does("logs minecraft-1 -c nope", 1, "", "error: container nope is not valid for pod minecraft-1");
    let previous =
        "Error from server (BadRequest): previous terminated container \"minecraft\" in pod \"minecraft-1\" not found";
    world.does("logs minecraft-1 --previous", 1, "", previous);
    let by_label = world.run("logs -l game.kruise.io/owner-gss=minecraft --prefix --tail 1").out;
    assert_eq!(by_label.matches("[pod/minecraft-").count(), 3, "{by_label}");
}

#[test]
fn exec() {
    let Some(world) = world("exec") else { return };
    world.does("exec minecraft-0 -- list players", 0, "steve\nalex", "");
    world.does("exec minecraft-1 -c minecraft -- list players", 0, "", "");
    let did = world.run("exec minecraft-1 -- rm -r /");
    assert_eq!(did.code, 1);
    assert!(did.err.contains("its scenario has no answer for `rm -r /`"), "{}", did.err);
    world.does("exec minecraft-9 -- list", 1, "", "Error from server (NotFound): pods \"minecraft-9\" not found");
}

#[test]
fn events() {
    let Some(world) = world("events") else { return };
    world.does(
        "events --for gs/minecraft-0",
        0,
        "
        LAST SEEN  TYPE  REASON  OBJECT  MESSAGE
        <age>  Normal  GsStateChanged  GameServer/minecraft-0  State turn from Creating to Ready
        <age>  Normal  GsStateChanged  GameServer/minecraft-0  OpsState turn from None to Allocated
        ",
        "",
    );
    let warnings = world.run("events --types=Warning");
    assert_eq!((warnings.code, warnings.out.as_str()), (0, ""), "{}", warnings.err);
    let sorted = world.run("get events --sort-by=.lastTimestamp --field-selector involvedObject.kind=GameServerSet");
    assert!(
        sorted.out.contains("CreateWorkload  gameserverset/minecraft  created Advanced StatefulSet"),
        "{}",
        sorted.out
    );
}

#[test]
fn auth() {
    let Some(world) = world("auth") else { return };
    world.does("auth can-i delete gss", 0, "yes", "");
    world.write(
        "rights.yaml",
        "
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata: {name: watcher}
        rules: [{apiGroups: [game.kruise.io], resources: [gameservers], verbs: [get, list]}]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata: {name: watcher}
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: watcher}
        subjects: [{kind: User, name: bob}, {kind: ServiceAccount, name: ops, namespace: default}]
        ",
    );
    assert_eq!(world.run("apply -f rights.yaml").code, 0);
    for user in ["bob", "system:serviceaccount:default:ops"] {
        world.does(&format!("auth can-i list gs --as {user}"), 0, "yes", "");
        world.does(&format!("auth can-i patch gs --as {user}"), 1, "no", "");
        let listed = world.run(&format!("auth can-i --list --as {user}")).out;
        assert!(listed.contains("gameservers.game.kruise.io  []  []  [get list]"), "{listed}");
        let denied = world.run(&format!("delete gs minecraft-0 --as {user}"));
        let why = format!(
            "Error from server (Forbidden): gameservers.game.kruise.io \"minecraft-0\" is forbidden: User \"{user}\" cannot \
             delete resource \"gameservers\" in API group \"game.kruise.io\" in the namespace \"default\""
        );
        assert_eq!((denied.code, denied.err.trim()), (1, why.as_str()));
    }
    let who = world.run("auth whoami --as bob --as-group ops").out;
    assert!(who.contains("Username  bob\n") && who.contains("Groups  [ops system:authenticated]"), "{who}");
}

#[test]
fn diff() {
    let Some(world) = world("diff") else { return };
    world.write("cm.yaml", SEASON);
    assert_eq!(world.run("apply -f cm.yaml").code, 0);
    world.does("diff -f cm.yaml", 0, "", "");
    world.write("cm.yaml", &SEASON.replace('7', "8"));
    let did = world.run("diff -f cm.yaml");
    assert_eq!((did.code, did.err.as_str()), (1, ""), "a difference");
    assert!(did.out.contains(" data:\n-  number: \"7\"\n+  number: \"8\"\n"), "{}", did.out);
    world.does("get cm season -o jsonpath={.data.number}", 0, "7", "");
}
