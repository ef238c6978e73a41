use super::*;

#[tokio::test(start_paused = true)]
async fn a_share_of_the_drain_counts_from_its_start() {
    let shutdown = Shutdown::new(Duration::from_secs(100));
    let start = Instant::now();
    shutdown.drain();
    tokio::time::advance(Duration::from_secs(30)).await;
    shutdown.drain();
    shutdown.wait_for_drain_share(0.5).await;
    assert_eq!(start.elapsed().as_secs(), 50);
    shutdown.wait_for_drain_share(0.1).await;
    assert_eq!(start.elapsed().as_secs(), 50, "that share is over");
}
