//! Keys that have to be replaced every so often, and machines that do so without a person.

use std::sync::Arc;

use bowline_clock::{Clock as _, ManualClock, SystemClock};
use bowline_proto::{
    identity::v1::{KeyPolicy, LoginRules, RotationRules, TagRotation, Tailnet},
    key_registry::v1::{
        DenyNodeRequest, DisableNodeRequest, Node, RefusalReason, RegisterRequest, SetTagsRequest,
        node_service_client::NodeServiceClient, register_response::Outcome,
        registration_service_client::RegistrationServiceClient, set_node_expiry_request::Expiry,
    },
    time::from_timestamp,
};
use bowline_service_kit::GrpcChannel;
use bowline_test_support::{TestDatabase, TestServices, on_both};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use prost_types::Duration;
use tonic::{Code, Status};

use crate::{
    key_ends::set_expiry,
    request::{refusal, request, with_key},
    returning::{log_in, try_log_in},
};

on_both!(Rotating::start =>
    key_is_replaced_without_a_person_in_the_last_tenth_and_not_before,
    key_that_is_not_replaced_in_time_ends,
    no_key_outlives_the_login_that_let_its_node_in,
    tagged_nodes_end_only_by_an_interval_of_their_tag,
    administrators_set_the_interval_of_a_node,
    renewals_are_refused_in_words,
    renewal_lets_nobody_in_who_is_kept_out,
    of_many_requests_at_once_one_replaces_the_key,
);

/// The services by a clock of the test, where keys live for a hundred minutes.
struct Rotating {
    services: TestServices,
    clock: Arc<ManualClock>,
}

fn minutes(minutes: i64) -> Option<Duration> {
    Some(Duration {
        seconds: minutes * 60,
        nanos: 0,
    })
}

fn rotation(interval: Option<Duration>, tags: &[(&str, i64)]) -> KeyPolicy {
    let rule = |(tag, life): &(&str, i64)| TagRotation {
        tag: (*tag).to_owned(),
        interval: minutes(*life),
    };
    KeyPolicy {
        rotation: Some(RotationRules {
            interval,
            tags: tags.iter().map(rule).collect(),
        }),
        ..KeyPolicy::default()
    }
}

fn replace(machine: u8, old: u8, new: u8) -> RegisterRequest {
    RegisterRequest {
        old_node_key: vec![old; 32],
        ..request(machine, new)
    }
}

impl Rotating {
    async fn start(database: TestDatabase) -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let services = TestServices::start_with_clock(database, Arc::clone(&clock) as _).await;
        services.set_key_policy(rotation(minutes(100), &[])).await;
        Self { services, clock }
    }

    fn pass(&self, minutes: i64) {
        self.clock.advance(TimeDelta::minutes(minutes));
    }

    /// Says in how many minutes a key ends, rounded.
    fn minutes_left(&self, node: &Node) -> Option<i64> {
        let end: DateTime<Utc> = from_timestamp(node.key_expiry?)?;
        Some(((end - self.clock.now()).num_seconds() + 30) / 60)
    }

    async fn needs_login(&self, wanted: RegisterRequest) {
        let outcome = self.services.register(wanted).await;
        assert!(matches!(outcome, Outcome::LoginNeeded(_)), "{outcome:?}");
    }

    async fn wait_for_end(&self, node: &Node, left: Option<i64>) -> Node {
        let ends = |node: &Node| self.minutes_left(node) == left;
        self.services.wait_for_node(node.id, ends).await
    }
}

