use super::*;

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

#[tokio::test]
async fn newcomers_wait_only_for_those_who_were_told_to_go() {
    let limits = SeatLimits {
        all: 1,
        of_one_holder: 1,
    };
    let seats: Arc<Seats<()>> = Seats::new(limits);
    let mut held = Vec::new();
    for _ in 0..=LEAVING {
        held.push(seats.take(ip("192.0.2.1")).await.expect("a seat"));
    }
    let (last, told) = held.split_last().expect("some");
    for seat in told {
        seat.handle().displaced().await;
    }
    let waiting = seats.take(ip("192.0.2.2"));
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let handle = last.handle();
    held.remove(0);
    let newest = waiting.await.expect("a seat");
    handle.displaced().await;
    assert!(newest.handle().settle(()));
    held.clear();
    assert!(seats.take(ip("192.0.2.1")).await.is_none());
}
