use bowline_db::{AUDIT_ORIGIN, AuditEntry};

use super::*;

fn kinds(owner: TrailOwner, action: &str, detail: &Value) -> Vec<&'static str> {
    let entry = entry(action, detail);
    let events = events_of_entry(owner, "home", &[], &entry);
    events.iter().map(|event| event.kind).collect()
}

fn entry(action: &str, detail: &Value) -> AuditEntry {
    AuditEntry {
        sequence: 1,
        time: DateTime::UNIX_EPOCH,
        actor: "admin:ops".to_owned(),
        action: action.to_owned(),
        object: "7".to_owned(),
        detail: detail.to_string(),
        hash: AUDIT_ORIGIN,
    }
}

#[test]
fn entries_of_nodes_are_events() {
    for (action, detail, expected) in [
        (
            "node.register",
            json!({ "approved": true }),
            vec!["nodeCreated"],
        ),
        (
            "node.register",
            json!({ "approved": false }),
            vec!["nodeCreated", "nodeNeedsApproval"],
        ),
        ("node.logout", json!({}), vec!["nodeKeyExpired"]),
        (
            "node.logout",
            json!({ "deleted": true }),
            vec!["nodeDeleted"],
        ),
        ("node.rename", json!({}), vec![]),
        (
            "node.set_expiry",
            json!({ "before": { "expired": false }, "after": { "expired": true } }),
            vec!["nodeKeyExpired"],
        ),
        (
            "node.set_expiry",
            json!({ "before": { "expired": true }, "after": { "expired": false } }),
            vec![],
        ),
        // A machine that is denied, and tags that a device may not have, end a key, too.
        (
            "node.deny",
            json!({ "before": { "expired": false }, "after": { "expired": true } }),
            vec!["nodeKeyExpired"],
        ),
        (
            "node.describe",
            json!({ "before": { "expired": false }, "after": { "expired": true } }),
            vec!["nodeKeyExpired"],
        ),
        ("user.create", json!({}), vec![]),
    ] {
        assert_eq!(
            kinds(TrailOwner::KeyRegistry, action, &detail),
            expected,
            "{action}"
        );
    }
}

#[test]
fn entries_of_tailnet_lock_are_events() {
    for (action, detail, expected) in [
        (
            "node.register",
            json!({ "approved": false, "awaits_signature": true }),
            vec!["nodeCreated", "nodeNeedsApproval", "nodeNeedsSignature"],
        ),
        (
            "node.rotate",
            json!({ "awaits_signature": true }),
            vec!["nodeNeedsSignature"],
        ),
        (
            "node.rotate",
            json!({ "awaits_signature": false, "before": { "awaits_signature": true },
                "after": { "awaits_signature": false } }),
            vec!["nodeSigned"],
        ),
        ("node.rotate", json!({ "awaits_signature": false }), vec![]),
        (
            "node.await_signature",
            json!({}),
            vec!["nodeNeedsSignature"],
        ),
        ("node.sign", json!({ "waited": true }), vec!["nodeSigned"]),
        // It was signed anew.
        ("node.sign", json!({ "waited": false }), vec![]),
        (
            "node.lock_key",
            json!({ "signed": true }),
            vec!["nodeSigned"],
        ),
        ("node.lock_key", json!({ "signed": false }), vec![]),
        (
            "node.let_in",
            json!({ "by": "trusted keys" }),
            vec!["nodeSigned"],
        ),
        ("node.let_in", json!({ "by": "no lock" }), vec![]),
    ] {
        assert_eq!(
            kinds(TrailOwner::KeyRegistry, action, &detail),
            expected,
            "{action}"
        );
    }
}

#[test]
fn a_machine_that_a_rule_approves_is_approved_after_it_was_made() {
    let approval = entry("node.approve", &json!({ "by": "rule", "rule": "servers" }));
    let register = entry(
        "node.register",
        &json!({ "name": "web1", "approved": true }),
    );
    let owner = TrailOwner::KeyRegistry;
    assert!(events_of_entry(owner, "home", &[], &approval).is_empty());
    let told = events_of_entry(owner, "home", &[approval], &register);
    let kinds: Vec<_> = told.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["nodeCreated", "nodeApproved"]);
    assert_eq!(told[1].body["message"], "Node web1 was approved");
    // One that an administrator approves is an event of its own.
    let by_admin = entry("node.approve", &json!({}));
    assert_eq!(events_of_entry(owner, "home", &[], &by_admin).len(), 1);
}

