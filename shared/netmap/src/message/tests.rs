//! Worked cases on small views: what is told first, and what after each kind of change.

use std::sync::Arc;

use bowline_control_wire::{Base64Bytes, DerpMap, MapResponse, TkaInfo};
use bowline_proto::{
    identity::v1::{DnsRecord, DnsSettings, SplitDns, Tailnet, User, identity_change},
    key_registry::v1::{ClientReport, Endpoint, HostReport, KeyRotation, Node, SoftState},
    policy::v1::{ListRef, SshRule, SshUser},
};
use chrono::DateTime;
use prost_types::Timestamp;

use super::{Delta, build_delta, build_full, judge_ssh, lost_peers};
use crate::{
    ChangeSet, Difference,
    fixture::{TestTailnet, compiled, node, node_id, user},
};

#[test]
fn first_message_has_everything_and_never_oneself_among_peers() {
    let tailnet = TestTailnet::published();
    let message = tailnet.full(1).expect("shown");
    assert_eq!(
        message.node.as_ref().map(|node| node.name.as_str()),
        Some("n1.home.test.")
    );
    assert_eq!(
        message.peers.iter().map(|peer| peer.id).collect::<Vec<_>>(),
        [2]
    );
    assert_eq!(message.user_profiles[0].login_name, "amira@example.com");
    let rules: Vec<_> = message
        .packet_filters
        .values()
        .flatten()
        .flatten()
        .collect();
    assert_eq!(rules.len(), 1);
    assert_eq!(
        rules[0].dst_ports[0].ip, "100.64.0.1",
        "only the node's own addresses"
    );
    assert!(message.debug.is_some_and(|debug| debug.disable_log_tail));
}

#[test]
fn own_node_alone_names_the_tailnet_for_ever() {
    let tailnet = TestTailnet::published();
    let message = tailnet.full(1).expect("shown");
    let own = serde_json::to_value(message.node).expect("JSON");
    assert_eq!(own["StableTailnetID"], "T1CNTRL");
    let peer = serde_json::to_value(&message.peers[0]).expect("JSON");
    assert_eq!(peer.get("StableTailnetID"), None);
}

#[test]
fn profile_that_is_new_to_a_client_makes_it_build_its_map_anew() {
    let mut tailnet = TestTailnet::published();
    let of = |user_id: u64, id: u64, tags: &[&str]| Node {
        user_id,
        tags: tags.iter().map(ToString::to_string).collect(),
        ..node(id)
    };
    tailnet.identity(identity_change::Change::User(user(8)));
    let steps: [(Node, &[u64], &str); 5] = [
        (of(7, 3, &[]), &[1, 2, 3], ""),
        (of(8, 4, &[]), &[1, 2, 3, 4], "home"),
        (of(8, 5, &[]), &[1, 2, 3, 4, 5], ""),
        (of(8, 6, &["tag:a"]), &[1, 2, 3, 4, 5, 6], "home"),
        (of(8, 7, &["tag:b"]), &[1, 2, 3, 4, 5, 6, 7], ""),
    ];
    for (newcomer, members, domain) in steps {
        let id = newcomer.id;
        tailnet.put(newcomer);
        tailnet.compile(members);
        let message = tailnet.message();
        assert_eq!(message.user_profiles.len(), 1, "with node {id}");
        assert_eq!(message.domain, domain, "with node {id}");
    }
    tailnet.identity(identity_change::Change::User(User {
        display_name: "Somebody".to_owned(),
        ..user(8)
    }));
    assert_eq!(tailnet.message().domain, "home", "another name is new, too");
}

