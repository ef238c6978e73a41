use std::{
    future::poll_fn,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use super::*;

#[tokio::test]
async fn future_is_polled_when_it_is_woken_and_not_with_its_task() {
    let (polls, notify) = (AtomicUsize::new(0), Notify::new());
    let mut notified = Box::pin(notify.notified());
    let counted = poll_fn(|context| {
        polls.fetch_add(1, Ordering::Relaxed);
        notified.as_mut().poll(context)
    });
    let mut waiting = PolledWhenWoken::new(Box::pin(counted));
    for _ in 0..3 {
        assert!(futures_util::poll!(&mut waiting).is_pending());
    }
    assert_eq!(polls.load(Ordering::Relaxed), 1);
    notify.notify_waiters();
    waiting.await;
    assert_eq!(polls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn wake_reaches_whoever_polls_now() {
    let notify = Arc::new(Notify::new());
    let woken = Arc::clone(&notify);
    let mut waiting = PolledWhenWoken::new(Box::pin(async move { woken.notified().await }));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let elsewhere = tokio::spawn(waiting);
    tokio::task::yield_now().await;
    notify.notify_waiters();
    elsewhere.await.expect("it ends");
}
