//! What is remembered of one provider: what it publishes, or that it can not be asked.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::MutexGuard,
    time::{Instant, timeout},
};

use crate::{OidcError, types::Metadata};

/// How long it is remembered that a provider can not be asked: of a crowd one asks, and a provider that is back is found soon.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// How long somebody waits while another asks a provider that could not be asked last time.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a provider answered last.
#[derive(Default)]
struct LastAnswers {
    published: Option<Published>,
    failure: Option<RememberedFailure>,
}

struct Published {
    metadata: Arc<Metadata>,
    bytes: usize,
    at: Instant,
}

#[derive(Clone)]
struct RememberedFailure {
    problem: String,
    at: Instant,
}

/// One provider, as it is remembered. Of those who want to know more one asks at a time, and the others find the answer.
pub(super) struct ProviderMemory {
    issuer: String,
    asking: tokio::sync::Mutex<()>,
    answers: Mutex<LastAnswers>,
}

/// Who may ask the provider now, or what need not be asked any more.
pub(super) enum AskTurn<'a> {
    Ask(MutexGuard<'a, ()>),
    Known(Result<Arc<Metadata>, OidcError>),
}

impl ProviderMemory {
    pub(super) fn new(issuer: String) -> Self {
        Self {
            issuer,
            asking: tokio::sync::Mutex::default(),
            answers: Mutex::default(),
        }
    }

    fn error_of(&self, failure: RememberedFailure) -> OidcError {
        OidcError::Discovery {
            issuer: self.issuer.clone(),
            problem: failure.problem,
        }
    }

    /// Returns what need not be asked: what was published less than `age` ago, or that the provider could not be asked a
    /// moment ago.
    pub(super) fn recall(
        &self,
        age: Duration,
        now: Instant,
    ) -> Option<Result<Arc<Metadata>, OidcError>> {
        let answers = self.answers.lock();
        let is_fresh = |at: Instant, age: Duration| now.saturating_duration_since(at) < age;
        if let Some(published) = &answers.published
            && is_fresh(published.at, age)
        {
            return Some(Ok(Arc::clone(&published.metadata)));
        }
        let failure = answers.failure.clone();
        let failure = failure.filter(|failure| is_fresh(failure.at, FAILED_FOR))?;
        Some(Err(self.error_of(failure)))
    }

    /// Waits until nobody else asks. Where the provider could not be asked last time, nobody waits long for it: a crowd is
    /// told so, while one of it finds out whether the provider is back.
    pub(super) async fn await_turn(&self, age: Duration) -> AskTurn<'_> {
        let last_failure = self.answers.lock().failure.clone();
        let turn = match last_failure {
            None => self.asking.lock().await,
            Some(failure) => match timeout(PATIENCE, self.asking.lock()).await {
                Ok(turn) => turn,
                Err(_) => return AskTurn::Known(Err(self.error_of(failure))),
            },
        };
        match self.recall(age, Instant::now()) {
            Some(known) => AskTurn::Known(known),
            None => AskTurn::Ask(turn),
        }
    }

    /// Remembers what the provider publishes.
    pub(super) fn note_published(&self, metadata: &Arc<Metadata>) {
        let published = Published {
            bytes: count_bytes(metadata),
            metadata: Arc::clone(metadata),
            at: Instant::now(),
        };
        *self.answers.lock() = LastAnswers {
            published: Some(published),
            failure: None,
        };
    }

    /// Remembers that the provider can not be asked. What it published before stays known as long as it would have.
    pub(super) fn note_failure(&self, problem: String) -> OidcError {
        let failure = RememberedFailure {
            problem,
            at: Instant::now(),
        };
        self.answers.lock().failure = Some(failure.clone());
        self.error_of(failure)
    }

    /// Returns about how many bytes are remembered.
    pub(super) fn count_bytes(&self) -> usize {
        let answers = self.answers.lock();
        answers
            .published
            .as_ref()
            .map_or(0, |published| published.bytes)
    }

    /// Returns when the provider answered, or failed, last.
    pub(super) fn last_asked(&self) -> Option<Instant> {
        let answers = self.answers.lock();
        let published = answers.published.as_ref().map(|published| published.at);
        published.max(answers.failure.as_ref().map(|failure| failure.at))
    }
}

/// Returns about how large a provider's answer was.
fn count_bytes(metadata: &Metadata) -> usize {
    let bytes = |text: serde_json::Result<Vec<u8>>| text.map_or(0, |text| text.len());
    bytes(serde_json::to_vec(metadata)) + bytes(serde_json::to_vec(metadata.jwks()))
}

#[cfg(test)]
mod tests;
