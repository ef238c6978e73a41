//! Whose a token is: identity is asked, and its answer is good for a second.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bowline_proto::access::Principal;
use bowline_proto::identity::v1::{
    AuthenticateTokenRequest, token_service_client::TokenServiceClient,
};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tonic::{Code, Request, Status};

use crate::GrpcChannel;

/// How long an answer is good for, from when it was asked for: a token that ends passes no longer than this.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// How long identity is waited for.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many answers are kept.
const MOST_ANSWERS: usize = 10_000;

/// The longest text that can be a token, in bytes.
const LONGEST_TOKEN: usize = 256;

/// Asks identity whose a token is. Clones share its answers.
#[derive(Clone)]
pub struct TokenVerifier(Arc<VerifierState>);

struct VerifierState {
    identity: GrpcChannel,
    /// By the token's SHA-256: the token itself is not kept.
    answers: Mutex<BTreeMap<[u8; 32], TokenAnswer>>,
}

#[derive(Clone)]
struct TokenAnswer {
    principal: Arc<Principal>,
    asked_at: Instant,
}

impl TokenVerifier {
    /// Returns a verifier that asks this identity.
    #[must_use]
    pub fn new(identity: GrpcChannel) -> Self {
        Self(Arc::new(VerifierState {
            identity,
            answers: Mutex::default(),
        }))
    }

    /// Returns whose a token is.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` when it is nobody's; `Unavailable` when identity can not be asked.
    pub async fn find_principal(&self, token: &str) -> Result<Arc<Principal>, Status> {
        if token.len() > LONGEST_TOKEN {
            return Err(Status::unauthenticated("this is no token"));
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        let asked_at = Instant::now();
        let known = self.0.answers.lock().get(&hash).cloned();
        if let Some(known) = known.filter(|known| asked_at - known.asked_at < GOOD_FOR) {
            return Ok(known.principal);
        }
        let principal = Arc::new(self.ask_identity(token).await?);
        let answer = TokenAnswer {
            principal: Arc::clone(&principal),
            asked_at,
        };
        let mut answers = self.0.answers.lock();
        if answers.len() >= MOST_ANSWERS {
            answers.retain(|_, kept| asked_at.duration_since(kept.asked_at) < GOOD_FOR);
        }
        if answers.len() < MOST_ANSWERS {
            answers.insert(hash, answer);
        }
        Ok(principal)
    }

    async fn ask_identity(&self, token: &str) -> Result<Principal, Status> {
        let mut question = Request::new(AuthenticateTokenRequest {
            token: token.to_owned(),
        });
        question.set_timeout(IDENTITY_TIMEOUT);
        let mut identity = TokenServiceClient::new(self.0.identity.clone());
        let answer = identity.authenticate_token(question).await;
        let answer = answer.map_err(|status| match status.code() {
            Code::Unauthenticated => status,
            _ => {
                let said = status.message();
                Status::unavailable(format!(
                    "identity can not be asked whose the token is: {said}"
                ))
            }
        })?;
        let holder = answer.into_inner().holder;
        let holder = holder.ok_or_else(|| Status::internal("identity names no holder"))?;
        Principal::try_from(holder).map_err(|error| Status::permission_denied(error.to_string()))
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenVerifier({:?})", self.0.identity)
    }
}
