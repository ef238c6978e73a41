//! What the key policy and the limits of a pre-auth key refuse, in words, and that the rest goes on.

use std::sync::Arc;

use bowline_clock::{Clock as _, ManualClock, SystemClock};
use bowline_proto::{
    audit::v1::{AuditEntry, ListAuditRequest},
    identity::v1::{ApprovalRule, KeyPolicy, LoginRules, PreAuthKeyRules, UserRules},
    key_registry::v1::{
        CreatePreAuthKeyRequest, PreAuthKey, RefusalReason, RegisterRequest,
        audit_service_client::AuditServiceClient,
        pre_auth_key_service_client::PreAuthKeyServiceClient, register_response::Outcome,
    },
};
use bowline_test_support::{TestDatabase, TestServices, on_both};
use chrono::TimeDelta;
use prost_types::{Duration, Timestamp};
use tonic::{Code, Status};

use crate::{
    request::{request, with_key},
    returning::{log_in, log_out, try_log_in},
};

on_both!(TestServices::start =>
    keys_are_made_as_the_policy_says,
    limits_that_can_not_be_are_refused,
    stricter_policy_holds_for_keys_that_are_there,
    key_works_as_often_as_it_may_and_from_where_it_may,
    logins_make_what_the_policy_lets_them,
    user_has_no_more_nodes_than_the_policy_lets,
    refusals_are_on_record_once_a_minute,
    machines_that_a_rule_lets_in_do_not_wait,
);

const WEB: &str = r#"{"tagOwners": {"tag:web": ["amira@example.com"]}}"#;

fn for_keys(rules: PreAuthKeyRules) -> KeyPolicy {
    KeyPolicy {
        pre_auth_keys: Some(rules),
        ..KeyPolicy::default()
    }
}

fn for_logins(rules: LoginRules) -> KeyPolicy {
    KeyPolicy {
        logins: Some(rules),
        ..KeyPolicy::default()
    }
}

async fn try_key(services: &TestServices, key: PreAuthKey) -> Result<PreAuthKey, Status> {
    let key = PreAuthKey {
        tailnet_id: services.tailnet,
        user_id: services.user.id,
        ..key
    };
    let mut keys = PreAuthKeyServiceClient::new(services.admin());
    let request = CreatePreAuthKeyRequest {
        key: Some(key),
        ..CreatePreAuthKeyRequest::default()
    };
    let made = keys.create_pre_auth_key(request).await?;
    Ok(made.into_inner().key.unwrap())
}

/// Returns the words of a refusal that is the key policy's.
fn words(outcome: Outcome) -> String {
    match outcome {
        Outcome::Refused(refused) => {
            assert_eq!(refused.reason(), RefusalReason::KeyPolicy, "{refused:?}");
            refused.text
        }
        other => panic!("{other:?}"),
    }
}

fn from(source: &str, wanted: RegisterRequest) -> RegisterRequest {
    RegisterRequest {
        source_address: source.to_owned(),
        ..wanted
    }
}

async fn keys_are_made_as_the_policy_says(services: TestServices) {
    services.set_policy(WEB).await;
    let week = 7 * 86_400;
    let rules = PreAuthKeyRules {
        only_tagged: true,
        only_ephemeral: true,
        only_one_off: true,
        max_lifetime: Some(Duration {
            seconds: week,
            nanos: 0,
        }),
        ..PreAuthKeyRules::default()
    };
    services.set_key_policy(for_keys(rules)).await;
    let good = PreAuthKey {
        tags: vec!["tag:web".to_owned()],
        ephemeral: true,
        ..PreAuthKey::default()
    };
    let made = try_key(&services, good.clone()).await.unwrap();
    let life = made.expires_at.unwrap().seconds - made.created_at.unwrap().seconds;
    assert_eq!(life, week, "the longest that it may live");
    for (wrong, says) in [
        (
            PreAuthKey {
                tags: Vec::new(),
                ..good.clone()
            },
            "give tags",
        ),
        (
            PreAuthKey {
                ephemeral: false,
                ..good.clone()
            },
            "make ephemeral devices",
        ),
        (
            PreAuthKey {
                reusable: true,
                ..good.clone()
            },
            "work only once",
        ),
    ] {
        let refused = try_key(&services, wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains(says), "{refused}");
        assert!(
            refused.message().contains("bowline key-policy"),
            "{refused}"
        );
    }
    let late = PreAuthKey {
        expires_at: Some(Timestamp {
            seconds: made.expires_at.unwrap().seconds + week,
            nanos: 0,
        }),
        ..good
    };
    let refused = try_key(&services, late).await.unwrap_err();
    assert!(refused.message().contains("at most 7 days"), "{refused}");
}