async fn key_is_replaced_without_a_person_in_the_last_tenth_and_not_before(test: Rotating) {
    let services = &test.services;
    let first = log_in(services, request(1, 101)).await;
    assert_eq!(test.minutes_left(&first), Some(100));
    test.pass(89);
    test.needs_login(replace(1, 101, 102)).await;
    test.pass(2);
    let second = services.register_node(replace(1, 101, 102)).await;
    assert_eq!(
        (second.id, &second.name, &second.ipv4, &second.ipv6),
        (first.id, &first.name, &first.ipv4, &first.ipv6)
    );
    assert_eq!(second.node_key, [102; 32]);
    assert_eq!(test.minutes_left(&second), Some(100));
    assert_eq!(services.node(first.id).await, second);
    // The answer was lost: the same request once more changes nothing.
    assert_eq!(services.register_node(replace(1, 101, 102)).await, second);
    // The old key is retired for ever.
    let own = services.register(request(1, 101)).await;
    assert!(matches!(own, Outcome::KeyExpired(_)), "{own:?}");
    let foreign = services.register(request(2, 101)).await;
    assert_eq!(refusal(foreign), RefusalReason::NodeKeyOfAnotherMachine);
    // The next one is due an interval later, not before.
    test.needs_login(replace(1, 102, 103)).await;
    test.pass(95);
    let third = services.register_node(replace(1, 102, 103)).await;
    assert_eq!((third.id, services.nodes().await.len()), (first.id, 1));
}

async fn key_that_is_not_replaced_in_time_ends(test: Rotating) {
    let services = &test.services;
    let node = log_in(services, request(1, 101)).await;
    test.pass(101);
    test.needs_login(replace(1, 101, 102)).await;
    services.wait_for_node(node.id, |node| node.expired).await;
    test.needs_login(replace(1, 101, 102)).await;
    // A person, or a key at hand, brings it back.
    let key = services.new_user_key(false).await;
    let back = services.register_node(with_key(1, 103, &key)).await;
    assert_eq!((back.id, test.minutes_left(&back)), (node.id, Some(100)));
}

async fn no_key_outlives_the_login_that_let_its_node_in(test: Rotating) {
    let services = &test.services;
    let lifetime = Tailnet {
        key_lifetime: minutes(180),
        ..Tailnet::default()
    };
    services.update_tailnet(lifetime, "key_lifetime").await;
    let node = log_in(services, request(1, 101)).await;
    assert_eq!(test.minutes_left(&node), Some(100));
    test.pass(95);
    let second = services.register_node(replace(1, 101, 102)).await;
    assert_eq!(test.minutes_left(&second), Some(85));
    // Its machine may wish an earlier end, which later keys keep.
    test.pass(84);
    test.needs_login(replace(1, 102, 103)).await;
    let again = try_log_in(services, &replace(1, 102, 103)).await.1;
    let Outcome::Registered(again) = again else {
        panic!("{again:?}")
    };
    let again = again.node.unwrap();
    assert_eq!((again.id, test.minutes_left(&again)), (node.id, Some(100)));
}

