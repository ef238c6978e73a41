use super::*;

fn range(text: &str) -> IpRange {
    text.parse::<IpNet>().expect("a prefix").into()
}

#[test]
fn touching_and_overlapping_ranges_become_one() {
    let set: IpSet = ["10.0.1.0/24", "10.0.0.0/24", "10.0.0.128/25", "fd7a::/64"]
        .map(range)
        .into_iter()
        .collect();
    assert_eq!(set.ranges().count(), 2);
    assert!(set.covers(&range("10.0.0.0/23")) && !set.covers(&range("10.0.0.0/22")));
    assert!(set.overlaps(&range("10.0.0.0/8")) && !set.overlaps(&range("11.0.0.0/8")));
    assert!(set.contains("fd7a::1".parse().expect("an address")));
}

#[test]
fn removing_a_range_leaves_what_is_around_it() {
    let mut set: IpSet = [range("10.0.0.0/8"), range("fd7a::/64")]
        .into_iter()
        .collect();
    set.remove(&range("10.1.0.0/16"));
    let left: Vec<_> = set.ranges().map(ToString::to_string).collect();
    assert_eq!(
        left,
        ["10.0.0.0/16", "10.2.0.0-10.255.255.255", "fd7a::/64"]
    );
    set.remove(&range("0.0.0.0/0"));
    assert_eq!(set.ranges().count(), 1);
}

#[test]
fn text_forms_are_read_and_written() {
    for (text, written) in [
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.0.0.0-10.255.255.255", "10.0.0.0/8"),
        ("10.0.0.1 - 10.0.0.7", "10.0.0.1-10.0.0.7"),
        ("fd7a::1/128", "fd7a::1"),
        ("::/0", "::/0"),
    ] {
        let range: IpRange = text.parse().expect("a range");
        assert_eq!(range.to_string(), written);
    }
    for wrong in ["", "-", "10.0.0.2-10.0.0.1", "10.0.0.1-::1", "10.0.0.0/33"] {
        assert_eq!(wrong.parse::<IpRange>(), Err(NotARange), "{wrong}");
    }
}

#[test]
fn single_addresses_are_written_without_length() {
    for (prefix, text) in [
        ("10.1.2.3/32", "10.1.2.3"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("fd7a::1/128", "fd7a::1"),
    ] {
        assert_eq!(prefix_text(&prefix.parse().expect("a prefix")), text);
    }
}
