use bowline_service_kit::Shutdown;
use futures_util::FutureExt as _;

use bowline_netmap::fixture::node_id;

use super::*;

type Pieces = BoxStream<'static, Result<Bytes, FrameError>>;

fn connection() -> Connection {
    Connection::unconnected(Shutdown::new(Duration::ZERO), 1)
}

fn frame(bytes: usize) -> Bytes {
    Bytes::from(vec![7; bytes])
}

/// A response with a first frame and nothing after it, open until its client leaves.
async fn response(deliveries: &Deliveries, kind: DeliveryKind, bytes: usize) -> Pieces {
    let delivery = deliveries.begin(node_id(1), kind, connection());
    assert!(delivery.hold_first(frame(bytes)).await);
    delivery.pieces(stream::pending())
}

async fn next(pieces: &mut Pieces) -> Option<usize> {
    let piece = pieces.next().await?;
    Some(piece.expect("a piece").len())
}

#[tokio::test(start_paused = true)]
async fn room_is_given_back_piece_by_piece_and_a_first_frame_waits_for_it() {
    let deliveries = Deliveries::new(100);
    let mut one = response(&deliveries, DeliveryKind::Stream, 96 << 10).await;
    assert_eq!(deliveries.room.available_permits(), 4);
    let late = deliveries.begin(node_id(2), DeliveryKind::Stream, connection());
    assert!(!late.hold_first(frame(36 << 10)).await, "no room");
    assert_eq!(next(&mut one).await, Some(PIECE));
    assert!(late.hold_first(frame(36 << 10)).await);
    for _ in 0..2 {
        assert_eq!(next(&mut one).await, Some(PIECE));
    }
    assert!(next(&mut one).now_or_never().is_none(), "nothing to tell");
    drop(late);
    assert_eq!(deliveries.room.available_permits(), 100);
}

#[tokio::test(start_paused = true)]
async fn third_response_of_a_kind_ends_the_first_which_holds_nothing_any_more() {
    let deliveries = Deliveries::new(100);
    let mut responses = Vec::new();
    for _ in 0..5 {
        responses.push(response(&deliveries, DeliveryKind::Once, 20 << 10).await);
    }
    let mut stream = response(&deliveries, DeliveryKind::Stream, 20 << 10).await;
    assert_eq!(
        deliveries.room.available_permits(),
        40,
        "two of one kind and one of the other"
    );
    let mut taken = Vec::new();
    for response in &mut responses {
        taken.push(next(response).await);
    }
    let whole = Some(20 << 10);
    assert_eq!(taken, [None, None, None, whole, whole]);
    assert_eq!(next(&mut stream).await, whole);
    drop((responses, stream));
    assert!(deliveries.lock_table().of_nodes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn response_that_nobody_takes_ends_with_its_connection() {
    let deliveries = Deliveries::new(200);
    let closing = connection();
    let unread = deliveries.begin(node_id(1), DeliveryKind::Stream, closing.clone());
    assert!(unread.hold_first(frame(64 << 10)).await);
    let mut unread = unread.pieces(stream::pending());
    let mut read = response(&deliveries, DeliveryKind::Stream, 64 << 10).await;
    assert_eq!(next(&mut unread).await, Some(PIECE));
    assert_eq!(next(&mut read).await, Some(PIECE));
    let start = Instant::now();
    deliveries.end_stalled_responses(start + STANDSTILL / 2);
    assert_eq!(next(&mut read).await, Some(PIECE));
    assert!(next(&mut read).now_or_never().is_none(), "all is taken");
    deliveries.end_stalled_responses(start + STANDSTILL);
    closing.wait_for_drain_turn().await;
    assert_eq!(deliveries.room.available_permits(), 200);
    assert_eq!(next(&mut unread).await, None);
    assert!(next(&mut read).now_or_never().is_none(), "it goes on");
}

#[tokio::test(start_paused = true)]
async fn response_ends_when_a_later_frame_finds_no_room() {
    let deliveries = Deliveries::new(100);
    let _unread = response(&deliveries, DeliveryKind::Once, 60 << 10).await;
    let delivery = deliveries.begin(node_id(2), DeliveryKind::Stream, connection());
    let later = [frame(100), frame(60 << 10), frame(100)].map(Ok);
    let mut pieces = delivery.pieces(stream::iter(later));
    assert_eq!(next(&mut pieces).await, Some(100));
    assert_eq!(next(&mut pieces).await, None);
}
