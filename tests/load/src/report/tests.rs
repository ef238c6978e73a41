use super::*;

#[test]
fn latency_is_summed_up_in_milliseconds() {
    let times = (1..=1000).map(Duration::from_millis);
    let summary = LatencySummary::of(times).unwrap();
    assert_eq!(summary.count, 1000);
    let is_near = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 0.002;
    assert!(
        is_near(summary.p50, 500.0) && is_near(summary.p99, 990.0),
        "{summary:?}"
    );
    assert!(is_near(summary.max, 1000.0), "{summary:?}");
    assert_eq!(LatencySummary::of([]), None);
}

#[test]
fn one_wrong_view_makes_a_run_wrong() {
    let phase = |fault_count| PhaseReport {
        fault_count,
        ..PhaseReport::default()
    };
    let run = |phases| RunReport {
        nodes: 100,
        policy: "allow".to_owned(),
        target: "one process".to_owned(),
        phases,
    };
    assert!(run(vec![phase(0), phase(0)]).is_right());
    assert!(!run(vec![phase(0), phase(1)]).is_right());
}
