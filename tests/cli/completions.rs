//! `okgscript completions`

use crate::support::Test;

#[test]
fn each_shell_gets_its_script() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        Test::new().args(["completions", shell]).stdout_has("okgscript").stdout_has("check").ok();
    }
    Test::new().args(["completions", "tcsh"]).stderr_has("possible values").code(2);
}
