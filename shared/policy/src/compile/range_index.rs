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
mod tests;
