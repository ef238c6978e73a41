use std::sync::atomic::AtomicUsize;

use tokio::sync::{Semaphore, oneshot};

use super::*;

/// Answers with how often it was asked, each time that it may.
struct CountingService {
    asked: AtomicUsize,
    turns: Semaphore,
}

impl CountingService {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            asked: AtomicUsize::new(0),
            turns: Semaphore::new(0),
        })
    }

    async fn answer(self: Arc<Self>) -> Result<usize, &'static str> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.turns
            .acquire()
            .await
            .expect("it is never closed")
            .forget();
        if number == 13 {
            Err("thirteen")
        } else {
            Ok(number)
        }
    }
}

type Shared = Arc<SharedAnswers<&'static str, usize, &'static str>>;

/// Lets a caller ask, and returns once it waits.
async fn begin_asking(
    shared: &Shared,
    service: &Arc<CountingService>,
    question: &'static str,
) -> tokio::task::JoinHandle<Result<usize, &'static str>> {
    let (shared, service) = (Arc::clone(shared), Arc::clone(service));
    let (began, begun) = oneshot::channel();
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    let asking = tokio::spawn(async move {
        began.send(()).expect("somebody waits");
        shared.ask(question, || service.answer()).await
    });
    begun.await.expect("it begins");
    // One thread: the task runs on until it waits.
    tokio::task::yield_now().await;
    asking
}

#[tokio::test]
async fn those_who_ask_while_a_question_is_on_its_way_share_the_next() {
    let (shared, service) = (Shared::default(), CountingService::new());
    let first = begin_asking(&shared, &service, "a").await;
    let mut later = Vec::new();
    for _ in 0..5 {
        later.push(begin_asking(&shared, &service, "a").await);
    }
    let other = begin_asking(&shared, &service, "b").await;
    service.turns.add_permits(3);
    assert_eq!(first.await.unwrap(), Ok(1));
    assert_eq!(other.await.unwrap(), Ok(2));
    for caller in later {
        assert_eq!(caller.await.unwrap(), Ok(3), "asked after they came, once");
    }
    assert!(shared.0.lock().is_empty(), "nothing is kept");
    service.turns.add_permits(1);
    let fresh = shared.ask("a", || Arc::clone(&service).answer()).await;
    assert_eq!(fresh, Ok(4), "an answer is not given twice");
}

#[tokio::test]
async fn when_the_one_who_asks_goes_away_another_asks() {
    let (shared, service) = (Shared::default(), CountingService::new());
    let first = begin_asking(&shared, &service, "a").await;
    let second = begin_asking(&shared, &service, "a").await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    service.turns.add_permits(1);
    assert_eq!(second.await.unwrap(), Ok(2));
}

#[tokio::test]
async fn a_failure_is_shared_too() {
    let (shared, service) = (Shared::default(), CountingService::new());
    service.asked.store(11, Ordering::SeqCst);
    let first = begin_asking(&shared, &service, "a").await;
    let second = begin_asking(&shared, &service, "a").await;
    let third = begin_asking(&shared, &service, "a").await;
    service.turns.add_permits(2);
    assert_eq!(first.await.unwrap(), Ok(12));
    assert_eq!(second.await.unwrap(), Err("thirteen"));
    assert_eq!(third.await.unwrap(), Err("thirteen"));
}
