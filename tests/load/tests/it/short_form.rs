//! Both deployments, with nodes that go wrong and strangers who lie; everything at once; and the whole table.

use bowline_load::{Options, PageForm, PhaseReport, RunReport, TableOptions, make_table, run_load};
use clap::Parser as _;
use tokio::sync::Semaphore;

/// So many loads are there at once: a server that is kept waiting by others answers too late.
static LOADS: Semaphore = Semaphore::const_new(2);

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
        "--nodes=100",
        "--seconds=2",
        "--rate=10",
        "--boxes=10",
        "--faulty=5",
        "--other-tailnets=6",
        // The table has nodes that are alone.
        "--phases=reports,idle,joins,changes,policy,expire,disable,delete,suspend,reconnect,crash",
    ];
    load_with(&short, arguments).await
}

async fn load_with(size: &[&str], arguments: &[&str]) -> Option<RunReport> {
    let _turn = LOADS.acquire().await.unwrap();
    let arguments = ["load"].iter().chain(size).chain(arguments);
    let options = Options::try_parse_from(arguments).unwrap();
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
    let changes = report.phase("changes").unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_soak_ends_with_every_view_right_and_says_how_memory_grows() {
    let arguments = ["--phases=soak", "--seconds=10", "--rate=20"];
    let Some(report) = load_with(&["--nodes=60", "--faulty=5"], &arguments).await else {
        return;
    };
    assert!(report.is_right(), "{}", report.to_text());
    let soak = report.phase("soak").unwrap();
    assert!(
        soak.operations == 200 && soak.views > 40,
        "{}",
        report.to_text()
    );
    assert!(soak.samples.len() > 5, "{}", report.to_text());
    assert!(
        soak.samples
            .iter()
            .all(|sample| sample.mebibytes > 1.0 && sample.descriptors > 60)
    );
    let figures: Vec<_> = soak.figures.keys().collect();
    assert!(
        figures.contains(&&"percent that memory grows in ten minutes"),
        "{figures:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_table_is_made_in_small() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = TableOptions {
        quick: true,
        output: PageForm::Text,
        json: Some(file.path().to_owned()),
        from: None,
    };
    let turn = LOADS.acquire().await.unwrap();
    let page = make_table(&options, |_| ()).await.unwrap();
    drop(turn);
    let is_missing = |error: &String| error.contains("is not installed");
    if page.errors.iter().any(is_missing) {
        return;
    }
    assert!(page.is_right(), "{}", page.to_text());
    // Each row has a figure, and each goal is met or not.
    let empty = page.lines.iter().filter(|line| line.figure == "-").count();
    assert!(page.lines.len() > 60 && empty == 0, "{}", page.to_text());
    let judged = page
        .lines
        .iter()
        .all(|line| line.is_met.is_some() != line.goal.is_empty());
    assert!(judged, "{}", page.to_text());
    // What was written down is the same table.
    let options = TableOptions {
        quick: false,
        json: None,
        from: Some(file.path().to_owned()),
        ..options
    };
    let written = make_table(&options, |_| ()).await.unwrap();
    assert_eq!(written.to_markdown(), page.to_markdown());
}