#[test]
fn report_reaches_peers_as_a_patch_and_not_oneself() {
    let mut tailnet = TestTailnet::published();
    let endpoint = |address: &str| Endpoint {
        address: address.to_owned(),
        kind: 1,
    };
    let report = ClientReport {
        endpoints: vec![endpoint("10.0.0.2:41641")],
        host: Some(HostReport {
            home_derp: 900,
            ..HostReport::default()
        }),
        ..ClientReport::default()
    };
    tailnet.replica.apply_report(node_id(2), report.clone());
    let message = tailnet.message();
    assert!(message.peers_changed.is_empty() && message.packet_filters.is_empty());
    assert_eq!(message.peers_changed_patch[0].endpoints, ["10.0.0.2:41641"]);
    assert_eq!(message.peers_changed_patch[0].derp_region, 900);
    tailnet.replica.apply_report(node_id(1), report.clone());
    assert!(matches!(tailnet.told(), Delta::Nothing));
    // One that says nothing of the host leaves what is known of it, whether the registry has that already or not.
    let silent = ClientReport {
        endpoints: vec![endpoint("10.0.0.3:41641")],
        host: None,
        ..report
    };
    tailnet.replica.apply_report(node_id(2), silent.clone());
    let message = tailnet.message();
    assert_eq!(
        message.peers_changed_patch[0].derp_region, 0,
        "not told again"
    );
    tailnet
        .replica
        .note_report_accepted(node_id(2), silent.sequence, Some(1));
    tailnet.replica.apply_report(node_id(2), silent);
    assert_eq!(tailnet.full(1).unwrap().peers[0].home_derp, 900);
}

#[test]
fn new_node_is_shown_only_with_a_class_computed_from_it() {
    let mut tailnet = TestTailnet::published();
    tailnet.put(node(3));
    assert!(matches!(tailnet.told(), Delta::Nothing));
    assert!(tailnet.full(3).is_none());
    tailnet
        .replica
        .apply_compiled(vec![compiled(tailnet.revision, &[1, 2, 3], true)]);
    let message = tailnet.message();
    assert_eq!(
        message
            .peers_changed
            .iter()
            .map(|peer| peer.id)
            .collect::<Vec<_>>(),
        [3]
    );
    assert!(
        !message.packet_filters.is_empty(),
        "the new node is a source now"
    );
}

#[test]
fn ends_need_no_compiler() {
    for end in [
        Node {
            expired: true,
            ..node(2)
        },
        Node {
            approved: false,
            ..node(2)
        },
        Node {
            disabled: true,
            ..node(2)
        },
    ] {
        let mut tailnet = TestTailnet::published();
        tailnet.put(end);
        assert_eq!(tailnet.message().peers_removed, [2]);
        let itself = tailnet.full(2).expect("told of itself");
        assert!(itself.peers.is_empty());
    }
    let mut tailnet = TestTailnet::published();
    tailnet.delete(2);
    assert_eq!(tailnet.message().peers_removed, [2]);
    assert!(tailnet.full(2).is_none());
}

#[test]
fn disabled_node_is_told_that_it_is_not_authorised_and_comes_back_as_it_was() {
    let mut tailnet = TestTailnet::published();
    let before = tailnet.full(1).expect("shown");
    tailnet.put(Node {
        disabled: true,
        ..node(1)
    });
    assert!(matches!(tailnet.told(), Delta::Ended));
    let told = tailnet.full(1).expect("told of itself");
    let own = told.node.expect("its own node");
    assert!(!own.machine_authorized && !own.expired);
    assert_eq!(
        own.key_expiry,
        before.node.as_ref().expect("own").key_expiry
    );
    assert!(told.peers.is_empty());
    tailnet.put(node(1));
    assert!(matches!(tailnet.told(), Delta::Full));
    let after = tailnet.full(1).expect("shown");
    let json = |message| serde_json::to_value(&message).expect("a message");
    assert_eq!(json(after), json(before));
}

