//! A process that ends at the worst moment.

use std::sync::Arc;

use bowline_clock::ManualClock;
use bowline_http_client::Destinations;
use bowline_test_servers::{TestDatabase, on_both};
use bowline_test_webhook_receiver::{Answer, TestReceiver};
use chrono::TimeDelta;

use super::TestHooks;

on_both!(keep_database => a_process_that_ends_after_sending_sends_the_same_event_again);

async fn keep_database(database: TestDatabase) -> TestDatabase {
    database
}

/// Its own runtime takes all work of a process with it, at whatever moment.
async fn a_process_that_ends_after_sending_sends_the_same_event_again(database: TestDatabase) {
    let clock = Arc::new(ManualClock::new(chrono::Utc::now()));
    let receiver = Arc::new(TestReceiver::start().await);
    receiver.answer(Answer::Silence);
    let (time, asked) = (Arc::clone(&clock), Arc::clone(&receiver));
    let first = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let hooks = runtime.block_on(async {
            let anywhere = Destinations::Anywhere;
            let hooks = TestHooks::start_with(database, time, asked, anywhere).await;
            hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
            hooks.create_user(hooks.tailnet, "a@example.com").await;
            // It is sent, and whoever sent it ends before the answer.
            hooks.receiver.wait_for(1).await;
            hooks
        });
        runtime.shutdown_background();
        hooks.into_database()
    });
    let database = first.await.unwrap();
    receiver.answer(Answer::Taken);
    let second = TestHooks::replica(&database, &clock, &receiver, Destinations::Anywhere);
    let _second = second.await;
    clock.advance(TimeDelta::seconds(40));
    let deliveries = receiver.wait_for(2).await;
    let (first, again) = (&deliveries[0], &deliveries[1]);
    assert_eq!((&again.id, &again.body), (&first.id, &first.body));
    assert!(!first.is_taken && again.is_taken);
}
