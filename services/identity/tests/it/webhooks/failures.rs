//! Receivers that are down, slow or elsewhere, and processes that end.

use bowline_http_client::Destinations;
use bowline_proto::identity::v1::{
    ListUndeliveredEventsRequest, ReplayUndeliveredEventsRequest, UndeliveredEvent, Webhook,
};
use bowline_test_servers::on_both;
use bowline_test_webhook_receiver::{ALWAYS, Answer, Delivery};
use chrono::TimeDelta;

use super::TestHooks;

on_both!(TestHooks::start =>
    a_failed_event_comes_again_before_the_others,
    a_redirect_is_not_followed,
    a_slow_receiver_holds_up_no_other_tailnet,
    what_can_not_be_delivered_for_a_day_is_listed_and_sent_again,
    two_replicas_send_each_event_once
);

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| &*delivery.id).collect()
}

async fn a_failed_event_comes_again_before_the_others(hooks: TestHooks) {
    let (id, _) = hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    hooks.receiver.answer(Answer::Status(500));
    for name in ["a@example.com", "b@example.com"] {
        hooks.create_user(hooks.tailnet, name).await;
    }
    let failed = |webhook: &Webhook| webhook.failures == 1;
    let webhook = hooks.wait_for_webhook(hooks.tailnet, id, failed).await;
    assert!(webhook.problem.contains("500"), "{}", webhook.problem);
    // Until its pause is over nothing is sent.
    assert_eq!(hooks.receiver.all().len(), 1);
    hooks.receiver.answer(Answer::Taken);
    hooks.clock.advance(TimeDelta::seconds(10));
    let deliveries = hooks.receiver.wait_for(3).await;
    let users: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery.event()["data"]["user"].clone())
        .collect();
    assert_eq!(users, ["a@example.com", "a@example.com", "b@example.com"]);
    assert_eq!(deliveries[0].id, deliveries[1].id);
    let done = hooks
        .wait_for_webhook(hooks.tailnet, id, |webhook| webhook.waiting == 0)
        .await;
    assert_eq!((done.failures, &*done.problem), (0, ""));
}

async fn a_redirect_is_not_followed(hooks: TestHooks) {
    hooks.receiver.answer(Answer::Redirect);
    let (id, _) = hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    hooks.create_user(hooks.tailnet, "a@example.com").await;
    let failed = |webhook: &Webhook| webhook.failures == 1;
    let webhook = hooks.wait_for_webhook(hooks.tailnet, id, failed).await;
    assert!(webhook.problem.contains("redirects"), "{}", webhook.problem);
    assert_eq!(hooks.receiver.all().len(), 1, "it is not followed");
}

async fn a_slow_receiver_holds_up_no_other_tailnet(hooks: TestHooks) {
    let other = hooks.create_tailnet("other").await;
    let (slow, _) = hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    let mut request = hooks.wanted(other, &["userCreated"]);
    request.url = hooks.receiver.url_at(ALWAYS);
    hooks.webhooks().create_webhook(request).await.unwrap();
    hooks.receiver.answer(Answer::Silence);
    hooks.create_user(hooks.tailnet, "a@example.com").await;
    hooks.receiver.wait_for(1).await;
    hooks.create_user(other, "b@example.com").await;
    let deliveries = hooks.receiver.wait_for(2).await;
    assert_eq!(deliveries[1].event()["tailnet"], "other");
    assert_eq!(
        hooks.webhook(hooks.tailnet, slow).await.failures,
        0,
        "it is waited for still"
    );
    let webhook = hooks
        .wait_for_webhook(hooks.tailnet, slow, |webhook| webhook.failures > 0)
        .await;
    assert!(
        webhook.problem.contains("no answer within"),
        "{}",
        webhook.problem
    );
}

async fn list_undelivered(hooks: &TestHooks, webhook_id: u64) -> Vec<UndeliveredEvent> {
    let request = ListUndeliveredEventsRequest {
        tailnet_id: hooks.tailnet,
        webhook_id,
    };
    let listed = hooks.webhooks().list_undelivered_events(request).await;
    listed.unwrap().into_inner().events
}

async fn what_can_not_be_delivered_for_a_day_is_listed_and_sent_again(hooks: TestHooks) {
    let (id, _) = hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    hooks.receiver.answer(Answer::Status(503));
    for name in ["a@example.com", "b@example.com"] {
        hooks.create_user(hooks.tailnet, name).await;
    }
    hooks
        .wait_for_webhook(hooks.tailnet, id, |webhook| {
            webhook.failures == 1 && webhook.waiting == 2
        })
        .await;
    hooks.clock.advance(TimeDelta::hours(25));
    let webhook = hooks
        .wait_for_webhook(hooks.tailnet, id, |webhook| webhook.waiting == 0)
        .await;
    assert_eq!(webhook.undelivered, 2);
    let listed = list_undelivered(&hooks, id).await;
    assert_eq!(listed[0].r#type, "userCreated");
    assert_eq!(listed[0].attempts, 2);
    assert!(listed[0].problem.contains("503"), "{}", listed[0].problem);
    assert!(
        listed[1].problem.contains("before it"),
        "{}",
        listed[1].problem
    );
    hooks.receiver.answer(Answer::Taken);
    let before = hooks.receiver.all().len();
    let request = ReplayUndeliveredEventsRequest {
        tailnet_id: hooks.tailnet,
        webhook_id: id,
        event_id: String::new(),
    };
    let replayed = hooks
        .webhooks()
        .replay_undelivered_events(request)
        .await
        .unwrap();
    assert_eq!(replayed.into_inner().events, 2);
    let deliveries = hooks.receiver.wait_for(before + 2).await;
    let expected: Vec<_> = listed.iter().map(|event| &*event.id).collect();
    assert_eq!(ids(&deliveries[before..]), expected);
    assert!(list_undelivered(&hooks, id).await.is_empty());
}

async fn two_replicas_send_each_event_once(hooks: TestHooks) {
    let other = TestHooks::replica(
        hooks.database(),
        &hooks.clock,
        &hooks.receiver,
        Destinations::Anywhere,
    );
    let _other = other.await;
    hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    for number in 0..20 {
        hooks
            .create_user(hooks.tailnet, &format!("user{number}@example.com"))
            .await;
    }
    let deliveries = hooks.receiver.wait_for(20).await;
    let users: Vec<_> = deliveries
        .iter()
        .map(|delivery| {
            delivery.event()["data"]["user"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let expected: Vec<_> = (0..20)
        .map(|number| format!("user{number}@example.com"))
        .collect();
    assert_eq!(users, expected);
}
