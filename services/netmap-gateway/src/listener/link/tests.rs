use futures_util::FutureExt as _;

use super::*;

async fn after(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn watched_client_that_has_answered_is_gone_when_it_falls_silent() {
    let link = Link::new();
    let start = Instant::now();
    let death = link.wait_until_dead();
    tokio::pin!(death);
    after(1000).await;
    link.set_watched(true);
    after(1000).await;
    assert!(
        death.as_mut().now_or_never().is_none(),
        "it has never answered"
    );
    link.note_heard();
    link.note_answer();
    for _ in 0..10 {
        after(11).await;
        assert!(death.as_mut().now_or_never().is_none(), "it is slow");
        link.note_heard();
    }
    link.set_watched(false);
    after(1000).await;
    assert!(death.as_mut().now_or_never().is_none(), "nobody watches");
    link.set_watched(true);
    let watched = start.elapsed();
    death.await;
    assert_eq!(start.elapsed() - watched, SILENCE);
    assert!(link.is_dead());
}
