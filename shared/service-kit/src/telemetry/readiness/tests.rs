use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;

#[tokio::test]
async fn process_is_ready_once_it_has_started() {
    let readiness = Readiness::default();
    assert_eq!(readiness.hindrance().await, Some("starting\n"));
    readiness.begin();
    assert_eq!(readiness.hindrance().await, None);
}

#[tokio::test]
async fn process_is_ready_while_its_database_answers() {
    let is_there = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU32::new(0));
    let readiness = Readiness::default();
    let (there, count) = (Arc::clone(&is_there), Arc::clone(&asked));
    readiness.begin();
    readiness.require_database(Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let answer = there.load(Ordering::Relaxed);
        Box::pin(async move { answer })
    }));
    let away = Some("the database does not answer\n");
    for _ in 0..100 {
        assert_eq!(readiness.hindrance().await, away);
    }
    assert!(
        asked.load(Ordering::Relaxed) < 10,
        "many probes are one question"
    );
    is_there.store(true, Ordering::Relaxed);
    let back = async {
        while readiness.hindrance().await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), back).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn database_that_never_answers_is_away() {
    let readiness = Readiness::default();
    readiness.begin();
    readiness.require_database(Arc::new(|| Box::pin(std::future::pending())));
    assert!(readiness.hindrance().await.is_some());
}