#[test]
fn tailnet_lock_is_told_with_its_signatures_and_a_node_without_one_is_alone() {
    let mut tailnet = TestTailnet::published();
    assert_eq!(tailnet.full(1).expect("shown").tka_info, None);
    tailnet.put(Node {
        key_signature: vec![1, 2, 3],
        lock_key: vec![9; 32],
        ..node(2)
    });
    tailnet.lock("HEAD");
    let told = tailnet.message();
    let info = |head: &str| TkaInfo {
        head: head.to_owned(),
        disabled: head.is_empty(),
    };
    assert_eq!(told.tka_info, Some(info("HEAD")));
    let patch = &told.peers_changed_patch[0];
    assert_eq!(patch.key_signature, Some(Base64Bytes(vec![1, 2, 3])));
    let full = tailnet.full(1).expect("shown");
    assert_eq!(full.tka_info, Some(info("HEAD")));
    assert_eq!(full.peers[0].key_signature, Base64Bytes(vec![1, 2, 3]));
    let own = full.node.expect("its own node");
    assert!(
        own.cap_map
            .contains_key("https://tailscale.com/cap/tailnet-lock")
    );
    // Clients would drop it without a word.
    tailnet.put(Node {
        awaits_signature: true,
        ..node(2)
    });
    assert_eq!(tailnet.message().peers_removed, [2]);
    let itself = tailnet.full(2).expect("told of itself");
    assert!(itself.peers.is_empty() && itself.node.expect("own").machine_authorized);
    assert_eq!(itself.tka_info, Some(info("HEAD")));
    tailnet.put(Node {
        key_signature: vec![4],
        ..node(2)
    });
    tailnet.lock("");
    let told = tailnet.message();
    assert_eq!(told.tka_info, Some(info("")));
    assert_eq!(told.peers_changed[0].key_signature, Base64Bytes(vec![4]));
}

#[test]
fn another_end_of_the_key_is_told_to_the_node_and_its_peers_at_once() {
    for (id, end) in [
        (1, Some(4_000_000_000)),
        (2, Some(4_000_000_000)),
        (1, None),
    ] {
        let mut tailnet = TestTailnet::published();
        let ends = |seconds| Some(Timestamp { seconds, nanos: 0 });
        tailnet.put(Node {
            key_expiry: ends(3_000_000_000),
            ..node(id)
        });
        tailnet.publish();
        tailnet.put(Node {
            key_expiry: end.and_then(ends),
            key_never_expires: end.is_none(),
            ..node(id)
        });
        let told = tailnet.message();
        let whole = told.node.iter().chain(&told.peers_changed);
        let whole = whole.map(|node| node.key_expiry);
        let patches = told.peers_changed_patch.iter();
        let heard: Vec<_> = whole.chain(patches.map(|patch| patch.key_expiry)).collect();
        let expected = end.and_then(|end| DateTime::from_timestamp(end, 0));
        assert_eq!(heard, [expected], "{id}");
    }
}

#[test]
fn replaced_key_is_a_patch_for_peers_and_its_node_is_told_how_long_keys_work() {
    let rotating = |id, key: u8, due| Node {
        node_key: vec![key; 32],
        key_expiry: Some(Timestamp {
            seconds: due,
            nanos: 0,
        }),
        rotation: Some(KeyRotation {
            interval: Some(prost_types::Duration {
                seconds: 3600,
                nanos: 0,
            }),
            due: Some(Timestamp {
                seconds: due,
                nanos: 0,
            }),
            login_ends: None,
        }),
        ..node(id)
    };
    let mut tailnet = TestTailnet::published();
    tailnet.put(rotating(2, 8, 3_000_000_000));
    tailnet.publish();
    tailnet.put(rotating(2, 9, 4_000_000_000));
    let told = tailnet.message();
    assert!(told.peers_changed.is_empty() && told.peers_removed.is_empty());
    let [patch] = &told.peers_changed_patch[..] else {
        panic!("{told:?}")
    };
    let end = DateTime::from_timestamp(4_000_000_000, 0);
    assert_eq!((patch.key_expiry, patch.key.is_some()), (end, true));
    tailnet.put(rotating(1, 7, 3_000_000_000));
    let own = tailnet.message().node.expect("its own node");
    let longest = own.cap_map["tailnet.maxKeyDuration"].as_deref();
    let longest: Vec<_> = longest.unwrap().iter().map(|value| value.get()).collect();
    assert_eq!(longest, ["3600"]);
}

#[test]
fn suspended_user_is_cut_off_at_once_and_comes_back() {
    let mut tailnet = TestTailnet::published();
    let change = |suspended| {
        let user = User {
            suspended,
            ..user(7)
        };
        identity_change::Change::User(user)
    };
    tailnet.identity(change(true));
    assert!(matches!(tailnet.told(), Delta::Ended));
    tailnet.identity(change(false));
    assert!(matches!(tailnet.told(), Delta::Full));
}

