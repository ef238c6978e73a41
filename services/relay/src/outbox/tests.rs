use super::*;

fn drained(outbox: &Outbox) -> Vec<Bytes> {
    std::iter::from_fn(|| outbox.try_next()).collect()
}

#[test]
fn oldest_frames_make_room_for_the_newest() {
    let outbox = Outbox::new(2 * (10 + FRAME_OVERHEAD));
    let [a, b, c] = [[1; 10], [2; 10], [3; 10]].map(|frame| Bytes::copy_from_slice(&frame));
    assert_eq!(
        [&a, &b, &c].map(|frame| outbox.push(frame.clone())),
        [0, 0, 1]
    );
    assert_eq!(drained(&outbox), [b, c]);
}

#[test]
fn frame_larger_than_the_whole_outbox_is_dropped_alone() {
    let outbox = Outbox::new(100);
    assert_eq!(outbox.push(Bytes::from_static(b"small")), 0);
    assert_eq!(outbox.push(Bytes::from(vec![0; 101])), 1);
    assert_eq!(drained(&outbox), [Bytes::from_static(b"small")]);
}

#[test]
fn taken_frames_give_their_room_back() {
    let outbox = Outbox::new(200);
    for _ in 0..1000 {
        assert_eq!(outbox.push(Bytes::from(vec![0; 100])), 0);
        assert!(outbox.try_next().is_some());
    }
}

#[tokio::test]
async fn waiting_reader_gets_a_frame_pushed_later() {
    let outbox = Outbox::new(1000);
    let push = async { outbox.push(Bytes::from_static(b"late")) };
    let (frame, _) = tokio::join!(outbox.next(), push);
    assert_eq!(frame, "late");
}
