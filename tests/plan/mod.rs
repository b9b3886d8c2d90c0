//! Plans: shown, saved, carried out and kept to.

mod approve;
mod file;
mod nothing_sent;
mod shown;

use crate::runs::world::World;

/// Returns when the run watches: the plan was found to fit.
#[allow(clippy::disallowed_methods)]
fn waits(world: &World) {
    for _ in 0..2_000 {
        if world.proxy.log().iter().any(|it| it.path.contains("watch=")) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("it never waits");
}
