//! What happens to a tailnet.

use proptest::prelude::*;

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Node {
        id: u64,
        user: u64,
        tags: Vec<String>,
        routes: Vec<String>,
        expired: bool,
        approved: bool,
        disabled: bool,
    },
    /// What tailnet lock says of a node.
    Sign {
        id: u64,
        signature: Vec<u8>,
        waits: bool,
    },
    /// The head of tailnet lock; empty for one that was switched off.
    Lock(&'static str),
    Delete(u64),
    User {
        id: u64,
        admin: bool,
        suspended: bool,
        named: bool,
    },
    DeleteUser(u64),
    Online {
        id: u64,
        online: bool,
    },
    Report {
        id: u64,
        derp: u32,
    },
    Policy(&'static str),
    /// A setting that every client is told whole.
    Tailnet {
        magic_dns: bool,
    },
    /// The compiler's newest output arrives.
    CompiledPolicy,
    /// The same, computed before the newest entry of the registry: what that entry is about waits.
    Lagging,
    /// The clients look.
    Look,
}

const POLICIES: [&str; 11] = [
    "",
    r#"{"acls": []}"#,
    r#"{"groups": {"group:eng": ["u1@a.test"]}, "tagOwners": {"tag:web": []},
        "acls": [{"action": "accept", "src": ["group:eng"], "dst": ["tag:web:80", "10.0.0.0/8:*"]},
                 {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]}]}"#,
    r#"{"tagOwners": {"tag:web": [], "tag:r1": [], "tag:r2": []},
        "grants": [{"src": ["*"], "dst": ["tag:web"], "ip": ["tcp:80"], "app": {"example.com/cap/x": [{"a": 1}]}},
                   {"src": ["u1@a.test"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:r1"]},
                   {"src": ["u2@a.test"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:r2", "tag:r1"]},
                   {"src": ["autogroup:member"], "dst": ["autogroup:internet"], "ip": ["*"]}]}"#,
    r#"{"tagOwners": {"tag:web": []},
        "ssh": [{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["root"]},
                {"action": "accept", "src": ["autogroup:tagged", "u1@a.test"], "dst": ["tag:web"], "users": ["localpart:*@a.test"]},
                {"action": "check", "src": ["u2@a.test", "u1@a.test"], "dst": ["tag:web"], "users": ["localpart:*@a.test"]}],
        "nodeAttrs": [{"target": ["tag:web"], "attr": ["disable-ipv4"]}, {"target": ["u1@a.test"], "attr": ["nextdns:x"]}]}"#,
    r#"{"acls": [{"action": "accept", "src": ["autogroup:admin"], "dst": ["*:22"]},
                 {"action": "accept", "src": ["10.0.0.0/8"], "dst": ["autogroup:member:53"]}]}"#,
    r#"{"acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:self:*", "0.0.0.0/0:443"]}]}"#,
    // Chosen routers that are sources themselves, reached from subnets and reaching others, exits too.
    r#"{"tagOwners": {"tag:r1": [], "tag:r2": []},
        "grants": [{"src": ["*"], "dst": ["10.0.0.0/8", "autogroup:internet"], "ip": ["*"], "via": ["tag:r1"]},
                   {"src": ["10.1.0.0/24"], "dst": ["u1@a.test", "tag:r2"], "ip": ["22"]}]}"#,
    r#"{"tagOwners": {"tag:r1": [], "tag:r2": []},
        "grants": [{"src": ["10.1.0.0/24", "tag:r1"], "dst": ["10.0.0.0/8", "autogroup:internet"], "ip": ["*"], "via": ["tag:r1"]},
                   {"src": ["autogroup:member"], "dst": ["10.0.0.0/16"], "ip": ["*"], "via": ["tag:r2"]},
                   {"src": ["u2@a.test"], "dst": ["10.0.0.0/8"], "ip": ["22"]}]}"#,
    // The same selectors in other places: classes stay, and what they see differs.
    r#"{"acls": [{"action": "accept", "src": ["*"], "dst": ["u1@a.test:22"]},
                 {"action": "accept", "src": ["u1@a.test"], "dst": ["u2@a.test:53"]}]}"#,
    r#"{"acls": [{"action": "accept", "src": ["*"], "dst": ["u2@a.test:22"]},
                 {"action": "accept", "src": ["u2@a.test"], "dst": ["u1@a.test:53"]}]}"#,
];

const ROUTES: [&str; 4] = ["10.0.0.0/16", "10.1.0.0/24", "0.0.0.0/0", "::/0"];
const TAGS: [&str; 3] = ["tag:web", "tag:r1", "tag:r2"];

/// Numbers of nodes: neighbours, and some far away.
fn number() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![1, 2, 130, 131, 300])
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let some = |all: &'static [&'static str]| {
        let picked = prop::sample::subsequence(all.to_vec(), 0..=all.len().min(3));
        picked.prop_map(|some| some.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    prop_oneof![
        5 => (number(), 1..4_u64, some(&TAGS), some(&ROUTES), prop::bool::weighted(0.1), prop::bool::weighted(0.9),
            prop::bool::weighted(0.1))
            .prop_map(|(id, user, tags, routes, expired, approved, disabled)| {
                Step::Node { id, user, tags, routes, expired, approved, disabled }
            }),
        2 => (number(), prop::collection::vec(0..3_u8, 0..2), prop::bool::weighted(0.3))
            .prop_map(|(id, signature, waits)| Step::Sign { id, signature, waits }),
        1 => prop::sample::select(vec!["", "A", "B"]).prop_map(Step::Lock),
        1 => number().prop_map(Step::Delete),
        2 => (1..4_u64, any::<bool>(), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(id, admin, suspended, named)| Step::User { id, admin, suspended, named }),
        1 => (1..4_u64).prop_map(Step::DeleteUser),
        1 => any::<bool>().prop_map(|magic_dns| Step::Tailnet { magic_dns }),
        2 => (number(), any::<bool>()).prop_map(|(id, online)| Step::Online { id, online }),
        2 => (number(), 0..3_u32).prop_map(|(id, derp)| Step::Report { id, derp }),
        3 => prop::sample::select(POLICIES.to_vec()).prop_map(Step::Policy),
        4 => Just(Step::CompiledPolicy),
        1 => Just(Step::Lagging),
        4 => Just(Step::Look),
    ]
}
