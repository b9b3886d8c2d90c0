//! How long people wait for the binary itself: starting it, and a whole release on the embedded cluster.

use std::hint::black_box;
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

criterion_group!(benches, startup);
criterion_main!(benches);
