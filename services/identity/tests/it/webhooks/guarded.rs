//! What a webhook may not reach.

use bowline_proto::identity::v1::Webhook;
use bowline_test_servers::on_both;

use super::TestHooks;

on_both!(TestHooks::start_guarded => a_private_address_is_refused);

async fn a_private_address_is_refused(hooks: TestHooks) {
    let mut request = hooks.wanted(hooks.tailnet, &["userCreated"]);
    request.url = request.url.replace("127.0.0.1", "localhost");
    assert!(request.url.contains("localhost"), "{}", request.url);
    let made = hooks.webhooks().create_webhook(request).await.unwrap();
    let id = made.into_inner().webhook.unwrap().id;
    hooks.create_user(hooks.tailnet, "a@example.com").await;
    let failed = |webhook: &Webhook| webhook.failures == 1;
    let webhook = hooks.wait_for_webhook(hooks.tailnet, id, failed).await;
    assert!(
        webhook.problem.contains("not public"),
        "{}",
        webhook.problem
    );
    // Which address it is, is told to nobody who only knows the name.
    for address in ["127.0.0.1", "::1"] {
        assert!(!webhook.problem.contains(address), "{}", webhook.problem);
    }
    assert!(hooks.receiver.all().is_empty());
}
