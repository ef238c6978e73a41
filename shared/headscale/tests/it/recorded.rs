//! What becomes of recorded servers.

use bowline_headscale::{
    HeadscaleConfig, MovingNode, MovingPlan, PolicySource, plan_move, read_database,
};
use bowline_test_headscale::{HeadscaleRelease, HeadscaleState};

async fn plan(release: HeadscaleRelease) -> Option<MovingPlan> {
    let state = HeadscaleState::restore(release).unwrap()?;
    let config = HeadscaleConfig::load(&state.config()).unwrap();
    let data = read_database(&config.database_url).await.unwrap();
    let policy = match &config.policy {
        PolicySource::File(path) => Some(std::fs::read_to_string(path).unwrap()),
        PolicySource::Database => data.policy.clone(),
        PolicySource::Absent => None,
    };
    let now = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    Some(plan_move(&data, &config, policy.as_deref(), now))
}

fn node<'p>(plan: &'p MovingPlan, name: &str) -> &'p MovingNode {
    let mut found = plan.nodes.iter().filter(|node| node.node.name == name);
    found.next().unwrap()
}

#[tokio::test]
async fn each_release_is_read_whole() {
    for release in HeadscaleRelease::ALL {
        let Some(plan) = plan(release).await else {
            continue;
        };
        let logins: Vec<_> = plan
            .users
            .iter()
            .map(|user| &*user.user.login_name)
            .collect();
        assert_eq!(
            logins[..3],
            ["alice@", "bob@example.com", "carol@example.com"]
        );
        let nodes = if release == HeadscaleRelease::V29 {
            50
        } else {
            10
        };
        let more = usize::from(release == HeadscaleRelease::V28);
        assert_eq!(plan.nodes.len(), nodes + more, "{release:?}");
        let laptop = node(&plan, "laptop");
        assert_eq!(
            (&*laptop.node.ipv4, &*laptop.node.ipv6),
            ("100.64.0.1", "fd7a:115c:a1e0::1")
        );
        assert_eq!((laptop.user_id, laptop.node.os.as_str()), (1, "linux"));
        assert!(laptop.node.tags.is_empty() && laptop.node.key_expiry.is_none());
        assert_eq!(laptop.state.disco_key.len(), 32, "{release:?}");
        assert_eq!(laptop.state.endpoints.len(), 1);
        assert!(laptop.state.last_seen.is_some());
        assert!(node(&plan, "runner").node.ephemeral);
        let server = &node(&plan, "server").node;
        assert_eq!(server.tags, ["tag:server"], "{release:?}");
        assert_eq!(server.advertised_routes, ["10.20.0.0/16"]);
        assert_eq!(server.approved_routes, ["10.20.0.0/16"]);
        assert_eq!(
            node(&plan, "desk-04").node.tags,
            ["tag:router"],
            "{release:?}"
        );
        assert_eq!(
            node(&plan, "desk-01").node.approved_routes,
            ["10.30.0.0/24"]
        );
        assert_eq!(node(&plan, "kitchen").user_id, 2);
        // 0.27 and 0.28 kept the end of this key in memory alone.
        let is_kept = [HeadscaleRelease::V26, HeadscaleRelease::V29].contains(&release);
        let end = node(&plan, "desk-03").node.key_expiry;
        assert_eq!(end.is_some(), is_kept, "{release:?}");
        assert_eq!(plan.magic_dns_suffix.as_deref(), Some("tail.example.com"));
        assert_eq!(plan.dns.nameservers, ["10.77.0.53"]);
        assert_eq!(plan.dns.split[0].suffix, "corp.example.com");
        assert_eq!(plan.dns.records[0].value, "100.64.0.3");
        let policy = plan.policy.unwrap();
        let problems: Vec<_> = policy
            .verdict
            .problems
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(problems.is_empty(), "{release:?}: {problems:?}");
        assert!(!policy.text.contains("\"carol@\"") && policy.text.contains("// Who is who."));
        let keys: Vec<_> = plan
            .notes
            .iter()
            .filter(|note| note.about == "key")
            .collect();
        assert_eq!(
            keys.len(),
            2,
            "those that were used, and may be only once, make no node: {keys:?}"
        );
        assert!(
            keys[0]
                .text
                .ends_with("bowline keys create --user alice@ --reusable")
        );
    }
}

#[tokio::test]
async fn who_logged_in_by_a_provider_is_called_by_the_mail_address() {
    let plan = plan(HeadscaleRelease::V28).await.unwrap();
    let dora = &plan.users[3];
    assert_eq!(dora.user.login_name, "dora@example.com");
    assert_eq!(
        dora.there.provider_identifier,
        "http://127.0.0.1:8081/oidc/dora-1"
    );
    assert_eq!(node(&plan, "tablet").user_id, dora.there.id);
    let login = plan
        .notes
        .iter()
        .find(|note| note.about == "login")
        .unwrap();
    assert_eq!(login.name, "http://127.0.0.1:8081/oidc");
}
