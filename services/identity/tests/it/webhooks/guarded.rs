//! What a webhook may not reach.

use bowline_proto::identity::v1::Webhook;
use bowline_test_servers::on_both;

use super::TestHooks;

on_both!(TestHooks::start_guarded => a_private_address_is_refused);

async fn a_private_address_is_refused(hooks: TestHooks) {
    let (id, _) = hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    hooks.create_user(hooks.tailnet, "a@example.com").await;
    let failed = |webhook: &Webhook| webhook.failures == 1;
    let webhook = hooks.wait_for_webhook(hooks.tailnet, id, failed).await;
    assert!(
        webhook.problem.contains("not public"),
        "{}",
        webhook.problem
    );
    assert!(hooks.receiver.all().is_empty());
}
