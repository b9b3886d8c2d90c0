//! `okgscript rbac`

use crate::support::Test;

#[test]
fn a_script_without_calls_needs_nothing() {
    Test::new()
        .file("My Title.rhai", "print(1);")
        .args(["rbac", "My Title.rhai", "-n", "games"])
        .stdout(
            "
            apiVersion: rbac.authorization.k8s.io/v1
            kind: Role
            metadata:
              name: okgscript-my-title
              namespace: games
            rules: []
            ",
        )
        .ok();
}
