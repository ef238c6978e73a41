//! Logins over SSH, as the rules say.

use bowline_interop::{Process, wait_for};

use super::{SOON, joined};

#[test]
fn owner_logs_in_where_a_rule_accepts_and_answers_for_it_where_one_wants_a_check() {
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
    let (page, mut waiting) = one.begin_ssh("root", &address, "echo $((6 * 7))").unwrap();
    let browser = server.sign_in("owner@home").unwrap();
    let shown = browser.open(&page).unwrap();
    assert!(
        shown.contains("An SSH connection waits for you")
            && shown.contains("Continue as owner@home"),
        "{shown}"
    );
    assert_eq!(
        waiting.has_ended(),
        None,
        "looking at the page lets nobody in"
    );
    let decide = |page: &str, decision| {
        let shown = browser.submit(page, &[("connection", "0")]).unwrap();
        assert!(shown.contains("Are you connecting?"), "{shown}");
        browser.press(&shown, decision).unwrap()
    };
    let decided = decide(&page, "approve");
    assert!(decided.contains("You are connected"), "{decided}");
    assert!(await_end(&mut waiting));
    let text = waiting.log();
    assert!(text.lines().any(|line| line == "42"), "{text}");
    let (is_in, text) = one.ssh("root", &address, "true").unwrap();
    assert!(is_in, "the check holds for a while: {text}");

    let always = policy("check").replace("\"users\"", "\"checkPeriod\": \"always\", \"users\"");
    server.set_policy(&always).unwrap();
    let (page, mut waiting) = one.begin_ssh("root", &address, "true").unwrap();
    decide(&page, "deny");
    assert!(!await_end(&mut waiting));
    let text = waiting.log();
    assert!(
        text.contains("owner@home does not want this connection"),
        "{text}"
    );
}

/// Waits until a command ends; says whether it ends well.
fn await_end(waiting: &mut Process) -> bool {
    let (is_well, _) = wait_for("the command ends", SOON, || {
        waiting.has_ended().ok_or_else(|| "it runs".to_owned())
    });
    is_well
}