async fn limits_that_can_not_be_are_refused(services: TestServices) {
    for (wrong, says) in [
        (
            PreAuthKey {
                max_uses: 2,
                ..PreAuthKey::default()
            },
            "works once",
        ),
        (
            PreAuthKey {
                source_networks: vec!["office".to_owned()],
                ..PreAuthKey::default()
            },
            "no network such as",
        ),
        (
            PreAuthKey {
                source_networks: vec!["10.0.0.0/8".to_owned(); 101],
                ..PreAuthKey::default()
            },
            "give a wider one in place of several",
        ),
        (
            PreAuthKey {
                expires_at: Some(Timestamp {
                    seconds: 1_000_000_000,
                    nanos: 0,
                }),
                ..PreAuthKey::default()
            },
            "take a later time",
        ),
        (
            PreAuthKey {
                tags: (0..101).map(|number| format!("tag:a{number}")).collect(),
                ..PreAuthKey::default()
            },
            "leave some out",
        ),
    ] {
        let refused = try_key(&services, wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(says), "{refused}");
    }
    let nobody_s = CreatePreAuthKeyRequest {
        key: Some(PreAuthKey {
            tailnet_id: services.tailnet,
            ..PreAuthKey::default()
        }),
        ..CreatePreAuthKeyRequest::default()
    };
    let mut keys = PreAuthKeyServiceClient::new(services.admin());
    let refused = keys.create_pre_auth_key(nobody_s).await.unwrap_err();
    assert!(
        refused.message().contains("name one, or give tags"),
        "{refused}"
    );
}

async fn stricter_policy_holds_for_keys_that_are_there(services: TestServices) {
    let key = services.new_user_key(true).await;
    services.register_node(with_key(1, 101, &key)).await;
    let rules = PreAuthKeyRules {
        only_one_off: true,
        ..PreAuthKeyRules::default()
    };
    services.set_key_policy(for_keys(rules)).await;
    let text = words(services.register(with_key(2, 102, &key)).await);
    assert!(text.contains("work only once"), "{text}");
    // The node that is there asks for nothing new.
    services.register_node(with_key(1, 101, &key)).await;
    services.set_key_policy(KeyPolicy::default()).await;
    services.register_node(with_key(2, 103, &key)).await;
}

async fn key_works_as_often_as_it_may_and_from_where_it_may(services: TestServices) {
    let key = services
        .new_key(PreAuthKey {
            user_id: services.user.id,
            reusable: true,
            max_uses: 2,
            source_networks: vec!["10.1.0.0/16".to_owned()],
            ..PreAuthKey::default()
        })
        .await;
    let inside = |number| from("10.1.2.3", with_key(number, 100 + number, &key));
    services.register_node(inside(1)).await;
    let text = words(services.register(from("203.0.113.7", inside(2))).await);
    assert!(text.contains("203.0.113.7"), "{text}");
    assert!(
        text.contains("join from a network that is allowed"),
        "{text}"
    );
    services.register_node(inside(3)).await;
    // A repeated request is no other use.
    services.register_node(inside(3)).await;
    let text = words(services.register(inside(4)).await);
    assert!(text.contains("used 2 times"), "{text}");
    assert!(text.contains("ask for another"), "{text}");
    assert_eq!(services.nodes().await.len(), 2);
}

