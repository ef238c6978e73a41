//! One order, from the account to the certificate.

use std::time::Duration;

use bowline_clock::SharedClock;
use bowline_service_kit::error_text;
use instant_acme::{
    AuthorizationStatus, Error, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use crate::{
    AcmePlan,
    account::{AccountError, load_or_make_account},
    advice::{describe_failed_proof, describe_refusal, problem_name},
    certificate::KeptCertificate,
    challenge::{ChallengeKind, make_answer_certificate},
    client::AuthorityClient,
    store::AcmeStore,
};

/// How long the authority may take to look at the answers, and to issue.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));
/// How long an order may take in all.
const DEADLINE: Duration = Duration::from_secs(300);

/// Why an order has given no certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OrderFailure {
    /// What went wrong, and what to mend.
    pub(crate) problem: String,
    /// How long the authority wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

/// Orders a certificate and keeps it. The caller has the lock.
pub(crate) async fn order_and_keep(
    plan: &AcmePlan,
    store: &AcmeStore,
    clock: &SharedClock,
) -> Result<KeptCertificate, OrderFailure> {
    let client = AuthorityClient::new(plan.directory_ca_file.as_deref(), clock.clone());
    let client = client.map_err(|problem| OrderFailure {
        problem,
        retry_after: None,
    })?;
    let work = OrderWork {
        plan,
        store,
        client: &client,
    };
    let ordered = tokio::time::timeout(DEADLINE, work.run()).await;
    let ordered = ordered.unwrap_or_else(|_| {
        let seconds = DEADLINE.as_secs();
        Err(format!(
            "the order was not finished within {seconds} seconds"
        ))
    });
    // Answers of an order that is over prove nothing; the next order begins by removing those that stay.
    if let Err(error) = store.clear_answers() {
        tracing::warn!(%error, "answers to challenges stay where they are");
    }
    ordered.map_err(|problem| OrderFailure {
        problem,
        retry_after: client.retry_after(),
    })
}

/// What an order needs.
struct OrderWork<'o> {
    plan: &'o AcmePlan,
    store: &'o AcmeStore,
    client: &'o AuthorityClient,
}

impl OrderWork<'_> {
    async fn run(&self) -> Result<KeptCertificate, String> {
        self.store
            .clear_answers()
            .map_err(|error| error.to_string())?;
        let account = load_or_make_account(self.plan, self.store, self.client).await;
        let account = account.map_err(|error| match error {
            AccountError::Store(error) => error.to_string(),
            AccountError::Acme(error) => self.describe(&error),
        })?;
        let hosts = &self.plan.hosts;
        let identifiers: Vec<_> = hosts.iter().cloned().map(Identifier::Dns).collect();
        let ordered = account.new_order(&NewOrder::new(&identifiers)).await;
        let mut order = ordered.map_err(|error| self.describe(&error))?;
        self.answer_challenges(&mut order).await?;
        if order.state().status != OrderStatus::Ready {
            self.wait_for_proof(&mut order).await?;
        }
        let (request, key) = make_request(hosts).map_err(|error| error.to_string())?;
        let finalized = order.finalize_csr(&request).await;
        finalized.map_err(|error| self.describe(&error))?;
        let chain = order.poll_certificate(&POLLING).await;
        let chain = chain.map_err(|error| self.describe(&error))?;
        let text = format!("{}\n{key}", chain.trim_end());
        let certificate = KeptCertificate::parse(text.as_bytes())
            .map_err(|error| format!("the authority's certificate: {error}"))?;
        if !certificate.facts.is_for(hosts) {
            return Err("the authority's certificate lacks some of the hosts".to_owned());
        }
        let kept = self.store.write_certificate(&text);
        kept.map_err(|error| error.to_string())?;
        Ok(certificate)
    }

    async fn answer_challenges(&self, order: &mut Order) -> Result<(), String> {
        let kind = self.plan.challenge_kind();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.describe(&error))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let host = authorization.identifier().to_string();
            let challenge = authorization.challenge(kind.protocol_type());
            let Some(mut challenge) = challenge else {
                return Err(describe_missing_kind(kind, &host));
            };
            let answer = challenge.key_authorization();
            let written = match kind {
                ChallengeKind::TlsAlpn => {
                    let digest = answer.digest();
                    let certificate = make_answer_certificate(&host, digest.as_ref());
                    let certificate = certificate.map_err(|error| error.to_string())?;
                    self.store.write_tls_answer(&host, &certificate)
                }
                ChallengeKind::Http => {
                    let token = &challenge.token;
                    self.store.write_http_answer(token, answer.as_str())
                }
            };
            written.map_err(|error| error.to_string())?;
            let told = challenge.set_ready().await;
            told.map_err(|error| self.describe_proof(kind, &host, &error))?;
        }
        Ok(())
    }

    /// Waits until the authority has looked at all answers.
    async fn wait_for_proof(&self, order: &mut Order) -> Result<(), String> {
        let failure = match order.poll_ready(&POLLING).await {
            Ok(OrderStatus::Ready) => return Ok(()),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        // What the authority has against an answer is told beside the answer, not beside the order.
        let kind = self.plan.challenge_kind();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.describe(&error))?;
            let host = authorization.identifier().to_string();
            let state = authorization.refresh().await;
            let state = state.map_err(|error| self.describe(&error))?;
            let problems = state.challenges.iter().filter_map(|one| one.error.as_ref());
            if let Some(problem) = problems.into_iter().next() {
                return Err(describe_failed_proof(kind, &host, problem));
            }
        }
        Err(match failure {
            Some(error) => self.describe(&error),
            None => "the authority has made the order invalid and does not say why".to_owned(),
        })
    }

    fn describe_proof(&self, kind: ChallengeKind, host: &str, error: &Error) -> String {
        match error {
            Error::Api(problem) => describe_failed_proof(kind, host, problem),
            error => self.describe(error),
        }
    }

    /// Says what an error means.
    fn describe(&self, error: &Error) -> String {
        match error {
            Error::Api(problem) => {
                if problem_name(problem) == "accountDoesNotExist"
                    && let Err(error) = self.store.remove_account()
                {
                    tracing::warn!(%error, "the account that the authority does not know stays");
                }
                describe_refusal(problem)
            }
            Error::Timeout(_) => "the authority has not finished in time".to_owned(),
            error => {
                let url = &self.plan.directory_url;
                format!(
                    "the authority {url} can not be asked: {}",
                    error_text(error)
                )
            }
        }
    }
}

fn describe_missing_kind(kind: ChallengeKind, host: &str) -> String {
    let advice = match kind {
        ChallengeKind::TlsAlpn => "set acme.http_listen, so that HTTP-01 is used",
        ChallengeKind::Http => "leave out acme.http_listen, so that TLS-ALPN-01 is used",
    };
    format!("the authority does not prove {host} by {kind}: {advice}")
}

/// Makes a request (DER) for a certificate, and its key (PEM).
fn make_request(hosts: &[String]) -> Result<(Vec<u8>, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    Ok((request.der().to_vec(), key.serialize_pem()))
}
