use proptest::prelude::*;

use super::*;

fn range() -> impl Strategy<Value = IpRange> {
    let ipv4 = (any::<u8>(), any::<u8>()).prop_map(|(low, high)| {
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        IpRange::new(address(low.min(high)), address(low.max(high))).unwrap()
    });
    let ipv6 = (any::<u16>(), any::<u16>()).prop_map(|(low, high)| {
        let address = |last: u16| IpAddr::from([0, 0, 0, 0, 0, 0, 0, last]);
        IpRange::new(address(low.min(high)), address(low.max(high))).unwrap()
    });
    prop_oneof![ipv4, ipv6]
}

proptest! {
    #[test]
    fn finds_what_a_look_at_each_range_finds(
        ranges in proptest::collection::vec(range(), 0..40), wanted in range(),
    ) {
        let numbered = |range: &IpRange, number: usize| (*range, u32::try_from(number).unwrap());
        let index: RangeIndex = ranges.iter().enumerate().map(|(n, r)| numbered(r, n)).collect();
        let mut found: Vec<_> = index.find_overlapping(wanted).collect();
        found.sort_unstable();
        let each = ranges.iter().enumerate().filter(|(_, range)| range.overlaps(&wanted));
        let each: Vec<_> = each.map(|(n, range)| numbered(range, n).1).collect();
        prop_assert_eq!(found, each);
    }
}
