//! What a plan shows.

use serde_json::Value;

use crate::support::Test;
use crate::support::served::Served;

/// A set with an autoscaler in front of it; rooms are marked by the script.
fn scenario(replicas: usize, scaled: &str) -> String {
    format!(
        r#"
apiVersion: game.kruise.io/v1alpha1
kind: GameServerSet
metadata: {{name: lobby, namespace: default}}
spec:
  replicas: {replicas}
  updateStrategy: {{type: OnDelete}}
  gameServerTemplate: {{spec: {{containers: [{{name: game, image: "game:1"}}]}}}}
---
{scaled}
"#
    )
}

fn keda(rest: &str) -> String {
    format!(
        r#"
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: lobby, namespace: default}}
spec:
  scaleTargetRef: {{apiVersion: game.kruise.io/v1alpha1, kind: GameServerSet, name: lobby}}
  {rest}
"#
    )
}

fn external(metadata: &str) -> String {
    format!("triggers: [{{type: external, metricType: AverageValue, metadata: {{scalerAddress: x, {metadata}}}}}]")
}

/// What is said of an autoscaler when the first rooms of the set are marked.
fn said(replicas: usize, scaled: &str, marked: usize) -> Vec<String> {
    let script = format!(
        "gs_set_ops_state(gs_select(\"lobby\", #{{ ids: \"0-{}\" }}), \"WaitToBeDeleted\");",
        marked.saturating_sub(1)
    );
    let ran = Test::new()
        .script(&script)
        .file("world.yaml", &scenario(replicas, scaled))
        .args(["plan", "a.rhai", "--scenario", "world.yaml", "-o", "json"])
        .stdout_any()
        .stderr_any()
        .ok();
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    serde_json::from_value(document["plan"]["sets"][0]["autoscaler"].clone()).unwrap()
}

#[test]
fn what_the_autoscaler_makes_of_it() {
    let plain = |min: &str| keda(&format!("minReplicaCount: 1\n  maxReplicaCount: 50\n  {}", external(min)));
    assert_eq!(
        said(4, &plain("minAvailable: \"1\""), 2),
        ["KEDA lobby (min 1, max 50, minAvailable 1) lowers replicas 4 -> 2 after 300s: \
          lobby-1 (WaitToBeDeleted), lobby-0 (WaitToBeDeleted) go"]
    );
    assert_eq!(
        said(4, &plain("minAvailable: \"3\""), 2),
        [
            "KEDA lobby (min 1, max 50, minAvailable 3) raises replicas 4 -> 5",
            "2 of 2 marked rooms stay: only 2 rooms are free, and opening more comes first",
        ]
    );
    assert_eq!(
        said(12, &plain("minAvailable: \"1\""), 1),
        [
            "KEDA lobby (min 1, max 50, minAvailable 1) leaves replicas at 12",
            "1 of 1 marked rooms stay: 11 of 12 is within the 10 % in which an HPA changes nothing",
        ]
    );
    let high = keda(&format!("minReplicaCount: 3\n  {}", external("minAvailable: \"0\"")));
    assert_eq!(
        said(4, &high, 3),
        [
            "KEDA lobby (min 3, max 100, minAvailable 0) lowers replicas 4 -> 3 after 300s: lobby-2 (WaitToBeDeleted) go",
            "2 of 3 marked rooms stay: the minimum is 3",
        ]
    );
    let hpa = r#"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: lobby, namespace: default}
spec:
  minReplicas: 1
  maxReplicas: 3
  scaleTargetRef: {apiVersion: game.kruise.io/v1alpha1, kind: GameServerSet, name: lobby}
"#;
    assert_eq!(
        said(4, hpa, 1),
        [
            "HPA lobby (min 1, max 3): what its metrics make of it is not foreseen",
            "HPA lobby (min 1, max 3) lowers replicas 4 -> 3 after 300s: lobby-0 (WaitToBeDeleted) go",
        ]
    );
    let nobody = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}";
    assert_eq!(said(2, nobody, 1), ["nobody lowers replicas: marked rooms stay until you do"]);
}

