//! Ctrl-C and SIGTERM: the first ends the script at a safe point, the second at once, what runs at its end included;
//! both print the receipt. The third ends the process, whatever it does.

use crate::script::Interrupt;

/// What was heard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Interrupt,
    Terminate,
}

/// Listens for signals on a thread of its own, so that nothing that a script does can keep it from hearing.
///
/// `leave` is called at the third.
pub fn listen(interrupt: &Interrupt, leave: impl Fn() + Send + 'static) {
    listen_with(interrupt, move |_, count| {
        if count == 3 {
            leave();
        }
    });
}

/// Listens for signals where each Ctrl-C ends only what runs at the moment; `leave` is called at a SIGTERM.
pub fn listen_for_each(interrupt: &Interrupt, leave: impl Fn() + Send + 'static) {
    listen_with(interrupt, move |heard, _| {
        if heard == Heard::Terminate {
            leave();
        }
    });
}

fn listen_with(interrupt: &Interrupt, then: impl Fn(Heard, u64) + Send + 'static) {
    let interrupt = interrupt.clone();
    let listening = std::thread::Builder::new().name("signals".into()).spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async move {
            let Some(mut signals) = Signals::new() else { return };
            for count in 1.. {
                let Some(heard) = signals.next().await else { return };
                interrupt.trigger();
                then(heard, count);
            }
        });
    });
    if let Err(error) = listening {
        tracing::warn!("signals are not listened for: {error}");
    }
}

#[cfg(unix)]
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn new() -> Option<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Some(Signals(signal(SignalKind::interrupt()).ok()?, signal(SignalKind::terminate()).ok()?))
    }

    async fn next(&mut self) -> Option<Heard> {
        tokio::select! {
            biased;
            heard = self.0.recv() => heard.map(|()| Heard::Interrupt),
            heard = self.1.recv() => heard.map(|()| Heard::Terminate),
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Option<Signals> {
        Some(Signals)
    }

    async fn next(&mut self) -> Option<Heard> {
        tokio::signal::ctrl_c().await.ok().map(|()| Heard::Interrupt)
    }
}
