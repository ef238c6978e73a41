use bowline_proto::policy::v1::JudgeNodeResponse;

use super::*;

#[test]
fn what_is_kept_of_a_report_is_bounded() {
    let report = HostReport {
        hostname: "ü".repeat(1000),
        hostinfo: vec![1; 60_000],
        advertised_routes: (0..5000_u32)
            .map(|number| format!("10.{}.{}.0/24", number / 256, number % 256))
            .collect(),
        requested_tags: vec!["tag:".repeat(1000); 5000],
        ..HostReport::default()
    };
    let kept = logged_part(&report);
    assert_eq!(kept.hostname.len(), LONGEST_NAME);
    assert_eq!(
        (kept.advertised_routes.len(), kept.requested_tags.len()),
        (1000, MOST_TAGS)
    );
    assert!(kept.hostinfo.is_empty() && prost::Message::encoded_len(&kept) < 64 << 10);
}

#[test]
fn routes_that_are_offered_no_more_are_not_approved_any_more() {
    let list = |routes: &[&str]| routes.iter().map(|&route| route.to_owned()).collect();
    let mut node = Node::default();
    routes::approve_by_administrator(&mut node, list(&["192.168.0.0/24"]));
    for round in 0..50 {
        let offered: Vec<String> = list(&[&format!("10.0.{round}.0/24")]);
        let report = HostReport {
            advertised_routes: offered.clone(),
            ..HostReport::default()
        };
        let judgement = ReportJudgement::new(JudgeNodeResponse {
            approved_routes: offered.clone(),
            ..JudgeNodeResponse::default()
        });
        apply_report(&mut node, &report, Some(&judgement), DateTime::UNIX_EPOCH);
        assert_eq!(node.advertised_routes, offered);
        assert_eq!(node.approved_routes, [&*offered[0], "192.168.0.0/24"]);
    }
}
