use super::*;

#[test]
fn connections_are_what_the_limit_leaves_over() {
    assert_eq!(connections_within(Some(1024)), 640);
    assert_eq!(connections_within(Some(256)), 64);
    assert_eq!(connections_within(Some(0)), 1);
    assert_eq!(connections_within(Some(524_288)), 523_904);
    assert_eq!(connections_within(None), usize::MAX);
    assert_eq!(bound_connections("gateway", 16_384, 640), 640);
    assert_eq!(bound_connections("gateway", 160, 640), 160);
}
