use super::*;

#[test]
fn nobody_who_asks_a_server_that_is_being_started_counts_and_one_who_gets_no_answer_later_does() {
    let begin = Instant::now();
    let probe = |number: u32, took| (begin + PAUSE * number, took);
    let answered = Some(Duration::from_millis(3));
    // They come in the order in which they end.
    let probes = KeyProbes::of(vec![
        probe(3, None),
        probe(1, None),
        probe(2, answered),
        probe(0, None),
    ]);
    assert_eq!(probes.unanswered, 1);
    assert_eq!(probes.took, [Duration::from_millis(3), PATIENCE]);
    assert_eq!(KeyProbes::of(vec![probe(0, None)]).unanswered, 1);
}
