//! Calls that have the same outcome when they are repeated: each is named by an idempotency key that its caller chose.
//!
//! ```text
//! RepeatableService (a layer around an owner's services)          ChangeLog::mutate_once (in the handler)
//!   key, caller ─▶ row? ─ yes ─▶ same request? ─▶ its answer
//!                   │ no                              ┌─ one transaction ──────────────────────────┐
//!                   └─▶ handler, with a KeyedCall ─▶  │ claim the row, change, seal the answer in it │ ─▶ answer
//! ```
//!
//! The answer is made and kept inside of the transaction of the change, so that no crash comes between them. That is why the work
//! of [`ChangeLog::mutate_once`] returns the answer of the RPC itself.
//!
//! Calls with one key at once, on whatever replica: the row's primary key lets one of them claim it, the others wait for its
//! commit and answer what it kept. A refusal takes its row away with it, so a repeat is tried again.
//!
//! Answers show secrets that are kept nowhere. The row has a hash of the key, and the answer is sealed with what only the key
//! gives: who reads the database reads no answer.

mod call;
mod error;
mod frame;
mod layer;
mod rows;

use std::sync::Arc;

use bowline_ids::{Revision, TailnetId};
use futures_util::future::BoxFuture;
use prost::Message;

use crate::{ChangeLog, DatabaseError, Mutation};
use call::KeyedCall;
pub use layer::{AnswerKeeper, RepeatableService};

/// Returns what was kept of the call that is being answered, where it is made again: for a handler that changes more before it
/// comes to [`ChangeLog::mutate_once_and_go_on`].
///
/// # Errors
///
/// When it does not parse.
pub fn take_kept_answer<M: Message + Default>() -> Result<Option<(M, Revision)>, DatabaseError> {
    match KeyedCall::current() {
        Some(call) => call.take_kept(),
        None => Ok(None),
    }
}

impl ChangeLog {
    /// Changes a tailnet as [`Self::mutate`] does, once for each idempotency key of a caller: `work` returns the answer of the
    /// RPC, which is kept with the change. A handler does so last, and answers nothing else.
    ///
    /// # Errors
    ///
    /// What `work` returns, and those of [`Self::mutate`].
    pub async fn mutate_once<M, E, F>(
        &self,
        tailnet: TailnetId,
        actor: impl Into<String>,
        work: F,
    ) -> Result<(M, Revision), E>
    where
        F: for<'c> FnOnce(&'c mut Mutation) -> BoxFuture<'c, Result<M, E>> + Send + 'static,
        M: Message + Default + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        match KeyedCall::current() {
            Some(call) => self.mutate_keyed(tailnet, actor.into(), call, work).await,
            None => self.mutate(tailnet, actor, work).await,
        }
    }

    /// As [`Self::mutate_once`], where the handler adds to the answer what is known only after the commit. When the call is
    /// repeated the handler runs again, and is given here what was kept.
    ///
    /// # Errors
    ///
    /// Those of [`Self::mutate_once`].
    pub async fn mutate_once_and_go_on<M, E, F>(
        &self,
        tailnet: TailnetId,
        actor: impl Into<String>,
        work: F,
    ) -> Result<(M, Revision), E>
    where
        F: for<'c> FnOnce(&'c mut Mutation) -> BoxFuture<'c, Result<M, E>> + Send + 'static,
        M: Message + Default + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let Some(call) = KeyedCall::current() else {
            return self.mutate(tailnet, actor, work).await;
        };
        call.expect_more();
        match call.take_kept()? {
            Some(kept) => Ok(kept),
            None => self.mutate_keyed(tailnet, actor.into(), call, work).await,
        }
    }

    async fn mutate_keyed<M, E, F>(
        &self,
        tailnet: TailnetId,
        actor: String,
        call: Arc<KeyedCall>,
        work: F,
    ) -> Result<(M, Revision), E>
    where
        F: for<'c> FnOnce(&'c mut Mutation) -> BoxFuture<'c, Result<M, E>> + Send + 'static,
        M: Message + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.mutate(tailnet, actor, move |mutation| {
            Box::pin(async move {
                call.claim_row(mutation).await?;
                let answer = work(mutation).await?;
                call.keep_answer(mutation, &answer).await?;
                Ok::<_, E>(answer)
            })
        })
        .await
    }
}
