use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

/// Returns both ends of a connection, and the switch of the first.
async fn connection() -> (FaultyLink, TcpStream, LinkSwitch) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (stream, accepted) = tokio::join!(connecting, listener.accept());
    let switch = LinkSwitch::healthy();
    let link = FaultyLink::new(stream.unwrap(), switch.clone());
    (link, accepted.unwrap().0, switch)
}

#[tokio::test]
async fn link_that_is_cut_sends_nothing_and_one_that_stalls_reads_nothing() {
    let (mut link, mut other, switch) = connection().await;
    switch.set(NodeMode::HalfOpen);
    link.write_all(b"lost").await.unwrap();
    switch.set(NodeMode::Stalled);
    link.write_all(b"sent").await.unwrap();
    let mut received = [0; 4];
    other.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"sent");
    other.write_all(b"kept").await.unwrap();
    assert!(link.read_exact(&mut received).now_or_never().is_none());
    switch.set(NodeMode::Healthy);
    link.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"kept");
}

#[tokio::test]
async fn slow_link_reads_everything_at_its_pace() {
    let (mut link, mut other, switch) = connection().await;
    switch.set(NodeMode::Slow);
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(24 << 10).collect();
    let begin = Instant::now();
    other.write_all(&sent).await.unwrap();
    let mut received = vec![0; sent.len()];
    link.read_exact(&mut received).await.unwrap();
    assert_eq!(received, sent);
    // The last piece is not paid for.
    let least = Duration::from_secs(1) * (20 << 10) / SLOW_BYTES;
    assert!(begin.elapsed() >= least, "{:?}", begin.elapsed());
}