#[test]
fn own_end_ends_the_stream() {
    let mut tailnet = TestTailnet::published();
    tailnet.put(Node {
        expired: true,
        ..node(1)
    });
    assert!(matches!(tailnet.told(), Delta::Ended));
    let last = tailnet
        .full(1)
        .and_then(|message| message.node)
        .expect("told of itself");
    assert!(
        last.key_expiry.is_some_and(|end| end.timestamp() <= 123),
        "the client wants a login"
    );
}

#[test]
fn rotated_key_reaches_peers_as_a_patch_at_once() {
    let mut tailnet = TestTailnet::published();
    tailnet.put(Node {
        node_key: vec![9; 32],
        ..node(2)
    });
    let message = tailnet.message();
    let key = message.peers_changed_patch[0].key.expect("the new key");
    assert_eq!(key.as_bytes(), &[9; 32]);
    assert!(message.peers_changed.is_empty() && message.peers_removed.is_empty());
}

#[test]
fn many_changes_meanwhile_are_one_difference() {
    let mut tailnet = TestTailnet::published();
    let mut changes = ChangeSet::default();
    for end in [true, false, true] {
        tailnet.put(Node {
            expired: end,
            ..node(2)
        });
        changes.extend(&tailnet.publish());
    }
    let difference = Difference::find(&tailnet.view, &Arc::new(changes));
    let told = build_delta(&tailnet.view, &difference, node_id(1), DateTime::UNIX_EPOCH);
    let Delta::Message(message) = told else {
        panic!("{told:?}")
    };
    assert_eq!(
        (message.peers_removed, message.peers_changed.len()),
        (vec![2], 0)
    );
}

#[test]
fn relays_of_the_policy_come_over_the_servers_own() {
    let mut tailnet = TestTailnet::published();
    let own: DerpMap = serde_json::from_str(
        r#"{"Regions": {"1": {"RegionID": 1}, "2": {"RegionID": 2, "RegionCode": "old"}}}"#,
    )
    .expect("a map");
    let mut update = compiled(tailnet.revision, &[1, 2], false);
    let text = r#"{"Regions": {"1": null, "2": {"RegionID": 2, "RegionCode": "new"}, "900": {"RegionID": 900}}}"#;
    update.derp_map = Some(text.to_owned());
    tailnet.replica.apply_compiled(vec![update]);
    assert!(matches!(tailnet.told(), Delta::Full));
    let message = build_full(&tailnet.view, node_id(1), &own, DateTime::UNIX_EPOCH).expect("shown");
    let regions = message.derp_map.expect("told").regions;
    assert_eq!(regions.keys().copied().collect::<Vec<_>>(), [2, 900]);
    assert_eq!(regions[&2].region_code, "new");
}

