use bowline_proto::key_registry::v1::HostReport;

use bowline_netmap::fixture::node_id;

use super::*;

#[tokio::test]
async fn flood_of_reports_leaves_the_newest_of_each_node_with_what_it_said_of_the_host() {
    let inputs = LocalInputs::default();
    let host = HostReport {
        home_derp: 9,
        ..HostReport::default()
    };
    for sequence in 1..=10_000 {
        let report = ClientReport {
            sequence,
            host: (sequence == 1).then(|| host.clone()),
            ..ClientReport::default()
        };
        inputs.add_report(node_id(2 - sequence % 2), report);
    }
    for (sequence, applied_at) in [(7, Some(3)), (9, None), (8, Some(4))] {
        let outcome = ReportOutcome {
            sequence,
            applied_at,
        };
        inputs.add_outcome(node_id(1), outcome);
    }
    let waiting = inputs.next().await.expect("it is open");
    let sequences = waiting.reports.values().map(|report| report.sequence);
    assert_eq!(sequences.collect::<Vec<_>>(), [9999, 10_000]);
    assert_eq!(waiting.reports[&node_id(1)].host, Some(host));
    assert_eq!(waiting.outcomes[&node_id(1)].sequence, 9);
    inputs.close_inputs();
    assert!(inputs.next().await.is_none());
}
