//! A call with an idempotency key is done once, at whatever moment its replica crashes.

use bowline_histories::{CallPath, TailnetRules, TestReplicas, TestedTailnet};
use bowline_proto::key_registry::v1::{
    CreatePreAuthKeyRequest, ListPreAuthKeysRequest, PreAuthKey, RegisterRequest,
    RevokePreAuthKeyRequest, pre_auth_key_service_client::PreAuthKeyServiceClient,
    register_response::Outcome, registration_service_client::RegistrationServiceClient,
};
use bowline_test_servers::{choose_size, on_both};
use tonic::Code;

const RULES: TailnetRules = TailnetRules {
    key_lifetime: None,
    machine_approval: false,
    locked: false,
};

on_both!(TestReplicas::start => keys_are_made_once_whenever_a_replica_crashes);

/// How many keys there are, as a replica says.
async fn count_keys(services: &TestReplicas, tailnet_id: u64) -> usize {
    let mut keys = PreAuthKeyServiceClient::new(services.admin(1));
    let listed = keys.list_pre_auth_keys(ListPreAuthKeysRequest { tailnet_id });
    listed.await.unwrap().into_inner().keys.len()
}

/// Asks replica 0 for a change that is none.
async fn pass_lane(services: &TestReplicas, tailnet_id: u64) {
    let request = RevokePreAuthKeyRequest {
        tailnet_id,
        id: "none".to_owned(),
    };
    let mut keys = PreAuthKeyServiceClient::new(services.admin(0));
    let refused = keys.revoke_pre_auth_key(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

async fn keys_are_made_once_whenever_a_replica_crashes(services: TestReplicas) {
    let tailnet = TestedTailnet::create(&services, RULES, "home").await;
    let rounds = u8::try_from(choose_size(30, 120)).unwrap();
    let (mut made_and_lost, mut not_made) = (0, 0);
    // The caller goes away later and later, and where the answer came, a few looks earlier again: after an odd number of rounds,
    // so that each look is the last of odd and of even rounds.
    let mut looks = 1;
    for round in 0..rounds {
        let request = CreatePreAuthKeyRequest {
            key: Some(PreAuthKey {
                tailnet_id: tailnet.id,
                user_id: tailnet.user_id(0),
                ..PreAuthKey::default()
            }),
            ..CreatePreAuthKeyRequest::default()
        };
        let ask = async |path: CallPath| {
            let mut request = path.request(request.clone());
            let key = format!("keys-are-made-once-{round}").parse().unwrap();
            request.metadata_mut().insert("idempotency-key", key);
            let mut keys = PreAuthKeyServiceClient::new(services.admin(path.replica));
            let answer = keys.create_pre_auth_key(request).await;
            answer.map(tonic::Response::into_inner)
        };
        let before = count_keys(&services, tailnet.id).await;
        let path = CallPath {
            replica: 0,
            looks: Some(looks),
        };
        let first = ask(path).await;
        if round % 2 == 1 {
            // What comes behind it in its lane is answered when it is committed: nobody but the caller is missing then.
            pass_lane(&services, tailnet.id).await;
        }
        services.crash(0);
        services.restart(0).await;
        looks += 1;
        match count_keys(&services, tailnet.id).await - before {
            0 => not_made += 1,
            _ if first.is_err() => made_and_lost += 1,
            _ => looks -= 3.min(looks - 1),
        }
        let again = ask(path.next()).await.unwrap();
        assert!(first.is_err() || first.is_ok_and(|first| first == again));
        assert_eq!(count_keys(&services, tailnet.id).await, before + 1);
        // It is the secret of the key that there is.
        let request = RegisterRequest {
            machine_key: vec![round + 1; 32],
            node_key: vec![round + 1; 32],
            pre_auth_key: again.secret,
            hostname: "laptop".to_owned(),
            ..RegisterRequest::default()
        };
        let mut registration = RegistrationServiceClient::new(services.gateway(1));
        let answer = registration.register(request).await.unwrap().into_inner();
        let outcome = answer.outcome.unwrap();
        assert!(matches!(outcome, Outcome::Registered(_)), "{outcome:?}");
        // Only so many new nodes of a user are let in within a second.
        services.advance(2);
    }
    println!("{made_and_lost} keys were made by a call whose answer was lost, {not_made} were not");
    assert!(made_and_lost > 0 && not_made > 0);
}