#[test]
fn dns_settings_are_told_alone_and_another_suffix_with_all_names() {
    let mut tailnet = TestTailnet::published();
    tailnet.told();
    let record = |name: &str| DnsRecord {
        name: name.to_owned(),
        r#type: "A".to_owned(),
        value: "100.64.0.7".to_owned(),
    };
    let split = SplitDns {
        suffix: "corp.test".to_owned(),
        nameservers: vec!["10.0.0.53".to_owned()],
    };
    let mut changed = Tailnet::clone(&tailnet.view.tailnet);
    changed.dns = Some(DnsSettings {
        magic_dns: true,
        nameservers: vec!["1.1.1.1".to_owned()],
        override_local: true,
        search_domains: vec!["corp.test".to_owned()],
        split: vec![split],
        records: vec![record("printer.home.test"), record("www.else.test")],
    });
    tailnet.identity(identity_change::Change::Tailnet(changed.clone()));
    let message = tailnet.message();
    let dns = message.dns_config.clone().expect("told");
    let rest = MapResponse {
        dns_config: None,
        ..message
    };
    assert_eq!(
        serde_json::to_value(rest).expect("JSON"),
        serde_json::to_value(MapResponse::default()).expect("JSON")
    );
    assert_eq!(
        dns,
        tailnet
            .full(1)
            .and_then(|message| message.dns_config)
            .expect("told")
    );
    let servers = |suffix: &str| {
        let servers = dns.routes[suffix].iter();
        servers
            .map(|server| server.addr.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(servers("corp.test"), ["10.0.0.53"]);
    assert_eq!(servers("home.test."), [""; 0]);
    // A name that no route covers has one of its own: else an operating system with split DNS asks elsewhere.
    assert_eq!(servers("www.else.test"), ["1.1.1.1"]);
    assert_eq!(dns.routes.len(), 3);
    assert_eq!(dns.resolvers[0].addr, "1.1.1.1");
    let told: Vec<_> = dns
        .extra_records
        .iter()
        .map(|record| (&*record.name, &*record.kind, &*record.value))
        .collect();
    assert_eq!(
        told,
        [
            ("printer.home.test", "A", "100.64.0.7"),
            ("www.else.test", "A", "100.64.0.7")
        ]
    );

    changed.magic_dns_suffix = "new.test".to_owned();
    tailnet.identity(identity_change::Change::Tailnet(changed));
    assert!(matches!(tailnet.told(), Delta::Full));
}

#[test]
fn relays_of_the_server_that_change_are_told_to_connected_clients() {
    let mut tailnet = TestTailnet::published();
    tailnet.told();
    tailnet.replica.note_relays_changed();
    assert!(matches!(tailnet.told(), Delta::Full));
}

#[test]
fn first_message_replaces_every_chunk_and_login_a_client_has() {
    let mut tailnet = TestTailnet::published();
    let message = tailnet.full(1).expect("shown");
    assert!(matches!(message.packet_filters.get("*"), Some(None)));
    tailnet.put(Node {
        expired: true,
        ..node(1)
    });
    tailnet.publish();
    let last = tailnet.full(1).expect("told of itself");
    assert!(matches!(last.packet_filters.get("*"), Some(None)));
    assert!(last.packet_filters.values().flatten().all(Vec::is_empty));
    assert!(
        last.ssh_policy
            .is_some_and(|policy| policy.rules.is_empty())
    );
}

#[test]
fn message_without_peers_names_those_that_were_seen() {
    let mut tailnet = TestTailnet::published();
    tailnet.put(Node {
        expired: true,
        ..node(2)
    });
    let changes = tailnet.publish();
    assert_eq!(lost_peers(&tailnet.view, &changes, node_id(1)), [2]);
    tailnet.put(node(2));
    let changes = tailnet.publish();
    assert!(
        lost_peers(&tailnet.view, &changes, node_id(2)).is_empty(),
        "it was told of nobody"
    );
}

#[test]
fn ended_node_leaves_filters_and_logins() {
    let mut tailnet = TestTailnet::published();
    let mut update = compiled(tailnet.revision, &[1, 2], false);
    update.settings[0].ssh = vec![SshRule {
        principals: vec![ListRef { id: 5, user_id: 0 }],
        ..SshRule::default()
    }];
    tailnet.replica.apply_compiled(vec![update]);
    tailnet.publish();
    let named = |message: &MapResponse| {
        let rules = message.packet_filters.values().flatten().flatten();
        let sources: Vec<_> = rules.flat_map(|rule| rule.src_ips.clone()).collect();
        let logins = message.ssh_policy.clone().unwrap_or_default().rules;
        let logins: Vec<_> = logins
            .into_iter()
            .flat_map(|rule| rule.principals)
            .map(|principal| principal.node_ip)
            .collect();
        (sources, logins)
    };
    let of =
        |addresses: &[&str]| -> Vec<String> { addresses.iter().map(ToString::to_string).collect() };
    let both = of(&["100.64.0.1", "100.64.0.2"]);
    let one = of(&["100.64.0.1"]);
    assert_eq!(
        named(&tailnet.full(1).expect("shown")),
        (both.clone(), both.clone())
    );
    let mut ended = node(2);
    ended.expired = true;
    tailnet.put(ended);
    assert_eq!(named(&tailnet.message()), (one.clone(), one.clone()));
    assert_eq!(named(&tailnet.full(1).expect("shown")), (one.clone(), one));
    tailnet.put(node(2));
    assert_eq!(named(&tailnet.message()), (both.clone(), both));
}

#[test]
fn first_rule_that_gives_the_account_judges_an_ssh_connection() {
    let mut tailnet = TestTailnet::published();
    let mut update = compiled(tailnet.revision, &[1, 2], false);
    let rule = |users: &[(&str, &str)], check_period: Option<u64>| SshRule {
        principals: vec![ListRef { id: 5, user_id: 0 }],
        users: users
            .iter()
            .map(|(asked, local)| SshUser {
                ssh_user: (*asked).to_owned(),
                local_user: (*local).to_owned(),
            })
            .collect(),
        check: check_period.is_some(),
        check_period_seconds: check_period.unwrap_or_default(),
        ..SshRule::default()
    };
    update.settings[0].ssh = vec![
        rule(&[("root", "root")], Some(3600)),
        rule(&[("root", ""), ("*", "=")], None),
    ];
    tailnet.replica.apply_compiled(vec![update]);
    tailnet.publish();
    let judge = |tailnet: &TestTailnet, source: u64, account: &str| {
        let nodes = &tailnet.view.nodes;
        let verdict = judge_ssh(
            &tailnet.view,
            &nodes[&node_id(1)],
            &nodes[&node_id(source)],
            account,
        );
        verdict.map(|verdict| {
            assert!(verdict.action.accept && verdict.action.hold_and_delegate.is_empty());
            verdict.check_period
        })
    };
    assert_eq!(judge(&tailnet, 2, "root"), Some(Some(3600)));
    assert_eq!(judge(&tailnet, 2, "amira"), Some(None));
    assert_eq!(judge(&tailnet, 2, ""), None);
    let mut update = compiled(tailnet.revision, &[1, 2], false);
    update.settings[0].ssh = vec![rule(&[("root", ""), ("*", "=")], Some(0))];
    tailnet.replica.apply_compiled(vec![update]);
    tailnet.publish();
    assert_eq!(judge(&tailnet, 2, "root"), None);
    assert_eq!(judge(&tailnet, 2, "amira"), Some(Some(0)));
}

#[test]
fn changed_name_of_a_user_reaches_those_who_see_a_device_of_it() {
    let mut tailnet = TestTailnet::published();
    let (other, unseen) = (user(8), user(9));
    tailnet.identity(identity_change::Change::User(other.clone()));
    tailnet.identity(identity_change::Change::User(unseen.clone()));
    tailnet.put(Node {
        user_id: 8,
        ..node(2)
    });
    tailnet.compile(&[1, 2]);
    tailnet.publish();
    for named in [other, unseen] {
        tailnet.identity(identity_change::Change::User(User {
            display_name: "Somebody".to_owned(),
            ..named
        }));
    }
    let profiles = tailnet.message().user_profiles;
    let told: Vec<_> = profiles
        .iter()
        .map(|profile| (profile.id, profile.display_name.as_str()))
        .collect();
    assert_eq!(told, [(8, "Somebody")]);
}

#[test]
fn report_that_changes_relay_and_measurements_is_a_patch() {
    let mut tailnet = TestTailnet::published();
    let report = |derp: u32| {
        ClientReport {
        host: Some(HostReport {
            home_derp: derp,
            hostinfo: format!(
                r#"{{"NetInfo":{{"PreferredDERP":{derp}}},"Services":[{{"Proto":"peerapi4","Port":1}}]}}"#
            )
            .into_bytes(),
            ..HostReport::default()
        }),
        ..ClientReport::default()
    }
    };
    tailnet.replica.apply_report(node_id(2), report(1));
    let message = tailnet.message();
    assert_eq!(
        message.peers_changed[0].hostinfo.services.len(),
        1,
        "a service is new"
    );
    tailnet.replica.apply_report(node_id(2), report(2));
    let message = tailnet.message();
    assert!(message.peers_changed.is_empty());
    assert_eq!(message.peers_changed_patch[0].derp_region, 2);
}

#[test]
fn moved_end_of_an_offline_node_is_told() {
    let mut tailnet = TestTailnet::published();
    let state = |soft_revision, seconds| SoftState {
        node_id: 2,
        soft_revision,
        last_seen: Some(Timestamp { seconds, nanos: 0 }),
        ..SoftState::default()
    };
    tailnet.replica.apply_soft_states(vec![state(1, 10)]);
    tailnet.publish();
    tailnet.replica.apply_soft_states(vec![state(2, 20)]);
    let message = tailnet.message();
    let seen = message.peers_changed_patch[0].last_seen;
    assert_eq!(seen.map(|seen| seen.timestamp()), Some(20));
}