async fn logins_make_what_the_policy_lets_them(services: TestServices) {
    services.set_policy(WEB).await;
    let first = log_in(&services, request(1, 101)).await;
    let rules = LoginRules {
        no_new_nodes: true,
        no_tags: true,
        ..LoginRules::default()
    };
    services.set_key_policy(for_logins(rules)).await;
    let text = words(try_log_in(&services, &request(2, 102)).await.1);
    assert!(text.contains("lets no login add a device"), "{text}");
    let tagged = RegisterRequest {
        requested_tags: vec!["tag:web".to_owned()],
        ..request(2, 103)
    };
    let text = words(try_log_in(&services, &tagged).await.1);
    assert!(text.contains("lets no login give tags"), "{text}");
    // A device that is a node logs in again.
    log_out(&services, 1, 101).await;
    assert_eq!(log_in(&services, request(1, 104)).await.id, first.id);
    // Keys are not logins.
    let key = services.new_user_key(false).await;
    services.register_node(with_key(3, 105, &key)).await;

    let rules = LoginRules {
        source_networks: vec!["10.0.0.0/8".to_owned()],
        ..LoginRules::default()
    };
    services.set_key_policy(for_logins(rules)).await;
    let text = words(
        try_log_in(&services, &from("203.0.113.7", request(4, 106)))
            .await
            .1,
    );
    assert!(text.contains("203.0.113.7"), "{text}");
    log_in(&services, from("10.9.9.9", request(4, 107))).await;
}

async fn user_has_no_more_nodes_than_the_policy_lets(services: TestServices) {
    let policy = KeyPolicy {
        users: Some(UserRules {
            max_nodes: 2,
            ..UserRules::default()
        }),
        ..KeyPolicy::default()
    };
    services.set_key_policy(policy).await;
    let key = services.new_user_key(true).await;
    services.register_node(with_key(1, 101, &key)).await;
    log_in(&services, request(2, 102)).await;
    for refused in [
        services.register(with_key(3, 103, &key)).await,
        try_log_in(&services, &request(4, 104)).await.1,
    ] {
        let text = words(refused);
        assert!(text.contains("2 devices"), "{text}");
        assert!(text.contains("delete one that nobody uses"), "{text}");
    }
    // What comes back is no more.
    log_out(&services, 1, 101).await;
    services.register_node(with_key(1, 105, &key)).await;
}

async fn entries(services: &TestServices, action: &str) -> Vec<AuditEntry> {
    let request = ListAuditRequest {
        tailnet_id: services.tailnet,
        ..ListAuditRequest::default()
    };
    let mut audit = AuditServiceClient::new(services.admin());
    let listed = audit.list_audit(request).await.unwrap().into_inner();
    let mut found = listed.entries;
    found.retain(|entry| entry.action == action);
    found
}

async fn refusals_are_on_record_once_a_minute(services: TestServices) {
    let key = services
        .new_key(PreAuthKey {
            user_id: services.user.id,
            reusable: true,
            source_networks: vec!["10.1.0.0/16".to_owned()],
            ..PreAuthKey::default()
        })
        .await;
    for number in 1..=5 {
        let guess = from("203.0.113.7", with_key(number, 100 + number, &key));
        words(services.register(guess).await);
    }
    let found = entries(&services, "registration.refuse").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].detail.contains("203.0.113.7"), "{found:?}");
    assert!(found[0].actor.starts_with("pre-auth-key:"), "{found:?}");
}