#[test]
fn batches_of_a_drain_add_up() {
    let script = r#"
        import "okg/drain" as drain;
        let how = drain::options(#{ end: "retire", batch: 2 });
        gss_set_image("lobby", "", "game:2");
        gss_scale_up("lobby", 3);
        drain::retire("lobby", #{ version: "old" }, how);
    "#;
    Test::new()
        .script(script)
        .file("world.yaml", &scenario(5, "---"))
        .args(["plan", "a.rhai", "--scenario", "world.yaml"])
        .stdout_has("  spec.replicas: 5 -> 3\n  spec.reserveGameServerIds: - -> [\"0-4\"]\n")
        .stdout_has("  go by it: lobby-0, lobby-1, lobby-2, lobby-3, lobby-4\n  opened: lobby-5, lobby-6, lobby-7\n")
        .stderr_any()
        .ok();
}

#[test]
fn what_cannot_be_foreseen_without_players_is_said() {
    Test::new()
        .script(
            "if gs_count(\"minecraft\", #{ ops_state: \"Allocated\" }) == 0 { fail(\"nobody plays\"); }\ngss_scale(\"minecraft\", 4);",
        )
        .args(["plan", "a.rhai", "--sandbox"])
        .stdout_has("  - what happens should matches end first is not foreseen throughout: nobody plays")
        .stderr_any()
        .ok();
}

#[test]
fn a_gitops_owner_is_named_field_by_field() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::new(folder.path(), &[]);
    let path = "/apis/game.kruise.io/v1alpha1/namespaces/default/gameserversets/minecraft";
    let body = r#"{"apiVersion":"game.kruise.io/v1alpha1","kind":"GameServerSet","metadata":{"name":"minecraft"},"spec":{"replicas":3}}"#;
    let apply = format!("{path}?fieldManager=argocd-controller&force=true");
    assert_eq!(served.send("PATCH", &apply, "application/apply-patch+yaml", body), 200);
    Test::new()
        .script("gss_scale(\"minecraft\", 5);")
        .env("KUBECONFIG", folder.path().join("kubeconfig"))
        .args(["plan", "a.rhai"])
        .stdout_has("  spec.replicas: 3 -> 5\n")
        .stdout_has("opened: minecraft-3, minecraft-4\n")
        .stdout_has(
            "Argo CD owns spec.replicas of GameServerSet default/minecraft (metadata.managedFields): \
             it puts 3 back at its next sync",
        )
        .stderr_any()
        .ok();
}

#[test]
fn forms_of_a_plan() {
    let plan = |form: &str| {
        Test::new()
            .script("gss_scale(\"minecraft\", 4);\nkube_delete(\"pod\", \"minecraft-1\");\nkube_create(#{ apiVersion: \"v1\", kind: \"ConfigMap\", metadata: #{ name: \"season\" }, data: #{ n: \"7\" } });")
            .args(["plan", "a.rhai", "--sandbox", "-o", form])
            .stdout_any()
            .stderr_any()
            .ok()
            .stdout
    };
    assert_eq!(
        plan("table").split("\n\n").next().unwrap(),
        "GameServerSet default/minecraft\n  spec.replicas: 3 -> 4\nPod default/minecraft-1 (deleted)\n\
         ConfigMap default/season (created)\n  data.n: - -> 7"
    );
    let markdown = plan("markdown");
    assert!(markdown.starts_with("### GameServerSet default/minecraft\n- `spec.replicas`: `3` -> `4`\n"), "{markdown}");
    let yaml: Value = serde_saphyr::from_str(&plan("yaml")).unwrap();
    assert_eq!(yaml["plan"]["sets"][0]["opens"], serde_json::json!(["minecraft-1", "minecraft-3"]));
    assert_eq!(yaml["plan"]["sets"][0]["rooms"][0]["becomes"], serde_json::json!(["its pod is deleted"]));
}

#[test]
fn rights_that_are_missing_are_said() {
    // Whoever plans need not be who carries it out.
    let folder = tempfile::tempdir().unwrap();
    let reader = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: ['*'], resources: ['*'], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: User, name: reader}]
";
    let world = folder.path().join("world.yaml");
    std::fs::write(&world, format!("{reader}---{}", scenario(2, "---"))).unwrap();
    let _served = Served::new(folder.path(), &["--scenario", world.to_str().unwrap()]);
    Test::new()
        .script("gss_scale(\"lobby\", 4);")
        .env("KUBECONFIG", folder.path().join("kubeconfig"))
        .args(["plan", "a.rhai", "--as", "reader"])
        .stdout_has("Would change 1 GameServerSet. Nothing was sent.")
        .stdout_has("needs rights in namespace `default` that this user does not have")
        .stdout_has("not allowed to patch gameserversets.game.kruise.io")
        .stderr_any()
        .ok();
}
