use super::*;

/// Returns the shortest and the longest answer to so many refusals within a moment.
fn answers(refusals: u64) -> (u64, u64) {
    let mut window = RetryWindow::default();
    let now = Instant::now();
    let told = (0..refusals)
        .map(|random| window.note_refusal(now, random))
        .skip(usize::try_from(refusals / 2).expect("small"));
    let told: Vec<u64> = told.collect();
    (
        *told.iter().min().expect("some"),
        *told.iter().max().expect("some"),
    )
}

#[test]
fn few_come_back_within_seconds_and_many_within_minutes() {
    assert_eq!(answers(10), (1, 5));
    assert_eq!(answers(4000), (1, 40));
    assert_eq!(answers(100_000), (1, 120));
}

#[test]
fn window_shrinks_again() {
    let mut window = RetryWindow::default();
    let now = Instant::now();
    for _ in 0..4000 {
        window.note_refusal(now, 0);
    }
    assert_eq!(window.note_refusal(now, 39), 40);
    let later = now + Duration::from_secs(60);
    assert_eq!(window.note_refusal(later, 4), 5);
    assert_eq!(window.note_refusal(later, 5), 1);
}
