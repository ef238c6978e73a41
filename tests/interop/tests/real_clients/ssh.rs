//! Logins over SSH, as the rules say.

use bowline_interop::wait_for;

use super::{SOON, joined};

#[test]
fn owner_logs_in_where_a_rule_accepts_and_is_told_why_not_where_it_wants_a_check() {
    let Some((_network, server, clients)) = joined(2, &[]) else {
        return;
    };
    let [one, two] = &clients[..] else {
        unreachable!()
    };
    one.wait_for_peers(&["c2"], SOON);
    two.run(&["set", "--ssh"]).unwrap();
    let address = two.ipv4().unwrap();
    let policy = |action: &str| {
        format!(
            r#"{{
                "acls": [{{"action": "accept", "src": ["*"], "dst": ["*:*"]}}],
                "ssh": [{{"action": "{action}", "src": ["owner@home"], "dst": ["autogroup:self"], "users": ["root"]}}],
            }}"#
        )
    };
    server.set_policy(&policy("accept")).unwrap();
    wait_for("the owner is let in", SOON, || {
        match one.ssh("root", &address, "echo $((6 * 7))").unwrap() {
            (true, text) if text.lines().any(|line| line == "42") => Ok(()),
            (_, text) => Err(text),
        }
    });
    let (is_in, text) = one.ssh("nobody", &address, "true").unwrap();
    assert!(!is_in, "an account of no rule: {text}");

    server.set_policy(&policy("check")).unwrap();
    wait_for("the owner is told why not", SOON, || {
        match one.ssh("root", &address, "true").unwrap() {
            (false, text) if text.contains("Ask your administrator") => Ok(()),
            (_, text) => Err(text),
        }
    });
}
