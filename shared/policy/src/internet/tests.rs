use super::*;

#[test]
fn texts_and_ranges_are_the_same() {
    let read: Vec<IpRange> = TEXTS.iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(*RANGES, read);
}
