use super::*;

#[test]
fn names_are_short_and_plain() {
    let longest = format!("custom:{}", "x".repeat(50));
    for name in ["custom:tier", "custom:Tier_2.a-b", &longest] {
        assert!(is_custom_attribute(name), "{name}");
    }
    let longer = format!("{longest}x");
    for name in [
        "",
        "custom:",
        "tier",
        "node:os",
        "Custom:tier",
        "custom:two words",
        "custom:a:b",
        "custom:größe",
        "custom:a==1",
        &longer,
    ] {
        assert!(!is_custom_attribute(name), "{name}");
    }
}
