use bowline_proto::key_registry::v1::TaggedBy;

use super::*;
use crate::domain::tests::{node, now};

const NEW: [u8; 32] = [9; 32];

fn registrant() -> Registrant {
    Registrant {
        owner: KeyOwner {
            tailnet_id: 3,
            user_id: 7,
            tags: Vec::new(),
        },
        ephemeral: false,
    }
}

fn of(change: impl Fn(&mut Registrant)) -> Registrant {
    let mut registrant = registrant();
    change(&mut registrant);
    registrant
}

fn tagged(tag: &str) -> Node {
    Node {
        tags: vec![tag.to_owned()],
        tagged_by: TaggedBy::PreAuthKey.into(),
        ..node()
    }
}

fn judged(old: &Node, machine: u8, registrant: &Registrant) -> RotationVerdict {
    let proof = KeyProof {
        machine_key: &[machine; 32],
        node_key: &NEW,
        proven_keys: &[],
        is_required: false,
    };
    judge_rotation(old, proof, registrant, false, now())
}

#[test]
fn key_is_replaced_for_the_same_machine_tailnet_and_owner() {
    assert_eq!(judged(&node(), 1, &registrant()), RotationVerdict::Replaces);
    let other_user = of(|registrant| registrant.owner.user_id = 8);
    assert_eq!(judged(&node(), 1, &other_user), RotationVerdict::NewNode);
    let other_tailnet = of(|registrant| registrant.owner.tailnet_id = 4);
    assert_eq!(judged(&node(), 1, &other_tailnet), RotationVerdict::NewNode);
    let ephemeral = of(|registrant| registrant.ephemeral = true);
    assert_eq!(judged(&node(), 1, &ephemeral), RotationVerdict::NewNode);
    let by_tag = of(|registrant| {
        registrant.owner.user_id = 0;
        registrant.owner.tags = vec!["tag:b".to_owned()];
    });
    assert_eq!(
        judged(&tagged("tag:a"), 1, &by_tag),
        RotationVerdict::Replaces
    );
    assert_eq!(judged(&node(), 1, &by_tag), RotationVerdict::NewNode);
    // A tagged node becomes its user's by a login without tags, and nobody else's.
    assert_eq!(
        judged(&tagged("tag:a"), 1, &registrant()),
        RotationVerdict::Replaces
    );
    assert_eq!(
        judged(&tagged("tag:a"), 1, &other_user),
        RotationVerdict::NewNode
    );
}

#[test]
fn node_that_may_not_change_is_replaced_only_in_its_key() {
    let by_tag = of(|registrant| registrant.owner.tags = vec!["tag:b".to_owned()]);
    let waiting = Node {
        approved: false,
        ..node()
    };
    assert_eq!(
        judged(&waiting, 1, &registrant()),
        RotationVerdict::Replaces
    );
    assert_eq!(judged(&waiting, 1, &by_tag), RotationVerdict::NewNode);
    let disabled = Node {
        disabled: true,
        ..node()
    };
    assert_eq!(
        judged(&disabled, 1, &registrant()),
        RotationVerdict::Replaces
    );
    assert_eq!(judged(&disabled, 1, &by_tag), RotationVerdict::NewNode);
    let by_user = Node {
        tagged_by: TaggedBy::User.into(),
        ..tagged("tag:a")
    };
    assert!(by_tag.matches_node(&by_user, false) && !by_tag.matches_node(&by_user, true));
    assert!(
        by_tag.matches_node(&tagged("tag:a"), true),
        "it does not go with the user"
    );
}

#[test]
fn ended_node_comes_back_and_one_in_use_is_told_of() {
    let held = |id, expired, is_live| MachineNode {
        node: Node {
            id,
            expired,
            node_key: vec![u8::try_from(id).unwrap(); 32],
            ..node()
        },
        is_live,
        is_user_barred: false,
    };
    let nodes = [
        held(1, false, true),
        held(2, true, true),
        held(3, false, false),
        held(4, true, false),
        held(5, true, false),
    ];
    let back = find_returning_node(&nodes, &registrant(), None, now()).map(|node| node.id);
    assert_eq!(back, Some(4));
    assert_eq!(
        find_live_duplicate(&nodes, &registrant(), &[]).map(|node| node.id),
        Some(1)
    );
    let named = |id| find_returning_node(&nodes, &registrant(), Some(id), now());
    assert_eq!(
        named(3).map(|node| node.id),
        Some(3),
        "it had the named key"
    );
    assert_eq!(
        named(5).map(|node| node.id),
        Some(5),
        "before one seen later"
    );
    assert_eq!(named(1).map(|node| node.id), Some(4), "it is in use");
    let other = of(|registrant| registrant.owner.user_id = 8);
    assert!(find_returning_node(&nodes, &other, Some(3), now()).is_none());
    assert!(find_returning_node(&nodes, &other, None, now()).is_none());
    assert!(
        find_live_duplicate(&nodes, &other, &[]).is_none(),
        "a profile of its own"
    );
    assert!(
        find_live_duplicate(&nodes[..1], &registrant(), &[1; 32]).is_none(),
        "named as old"
    );
}

#[test]
fn key_of_another_machine_is_not_replaced() {
    let refused = RotationVerdict::Refused(RotationRefusal::AnotherMachines);
    assert_eq!(judged(&node(), 2, &registrant()), refused);
}

#[test]
fn key_is_not_replaced_unproven_where_the_tailnet_asks_for_proof() {
    let old = Node {
        node_key: vec![8; 32],
        ..node()
    };
    let judged = |old: &Node, held: &[Vec<u8>]| {
        let proof = KeyProof {
            machine_key: &[1; 32],
            node_key: &NEW,
            proven_keys: held,
            is_required: true,
        };
        judge_rotation(old, proof, &registrant(), false, now())
    };
    let unproven = RotationVerdict::Refused(RotationRefusal::Unproven);
    let (own, new) = (old.node_key.clone(), NEW.to_vec());
    assert_eq!(judged(&old, &[]), unproven);
    assert_eq!(judged(&old, std::slice::from_ref(&own)), unproven);
    assert_eq!(judged(&old, std::slice::from_ref(&new)), unproven);
    assert_eq!(judged(&old, &[new, own]), RotationVerdict::Replaces);
    let ended = Node {
        expired: true,
        ..old
    };
    assert_eq!(
        judged(&ended, &[]),
        RotationVerdict::Replaces,
        "nothing is left to prove"
    );
}