async fn machines_that_a_rule_lets_in_do_not_wait(services: TestServices) {
    services.require_approval().await;
    services.set_groups(&["eng"]).await;
    let policy = KeyPolicy {
        approval_rules: vec![ApprovalRule {
            name: "laptops".to_owned(),
            groups: vec!["eng".to_owned()],
            operating_systems: vec!["macOS".to_owned()],
            ..ApprovalRule::default()
        }],
        ..KeyPolicy::default()
    };
    services.set_key_policy(policy).await;
    let running = |os: &str, wanted: RegisterRequest| RegisterRequest {
        os: os.to_owned(),
        ..wanted
    };
    let laptop = log_in(&services, running("macOS", request(1, 101))).await;
    assert!(laptop.approved);
    let found = entries(&services, "node.approve").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].detail.contains("laptops"), "{found:?}");
    let named = format!(r#""name":"{}""#, laptop.name);
    assert!(found[0].detail.contains(&named), "{found:?}");
    let server = log_in(&services, running("linux", request(2, 102))).await;
    assert!(!server.approved);
    // One that waits is let in when it logs in anew and a rule fits now.
    services.set_groups(&[]).await;
    let waits = log_in(&services, running("macOS", request(3, 103))).await;
    assert!(!waits.approved);
    services.set_groups(&["eng"]).await;
    let again = RegisterRequest {
        old_node_key: vec![103; 32],
        ..running("macOS", request(3, 104))
    };
    let again = log_in(&services, again).await;
    assert_eq!((again.id, again.approved), (waits.id, true));
}

/// Services whose time is the test's.
async fn start_with_clock() -> (TestServices, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let database = TestDatabase::sqlite().unwrap();
    let services = TestServices::start_with_clock(database, Arc::clone(&clock) as _).await;
    (services, clock)
}

#[tokio::test]
async fn key_with_a_limit_for_an_hour_works_again_later() {
    let (services, clock) = start_with_clock().await;
    let rules = PreAuthKeyRules {
        max_uses_per_hour: 3,
        ..PreAuthKeyRules::default()
    };
    services.set_key_policy(for_keys(rules)).await;
    let key = services.new_user_key(true).await;
    for number in 1..=3 {
        services
            .register_node(with_key(number, 100 + number, &key))
            .await;
    }
    let text = words(services.register(with_key(4, 104, &key)).await);
    assert!(text.contains("3 times in an hour"), "{text}");
    assert!(
        text.contains("in 20 minutes") || text.contains("in 21 minutes"),
        "{text}"
    );
    clock.advance(TimeDelta::minutes(20));
    services.register_node(with_key(4, 104, &key)).await;
    words(services.register(with_key(5, 105, &key)).await);
}

#[tokio::test]
async fn user_adds_no_more_nodes_in_an_hour_than_the_policy_lets() {
    let (services, clock) = start_with_clock().await;
    let policy = KeyPolicy {
        users: Some(UserRules {
            max_new_nodes_per_hour: 2,
            ..UserRules::default()
        }),
        ..KeyPolicy::default()
    };
    services.set_key_policy(policy).await;
    let key = services.new_user_key(true).await;
    services.register_node(with_key(1, 101, &key)).await;
    services.register_node(with_key(2, 102, &key)).await;
    let text = words(services.register(with_key(3, 103, &key)).await);
    assert!(text.contains("2 devices in an hour"), "{text}");
    assert!(text.contains("ask an administrator"), "{text}");
    clock.advance(TimeDelta::minutes(30));
    services.register_node(with_key(3, 104, &key)).await;
}

#[tokio::test]
async fn key_that_makes_nodes_very_fast_raises_an_alarm_and_works_on() {
    let (services, _clock) = start_with_clock().await;
    services.set_policy(WEB).await;
    let key = services.new_tag_key("tag:web").await;
    // Keys of a user and keys without one make a hundred nodes at once; more come slowly (see `pace`).
    for number in 1..=100 {
        services
            .register_node(with_key(number, 100 + number, &key))
            .await;
    }
    assert!(entries(&services, "pre_auth_key.alarm").await.is_empty());
    let again = RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, 250, &key)
    };
    services.register_node(again).await;
    let found = entries(&services, "pre_auth_key.alarm").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].detail.contains("101"), "{found:?}");
}
