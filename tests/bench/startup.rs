//! How long people wait for the binary itself: starting it, and a whole release on the embedded cluster.

use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn okgscript(args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_okgscript"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().expect("the binary starts");
    assert!(black_box(status).success(), "{args:?} failed");
}

fn startup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wall time of the binary");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(5));
    group.bench_function("eval '1'", |bencher| bencher.iter(|| okgscript(&["eval", "1"])));
    group.bench_function("run --sandbox lossless_release.rhai", |bencher| {
        bencher.iter(|| okgscript(&["run", "--sandbox", "lossless_release.rhai"]));
    });
    group.bench_function("run --sandbox lossless_release.rhai --follow 1h", |bencher| {
        bencher.iter(|| okgscript(&["run", "--sandbox", "lossless_release.rhai", "--follow", "1h"]));
    });
    group.finish();
}

/// Runs a script that never ends by itself, interrupts it, and returns how long it took to leave.
fn interrupt(folder: &Path, body: &str) -> Duration {
    let path = folder.join("endless.rhai");
    std::fs::write(&path, format!("log(\"ready\");\n{body}")).expect("a script can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_okgscript"));
    command.arg("run").arg(&path).arg("--sandbox").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(stderr.read_line(&mut line).expect("stderr is text") > 0, "it ended by itself");
    }
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures wall time")]
    let begun = std::time::Instant::now();
    let pid = child.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().expect("kill is there");
    child.wait().expect("it ends");
    begun.elapsed()
}

fn ctrl_c(criterion: &mut Criterion) {
    let folder = std::env::temp_dir().join(format!("okgscript-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let mut group = criterion.benchmark_group("from Ctrl-C to exit, `kill` itself included");
    group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(3));
    for (name, body) in [
        ("a loop that computes", "let x = 0; while x >= 0 { x += 1; }"),
        ("a wait", "wait_until(#{ timeout: \"100000h\" }, || gs_count(\"minecraft\") == 99);"),
        ("four branches", "parallel([1, 2, 3, 4], |x| { while x > 0 { sleep(\"1h\"); } });"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| interrupt(&folder, body)).sum());
        });
    }
    group.finish();
    let _ = std::fs::remove_dir_all(&folder);
}

criterion_group!(benches, startup, ctrl_c);
criterion_main!(benches);
