//! Finds the ranges that overlap a range.

use std::net::IpAddr;

use bowline_ip_set::IpRange;

/// Ranges with a number each, ordered by their first address.
#[derive(Clone, Debug, Default)]
pub(super) struct RangeIndex {
    ranges: Vec<(IpRange, u32)>,
    /// The highest last address of all ranges up to here: where a search may stop.
    highest: Vec<IpAddr>,
}

impl FromIterator<(IpRange, u32)> for RangeIndex {
    fn from_iter<I: IntoIterator<Item = (IpRange, u32)>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort();
        let highest = ranges
            .iter()
            .scan(None, |highest: &mut Option<IpAddr>, (range, _)| {
                let now = highest.map_or(range.high(), |known| known.max(range.high()));
                *highest = Some(now);
                Some(now)
            })
            .collect();
        Self { ranges, highest }
    }
}

impl RangeIndex {
    /// Returns the numbers of the ranges that have an address in common with this one.
    pub(super) fn find_overlapping(&self, wanted: IpRange) -> impl Iterator<Item = u32> {
        let end = self
            .ranges
            .partition_point(|(range, _)| range.low() <= wanted.high());
        let candidates = self.ranges[..end].iter().zip(&self.highest[..end]).rev();
        candidates
            .take_while(move |(_, highest)| **highest >= wanted.low())
            .filter(move |((range, _), _)| range.overlaps(&wanted))
            .map(|((_, number), _)| *number)
    }
}

#[cfg(test)]
mod tests {
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
}
