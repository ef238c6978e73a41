//! A document that is sent twice with one idempotency key is one version.

use bowline_proto::policy::v1::{
    ListPolicyVersionsRequest, SetPolicyRequest, SetPolicyResponse,
    policy_service_client::PolicyServiceClient,
};
use bowline_test_support::{
    RepeatedCalls, TestServices, call_with_key, new_idempotency_key, on_both,
};
use futures_util::future::join_all;

const SET_POLICY: &str = "/bowline.policy.v1.PolicyService/SetPolicy";

on_both!(TestServices::start =>
    each_change_is_done_once,
    a_document_that_was_refused_is_judged_again,
    calls_at_once_on_two_replicas_store_one_version
);

fn document(services: &TestServices, text: &str) -> SetPolicyRequest {
    SetPolicyRequest {
        tailnet_id: services.tailnet,
        text: text.to_owned(),
        expected_version: Some(0),
        strict: false,
    }
}

async fn count_versions(services: &TestServices) -> usize {
    let request = ListPolicyVersionsRequest {
        tailnet_id: services.tailnet,
        before: 0,
    };
    let mut policies = PolicyServiceClient::new(services.admin());
    let listed = policies.list_policy_versions(request).await.unwrap();
    listed.into_inner().versions.len()
}

async fn each_change_is_done_once(services: TestServices) {
    let mut calls = RepeatedCalls::new(&services).await;
    let request = document(&services, r#"{"acls": []}"#);
    let rpc = "policy.v1.PolicyService/SetPolicy";
    let stored: SetPolicyResponse = calls.ask(rpc, request).await;
    assert_eq!(stored.version.unwrap().version, 1);
    calls.assert_all_asked("policy");
}

async fn a_document_that_was_refused_is_judged_again(services: TestServices) {
    let key = new_idempotency_key();
    let request = document(
        &services,
        r#"{"acls": [{"action": "accept", "src": ["group:ops"], "dst": ["*:*"]}]}"#,
    );
    let ask = || call_with_key(services.admin(), SET_POLICY, request.clone(), &key);
    let refused: SetPolicyResponse = ask().await.unwrap();
    assert!(refused.version.is_none() && !refused.problems.is_empty());
    services.set_groups(&["ops"]).await;
    let stored = async {
        loop {
            // The compiler hears of groups a moment later.
            let answer: SetPolicyResponse = ask().await.unwrap();
            if let Some(version) = answer.version {
                return version;
            }
        }
    };
    let patience = std::time::Duration::from_secs(20);
    let stored = tokio::time::timeout(patience, stored).await.unwrap();
    let again: SetPolicyResponse = ask().await.unwrap();
    assert_eq!(again.version, Some(stored));
    assert_eq!(count_versions(&services).await, 1);
}

async fn calls_at_once_on_two_replicas_store_one_version(services: TestServices) {
    let other = TestServices::start(services.database.clone()).await;
    let (key, wanted) = (
        new_idempotency_key(),
        document(&services, r#"{"acls": []}"#),
    );
    let calls = (0..64).map(|number| {
        let channel = match number % 2 {
            0 => services.admin(),
            _ => other.admin(),
        };
        call_with_key(channel, SET_POLICY, wanted.clone(), &key)
    });
    let answers: Vec<Result<SetPolicyResponse, _>> = join_all(calls).await;
    let first = answers[0].clone().unwrap();
    for answer in answers {
        assert_eq!(answer.unwrap(), first);
    }
    assert_eq!(count_versions(&services).await, 1);
}
