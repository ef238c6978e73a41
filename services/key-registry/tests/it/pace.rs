//! How often who holds a reusable key makes nodes, and a node takes another key.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bowline_clock::{Clock as _, ManualClock, SystemClock};
use bowline_proto::key_registry::v1::{RegisterRequest, register_response::Outcome};
use bowline_service_kit::{retry_after, status_reason};
use bowline_test_support::{TestDatabase, TestServices, on_both};
use chrono::TimeDelta;
use tonic::Status;

use crate::request::{request, with_key};

on_both!(TestServices::start =>
    node_takes_ten_keys_at_once_and_keeps_its_last_and_the_one_off_key,
    user_makes_a_hundred_nodes_at_once_with_however_many_keys,
);

/// The 32 bytes of a key with a number.
fn key_bytes(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(8)
}

fn registrant(number: u32, key: &str) -> RegisterRequest {
    RegisterRequest {
        machine_key: key_bytes(number),
        node_key: key_bytes(0x8000_0000 | number),
        hostname: format!("m{number}"),
        ..with_key(1, 1, key)
    }
}

/// Returns how long a client is to wait that did something too often.
fn wait(refused: &Status) -> Duration {
    assert_eq!(
        status_reason(refused).as_deref(),
        Some("TOO_OFTEN"),
        "{refused:?}"
    );
    retry_after(refused).unwrap()
}

/// Lets a machine take keys with these numbers, each in place of the one before.
async fn rotate(
    services: &TestServices,
    key: &str,
    numbers: std::ops::RangeInclusive<u8>,
) -> Vec<Status> {
    let mut refusals = Vec::new();
    let mut last = *numbers.start() - 1;
    for number in numbers {
        let rotation = RegisterRequest {
            old_node_key: vec![last; 32],
            ..with_key(1, number, key)
        };
        match services.try_register(rotation).await {
            Ok(Outcome::Registered(_)) => last = number,
            Ok(other) => panic!("{other:?}"),
            Err(refused) => refusals.push(refused),
        }
    }
    refusals
}

async fn node_takes_ten_keys_at_once_and_keeps_its_last_and_the_one_off_key(
    services: TestServices,
) {
    let (key, once) = (
        services.new_user_key(true).await,
        services.new_user_key(false).await,
    );
    let first = services.register_node(with_key(1, 101, &key)).await;
    assert!(rotate(&services, &key, 102..=111).await.is_empty());
    let refused = rotate(&services, &once, 112..=121).await;
    assert_eq!(refused.len(), 10);
    assert!(
        refused
            .iter()
            .all(|refused| wait(refused) <= Duration::from_secs(10)
                && refused.message().contains("it tries again by itself"))
    );
    let node = services.register_node(request(1, 111)).await;
    assert_eq!((node.id, node.node_key), (first.id, vec![111; 32]));
    let other = services.register_node(with_key(2, 201, &once)).await;
    assert_ne!(other.id, first.id, "what was refused has used up nothing");
}

async fn user_makes_a_hundred_nodes_at_once_with_however_many_keys(services: TestServices) {
    let keys = [
        services.new_user_key(true).await,
        services.new_user_key(true).await,
    ];
    let tagged = {
        services
            .set_policy(r#"{"tagOwners": {"tag:web": ["amira@example.com"]}}"#)
            .await;
        services.new_tag_key("tag:web").await
    };
    for number in 0..50 {
        for (of_key, key) in [1000, 2000].into_iter().zip(&keys) {
            services
                .register_node(registrant(of_key + number, key))
                .await;
        }
    }
    // On PostgreSQL time goes on meanwhile.
    let mut made = 100;
    let refused = loop {
        match services
            .try_register(registrant(3000 + made, &keys[0]))
            .await
        {
            Ok(_) => made += 1,
            Err(refused) => break refused,
        }
        assert!(made < 1000, "nobody is refused");
    };
    assert!(wait(&refused) <= Duration::from_secs(1));
    let says = "many devices of this user join at the moment: this one tries again by itself";
    assert!(refused.message().contains(says), "{refused}");
    assert_eq!(services.nodes().await.len(), usize::try_from(made).unwrap());
    let again = RegisterRequest {
        node_key: vec![7; 32],
        old_node_key: key_bytes(0x8000_0000 | 1000),
        ..registrant(1000, &keys[0])
    };
    services.register_node(again).await;
    services.register_node(registrant(4000, &tagged)).await;
}

#[tokio::test]
async fn two_hundred_machines_that_come_at_once_have_all_joined_within_three_minutes() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let services =
        TestServices::start_with_clock(TestDatabase::sqlite().unwrap(), Arc::clone(&clock) as _)
            .await;
    let key = services.new_user_key(true).await;
    // When each machine that is not in yet asks next, in seconds.
    let mut out: BTreeMap<u32, u64> = (1..=200).map(|number| (number, 0)).collect();
    let mut second = 0;
    while !out.is_empty() {
        assert!(second < 180, "{} are not in", out.len());
        let asking: Vec<u32> = out
            .iter()
            .filter_map(|(number, at)| (*at <= second).then_some(*number))
            .collect();
        for number in asking {
            match services.try_register(registrant(number, &key)).await {
                Ok(Outcome::Registered(_)) => {
                    out.remove(&number);
                }
                Ok(other) => panic!("{other:?}"),
                // What the gateway tells them: that, and one to five seconds by chance.
                Err(refused) => {
                    let chance = 1 + u64::from(number.wrapping_mul(7919)) % 5;
                    out.insert(number, second + wait(&refused).as_secs() + chance);
                }
            }
        }
        clock.advance(TimeDelta::seconds(1));
        second += 1;
    }
    assert_eq!(services.nodes().await.len(), 200);
    assert!(second > 60, "they came at a pace: {second}");
}
