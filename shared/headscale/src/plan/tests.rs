use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{MovingPlan, plan_move};
use crate::{
    HeadscaleConfig, PolicySource,
    config::{DnsSection, ExtraRecord},
    rows::{HeadscaleData, HeadscaleKey, HeadscaleNode, HeadscaleUser},
};

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn user(id: i64, name: &str, email: &str) -> HeadscaleUser {
    HeadscaleUser {
        id,
        name: name.to_owned(),
        email: email.to_owned(),
        ..HeadscaleUser::default()
    }
}

fn node(id: i64, name: &str) -> HeadscaleNode {
    HeadscaleNode {
        id,
        machine_key: [1; 32],
        node_key: [2; 32],
        ipv4: format!("100.64.0.{id}"),
        given_name: name.to_owned(),
        user_id: 1,
        ..HeadscaleNode::default()
    }
}

fn plan(data: &HeadscaleData, dns: DnsSection, policy: Option<&str>) -> MovingPlan {
    let config = HeadscaleConfig {
        database_url: String::new(),
        noise_key: None,
        policy: PolicySource::Absent,
        issuer: None,
        dns,
        randomize_client_port: false,
    };
    plan_move(data, &config, policy, NOW)
}

fn texts<'p>(plan: &'p MovingPlan, about: &str) -> Vec<&'p str> {
    let notes = plan.notes.iter().filter(|note| note.about == about);
    notes.map(|note| &*note.text).collect()
}

#[test]
fn every_user_has_a_login_name_of_its_own() {
    let data = HeadscaleData {
        users: vec![
            user(1, "alice", ""),
            user(2, "bob", "bob@example.com"),
            user(3, "robert", "Bob@example.com"),
            user(4, "carol@example.com", ""),
            user(5, "Alice", ""),
        ],
        ..HeadscaleData::default()
    };
    let plan = plan(&data, DnsSection::default(), None);
    let names: Vec<_> = plan
        .users
        .iter()
        .map(|user| &*user.user.login_name)
        .collect();
    assert_eq!(
        names,
        [
            "alice@",
            "bob@example.com",
            "robert@",
            "carol@example.com",
            "Alice-2@"
        ]
    );
}

#[test]
fn nodes_have_labels_of_their_own_and_addresses_that_clients_take() {
    let mut outside = node(3, "Web_1");
    outside.ipv4 = "10.0.0.3".to_owned();
    let mut lost = node(4, "lost");
    lost.user_id = 9;
    let data = HeadscaleData {
        users: vec![user(1, "alice", "")],
        nodes: vec![node(1, "web-1"), node(2, "db"), outside, lost],
        tags_are_whole: true,
        ..HeadscaleData::default()
    };
    let plan = plan(&data, DnsSection::default(), None);
    let names: Vec<_> = plan.nodes.iter().map(|node| &*node.node.name).collect();
    assert_eq!(names, ["web-1", "db", "web-1-1"]);
    assert_eq!(plan.nodes[2].node.ipv4, "");
    let notes = texts(&plan, "node");
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].contains("web-1-1") && notes[1].contains("10.0.0.3"));
    assert!(notes[2].contains("does not move"));
}

#[test]
fn tags_of_older_releases_come_from_three_places() {
    let mut asking = node(1, "asking");
    asking.tags = vec!["tag:forced".to_owned()];
    asking.auth_key_id = 7;
    asking.host_info = json!({ "RequestTags": ["tag:mine", "tag:others"] });
    let key = HeadscaleKey {
        id: 7,
        tags: vec!["tag:key".to_owned()],
        ephemeral: true,
        used: true,
        ..HeadscaleKey::default()
    };
    let data = HeadscaleData {
        users: vec![user(1, "alice", "")],
        nodes: vec![asking],
        keys: vec![key],
        ..HeadscaleData::default()
    };
    let policy = r#"{"tagOwners": {"tag:mine": ["alice@"], "tag:others": ["bob@"], "tag:key": [], "tag:forced": []}}"#;
    let plan = plan(&data, DnsSection::default(), Some(policy));
    let node = &plan.nodes[0].node;
    assert_eq!(node.tags, ["tag:forced", "tag:key", "tag:mine"]);
    assert_eq!(node.requested_tags, ["tag:mine", "tag:others"]);
    assert!(node.ephemeral && node.key_expiry.is_none());
}

#[test]
fn keys_that_still_make_nodes_are_named_with_the_command_for_another() {
    let key = |id, reusable, used, hours| HeadscaleKey {
        id,
        user_id: 1,
        reusable,
        used,
        expiry: Some(NOW + TimeDelta::hours(hours)),
        ..HeadscaleKey::default()
    };
    let data = HeadscaleData {
        users: vec![user(1, "alice", "")],
        keys: vec![
            key(1, true, true, 1),
            key(2, false, true, 1),
            key(3, true, false, -1),
            HeadscaleKey {
                tags: vec!["tag:ci".to_owned()],
                ephemeral: true,
                prefix: "abc".to_owned(),
                ..key(4, false, false, 1)
            },
        ],
        ..HeadscaleData::default()
    };
    let plan = plan(&data, DnsSection::default(), None);
    let begin = "does not move: make another with bowline keys create";
    assert_eq!(
        texts(&plan, "key"),
        [
            format!("{begin} --user alice@ --reusable"),
            format!("{begin} --tag tag:ci --ephemeral")
        ]
    );
}

#[test]
fn names_move_as_far_as_clients_answer_them() {
    let record = |name: &str, kind: &str, value: &str| ExtraRecord {
        name: name.to_owned(),
        r#type: kind.to_owned(),
        value: value.to_owned(),
    };
    let dns = DnsSection {
        base_domain: "Tail.example.com.".to_owned(),
        extra_records: vec![
            record("a.example.com", "A", "100.64.0.1"),
            record("A.example.com.", "", "100.64.0.2"),
            record("t.example.com", "TXT", "text"),
        ],
        ..DnsSection::default()
    };
    let plan = plan(&HeadscaleData::default(), dns, None);
    assert_eq!(plan.magic_dns_suffix.as_deref(), Some("tail.example.com"));
    assert_eq!(plan.dns.records.len(), 1);
    assert_eq!(texts(&plan, "record").len(), 2);
    assert!(
        !plan.dns.override_local,
        "there are no nameservers to override with"
    );
}

#[test]
fn tests_of_a_policy_are_run_with_the_nodes_that_move() {
    let data = HeadscaleData {
        users: vec![user(1, "alice", "")],
        nodes: vec![node(1, "web")],
        tags_are_whole: true,
        ..HeadscaleData::default()
    };
    let policy = |wanted: &str| {
        format!(
            r#"{{"acls": [{{"action": "accept", "src": ["alice@"], "dst": ["alice@:22"]}}],
                "tests": [{{"src": "alice@", "{wanted}": ["100.64.0.1:22"]}}]}}"#
        )
    };
    let problems = |wanted| {
        let plan = plan(&data, DnsSection::default(), Some(&policy(wanted)));
        plan.policy.expect("one").verdict.problems.len()
    };
    assert_eq!((problems("accept"), problems("deny")), (0, 1));
}
