use bowline_proto::key_registry::v1::HostReport;

use bowline_netmap::fixture::node_id;

use super::*;

#[test]
fn who_comes_back_waits_longer_each_time_until_it_is_left_alone() {
    let contest = KeyContest::default();
    let start = Instant::now();
    assert_eq!(contest.note_return(node_id(7)), None);
    let mut waits = Vec::new();
    for round in 0..6 {
        contest.note_loss(node_id(7), start + Duration::from_secs(30 * round));
        waits.extend(contest.note_return(node_id(7)).map(|wait| wait.as_secs()));
        assert_eq!(contest.note_return(node_id(8)), None, "another node's slot");
        assert!(
            contest
                .note_slot_regained(node_id(7), || Some(ClientReport::default()))
                .is_some()
        );
        assert_eq!(contest.note_return(node_id(7)), None, "it has its slot");
    }
    assert_eq!(waits, [2, 4, 8, 15, 15, 15]);
    contest.note_loss(node_id(7), start + Duration::from_secs(150) + OVER);
    assert_eq!(contest.note_return(node_id(7)), Some(FIRST_WAIT));
}

#[test]
fn reports_of_who_has_no_seat_are_told_when_it_has() {
    let contest = KeyContest::default();
    let report = |capability_version, home_derp: Option<u32>| ClientReport {
        capability_version,
        host: home_derp.map(|home_derp| HostReport {
            home_derp,
            ..HostReport::default()
        }),
        ..ClientReport::default()
    };
    assert!(
        contest.keep_report(node_id(7), report(1, None)).is_some(),
        "told at once"
    );
    contest.note_loss(node_id(7), Instant::now());
    assert!(
        contest.keep_report(node_id(7), report(1, None)).is_some(),
        "its client may be on another connection"
    );
    assert!(contest.note_return(node_id(7)).is_some());
    assert_eq!(contest.keep_report(node_id(7), report(2, Some(900))), None);
    assert_eq!(contest.keep_report(node_id(7), report(3, None)), None);
    assert!(contest.keep_report(node_id(8), report(4, None)).is_some());
    let asked = report(1, Some(901));
    let told = contest.note_slot_regained(node_id(7), || Some(asked.clone()));
    assert_eq!(told, Some(report(3, Some(900))));
    assert_eq!(
        contest.note_slot_regained(node_id(7), || Some(asked.clone())),
        None,
        "it has it"
    );
    assert!(contest.keep_report(node_id(7), report(5, None)).is_some());
    contest.note_loss(node_id(7), Instant::now());
    assert!(contest.note_return(node_id(7)).is_some());
    let told = contest.note_slot_regained(node_id(7), || Some(asked.clone()));
    assert_eq!(told, Some(asked), "it had nothing new to say");
}
