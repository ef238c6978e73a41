use bowline_proto::key_registry::v1::HostReport;

use super::*;

#[test]
fn later_report_counts_with_what_an_earlier_one_said_of_the_host() {
    let sent = |sequence, hostname: Option<&str>| {
        let host = hostname.map(|hostname| HostReport {
            hostname: hostname.to_owned(),
            ..HostReport::default()
        });
        let report = ClientReport {
            sequence,
            host,
            ..ClientReport::default()
        };
        Some((report, Instant::now()))
    };
    for (later, earlier, expected) in [
        (sent(2, Some("b")), sent(1, Some("a")), (2, Some("b"))),
        (sent(2, None), sent(1, Some("a")), (2, Some("a"))),
        (sent(2, None), None, (2, None)),
        (None, sent(1, Some("a")), (1, Some("a"))),
    ] {
        let (report, _) = newest_report(later, earlier).unwrap();
        let hostname = report.host.as_ref().map(|host| host.hostname.as_str());
        assert_eq!((report.sequence, hostname), expected);
    }
}