async fn tagged_nodes_end_only_by_an_interval_of_their_tag(test: Rotating) {
    let services = &test.services;
    services
        .set_policy(r#"{"tagOwners": {"tag:web": [], "tag:db": []}}"#)
        .await;
    let key = services.new_tag_key("tag:web").await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    assert_eq!((node.key_expiry, &node.rotation), (None, &None));
    test.pass(300);
    // A key that is older than the interval still has its last tenth.
    let policy = rotation(minutes(100), &[("tag:web", 200), ("tag:db", 50)]);
    services.set_key_policy(policy).await;
    test.wait_for_end(&node, Some(20)).await;
    let second = services.register_node(replace(1, 101, 102)).await;
    assert_eq!(
        (second.id, &second.tags, test.minutes_left(&second)),
        (node.id, &node.tags, Some(200))
    );
    // Of two tags the shorter one counts.
    let tags = SetTagsRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
        tags: vec!["tag:web".to_owned(), "tag:db".to_owned()],
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    let tagged = nodes.set_tags(tags).await.unwrap().into_inner().node;
    assert_eq!(test.minutes_left(&tagged.unwrap()), Some(50));
    // Without an interval the key does not end any more.
    services.set_key_policy(KeyPolicy::default()).await;
    test.wait_for_end(&node, None).await;
    test.needs_login(replace(1, 102, 103)).await;
}

async fn administrators_set_the_interval_of_a_node(test: Rotating) {
    let services = &test.services;
    services
        .set_policy(r#"{"tagOwners": {"tag:web": []}}"#)
        .await;
    let key = services.new_tag_key("tag:web").await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    let set = async |expiry| set_expiry(services, &node, expiry).await;
    let hour = Duration {
        seconds: 3600,
        nanos: 0,
    };
    let refused = set(Expiry::After(hour)).await.unwrap_err();
    assert!(refused.message().contains("--every"), "{refused}");
    let own = set(Expiry::Every(hour)).await.unwrap();
    assert_eq!(test.minutes_left(&own), Some(60));
    let moved = set(Expiry::After(Duration {
        seconds: 7200,
        nanos: 0,
    }));
    assert_eq!(test.minutes_left(&moved.await.unwrap()), Some(120));
    test.pass(115);
    let second = services.register_node(replace(1, 101, 102)).await;
    assert_eq!(test.minutes_left(&second), Some(60), "its own interval");
    assert_eq!(set(Expiry::Never(true)).await.unwrap().key_expiry, None);
    services
        .set_key_policy(rotation(None, &[("tag:web", 200)]))
        .await;
    let by_policy = set(Expiry::ByPolicy(true)).await.unwrap();
    assert!(!by_policy.key_never_expires && by_policy.rotation_interval.is_none());
    test.wait_for_end(&node, Some(200)).await;
    for (wrong, says) in [
        (Expiry::ByPolicy(false), "by_policy"),
        (Expiry::Every(Duration::default()), "between a minute"),
        (
            Expiry::Every(Duration {
                seconds: i64::MAX,
                nanos: 0,
            }),
            "every",
        ),
    ] {
        let refused = set(wrong).await.unwrap_err();
        assert!(refused.message().contains(says), "{refused}");
    }
}

fn words(outcome: Outcome, reason: RefusalReason) -> String {
    match outcome {
        Outcome::Refused(refused) if refused.reason() == reason => refused.text,
        other => panic!("{other:?}"),
    }
}

async fn renewals_are_refused_in_words(test: Rotating) {
    let services = &test.services;
    let node = log_in(services, request(1, 101)).await;
    test.pass(95);
    // By another machine, though it names the right key.
    let stolen = services.register(replace(2, 101, 102)).await;
    let text = words(stolen, RefusalReason::NodeKeyOfAnotherMachine);
    assert!(text.contains("log out and in again"), "{text}");
    // For other tags, for another tailnet, or with a key that is none: that wants more than a new key.
    let tags = RegisterRequest {
        requested_tags: vec!["tag:web".to_owned()],
        ..replace(1, 101, 102)
    };
    test.needs_login(tags).await;
    let elsewhere = RegisterRequest {
        required_tailnet: "elsewhere".to_owned(),
        ..replace(1, 101, 102)
    };
    test.needs_login(elsewhere).await;
    let wrong_key = RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, 102, "no-key")
    };
    let text = words(
        services.register(wrong_key).await,
        RefusalReason::PreAuthKeyInvalid,
    );
    assert!(text.contains("ask for another"), "{text}");
    // From where nobody may log in.
    let mut policy = rotation(minutes(100), &[]);
    policy.logins = Some(LoginRules {
        source_networks: vec!["10.0.0.0/8".to_owned()],
        ..LoginRules::default()
    });
    services.set_key_policy(policy).await;
    let outside = RegisterRequest {
        source_address: "192.0.2.1".to_owned(),
        ..replace(1, 101, 102)
    };
    let text = words(services.register(outside).await, RefusalReason::KeyPolicy);
    assert!(text.contains("192.0.2.1"), "{text}");
    // Without the proof that the tailnet asks for.
    let proof = Tailnet {
        require_key_proof: true,
        ..Tailnet::default()
    };
    services.update_tailnet(proof, "require_key_proof").await;
    let inside = RegisterRequest {
        source_address: "10.0.0.1".to_owned(),
        ..replace(1, 101, 102)
    };
    let unproven = services.register(inside.clone()).await;
    let text = words(unproven, RefusalReason::NodeKeyUnproven);
    assert!(text.contains("proof of both node keys"), "{text}");
    assert!(text.contains("log in as a new device"), "{text}");
    // Nothing of that changed the node, and with the proof its key is replaced.
    assert_eq!(services.node(node.id).await, node);
    let half = RegisterRequest {
        proven_node_keys: vec![vec![102; 32]],
        ..inside.clone()
    };
    words(
        services.register(half).await,
        RefusalReason::NodeKeyUnproven,
    );
    let proven = RegisterRequest {
        proven_node_keys: vec![vec![101; 32], vec![102; 32]],
        ..inside
    };
    assert_eq!(services.register_node(proven).await.id, node.id);
}

