use tokio::time::sleep;

use super::*;

#[tokio::test(start_paused = true)]
async fn work_that_takes_long_delays_no_other() {
    let begin = Instant::now();
    let started = run_at_rate(4, 10.0, |number, intended| async move {
        let started = Instant::now();
        sleep(Duration::from_secs(3600)).await;
        (number, intended, started)
    });
    let mut started = started.await;
    started.sort_unstable();
    assert_eq!(started.len(), 4);
    let tenth = Duration::from_millis(100);
    for ((number, intended, started), after) in started.into_iter().zip(0..) {
        assert_eq!((number, intended), (after as usize, begin + tenth * after));
        // A timer is as exact as a millisecond.
        assert!(started - intended <= Duration::from_millis(1));
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_pieces_are_under_way_and_no_more() {
    let begin = Instant::now();
    let pieces = (0..10).map(|_| async { sleep(Duration::from_secs(1)).await });
    assert_eq!(run_in_parallel(pieces, 4).await.len(), 10);
    assert_eq!(begin.elapsed().as_secs(), 3);
}
