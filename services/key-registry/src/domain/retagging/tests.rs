use super::*;
use crate::domain::to_timestamp;

fn node(tags: &[&str]) -> Node {
    Node {
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        key_expiry: Some(to_timestamp(DateTime::UNIX_EPOCH)),
        ..Node::default()
    }
}

/// Before the key of a node ends.
const BEFORE: DateTime<Utc> = DateTime::<Utc>::MIN_UTC;

fn report(tags: &[&str]) -> HostReport {
    HostReport {
        requested_tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        ..HostReport::default()
    }
}

#[test]
fn only_new_and_well_formed_wishes_count() {
    assert_eq!(
        Retagging::from_report(&node(&[]), &report(&[])),
        Retagging::None
    );
    assert_eq!(
        Retagging::from_report(&node(&["tag:a"]), &report(&["tag:a"])),
        Retagging::None
    );
    assert_eq!(
        Retagging::from_report(&node(&[]), &report(&["nonsense"])),
        Retagging::None
    );
    let asked_before = Node {
        requested_tags: vec!["tag:a".to_owned()],
        ..node(&["tag:b"])
    };
    assert_eq!(
        Retagging::from_report(&asked_before, &report(&["tag:a"])),
        Retagging::None
    );
    let wanted = Retagging::from_report(&node(&[]), &report(&["tag:a"]));
    assert_eq!(wanted, Retagging::To(vec!["tag:a".to_owned()]));
}

#[test]
fn permitted_tags_are_given_and_others_end_the_key() {
    let wish = Retagging::To(vec!["tag:a".to_owned()]);
    let mut permitted = node(&[]);
    wish.clone()
        .apply_to_node(&mut permitted, &JudgeNodeResponse::default(), BEFORE);
    assert_eq!(permitted.tagged_by(), TaggedBy::User);
    assert_eq!(
        (permitted.tags, permitted.key_expiry),
        (vec!["tag:a".to_owned()], None)
    );
    let by_key = Node {
        tagged_by: TaggedBy::PreAuthKey.into(),
        ..node(&["tag:b"])
    };
    let mut retagged = by_key;
    wish.clone()
        .apply_to_node(&mut retagged, &JudgeNodeResponse::default(), BEFORE);
    assert_eq!(
        retagged.tagged_by(),
        TaggedBy::PreAuthKey,
        "as one of its tags may"
    );
    let refused = JudgeNodeResponse {
        refused_tags: vec!["tag:a".to_owned()],
        ..JudgeNodeResponse::default()
    };
    let mut refused_node = node(&[]);
    wish.apply_to_node(&mut refused_node, &refused, BEFORE);
    assert!(refused_node.expired && refused_node.tags.is_empty());
}
