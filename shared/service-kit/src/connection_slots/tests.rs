use super::*;

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

#[tokio::test]
async fn newcomers_wait_only_for_those_who_were_told_to_go() {
    let limits = SlotLimits {
        all: 1,
        of_one_holder: 1,
    };
    let slots: Arc<ConnectionSlots<()>> = ConnectionSlots::new(limits);
    let mut held = Vec::new();
    for _ in 0..=LEAVING {
        held.push(slots.take_slot(ip("192.0.2.1")).await.expect("a slot"));
    }
    let (last, told) = held.split_last().expect("some");
    for slot in told {
        slot.handle().wait_for_displacement().await;
    }
    let waiting = slots.take_slot(ip("192.0.2.2"));
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let handle = last.handle();
    held.remove(0);
    let newest = waiting.await.expect("a slot");
    handle.wait_for_displacement().await;
    assert!(newest.handle().mark_known(()));
    held.clear();
    assert!(slots.take_slot(ip("192.0.2.1")).await.is_none());
}
