use super::*;
use crate::FindingLevel;

#[test]
fn clocks_may_differ_by_seconds() {
    let mut headers = HeaderMap::new();
    let date = "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap();
    headers.insert(header::DATE, date);
    let then = DateTime::parse_from_rfc3339("1994-11-06T08:49:37Z").unwrap();
    let level = |seconds| judge_date(&headers, then.to_utc() + TimeDelta::seconds(seconds)).level;
    assert_eq!(level(4), FindingLevel::Ok);
    assert_eq!(level(-4), FindingLevel::Ok);
    assert_eq!(level(60), FindingLevel::Warning);
    assert_eq!(level(-400), FindingLevel::Failed);
    let behind = judge_date(&headers, then.to_utc() + TimeDelta::seconds(400));
    assert!(
        behind.text.contains("400 seconds behind"),
        "{}",
        behind.text
    );
    assert_eq!(
        judge_date(&HeaderMap::new(), then.to_utc()).level,
        FindingLevel::Warning
    );
}
