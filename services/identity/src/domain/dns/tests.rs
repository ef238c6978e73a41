//! What may be set, and what is said of the rest.

use super::*;

fn tailnet() -> Tailnet {
    Tailnet {
        magic_dns_suffix: "home.test".to_owned(),
        ..Tailnet::default()
    }
}

fn change(change: Change) -> DnsChange {
    DnsChange {
        change: Some(change),
    }
}

fn names(values: &[&str]) -> bowline_proto::identity::v1::DnsNames {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    bowline_proto::identity::v1::DnsNames { values }
}

fn record(name: &str, kind: &str, value: &str) -> DnsRecord {
    DnsRecord {
        name: name.to_owned(),
        r#type: kind.to_owned(),
        value: value.to_owned(),
    }
}

fn split(suffix: &str, servers: &[&str]) -> SplitDns {
    SplitDns {
        suffix: suffix.to_owned(),
        nameservers: names(servers).values,
    }
}

fn refusal(changes: Vec<DnsChange>) -> String {
    apply_changes(&mut tailnet(), changes)
        .unwrap_err()
        .to_string()
}

#[test]
fn names_are_kept_in_one_form_and_nothing_twice() {
    let mut tailnet = tailnet();
    let changes = [
        Change::Nameservers(names(&["1.1.1.1", "2606:4700:4700:0::1111", "1.1.1.1"])),
        Change::OverrideLocal(true),
        Change::SearchDomains(names(&["Corp.Example.com.", "corp.example.com"])),
        Change::PutSplit(split("Corp.Example.com.", &["10.0.0.53"])),
        Change::PutSplit(split("corp.example.com", &["10.0.0.54"])),
        Change::PutRecord(record("Printer.Home.test.", "a", "100.64.0.7")),
        Change::PutRecord(record("printer.home.test", "A", "100.64.0.7")),
        Change::PutRecord(record("printer.home.test", "AAAA", "fd7a:115c:a1e0:0::7")),
        Change::MagicDnsSuffix("New.Test.".to_owned()),
    ];
    apply_changes(&mut tailnet, changes.into_iter().map(change).collect()).unwrap();
    let dns = tailnet.dns.clone().unwrap();
    assert_eq!(dns.nameservers, ["1.1.1.1", "2606:4700:4700::1111"]);
    assert_eq!(dns.search_domains, ["corp.example.com"]);
    assert_eq!(dns.split, [split("corp.example.com", &["10.0.0.54"])]);
    let both = [
        record("printer.home.test", "A", "100.64.0.7"),
        record("printer.home.test", "AAAA", "fd7a:115c:a1e0::7"),
    ];
    assert_eq!(dns.records, both);
    assert_eq!(tailnet.magic_dns_suffix, "new.test");
    let gone = Change::RemoveRecord(record("PRINTER.home.test", "", ""));
    apply_changes(&mut tailnet, vec![change(gone)]).unwrap();
    assert!(tailnet.dns.unwrap().records.is_empty());
}

#[test]
fn what_clients_can_not_do_is_refused_and_says_what_to_do() {
    let put = |name: &str, kind: &str, value: &str| {
        vec![change(Change::PutRecord(record(name, kind, value)))]
    };
    for (changes, says) in [
        (
            put("*.apps.example.com", "A", "100.64.0.7"),
            "dns-subdomain-resolve",
        ),
        (put("printer", "A", "100.64.0.7"), "whole name"),
        (put("a.test", "CNAME", "b.test"), "no IP address"),
        (put("a.test", "TXT", "100.64.0.7"), "only A and AAAA"),
        (put("a.test", "A", "fd7a::1"), "IPv4"),
        (put("a.test", "AAAA", "100.64.0.7"), "IPv6"),
        (put("a..test", "A", "100.64.0.7"), "no DNS name"),
        (put("ä.test", "A", "100.64.0.7"), "no DNS name"),
        (
            put(&format!("{}.test", "a".repeat(64)), "A", "100.64.0.7"),
            "no DNS name",
        ),
        (
            vec![change(Change::Nameservers(names(&["100.100.100.100"])))],
            "answer themselves",
        ),
        (
            vec![change(Change::Nameservers(names(&["dns.test"])))],
            "neither",
        ),
        (
            vec![change(Change::Nameservers(names(&["1.1.1.1:53"])))],
            "neither",
        ),
        (
            vec![change(Change::Nameservers(names(&["https://"])))],
            "neither",
        ),
        (
            vec![change(Change::Nameservers(names(&["0.0.0.0"])))],
            "no address of a server",
        ),
        (
            vec![change(Change::OverrideLocal(true))],
            "set nameservers first",
        ),
        (
            vec![change(Change::PutSplit(split("corp.test", &[])))],
            "no nameservers",
        ),
        (
            vec![change(Change::RemoveSplit("corp.test".to_owned()))],
            "no such suffix",
        ),
        (
            vec![change(Change::RemoveRecord(record("a.test", "", "")))],
            "no such DNS record",
        ),
        (
            vec![change(Change::MagicDnsSuffix(String::new()))],
            "no DNS name",
        ),
        (
            vec![change(Change::MagicDnsSuffix(
                ["a".repeat(60).as_str(); 4].join("."),
            ))],
            "no room",
        ),
        (vec![DnsChange::default()], "says nothing"),
    ] {
        let refused = refusal(changes.clone());
        assert!(refused.contains(says), "{changes:?}: {refused}");
    }
    let two = [
        record("a.test", "A", "100.64.0.7"),
        record("a.test", "A", "100.64.0.8"),
    ];
    let two = two.map(|record| change(Change::PutRecord(record)));
    assert!(refusal(two.to_vec()).contains("remove it first"));
}

#[test]
fn number_and_size_are_bounded() {
    let servers: Vec<_> = (0..101).map(|number| format!("10.0.0.{number}")).collect();
    let values = servers.iter().map(String::as_str).collect::<Vec<_>>();
    let refused = refusal(vec![change(Change::Nameservers(names(&values)))]);
    assert!(refused.contains("at most 100"), "{refused}");
    let records = |count, length: usize| {
        let name = move |number| format!("{}.{number}.test", "a".repeat(length));
        let records = (0..count).map(move |number| record(&name(number), "A", "100.64.0.7"));
        let records = records.collect();
        normalize_settings(DnsSettings {
            records,
            ..DnsSettings::default()
        })
    };
    assert!(records(1000, 5).is_ok());
    let refused = records(1001, 5).unwrap_err().to_string();
    assert!(refused.contains("at most 1000"), "{refused}");
    let refused = records(900, 60).unwrap_err().to_string();
    assert!(refused.contains("larger than"), "{refused}");
    let many = vec![change(Change::MagicDns(true)); 1001];
    assert!(refusal(many).contains("several requests"));
}
