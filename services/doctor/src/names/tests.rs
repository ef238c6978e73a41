use super::*;
use crate::FindingLevel;

#[test]
fn name_that_leads_to_oneself_is_warned_of() {
    let level = |texts: &[&str]| {
        let addresses: Vec<_> = texts.iter().map(|text| text.parse().unwrap()).collect();
        judge_addresses(&addresses).level
    };
    assert_eq!(
        level(&["192.0.2.1:443", "[2001:db8::1]:443"]),
        FindingLevel::Ok
    );
    assert_eq!(level(&["127.0.1.1:443"]), FindingLevel::Warning);
    assert_eq!(level(&[]), FindingLevel::Failed);
}
