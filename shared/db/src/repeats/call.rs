//! One call with an idempotency key, from its request to its row.

use std::fmt;
use std::sync::Arc;

use bowline_ids::Revision;
use bowline_proto::access::{IDEMPOTENCY_KEY, is_idempotency_key};
use bowline_sealing::{SealingKeys, derive_bytes};
use bowline_service_kit::Caller;
use http::HeaderMap;
use parking_lot::Mutex;
use prost::Message;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

use super::error::RepeatError;
use super::rows::{self, Claim, KeptRow};
use crate::{DatabaseError, Mutation};

/// The longest answer that is kept, in bytes.
const LONGEST_ANSWER: usize = 2 << 20;
/// What an answer is sealed for.
const PLACE: &str = "kept_answers";

tokio::task_local! {
    static CURRENT: Arc<KeyedCall>;
}

/// A call that is done once.
pub(super) struct KeyedCall {
    /// Stands for the caller and the key.
    id: [u8; 32],
    /// Stands for the RPC and the request.
    request_hash: [u8; 32],
    /// Seals and opens the answer.
    sealing: SealingKeys,
    state: Mutex<CallState>,
}

#[derive(Default)]
struct CallState {
    /// What was kept when the call was made first.
    kept: Option<AnswerRecord>,
    /// Whether the handler adds to the answer.
    is_part: bool,
    /// Why the change was not made.
    refusal: Option<RepeatError>,
}

/// What is sealed in a row.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct AnswerRecord {
    /// The message.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) answer: Vec<u8>,
    /// The revision of the change.
    #[prost(uint64, tag = "2")]
    revision: u64,
    /// Whether the handler adds to the answer.
    #[prost(bool, tag = "3")]
    pub(super) is_part: bool,
}

impl fmt::Debug for AnswerRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AnswerRecord({} bytes)", self.answer.len())
    }
}

impl Drop for AnswerRecord {
    fn drop(&mut self) {
        self.answer.zeroize();
    }
}

impl fmt::Debug for KeyedCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyedCall")
    }
}

impl KeyedCall {
    /// Reads the key in a request's headers.
    pub(super) fn read(
        headers: &HeaderMap,
        caller: &Caller,
        path: &str,
        frame: &[u8],
    ) -> Result<Self, RepeatError> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let key = match (values.next(), values.next()) {
            (Some(value), None) => value.as_bytes(),
            _ => return Err(RepeatError::Key),
        };
        if !is_idempotency_key(key) {
            return Err(RepeatError::Key);
        }
        let tailnet = caller.principal().map_or(0, |by| by.tailnet_id).to_string();
        let caller = caller.to_string();
        let request = Sha256::new_with_prefix(path).chain_update([0]);
        Ok(Self {
            id: *derive_bytes(key, &["bowline kept answer", &tailnet, &caller]),
            request_hash: request.chain_update(frame).finalize().into(),
            sealing: SealingKeys::derive(key, &["bowline sealed answer", &tailnet, &caller]),
            state: Mutex::default(),
        })
    }

    /// Returns the call that is being answered, if it has a key.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Makes this the call that `answer` is about.
    pub(super) async fn scope<F: Future>(self: Arc<Self>, answer: F) -> F::Output {
        CURRENT.scope(self, answer).await
    }

    pub(super) fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// Opens the row of the call: what was answered, if it was the same request.
    pub(super) fn open_row(&self, row: &KeptRow) -> Result<AnswerRecord, RepeatError> {
        if row.request_hash != self.request_hash {
            return Err(RepeatError::OtherRequest);
        }
        let opened = self.sealing.open(PLACE, &row.answer);
        let opened = opened
            .ok()
            .and_then(|bytes| AnswerRecord::decode(&**bytes).ok());
        opened.ok_or(RepeatError::Damaged)
    }

    /// Keeps for the handler what was answered before.
    pub(super) fn set_kept(&self, kept: AnswerRecord) {
        self.state.lock().kept = Some(kept);
    }

    /// Gives the handler what was answered before, once.
    pub(super) fn take_kept<M: Message + Default>(
        &self,
    ) -> Result<Option<(M, Revision)>, DatabaseError> {
        let Some(kept) = self.state.lock().kept.take() else {
            return Ok(None);
        };
        let answer = M::decode(&*kept.answer).map_err(|_| DatabaseError::Inconsistent {
            table: PLACE,
            row: "of this call".to_owned(),
        })?;
        Ok(Some((answer, Revision::new(kept.revision))))
    }

    /// Returns what the handler has not taken.
    pub(super) fn left_kept(&self) -> Option<AnswerRecord> {
        self.state.lock().kept.take()
    }

    /// Notes that the handler adds to the answer.
    pub(super) fn expect_more(&self) {
        self.state.lock().is_part = true;
    }

    /// Returns why the change was not made.
    pub(super) fn take_refusal(&self) -> Option<RepeatError> {
        self.state.lock().refusal.take()
    }

    /// Makes the row of the call, unless there is one.
    pub(super) async fn claim_row(&self, mutation: &mut Mutation) -> Result<(), DatabaseError> {
        let (tailnet, now) = (mutation.tailnet(), mutation.now());
        let on = mutation.connection();
        match rows::claim(on, tailnet, now, &self.id, &self.request_hash).await? {
            Claim::Made => Ok(()),
            Claim::Exists => Err(self.refuse(RepeatError::Busy)),
            Claim::Full => Err(self.refuse(RepeatError::TooMany)),
        }
    }

    /// Puts the answer into the row.
    pub(super) async fn keep_answer(
        &self,
        mutation: &mut Mutation,
        answer: &impl Message,
    ) -> Result<(), DatabaseError> {
        let kept = AnswerRecord {
            answer: answer.encode_to_vec(),
            revision: mutation.revision().get(),
            is_part: self.state.lock().is_part,
        };
        if kept.answer.len() > LONGEST_ANSWER {
            return Err(self.refuse(RepeatError::TooLong(kept.answer.len())));
        }
        let mut bytes = kept.encode_to_vec();
        let sealed = self.sealing.seal(PLACE, &bytes);
        bytes.zeroize();
        rows::fill(mutation.connection(), &self.id, sealed).await
    }

    /// Notes why the change is not made; the layer says it in place of what the handler makes of the error.
    fn refuse(&self, refusal: RepeatError) -> DatabaseError {
        self.state.lock().refusal = Some(refusal);
        DatabaseError::unavailable("the call is not done a second time")
    }
}
