use super::*;

/// Publishes as often as one change in each millisecond asks for; returns the time between the last two views.
fn publish_for(pace: &mut PublishPace, sessions: usize, time: Duration) -> Duration {
    let (start, step) = (Instant::now(), Duration::from_millis(1));
    let (mut now, mut last) = (start, Duration::ZERO);
    while now < start + time {
        pace.note_change(ChangeKind::Soft, now);
        if pace.next_at().is_some_and(|at| at <= now) {
            last = now - pace.published_at;
            pace.note_published(sessions, now);
        }
        now += step;
    }
    last
}

#[tokio::test(start_paused = true)]
async fn change_after_quiet_is_published_at_once() {
    let now = Instant::now();
    let mut pace = PublishPace::new(now);
    assert_eq!(pace.next_at(), None);
    pace.note_change(ChangeKind::Soft, now);
    assert_eq!(pace.next_at(), Some(now));
    pace.note_published(1000, now);
    assert_eq!(pace.next_at(), None);
    let later = now + Duration::from_millis(20);
    pace.note_change(ChangeKind::Soft, later);
    assert!(pace.next_at().unwrap() <= later);
}

#[tokio::test(start_paused = true)]
async fn soft_state_that_does_not_stop_changing_is_published_seldom_where_many_are_told() {
    for (sessions, expected) in [(1, 3), (300, 30), (1000, 100), (15_000, 100)] {
        let mut pace = PublishPace::new(Instant::now());
        let last = publish_for(&mut pace, sessions, Duration::from_secs(2));
        assert_eq!(last, Duration::from_millis(expected), "{sessions} sessions");
        // Once it has stopped for a while, the next is published at once.
        let quiet = Instant::now() + Duration::from_secs(3);
        pace.note_change(ChangeKind::Soft, quiet);
        assert!(pace.next_at().unwrap() <= quiet);
    }
}

#[tokio::test(start_paused = true)]
async fn pace_is_the_first_again_after_quiet() {
    let mut pace = PublishPace::new(Instant::now());
    publish_for(&mut pace, 1000, Duration::from_secs(2));
    let mut now = pace.published_at;
    for _ in 0..2 {
        now += Duration::from_millis(200);
        pace.note_change(ChangeKind::Soft, now);
        pace.note_published(1000, now);
    }
    let soon = now + Duration::from_millis(20);
    pace.note_change(ChangeKind::Soft, soon);
    assert!(pace.next_at().unwrap() <= soon);
}

#[tokio::test(start_paused = true)]
async fn hard_state_does_not_wait_for_soft_state() {
    let mut pace = PublishPace::new(Instant::now());
    publish_for(&mut pace, 1000, Duration::from_secs(2));
    let now = pace.published_at + Duration::from_millis(5);
    pace.note_change(ChangeKind::Soft, now);
    assert!(pace.next_at().unwrap() > now);
    pace.note_change(ChangeKind::Hard, now);
    assert!(pace.next_at().unwrap() <= now);
    // What comes after it waits with it.
    pace.note_change(ChangeKind::Soft, now);
    assert!(pace.next_at().unwrap() <= now);
}

/// Publishes views of 15,000 sessions, which take so long to be woken; returns the time between the last two.
fn publish_and_wake(pace: &mut PublishPace, waking: Duration, views: usize) -> Duration {
    let mut last = Duration::ZERO;
    for _ in 0..views {
        pace.note_change(ChangeKind::Soft, pace.published_at);
        let now = pace.next_at().expect("a change waits");
        last = now - pace.published_at;
        pace.note_published(15_000, now);
        pace.note_woken(now + waking);
    }
    last
}

#[tokio::test(start_paused = true)]
async fn soft_state_is_published_more_seldom_while_it_takes_long_to_wake_sessions() {
    let mut pace = PublishPace::new(Instant::now());
    assert_eq!(publish_and_wake(&mut pace, Duration::ZERO, 20), LONGEST);
    let some = publish_and_wake(&mut pace, Duration::from_millis(50), 20);
    assert_eq!(some, Duration::from_millis(50) * TIMES_WAKING);
    let long = publish_and_wake(&mut pace, Duration::from_secs(1), 20);
    assert_eq!(long, LONGEST_WHILE_BUSY);
    assert_eq!(publish_and_wake(&mut pace, Duration::ZERO, 20), LONGEST);
}
