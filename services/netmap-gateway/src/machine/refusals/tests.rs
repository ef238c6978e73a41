use super::*;

#[test]
fn each_source_has_one_line_a_minute() {
    let log = RefusalLog::default();
    let now = Instant::now();
    let machine = MachinePublic::from_bytes([1; 32]);
    let note = |last: u8, seconds| {
        let source = IpAddr::from([192, 0, 2, last]);
        log.log_refusal(source, machine, "KEY", now + Duration::from_secs(seconds))
    };
    let lines = (0..3000).filter(|_| note(1, 0)).count();
    assert_eq!(lines, 1);
    assert!(note(2, 0) && !note(1, 59) && note(1, 60));
}
