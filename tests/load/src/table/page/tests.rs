use super::*;

fn done(run: TableRun, nodes: u32, milliseconds: f64) -> DoneRun {
    let phase = PhaseReport {
        phase: "changes".to_owned(),
        operations: 100,
        measured_seconds: 20.0,
        server_cpu: [("bowline".to_owned(), milliseconds / 10.0)].into(),
        messages: 10_000,
        views: 100,
        ..PhaseReport::default()
    };
    DoneRun {
        arguments: String::new(),
        report: Some(RunReport {
            nodes,
            policy: "scoped".to_owned(),
            target: "one process".to_owned(),
            phases: vec![phase],
        }),
        error: None,
        run,
    }
}

fn page(runs: &[DoneRun]) -> TablePage {
    let mut page = TablePage::new(MeasuredMachine::default(), "bowline-load table");
    page.read(runs);
    page
}

fn met(page: &TablePage, metric: &str) -> Option<bool> {
    let mut lines = page.lines.iter();
    lines.find(|line| line.metric.starts_with(metric))?.is_met
}

#[test]
fn what_is_wanted_is_met_or_not() {
    let quick = page(&[done(TableRun::Serve, 1000, 12.0)]);
    assert_eq!(met(&quick, "CPU for each change"), Some(true));
    let slow = page(&[done(TableRun::Serve, 1000, 14.0)]);
    assert_eq!(met(&slow, "CPU for each change"), Some(false));
    // Not measured.
    assert_eq!(met(&slow, "registrations"), None);
    assert!(slow.to_markdown().contains("| P6 | CPU for each change, ms | one process, 1000 nodes, scoped | 14.0 | ≤ 13 | no |  |"), "{}", slow.to_markdown());
}

#[test]
fn how_a_change_grows_is_fitted_to_several_sizes() {
    let sizes = |last| {
        [
            done(TableRun::GrowthSmall, 1000, 8.0),
            done(TableRun::GrowthMiddle, 3000, 8.0),
            done(TableRun::GrowthLarge, 10_000, last),
        ]
    };
    assert_eq!(met(&page(&sizes(8.0)), "exponent of CPU"), Some(true));
    assert_eq!(met(&page(&sizes(12.0)), "exponent of CPU"), Some(false));
    // Twice as much for twice as many is as much for each.
    let mut more_told = sizes(16.0);
    if let Some(report) = &mut more_told[2].report {
        report.phases[0].messages *= 2;
    }
    assert_eq!(met(&page(&more_told), "exponent of CPU"), Some(true));
    assert!(page(&sizes(8.0)[..1]).lines.is_empty());
}

#[test]
fn a_run_that_could_not_be_done_makes_the_table_wrong() {
    let mut runs = [done(TableRun::Serve, 1000, 12.0)];
    assert!(page(&runs).is_right());
    runs[0].error = Some("no port".to_owned());
    assert!(!page(&runs).is_right() && page(&runs).to_text().contains("no port"));
}
