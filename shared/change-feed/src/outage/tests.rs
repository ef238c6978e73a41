use super::*;

fn tailnet(number: u64) -> Option<TailnetId> {
    TailnetId::try_from(number).ok()
}

#[test]
fn outage_is_told_once_and_so_is_its_end() {
    let (watch, begin) = (
        OutageWatch::default(),
        tokio::time::Instant::now().into_std(),
    );
    for second in 0..10 {
        for scope in [None, tailnet(1), tailnet(2)] {
            let is_told = watch.note_failure(scope, begin + Duration::from_secs(second));
            assert_eq!(is_told, (second, scope) == (2, None), "{second} {scope:?}");
        }
    }
    assert!(!watch.note_success(tailnet(1)));
    assert!(!watch.note_success(None));
    assert!(watch.note_success(tailnet(2)));
    assert!(!watch.note_success(tailnet(2)));
}

#[test]
fn moment_is_no_outage_and_the_next_one_is_another() {
    let (watch, begin) = (
        OutageWatch::default(),
        tokio::time::Instant::now().into_std(),
    );
    let at = |second| begin + Duration::from_secs(second);
    assert!(!watch.note_failure(tailnet(1), at(0)));
    assert!(!watch.note_success(tailnet(1)));
    assert!(!watch.note_failure(tailnet(1), at(9)));
    assert!(!watch.note_failure(tailnet(1), at(10)));
    assert!(watch.note_failure(tailnet(1), at(11)));
    assert!(watch.note_success(tailnet(1)));
    assert!(!watch.note_failure(tailnet(1), at(20)));
    assert!(watch.note_failure(tailnet(1), at(22)));
}