#[test]
fn entries_of_users_are_events() {
    let update = |before: Value, after: Value| json!({ "before": before, "after": after });
    for (detail, expected) in [
        (
            update(json!({ "role": "member" }), json!({ "role": "admin" })),
            vec!["userRoleUpdated"],
        ),
        (
            update(json!({ "suspended": false }), json!({ "suspended": true })),
            vec!["userSuspended"],
        ),
        (
            update(json!({ "suspended": true }), json!({ "suspended": false })),
            vec!["userRestored"],
        ),
        (
            update(
                json!({ "awaits_approval": true, "suspended": true }),
                json!({ "awaits_approval": false, "suspended": false }),
            ),
            vec!["userApproved"],
        ),
        (
            update(
                json!({ "display_name": "a" }),
                json!({ "display_name": "b" }),
            ),
            vec![],
        ),
    ] {
        assert_eq!(
            kinds(TrailOwner::Identity, "user.update", &detail),
            expected,
            "{detail}"
        );
    }
}

#[test]
fn an_event_has_the_form_of_the_hosted_service() {
    let detail = json!({ "approved": true, "name": "web1" });
    let entry = entry("node.register", &detail);
    let events = events_of_entry(TrailOwner::KeyRegistry, "home", &[], &entry);
    let expected = json!({
        "id": "00000000000000000000000000000000-0",
        "timestamp": "1970-01-01T00:00:00.000000Z",
        "version": 1,
        "type": "nodeCreated",
        "tailnet": "home",
        "message": "Node web1 was created",
        "data": { "nodeID": "7", "deviceName": "web1", "actor": "admin:ops" },
    });
    assert_eq!(events[0].body, expected);
    assert_eq!(
        request_body("", &events[0].body),
        json!([expected]).to_string()
    );
    let text = "[home] Node web1 was created";
    assert_eq!(
        request_body("slack", &expected),
        json!({ "text": text }).to_string()
    );
    assert_eq!(
        request_body("discord", &expected),
        json!({ "content": text, "allowed_mentions": { "parse": [] } }).to_string()
    );
}

#[test]
fn a_body_is_signed_by_each_secret() {
    // printf '1663781880.[]' | openssl dgst -sha256 -hmac secret
    let time = DateTime::from_timestamp(1_663_781_880, 0).unwrap();
    let one = sign_body(&["secret"], "[]", time);
    let (head, digits) = one.split_once(",v1=").unwrap();
    assert_eq!(head, "t=1663781880");
    assert_eq!(digits, SIGNED);
    let both = sign_body(&["other", "secret"], "[]", time);
    assert_eq!(both.matches("v1=").count(), 2);
    assert!(both.ends_with(SIGNED));
}

/// As openssl computes it.
const SIGNED: &str = "293c768bee052e0be975e251cfe29aeecc9f0974a12da67fd328003a994b71f4";

#[test]
fn pauses_double_up_to_an_hour() {
    for (failures, least, most) in [
        (1, 2, 8),
        (2, 5, 15),
        (5, 40, 120),
        (12, 1800, 5400),
        (4_000_000, 1800, 5400),
    ] {
        for random in [0, 255] {
            let pause = pause_after(failures, random).num_seconds();
            assert!((least..=most).contains(&pause), "{failures}: {pause}");
        }
    }
}

#[test]
fn what_can_not_be_sent_to_or_subscribed_to_is_refused() {
    for url in [
        "http://example.com/",
        "example.com",
        "https://",
        "https://kim:secret@example.com/",
        "https://example.com/#a",
    ] {
        assert!(check_url(url).is_err(), "{url}");
    }
    assert_eq!(
        check_url("https://example.com").unwrap(),
        "https://example.com/"
    );
    assert!(check_subscriptions(vec![]).is_err());
    assert!(check_subscriptions(vec!["nodeMade".to_owned()]).is_err());
    let twice = vec!["nodeCreated".to_owned(); 2];
    assert_eq!(check_subscriptions(twice).unwrap(), ["nodeCreated"]);
    assert!(check_provider("teams").is_err());
    assert!(is_subscribed(
        &["categoryTailnetManagement".to_owned()],
        "policyUpdate"
    ));
    assert!(!is_subscribed(&["nodeCreated".to_owned()], "policyUpdate"));
}
