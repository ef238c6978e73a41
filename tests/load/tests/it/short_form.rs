//! Both deployments, with nodes that go wrong and strangers who lie.

use bowline_load::{Options, PhaseReport, RunReport, run_load};
use clap::Parser as _;

/// All phases in order.
const PHASES: [&str; 18] = [
    "other tailnets",
    "other tailnets, idle",
    "register",
    "connect",
    "reports",
    "idle",
    "joins",
    "changes",
    "policy: two people",
    "policy: one and all",
    "policy: back",
    "expire",
    "disable",
    "delete",
    "suspend",
    "reconnect",
    "crash",
    "other tailnets, at the end",
];

/// Runs the load, unless what it needs is not installed.
async fn load(arguments: &[&str]) -> Option<RunReport> {
    let short = [
        "load",
        "--nodes=100",
        "--seconds=2",
        "--rate=10",
        "--boxes=10",
        "--faulty=5",
        "--other-tailnets=6",
    ];
    let options = Options::try_parse_from(short.iter().chain(arguments)).unwrap();
    run_load(options, |_| ()).await.unwrap()
}

fn assert_right(report: &RunReport) {
    let phases: Vec<_> = report
        .phases
        .iter()
        .map(|phase| phase.phase.as_str())
        .collect();
    assert_eq!(phases, PHASES);
    assert!(report.is_right(), "{}", report.to_text());
    for phase in &report.phases {
        let views = match phase.phase.as_str() {
            "register" => 0,
            name if name.starts_with("other tailnets") => 12,
            // Ten stop reading, five are cut off, and a fifth of the others is revoked.
            _ => 60,
        };
        assert!(phase.views >= views, "{}", report.to_text());
    }
    let revoked = |phase: &&PhaseReport| ["expire", "disable", "delete"].contains(&&*phase.phase);
    for phase in report.phases.iter().filter(revoked) {
        assert!(
            phase.operations >= 4 && phase.nodes_told > 0,
            "{}",
            report.to_text()
        );
        assert_eq!(
            phase.latency_ms.map(|times| times.count),
            u64::try_from(phase.operations).ok()
        );
    }
    let changes = &report.phases[7];
    assert_eq!(changes.operations, 20);
    assert!(changes.latency_ms.is_some(), "{}", report.to_text());
    assert!(
        changes.figures["recipients that were never told"] < 1.0,
        "{}",
        report.to_text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_of_one_process_is_told_what_the_policy_allows() {
    if let Some(report) = load(&["--policy=scoped", "--tls"]).await {
        assert_right(&report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_of_two_gateways_is_told_what_the_policy_allows() {
    if let Some(report) = load(&["--deployment=separate"]).await {
        assert_right(&report);
    }
}
