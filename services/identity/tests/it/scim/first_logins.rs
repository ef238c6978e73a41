//! Whom a provider has brought, and who then logs in by it.

use bowline_test_servers::on_both;
use serde_json::json;

use super::*;
use crate::provider_logins::TestCorp;

on_both!(TestCorp::start =>
    person_is_found_by_the_identifier_whatever_the_address,
    person_is_found_by_a_verified_address,
    deactivated_person_is_out_until_activated,
);

async fn provider_of(corp: &TestCorp) -> TestProvider<'_> {
    let (home, connection) = (corp.tailnet.clone(), corp.connection.clone());
    TestProvider::of_connection(&corp.identity, home, connection).await
}

fn number(user: &Value) -> u64 {
    user["id"].as_str().unwrap().parse().unwrap()
}

async fn person_is_found_by_the_identifier_whatever_the_address(corp: TestCorp) {
    let provider = provider_of(&corp).await;
    let body = json!({
        "schemas": [USER_SCHEMA],
        "userName": "k.example@example.com",
        "externalId": "person-1",
    });
    let brought = provider.create(USER, body).await.unwrap();
    let secret = corp.sign_in_by(&corp.connection).await.unwrap();
    assert_eq!(corp.find(&secret).await.unwrap().user_id, number(&brought));
    let named: Vec<_> = provider
        .users()
        .await
        .into_iter()
        .map(|user| user.login_name)
        .collect();
    assert_eq!(named, ["k.example@example.com"], "nobody is made");
}

async fn person_is_found_by_a_verified_address(corp: TestCorp) {
    let provider = provider_of(&corp).await;
    let brought = provider.create_user("kim@example.com").await;
    let unverified = json!({ "email_verified": false });
    corp.provider
        .change(|behaviour| behaviour.claims = unverified);
    let refused = corp.sign_in_by(&corp.connection).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    corp.provider
        .change(|behaviour| behaviour.claims = json!({}));
    let secret = corp.sign_in_by(&corp.connection).await.unwrap();
    assert_eq!(corp.find(&secret).await.unwrap().user_id, number(&brought));
}

async fn deactivated_person_is_out_until_activated(corp: TestCorp) {
    let provider = provider_of(&corp).await;
    let brought = provider.create_user("kim@example.com").await;
    let secret = corp.sign_in_by(&corp.connection).await.unwrap();
    provider
        .patch(USER, &brought["id"], deactivate())
        .await
        .unwrap();
    corp.assert_ended(&secret).await;
    let refused = corp.sign_in_by(&corp.connection).await;
    assert_refused(refused, Code::FailedPrecondition, "deactivated you");
    provider
        .patch(USER, &brought["id"], activate())
        .await
        .unwrap();
    let secret = corp.sign_in_by(&corp.connection).await.unwrap();
    assert_eq!(corp.find(&secret).await.unwrap().user_id, number(&brought));
}
