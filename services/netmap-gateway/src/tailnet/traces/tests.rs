use super::*;

/// Returns a span of some number.
fn span(number: u64) -> TraceParent {
    let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{number:016x}-01");
    TraceParent::parse(&text).unwrap()
}

#[test]
fn a_delta_follows_from_the_generations_that_it_tells() {
    let mut recent = RecentOrigins::default();
    for number in 1..=3 {
        recent.note(Generation(number), vec![span(number)]);
    }
    let mut take = |since, told| recent.take(Generation(since), Generation(told));
    assert_eq!(take(0, 1), [span(1)]);
    assert_eq!(take(1, 3), [span(2), span(3)]);
    assert_eq!(take(3, 3), []);
    assert_eq!(take(3, 9), []);
}

#[test]
fn deltas_of_a_generation_and_generations_are_bounded() {
    let mut recent = RecentOrigins::default();
    recent.note(Generation(1), vec![span(1)]);
    for _ in 0..MOST_DELTAS {
        assert_eq!(recent.take(Generation(0), Generation(1)), [span(1)]);
    }
    assert_eq!(recent.take(Generation(0), Generation(1)), []);
    for number in 2..200 {
        recent.note(Generation(number), vec![span(number)]);
    }
    assert_eq!(recent.0.len(), MOST_GENERATIONS);
    let found = recent.take(Generation(0), Generation(200));
    assert_eq!(found.last(), Some(&span(199)));
    assert!(found.len() < 10, "{}", found.len());
}
