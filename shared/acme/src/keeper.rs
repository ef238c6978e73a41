//! Orders a certificate where there is none, and the next one in time.

use std::{net::SocketAddr, time::Duration};

use bowline_clock::SharedClock;
use bowline_service_kit::{Tasks, listen_tcp};

use crate::{
    AcmePlan, StoreError,
    attempt::FailedAttempt,
    certificate::CertificateFacts,
    http_listener::answer_requests,
    order::order_and_keep,
    step::{NextStep, decide_step},
    store::AcmeStore,
};

/// How often what other processes have written is looked at, at least.
const LOOK: Duration = Duration::from_secs(60);
/// How soon again while another process orders.
const LOOK_AT_ORDER: Duration = Duration::from_secs(2);

/// Why ACME can not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartAcmeError {
    /// The directory can not be used.
    #[error("acme.state_dir: {0}")]
    Store(#[from] StoreError),
    /// Challenges can not be listened for.
    #[error("acme.http_listen: can not listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

/// Starts to keep a certificate, where listeners already answer challenges by an [`AcmeResolver`](crate::AcmeResolver). What
/// hinders a certificate is logged.
///
/// # Errors
///
/// [`StartAcmeError`].
pub fn start(plan: AcmePlan, clock: SharedClock, tasks: &Tasks) -> Result<(), StartAcmeError> {
    let store = AcmeStore::open(&plan)?;
    if let Some(listen) = plan.http_listen {
        let socket = listen_tcp(listen).map_err(|error| StartAcmeError::Listen(listen, error))?;
        let answering = answer_requests(socket, store.clone(), tasks.clone());
        tasks.spawn_background("challenges", answering);
    }
    let keeper = AcmeKeeper { plan, store, clock };
    tasks.spawn_background("acme", keeper.run());
    Ok(())
}

/// Keeps one certificate.
struct AcmeKeeper {
    plan: AcmePlan,
    store: AcmeStore,
    clock: SharedClock,
}

impl AcmeKeeper {
    async fn run(self) {
        self.report_earlier_failure();
        loop {
            let wait = match self.look().await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::error!(%error, "the certificate can not be kept");
                    LOOK
                }
            };
            tokio::time::sleep(wait.min(LOOK)).await;
        }
    }

    /// Says why there is no certificate although nothing is ordered now.
    fn report_earlier_failure(&self) {
        if let Ok(Some(failed)) = self.store.read_failure() {
            self.report_failure(&failed);
        }
    }

    fn report_failure(&self, failed: &FailedAttempt) {
        let (problem, failures) = (&failed.problem, failed.failures);
        let hosts = self.plan.hosts.join(", ");
        let file = self.store.failure_file();
        tracing::error!(
            %hosts, failures, next = %failed.next, file = %file.display(),
            "no certificate could be had: {problem}. It is tried again at the time `next`; at once when you remove `file`"
        );
    }

    /// Orders if that is due, and returns how long nothing is.
    async fn look(&self) -> Result<Duration, StoreError> {
        // What is decided holds until the order is over: nobody else orders meanwhile.
        let Some(lock) = self.store.try_lock()? else {
            return Ok(LOOK_AT_ORDER);
        };
        let kept = self.read()?;
        kept.report();
        let now = self.clock.now();
        let step = decide_step(
            now,
            &self.plan.hosts,
            kept.certificate.as_ref(),
            kept.failed.as_ref(),
        );
        if let NextStep::Wait(until) = step {
            return Ok((until - now).to_std().unwrap_or_default());
        }
        self.order().await?;
        drop(lock);
        Ok(Duration::ZERO)
    }

    async fn order(&self) -> Result<(), StoreError> {
        let before = self.store.read_failure()?;
        let attempt = FailedAttempt::begin(before.as_ref(), self.clock.now());
        self.store.write_failure(&attempt)?;
        let hosts = self.plan.hosts.join(", ");
        let authority = &self.plan.directory_url;
        tracing::info!(%hosts, %authority, "a certificate is ordered");
        match order_and_keep(&self.plan, &self.store, &self.clock).await {
            // Another order would bring another such.
            Ok(certificate) if certificate.facts.renewal_time() <= self.clock.now() => {
                let ends = certificate.facts.ends;
                let problem = format!(
                    "the certificate that was issued ends at {ends} and is due for renewal already: is the clock of this machine right?"
                );
                let failed = attempt.fail(self.clock.now(), problem, None);
                self.store.write_failure(&failed)?;
                self.report_failure(&failed);
            }
            Ok(certificate) => {
                self.store.clear_failure()?;
                let ends = certificate.facts.ends;
                tracing::info!(%hosts, %ends, "a certificate was issued");
            }
            Err(failure) => {
                let now = self.clock.now();
                let failed = attempt.fail(now, failure.problem, failure.retry_after);
                self.store.write_failure(&failed)?;
                self.report_failure(&failed);
            }
        }
        Ok(())
    }

    fn read(&self) -> Result<KeptState, StoreError> {
        let certificate = match self.store.read_certificate() {
            Ok(certificate) => certificate.map(|certificate| certificate.facts),
            // Another takes its place.
            Err(error @ StoreError::Certificate { .. }) => {
                tracing::warn!(%error, "the certificate that was kept can not be used");
                None
            }
            Err(error) => return Err(error),
        };
        let failed = self.store.read_failure()?;
        Ok(KeptState {
            certificate,
            failed,
        })
    }
}

/// What there is at one moment.
struct KeptState {
    certificate: Option<CertificateFacts>,
    failed: Option<FailedAttempt>,
}

impl KeptState {
    fn report(&self) {
        let certificate = self.certificate.as_ref();
        let ends = certificate.map_or(0, |certificate| certificate.ends.timestamp());
        bowline_service_kit::note_ordered_certificate(ends);
        let failures = self.failed.as_ref().map_or(0, |failed| failed.failures);
        #[expect(
            clippy::cast_precision_loss,
            reason = "times are far below 2^52 seconds"
        )]
        metrics::gauge!("bowline_acme_certificate_ends_seconds").set(ends as f64);
        metrics::gauge!("bowline_acme_failed_attempts").set(failures);
    }
}
