use super::*;

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn node(tags: &[&str], user_id: u64, tagged_by: TaggedBy) -> Node {
    Node {
        tags: texts(tags),
        user_id,
        tagged_by: tagged_by.into(),
        approved: true,
        ..Node::default()
    }
}

const TAGGED: [&str; 1] = ["tag:web"];

#[test]
fn tagged_nodes_and_nodes_without_user_belong_to_nobody() {
    assert_eq!(node(&[], 7, TaggedBy::Unspecified).owning_user(), Some(7));
    assert_eq!(node(&[], 0, TaggedBy::Unspecified).owning_user(), None);
    assert_eq!(node(&TAGGED, 7, TaggedBy::User).owning_user(), None);
}

#[test]
fn user_who_added_a_node_answers_for_it_and_else_its_first_tag() {
    let user = NodeOwner::User(UserId::try_from(7_u64).expect("a number"));
    assert_eq!(node(&[], 7, TaggedBy::Unspecified).owner(), user);
    assert_eq!(node(&TAGGED, 7, TaggedBy::User).owner(), user);
    let tag = |tag: &str| NodeOwner::Tag(tag.into());
    let tags = node(&["tag:db", "tag:web"], 0, TaggedBy::PreAuthKey);
    assert_eq!(tags.owner(), tag("tag:db"));
    assert_eq!(node(&[], 0, TaggedBy::Unspecified).owner(), tag(""));
}

#[test]
fn only_tags_of_others_part_a_node_from_its_user() {
    assert!(node(&[], 7, TaggedBy::Unspecified).goes_with_user());
    assert!(node(&[], 0, TaggedBy::Administrator).goes_with_user());
    assert!(node(&TAGGED, 7, TaggedBy::User).goes_with_user());
    assert!(node(&TAGGED, 7, TaggedBy::Unspecified).goes_with_user());
    assert!(!node(&TAGGED, 0, TaggedBy::Unspecified).goes_with_user());
    assert!(!node(&TAGGED, 7, TaggedBy::PreAuthKey).goes_with_user());
    assert!(!node(&TAGGED, 7, TaggedBy::Administrator).goes_with_user());
}

#[test]
fn only_approved_nodes_with_a_live_key_and_user_take_part() {
    let good = node(&[], 7, TaggedBy::Unspecified);
    assert!(good.may_take_part(false));
    assert!(!good.may_take_part(true), "its user is suspended");
    let confirmed = node(&TAGGED, 7, TaggedBy::Administrator);
    assert!(
        confirmed.may_take_part(true),
        "it does not go with its user"
    );
    let unapproved = Node {
        approved: false,
        ..good.clone()
    };
    assert!(!unapproved.may_take_part(false));
    let disabled = Node {
        disabled: true,
        ..good.clone()
    };
    assert!(!disabled.may_take_part(false));
    assert!(!disabled.is_authorized() && disabled.is_kept_out());
    let expired = Node {
        expired: true,
        ..good
    };
    assert!(!expired.may_take_part(false));
}

#[test]
fn routes_work_when_they_are_offered_and_approved() {
    let routes = |advertised: &[&str], approved: &[&str]| {
        let node = Node {
            advertised_routes: texts(advertised),
            approved_routes: texts(approved),
            ..Node::default()
        };
        node.usable_routes().cloned().collect::<Vec<_>>()
    };
    let (near, far) = ("10.0.0.0/8", "192.168.0.0/16");
    assert_eq!(routes(&[near, far], &[far]), [far]);
    assert!(routes(&[near], &[far]).is_empty());
    assert!(routes(&[], &[near, far]).is_empty());
    assert_eq!(routes(&[far, near], &[near, far]), [far, near]);
}

#[test]
fn judged_facts_are_taken_from_the_earlier_node_and_all_else_stays() {
    let now = Node {
        name: "new".to_owned(),
        hostname: "new".to_owned(),
        node_key: vec![2; 32],
        user_id: 8,
        tags: texts(&["tag:new"]),
        ipv4: "100.64.0.2".to_owned(),
        ipv6: "fd7a:115c:a1e0::2".to_owned(),
        advertised_routes: texts(&["10.2.0.0/16"]),
        approved_routes: texts(&["10.2.0.0/16"]),
        os: "windows".to_owned(),
        os_version: "11".to_owned(),
        client_version: "2".to_owned(),
        auto_update: Some(true),
        state_encrypted: Some(true),
        attributes: vec![CustomAttribute::default()],
        ..Node::default()
    };
    let earlier = Node {
        name: "old".to_owned(),
        user_id: 7,
        tagged_by: TaggedBy::User.into(),
        ..Node::default()
    };
    let mixed = now.with_judged_facts_of(&earlier);
    assert_eq!(mixed.judged_facts(), earlier.judged_facts());
    assert_eq!(mixed.tagged_by(), TaggedBy::User);
    let back = Node {
        tagged_by: now.tagged_by,
        ..mixed.with_judged_facts_of(&now)
    };
    assert_eq!(back, now, "nothing else was touched");
}

#[test]
fn each_judged_fact_is_compared() {
    let node = Node::default();
    let changes: [fn(&mut Node); 12] = [
        |node| node.user_id = 1,
        |node| node.tags.push(String::new()),
        |node| node.ipv4.push('1'),
        |node| node.ipv6.push('1'),
        |node| node.advertised_routes.push(String::new()),
        |node| node.approved_routes.push(String::new()),
        |node| node.os.push('x'),
        |node| node.client_version.push('1'),
        |node| node.os_version.push('1'),
        |node| node.auto_update = Some(false),
        |node| node.state_encrypted = Some(false),
        |node| node.attributes.push(CustomAttribute::default()),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let mut changed = node.clone();
        change(&mut changed);
        assert_ne!(changed.judged_facts(), node.judged_facts(), "{place}");
    }
    let mut renamed = node.clone();
    renamed.name.push('x');
    renamed.hostname.push('x');
    renamed.expired = true;
    assert_eq!(renamed.judged_facts(), node.judged_facts());
}
