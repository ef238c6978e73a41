use bowline_proto::key_registry::v1::TaggedBy;

use super::*;

#[test]
fn node_that_takes_part_is_served_unless_its_user_is_barred_as_far_as_is_known() {
    use UserStanding::{Good, SuspendedOrGone, Unknown};
    let own = Node {
        user_id: 7,
        approved: true,
        ..Node::default()
    };
    let tagged = |tagged_by: TaggedBy| Node {
        tags: vec!["tag:web".to_owned()],
        tagged_by: tagged_by.into(),
        ..own.clone()
    };
    let waiting = Node {
        approved: false,
        ..own.clone()
    };
    let disabled = Node {
        disabled: true,
        ..own.clone()
    };
    let ended = Node {
        expired: true,
        ..own.clone()
    };
    let all = [
        (Good, false),
        (Good, true),
        (SuspendedOrGone, false),
        (SuspendedOrGone, true),
        (Unknown, false),
        (Unknown, true),
    ];
    let with_user = [true, true, false, false, true, false];
    for (name, node, served) in [
        ("of a user", own.clone(), with_user),
        ("tagged by its user", tagged(TaggedBy::User), with_user),
        (
            "tagged by an administrator",
            tagged(TaggedBy::Administrator),
            [true; 6],
        ),
        ("not approved", waiting, [false; 6]),
        ("disabled", disabled, [false; 6]),
        ("whose key has ended", ended, [false; 6]),
    ] {
        for ((standing, was_barred), is_served) in all.into_iter().zip(served) {
            let permit = decide_permit(node.clone(), standing, was_barred);
            assert_eq!(
                matches!(permit, RelayPermit::Granted(_)),
                is_served,
                "{name}, {standing:?}, was barred: {was_barred}"
            );
        }
    }
}

#[tokio::test]
async fn nothing_is_decided_while_the_registry_is_away() {
    let nobody = || GrpcChannel::admin_socket("/nonexistent/bowline.sock");
    let permits = RelayPermits::new(nobody(), nobody());
    let permit = permits.ask_permit(&[7; 32], |_| true).await;
    assert!(matches!(permit, RelayPermit::Unknown(_)), "{permit:?}");
}