async fn renewal_lets_nobody_in_who_is_kept_out(test: Rotating) {
    let services = &test.services;
    let node = log_in(services, request(1, 101)).await;
    let mut nodes = NodeServiceClient::new(services.admin());
    let (tailnet_id, node_id) = (services.tailnet, node.id);
    let disable = DisableNodeRequest {
        tailnet_id,
        node_id,
    };
    nodes.disable_node(disable).await.unwrap();
    test.pass(95);
    let renewed = services.register_node(replace(1, 101, 102)).await;
    assert!(renewed.disabled, "another key is no way around that");
    assert_eq!(renewed.id, node.id);
    // A machine that an administrator has denied is told so, whichever of its nodes asks.
    services.require_approval().await;
    let key = services.new_user_key(false).await;
    let waiting = services.register_node(with_key(1, 103, &key)).await;
    let deny = DenyNodeRequest {
        tailnet_id,
        node_id: waiting.id,
    };
    nodes.deny_node(deny).await.unwrap();
    test.pass(95);
    let denied = services.register(replace(1, 102, 104)).await;
    let text = words(denied, RefusalReason::MachineDenied);
    assert!(text.contains("ask an administrator"), "{text}");
    // And so is a user who is suspended.
    let other = log_in(services, request(2, 201)).await;
    test.pass(95);
    services.set_suspended(&services.user, true).await;
    let suspended = services.register(replace(2, 201, 202)).await;
    let text = words(suspended, RefusalReason::UserSuspended);
    assert!(text.contains("ask an administrator"), "{text}");
    assert_eq!(services.node(other.id).await.node_key, [201; 32]);
    services.set_suspended(&services.user, false).await;
    assert_eq!(
        services.register_node(replace(2, 201, 202)).await.id,
        other.id
    );
}

async fn register_at(at: &GrpcChannel, wanted: RegisterRequest) -> Result<Outcome, Status> {
    let mut client = RegistrationServiceClient::new(at.clone());
    Ok(client.register(wanted).await?.into_inner().outcome.unwrap())
}

async fn of_many_requests_at_once_one_replaces_the_key(test: Rotating) {
    let services = &test.services;
    let replicas = [services.gateway(), services.start_second_registry().await];
    let first = log_in(services, request(1, 1)).await;
    let mut last = 1;
    for round in 0..5u8 {
        test.pass(95);
        // Four keys, each asked for twice at each replica.
        let keys = (0..4).map(|number| 10 + round * 4 + number);
        let asked: Vec<_> = keys
            .flat_map(|new| {
                let wanted = replace(1, last, new);
                replicas
                    .iter()
                    .flat_map(move |replica| [(replica, wanted.clone()), (replica, wanted.clone())])
            })
            .collect();
        let answers = asked.into_iter().map(async |(replica, wanted)| {
            let new = wanted.node_key[0];
            (new, register_at(replica, wanted).await)
        });
        let mut winners = Vec::new();
        for (new, outcome) in join_all(answers).await {
            match outcome {
                Ok(Outcome::Registered(registered)) => {
                    let node = registered.node.unwrap();
                    assert_eq!((node.id, node.node_key[0]), (first.id, new));
                    winners.push(new);
                }
                Ok(Outcome::LoginNeeded(_)) => {}
                // So many logins at once are too many.
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
                other => panic!("{other:?}"),
            }
        }
        winners.dedup();
        let [winner] = winners[..] else {
            panic!("{winners:?}")
        };
        let [node] = &services.nodes().await[..] else {
            panic!("no node is lost, and none is made")
        };
        assert_eq!(node.node_key, [winner; 32]);
        assert_eq!((&node.ipv4, &node.name), (&first.ipv4, &first.name));
        // The key before is nobody's any more, at either replica.
        for replica in &replicas {
            let retired = register_at(replica, request(1, last)).await.unwrap();
            assert!(matches!(retired, Outcome::KeyExpired(_)), "{retired:?}");
        }
        last = winner;
    }
}
