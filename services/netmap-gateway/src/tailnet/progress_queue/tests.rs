use super::*;

#[tokio::test]
async fn what_is_told_in_parts_comes_to_an_end_once_and_is_told_again_when_it_failed() {
    let advances = ProgressQueue::default();
    let id = |number: u64| TailnetId::try_from(number).expect("a number");
    let part = |numbers: std::ops::RangeInclusive<u64>, is_last| ProgressPart {
        tailnets: numbers.map(id).collect(),
        is_last,
    };
    for number in (1..=5).rev() {
        advances.note_advance(id(number));
    }
    advances.wait_for_advance().await;
    assert_eq!(advances.take_part(2), part(1..=2, false));
    assert_eq!(advances.take_part(3), part(3..=5, true));
    let failed = part(3..=5, true);
    advances.note_advance(id(4));
    advances.report_again(failed.tailnets);
    advances.wait_for_advance().await;
    assert_eq!(advances.take_part(9), part(3..=5, true));
    advances.report_again([]);
    advances.wait_for_advance().await;
    assert_eq!(advances.take_part(9).tailnets, []);
    let idle = tokio::time::timeout(
        std::time::Duration::from_millis(1),
        advances.wait_for_advance(),
    );
    assert!(idle.await.is_err());
}
