//! Documents that are refused, in the words of the language.

use super::tailnet::Tailnet::Small;

#[test]
fn each_is_told_what_is_wrong() {
    for (sections, said) in [
        (
            r#""acls": [{"action": "accept", "src": ["tag:none"], "dst": ["*:*"]}]"#,
            r#"src=tag not found: "tag:none""#,
        ),
        (
            r#""acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:self"]}]"#,
            r#"dst="autogroup:self": port range "self": invalid first integer"#,
        ),
        (
            r#""acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:self:*"]}, {"action": "accept", "src": ["tag:probe"], "dst": ["autogroup:self:22"]}]"#,
            "autogroup:self can only be used with users, groups, or supported autogroups",
        ),
        (
            r#""grants": [{"src": ["*"], "dst": ["*"], "app": {}}]"#,
            "ip and app can not both be empty",
        ),
        (
            r#""grants": [{"src": ["*"], "dst": ["*"], "app": {"https://tailscale.com/cap/ingress": []}}]"#,
            "capability name must have the form {domain}/{path}",
        ),
        (
            r#""grants": [{"src": ["*"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["autogroup:tagged"]}]"#,
            "via can only be a tag",
        ),
        (
            r#""grants": [{"src": ["*"], "dst": ["*"], "ip": ["icmp"]}]"#,
            r#"port range "icmp": invalid first integer"#,
        ),
        (
            r#""grants": [{"src": ["*"], "dst": ["autogroup:danger-all"], "ip": ["*"]}]"#,
            "cannot use autogroup:danger-all as a dst",
        ),
        (
            r#""grants": [{"src": ["*"], "dst": ["autogroup:internet"], "ip": ["*"], "app": {"example.com/a": []}}]"#,
            "cannot use app grants with autogroup:internet",
        ),
        (
            r#""grants": [{"src": ["*"], "dst": ["0.0.0.0/0"], "app": {"example.com/a": []}}]"#,
            r#"dst "0.0.0.0/0": to allow all IP addresses, use "*" or "autogroup:internet""#,
        ),
        (
            r#""nodeAttrs": [{"target": ["*"], "ipPool": ["100.100.100.0/24"]}]"#,
            "IPPool(100.100.100.0/24): network within reserved range",
        ),
        (
            r#""ssh": [{"action": "deny", "src": [], "dst": [], "users": ["root"]}]"#,
            r#""deny" is not a valid action"#,
        ),
        (
            r#""ssh": [{"action": "accept", "src": [], "dst": [], "users": ["*"]}]"#,
            r#"user "*" is not valid"#,
        ),
        (
            r#""ssh": [{"action": "accept", "src": ["autogroup:member"], "dst": ["tag:api"], "users": ["localpart:*@partner.test"]}]"#,
            "partner.test is not associated with this Tailnet and cannot be used in user:*@<domain> expressions",
        ),
    ] {
        let told = Small.told(sections);
        assert!(
            !told.accepted && told.error.contains(said),
            "{sections}: {}",
            told.error
        );
    }
}
