//! One question for all who ask the same at the same time.
//!
//! ```text
//! A asks ──────────── answer ▶ A
//!      B, C ask the same     └ asked once more for both ──── answer ▶ B, C
//! ```
//!
//! Nobody is given an answer to a question that was sent before they asked: what it says was true then, and may not be now.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

/// The questions that are asked at the moment.
#[derive(Debug)]
pub(crate) struct SharedAnswers<Q, A, E>(Mutex<BTreeMap<Q, Arc<AskedQuestion<A, E>>>>);

/// One question, and all who ask it.
#[derive(Debug)]
struct AskedQuestion<A, E> {
    /// How many have asked it.
    callers: AtomicU64,
    /// The newest answer, for those who asked before it was sent. Whoever holds the lock asks.
    answered: tokio::sync::Mutex<Option<(u64, Result<A, E>)>>,
}

impl<Q, A, E> Default for SharedAnswers<Q, A, E> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<A, E> AskedQuestion<A, E> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            callers: AtomicU64::new(0),
            answered: tokio::sync::Mutex::new(None),
        })
    }
}

impl<Q: Ord + Clone, A: Clone, E: Clone> SharedAnswers<Q, A, E> {
    /// Asks a question by `ask`, or waits for another who asks it from now on.
    pub(crate) async fn ask<F>(&self, question: Q, ask: impl FnOnce() -> F) -> Result<A, E>
    where
        F: Future<Output = Result<A, E>>,
    {
        let asked = {
            let mut questions = self.0.lock();
            let asked = questions.entry(question.clone());
            Arc::clone(asked.or_insert_with(AskedQuestion::new))
        };
        let own = asked.callers.fetch_add(1, Ordering::SeqCst);
        let answer = asked.answer(own, ask).await;
        let mut questions = self.0.lock();
        // The table has one, this caller the other: nobody else waits.
        if Arc::strong_count(&asked) == 2 {
            questions.remove(&question);
        }
        answer
    }
}

impl<A: Clone, E: Clone> AskedQuestion<A, E> {
    /// Answers the caller with the number `own`. When the one who asks goes away, the next asks.
    async fn answer<F>(&self, own: u64, ask: impl FnOnce() -> F) -> Result<A, E>
    where
        F: Future<Output = Result<A, E>>,
    {
        let mut answered = self.answered.lock().await;
        if let Some((callers, answer)) = &*answered
            && own < *callers
        {
            return answer.clone();
        }
        let callers = self.callers.load(Ordering::SeqCst);
        let answer = ask().await;
        *answered = Some((callers, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests;
