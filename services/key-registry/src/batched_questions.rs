//! Questions that are asked together: those who come while others are asked share the next batch.
//!
//! ```text
//! A asks ──────────── answer ▶ A
//!      B, C, B' ask          └ asked together: B, C ──── answer ▶ B, C, B'
//! ```
//!
//! Nobody is given an answer to a question that was sent before they asked: what it says was true then, and may not be now.
//! Questions of one group wait for each other, those of two do not.

use std::{
    collections::{BTreeMap, HashSet},
    future::Future,
    hash::Hash,
    sync::Arc,
};

use parking_lot::Mutex;

/// How many questions are asked together.
pub(crate) const MOST_IN_BATCH: usize = 64;

/// Questions `Q` in groups `G`. Those asked together have one answer `A`, or one error `E`.
#[derive(Debug)]
pub(crate) struct BatchedQuestions<G, Q, A, E>(Mutex<QuestionGroups<G, Q, A, E>>);

type QuestionGroups<G, Q, A, E> = BTreeMap<G, Arc<QuestionGroup<Q, A, E>>>;

/// The questions of a group.
#[derive(Debug)]
struct QuestionGroup<Q, A, E> {
    /// Those that are not answered, in the order in which they came.
    waiting: Mutex<Vec<Arc<WaitingQuestion<Q, A, E>>>>,
    /// Whoever holds it asks.
    turn: tokio::sync::Mutex<()>,
}

/// A question of one caller.
#[derive(Debug)]
struct WaitingQuestion<Q, A, E> {
    question: Q,
    answer: Mutex<Option<Result<Arc<A>, E>>>,
}

impl<G, Q, A, E> Default for BatchedQuestions<G, Q, A, E> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Q, A, E> QuestionGroup<Q, A, E> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }
}

impl<G: Ord + Clone, Q: Eq + Hash + Clone, A, E: Clone> BatchedQuestions<G, Q, A, E> {
    /// Asks a question: with others by `ask`, or by another caller's who asks from now on. What is asked together is different
    /// questions.
    pub(crate) async fn ask<F>(
        &self,
        group: G,
        question: Q,
        ask: impl Fn(Vec<Q>) -> F,
    ) -> Result<Arc<A>, E>
    where
        F: Future<Output = Result<A, E>>,
    {
        let asked = {
            let mut groups = self.0.lock();
            let asked = groups.entry(group.clone());
            Arc::clone(asked.or_insert_with(QuestionGroup::new))
        };
        let answer = asked.answer(question, ask).await;
        let mut groups = self.0.lock();
        // The table has one, this caller the other: nobody else waits.
        if Arc::strong_count(&asked) == 2 {
            groups.remove(&group);
        }
        answer
    }
}

impl<Q: Eq + Hash + Clone, A, E: Clone> QuestionGroup<Q, A, E> {
    /// Answers a question, once it is this caller's turn. When the one who asks goes away, the next asks.
    async fn answer<F>(&self, question: Q, ask: impl Fn(Vec<Q>) -> F) -> Result<Arc<A>, E>
    where
        F: Future<Output = Result<A, E>>,
    {
        let own = Arc::new(WaitingQuestion {
            question,
            answer: Mutex::default(),
        });
        self.waiting.lock().push(Arc::clone(&own));
        let _turn = self.turn.lock().await;
        loop {
            let answered = own.answer.lock().take();
            match answered {
                Some(answer) => return answer,
                None => self.ask_some(&ask).await,
            }
        }
    }

    /// Asks the questions that wait longest.
    async fn ask_some<F>(&self, ask: &impl Fn(Vec<Q>) -> F)
    where
        F: Future<Output = Result<A, E>>,
    {
        let batch: Vec<_> = {
            let mut waiting = self.waiting.lock();
            // The callers of the others have gone.
            waiting.retain(|one| Arc::strong_count(one) > 1);
            waiting.iter().take(MOST_IN_BATCH).cloned().collect()
        };
        let mut known = HashSet::new();
        let different = batch.iter().map(|one| &one.question);
        let different = different.filter(|question| known.insert(*question));
        let answer = ask(different.cloned().collect()).await.map(Arc::new);
        for one in &batch {
            *one.answer.lock() = Some(answer.clone());
        }
        let is_waiting = |one: &Arc<WaitingQuestion<Q, A, E>>| one.answer.lock().is_none();
        self.waiting.lock().retain(is_waiting);
    }
}

#[cfg(test)]
mod tests;
