//! What one webhook, tailnet or event may take, and what is set right by itself.

use bowline_http_client::Destinations;
use bowline_proto::audit::v1::ListAuditRequest;
use bowline_proto::identity::v1::{
    CreateUserRequest, Webhook, audit_service_client::AuditServiceClient,
    user_service_client::UserServiceClient,
};
use bowline_test_servers::on_both;
use bowline_test_webhook_receiver::Answer;
use chrono::TimeDelta;

use super::TestHooks;

on_both!(TestHooks::start =>
    a_secret_that_can_not_be_opened_is_a_failure,
    a_count_that_is_wrong_is_set_right,
    undelivered_events_are_forgotten_after_a_month,
    the_trail_does_not_hold_the_whole_url,
    a_trail_that_went_back_is_followed_from_its_epoch,
    webhooks_without_a_cursor_get_one
);

async fn a_secret_that_can_not_be_opened_is_a_failure(hooks: TestHooks) {
    let (id, _) = hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    let sql = format!(
        "UPDATE {{}} SET sealed_old_secret = sealed_secret, sealed_secret = body WHERE id = {id}"
    );
    hooks.execute("webhooks", &sql).await;
    hooks.create_user(hooks.tailnet, "a@example.com").await;
    let failed = |webhook: &Webhook| webhook.failures == 1;
    let webhook = hooks.wait_for_webhook(hooks.tailnet, id, failed).await;
    assert!(!webhook.problem.is_empty());
    // It was given back at once, and is tried again: not before the claim would have ended.
    let restore = "UPDATE {} SET sealed_secret = sealed_old_secret, sealed_old_secret = NULL";
    hooks.execute("webhooks", restore).await;
    hooks.clock.advance(TimeDelta::seconds(10));
    hooks.receiver.wait_for(1).await;
}

async fn a_count_that_is_wrong_is_set_right(hooks: TestHooks) {
    let (id, _) = hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    hooks
        .execute(
            "webhooks",
            "UPDATE {} SET waiting = 9999, next_attempt_at = 0",
        )
        .await;
    let set_right = |webhook: &Webhook| webhook.waiting == 0;
    hooks.wait_for_webhook(hooks.tailnet, id, set_right).await;
    hooks.create_user(hooks.tailnet, "a@example.com").await;
    hooks.receiver.wait_for(1).await;
}

async fn undelivered_events_are_forgotten_after_a_month(hooks: TestHooks) {
    let (id, _) = hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    hooks.receiver.answer(Answer::Status(503));
    hooks.create_user(hooks.tailnet, "a@example.com").await;
    let failed = |webhook: &Webhook| webhook.failures == 1;
    hooks.wait_for_webhook(hooks.tailnet, id, failed).await;
    hooks.clock.advance(TimeDelta::hours(25));
    let undelivered = |webhook: &Webhook| webhook.undelivered == 1;
    hooks.wait_for_webhook(hooks.tailnet, id, undelivered).await;
    hooks.clock.advance(TimeDelta::days(31));
    // A process looks for what is too old when it starts, and then once a minute.
    let other = TestHooks::replica(
        hooks.database(),
        &hooks.clock,
        &hooks.receiver,
        Destinations::Anywhere,
    );
    let _other = other.await;
    let forgotten = |webhook: &Webhook| webhook.undelivered == 0;
    hooks.wait_for_webhook(hooks.tailnet, id, forgotten).await;
}

async fn the_trail_does_not_hold_the_whole_url(hooks: TestHooks) {
    let (id, _) = hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    let url = hooks.webhook(hooks.tailnet, id).await.url;
    let request = ListAuditRequest {
        tailnet_id: hooks.tailnet,
        action: "webhook.create".to_owned(),
        ..ListAuditRequest::default()
    };
    let mut audit = AuditServiceClient::new(hooks.admin());
    let entries = audit
        .list_audit(request)
        .await
        .unwrap()
        .into_inner()
        .entries;
    let detail = &entries[0].detail;
    assert!(!detail.contains(&url), "{detail}");
    assert!(detail.contains("url_hash"), "{detail}");
}

/// Makes users as one after the other; names `begin`-N.
async fn create_users(hooks: &TestHooks, begin: &str, number: u32) {
    let mut users = UserServiceClient::new(hooks.admin());
    for place in 0..number {
        let request = CreateUserRequest {
            tailnet_id: hooks.tailnet,
            login_name: format!("{begin}-{place}@example.com"),
            ..CreateUserRequest::default()
        };
        users.create_user(request).await.unwrap();
    }
}

async fn a_trail_that_went_back_is_followed_from_its_epoch(hooks: TestHooks) {
    hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    create_users(&hooks, "before", 2).await;
    hooks.receiver.wait_for(2).await;
    // As the trail of another owner is after its database was restored: the entry that was read last is another.
    let hash = match hooks.database().url("identity").starts_with("sqlite") {
        true => "zeroblob(32)",
        false => "decode(repeat('00', 32), 'hex')",
    };
    create_users(&hooks, "lost", 1).await;
    hooks.receiver.wait_for(3).await;
    let epoch = "UPDATE {} SET action = 'epoch.begin' WHERE sequence =
         (SELECT MAX(sequence) - 1 FROM {} WHERE action = 'user.create')";
    hooks.execute("audit", epoch).await;
    let other = format!("UPDATE {{}} SET hash = {hash} WHERE owner = 'identity'");
    hooks.execute("webhook_cursors", &other).await;
    create_users(&hooks, "after", 1).await;
    // What lies behind the epoch is told, the one that was told before with the same id.
    let deliveries = hooks.receiver.wait_for(5).await;
    assert_eq!(deliveries[3].id, deliveries[2].id);
    assert_eq!(deliveries[4].event()["data"]["user"], "after-0@example.com");
}

async fn webhooks_without_a_cursor_get_one(hooks: TestHooks) {
    hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    hooks.execute("webhook_cursors", "DELETE FROM {}").await;
    let other = TestHooks::replica(
        hooks.database(),
        &hooks.clock,
        &hooks.receiver,
        Destinations::Anywhere,
    );
    let _other = other.await;
    // From some moment on: whatever is made before that is not told.
    let mut number = 0;
    while hooks.receiver.all().is_empty() {
        assert!(number < 1000, "no cursor was made");
        number += 1;
        create_users(&hooks, &format!("user{number}"), 1).await;
        let _ = tokio::time::timeout(
            std::time::Duration::from_millis(500),
            hooks.receiver.wait_for(1),
        )
        .await;
    }
}
