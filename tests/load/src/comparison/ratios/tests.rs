use super::*;
use crate::report::{LatencySummary, PhaseReport};

fn run(seconds: f64, latency: f64, is_cut_off: bool) -> RunReport {
    let phase = |name: &str| PhaseReport {
        phase: name.to_owned(),
        operations: 100,
        seconds,
        latency_ms: Some(LatencySummary {
            count: 100,
            p50: latency,
            p99: latency * 2.0,
            max: latency * 3.0,
        }),
        is_cut_off,
        server_cpu: [("server".to_owned(), seconds)].into(),
        ..PhaseReport::default()
    };
    RunReport {
        nodes: 100,
        policy: "allow".to_owned(),
        target: String::new(),
        phases: ["register", "changes"].map(phase).into(),
    }
}

fn page(pairs: &[Pair]) -> ComparisonPage {
    ComparisonPage::new(MeasuredMachine::default(), String::new(), pairs)
}

#[test]
fn rates_and_times_are_both_better_by_more_than_one() {
    let pair = Pair {
        headscale: run(20.0, 600.0, false),
        bowline: run(2.0, 6.0, false),
    };
    let page = page(&[pair]);
    let ratio = |metric: &str| {
        let row = page.rows.iter().find(|row| row.metric.starts_with(metric));
        row.map(|row| row.ratio)
    };
    assert_eq!(ratio("registrations a second"), Some(10.0));
    assert_eq!(ratio("endpoint told to each peer, p50"), Some(100.0));
    assert_eq!(ratio("killed and started"), None);
    assert_eq!(page.worst().map(|row| row.ratio), Some(10.0));
}

#[test]
fn each_metric_weighs_as_much_however_many_rows_it_has() {
    let row = |number: &str, ratio| RatioRow {
        number: number.to_owned(),
        metric: String::new(),
        headscale: ratio,
        bowline: 1.0,
        ratio,
        is_cut_off: false,
    };
    let rows = [
        row("P1", 2.0),
        row("P2", 8.0),
        row("P2", 8.0),
        row("P2", 8.0),
    ];
    let mean = mean_ratio(&rows).unwrap_or_default();
    assert!((mean - 4.0).abs() < 1e-9, "{mean}");
}

#[test]
fn the_pair_in_the_middle_counts_and_what_was_cut_off_is_marked() {
    let pair = |latency, is_cut_off| Pair {
        headscale: run(1.0, latency, is_cut_off),
        bowline: run(1.0, 1.0, false),
    };
    let page = page(&[pair(900.0, true), pair(5.0, false), pair(7.0, false)]);
    let row = page.rows.iter().find(|row| row.number == "P5");
    assert_eq!(row.map(|row| row.headscale), Some(7.0));
    assert!(
        page.to_markdown().contains("| > 7.00 | 1.00 | > 7.00 |"),
        "{}",
        page.to_markdown()
    );
}
