//! A newcomer who asks for the server's keys again and again while many connect: what somebody waits for who comes then.

#![expect(
    clippy::disallowed_methods,
    reason = "a thread of its own waits for nothing that the nodes do"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    runtime,
    task::JoinSet,
    time::{Instant, interval, timeout},
};

use crate::dial::GatewayAddress;

/// How often one asks.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks at a constant rate, each time on a new connection, until it is finished.
///
/// It has a thread of its own, so that it waits for nothing that the nodes do.
pub struct KeyProber {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<KeyProbes>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct KeyProbes {
    /// From each intended moment to the answer; where none came, as long as one waits at most.
    pub took: Vec<Duration>,
    /// How often none came, after the first one.
    pub unanswered: usize,
}

impl KeyProbes {
    /// Sums up what came of each, with the moment that was intended for it.
    fn of(mut probes: Vec<(Instant, Option<Duration>)>) -> Self {
        probes.sort_unstable_by_key(|(intended, _)| *intended);
        // A server that is being started answers nobody, until it does.
        let first = probes.iter().position(|(_, took)| took.is_some());
        let outcomes = probes.iter().skip(first.unwrap_or_default());
        let outcomes = outcomes.map(|(_, took)| *took);
        Self {
            unanswered: outcomes.clone().filter(Option::is_none).count(),
            took: outcomes.map(|took| took.unwrap_or(PATIENCE)).collect(),
        }
    }
}

impl KeyProber {
    /// Begins to ask gateways in turn.
    pub fn start(gateways: Vec<GatewayAddress>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_or_else(
                |_| KeyProbes::default(),
                |runtime| runtime.block_on(probe_until(&seen, &gateways)),
            )
        });
        Self { is_over, thread }
    }

    /// Asks no more, and returns what came of it. Waits for answers that are under way.
    pub fn finish(self) -> KeyProbes {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

async fn probe_until(is_over: &AtomicBool, gateways: &[GatewayAddress]) -> KeyProbes {
    let (mut ticks, mut running) = (interval(PAUSE), JoinSet::new());
    for gateway in gateways.iter().cycle() {
        let intended = ticks.tick().await;
        running.spawn(probe(gateway.clone(), intended));
        if is_over.load(Ordering::Relaxed) {
            break;
        }
    }
    KeyProbes::of(running.join_all().await)
}

/// Asks once; returns when that was to be, and how long it took from then until there was an answer.
async fn probe(gateway: GatewayAddress, intended: Instant) -> (Instant, Option<Duration>) {
    let answer = timeout(PATIENCE, gateway.control_keys()).await;
    let is_answered = answer.is_ok_and(|keys| keys.is_ok());
    (intended, is_answered.then(|| intended.elapsed()))
}

#[cfg(test)]
mod tests;
