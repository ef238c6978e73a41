//! Times and durations.

use super::*;

#[test]
fn times_have_a_zone() {
    let time = parse_instant("2026-11-27T04:00:00.250Z").unwrap();
    assert_eq!(format_instant(time), "2026-11-27T04:00:00Z");
    assert_eq!(
        parse_instant("2026-11-27T05:00:00+01:00").map(format_instant),
        Some("2026-11-27T04:00:00Z".to_owned())
    );
    for wrong in [
        "",
        "2026-11-27",
        "2026-11-27T04:00:00",
        "now",
        "2026-13-01T00:00:00Z",
    ] {
        assert_eq!(parse_instant(wrong), None, "{wrong}");
    }
}

#[test]
fn durations_add_up() {
    for (text, seconds) in [
        ("PT1H", 3600),
        ("P1D", 86_400),
        ("P1DT2H3M4.5S", 86_400 + 7384),
        ("P1Y2M", 425 * 86_400),
        ("PT0S", 0),
    ] {
        assert_eq!(
            parse_duration(text),
            TimeDelta::try_seconds(seconds),
            "{text}"
        );
    }
    for wrong in [
        "",
        "P",
        "PT",
        "1D",
        "P1H",
        "PT1D",
        "P-1D",
        "P1D1Y",
        "PTS",
        "P99999999999999999999D",
        "P9223372036854775807Y",
    ] {
        assert_eq!(parse_duration(wrong), None, "{wrong}");
    }
}
