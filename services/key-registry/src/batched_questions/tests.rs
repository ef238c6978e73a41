use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, oneshot};

use super::*;

/// Answers with how often it was asked, and what, each time that it may.
struct CountingService {
    asked: AtomicUsize,
    turns: Semaphore,
}

type Answer = (usize, Vec<String>);

impl CountingService {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            asked: AtomicUsize::new(0),
            turns: Semaphore::new(0),
        })
    }

    async fn answer(self: Arc<Self>, questions: Vec<String>) -> Result<Answer, &'static str> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.turns
            .acquire()
            .await
            .expect("it is never closed")
            .forget();
        if number == 13 {
            Err("thirteen")
        } else {
            Ok((number, questions))
        }
    }
}

type Batched = Arc<BatchedQuestions<u64, String, Answer, &'static str>>;
type Asking = tokio::task::JoinHandle<Result<Arc<Answer>, &'static str>>;

/// Lets a caller ask, and returns once it waits.
async fn begin_asking(
    batched: &Batched,
    service: &Arc<CountingService>,
    group: u64,
    question: &str,
) -> Asking {
    let (batched, service) = (Arc::clone(batched), Arc::clone(service));
    let (began, begun) = oneshot::channel();
    let question = question.to_owned();
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    let asking = tokio::spawn(async move {
        began.send(()).expect("somebody waits");
        let ask = |questions| Arc::clone(&service).answer(questions);
        batched.ask(group, question, ask).await
    });
    begun.await.expect("it begins");
    // One thread: the task runs on until it waits.
    tokio::task::yield_now().await;
    asking
}

async fn answer_to(asking: Asking) -> Result<Answer, &'static str> {
    let answer = asking.await.expect("it does not panic");
    answer.map(|answer| (*answer).clone())
}

fn answer(number: usize, questions: &[&str]) -> Result<Answer, &'static str> {
    Ok((
        number,
        questions.iter().map(|&one| one.to_owned()).collect(),
    ))
}

#[tokio::test]
async fn those_who_ask_while_others_are_asked_share_the_next_batch() {
    let (batched, service) = (Batched::default(), CountingService::new());
    let first = begin_asking(&batched, &service, 1, "a").await;
    let mut later = Vec::new();
    for question in ["b", "a", "c", "b"] {
        later.push(begin_asking(&batched, &service, 1, question).await);
    }
    let other = begin_asking(&batched, &service, 2, "b").await;
    service.turns.add_permits(3);
    assert_eq!(answer_to(first).await, answer(1, &["a"]));
    assert_eq!(
        answer_to(other).await,
        answer(2, &["b"]),
        "another group waits for nobody"
    );
    for caller in later {
        let expected = answer(3, &["b", "a", "c"]);
        assert_eq!(
            answer_to(caller).await,
            expected,
            "asked after they came, once"
        );
    }
    assert!(batched.0.lock().is_empty(), "nothing is kept");
    service.turns.add_permits(1);
    let fresh = begin_asking(&batched, &service, 1, "a").await;
    assert_eq!(
        answer_to(fresh).await,
        answer(4, &["a"]),
        "an answer is not given twice"
    );
}

#[tokio::test]
async fn when_the_one_who_asks_goes_away_another_asks() {
    let (batched, service) = (Batched::default(), CountingService::new());
    let first = begin_asking(&batched, &service, 1, "a").await;
    let second = begin_asking(&batched, &service, 1, "b").await;
    let gone = begin_asking(&batched, &service, 1, "c").await;
    for caller in [gone, first] {
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    service.turns.add_permits(1);
    assert_eq!(
        answer_to(second).await,
        answer(2, &["b"]),
        "for those who are left"
    );
}

#[tokio::test]
async fn batches_are_bounded() {
    let (batched, service) = (Batched::default(), CountingService::new());
    let mut asking = Vec::new();
    for number in 0..=MOST_IN_BATCH + 1 {
        asking.push(begin_asking(&batched, &service, 1, &number.to_string()).await);
    }
    service.turns.add_permits(3);
    let mut batches = BTreeMap::<usize, usize>::new();
    for caller in asking {
        let (batch, questions) = answer_to(caller).await.unwrap();
        assert!(questions.len() <= MOST_IN_BATCH);
        *batches.entry(batch).or_default() += 1;
    }
    let expected = BTreeMap::from([(1, 1), (2, MOST_IN_BATCH), (3, 1)]);
    assert_eq!(batches, expected);
}

#[tokio::test]
async fn a_failure_is_shared_too() {
    let (batched, service) = (Batched::default(), CountingService::new());
    service.asked.store(11, Ordering::SeqCst);
    let first = begin_asking(&batched, &service, 1, "a").await;
    let second = begin_asking(&batched, &service, 1, "b").await;
    let third = begin_asking(&batched, &service, 1, "c").await;
    service.turns.add_permits(2);
    assert_eq!(answer_to(first).await, answer(12, &["a"]));
    assert_eq!(answer_to(second).await, Err("thirteen"));
    assert_eq!(answer_to(third).await, Err("thirteen"));
}
