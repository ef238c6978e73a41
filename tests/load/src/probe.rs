//! A newcomer who asks for the server's keys again and again while many connect: what somebody waits for who comes then.

#![expect(
    clippy::disallowed_methods,
    reason = "a thread of its own waits for nothing that the nodes do"
)]

use std::{
    io,
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

/// What came of asking once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProbeOutcome {
    /// There was an answer, so long after it was to be asked.
    Answered(Duration),
    /// Nothing listens: the gateway is being started, and clients go to another one at once.
    Refused,
    /// There was none.
    Unanswered,
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
    fn of(mut probes: Vec<(Instant, ProbeOutcome)>) -> Self {
        probes.sort_unstable_by_key(|(intended, _)| *intended);
        // A server that is being started answers nobody, until it does.
        let is_answered = |(_, outcome): &_| matches!(outcome, ProbeOutcome::Answered(_));
        let first = probes.iter().position(is_answered).unwrap_or_default();
        let outcomes = probes.iter().skip(first).map(|(_, outcome)| *outcome);
        let took = outcomes.clone().filter_map(|outcome| match outcome {
            ProbeOutcome::Answered(took) => Some(took),
            ProbeOutcome::Unanswered => Some(PATIENCE),
            ProbeOutcome::Refused => None,
        });
        Self {
            took: took.collect(),
            unanswered: outcomes
                .filter(|outcome| *outcome == ProbeOutcome::Unanswered)
                .count(),
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

/// Asks once; returns when that was to be, and what came of it.
async fn probe(gateway: GatewayAddress, intended: Instant) -> (Instant, ProbeOutcome) {
    let outcome = match timeout(PATIENCE, gateway.control_keys()).await {
        Ok(Ok(_)) => ProbeOutcome::Answered(intended.elapsed()),
        Ok(Err(error)) if is_refused(&error) => ProbeOutcome::Refused,
        Ok(Err(_)) | Err(_) => ProbeOutcome::Unanswered,
    };
    (intended, outcome)
}

fn is_refused(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests;
