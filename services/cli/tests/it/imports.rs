//! Networks that move here from headscale.

use bowline_test_deployments::{Deployment as _, Separate};
use bowline_test_headscale::{HeadscaleRelease, HeadscaleState};
use bowline_test_servers::PostgresServer;
use serde_json::Value;

use crate::bowline::TestInstallation;

/// Runs an import and returns its rows.
async fn import(installation: &TestInstallation, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["--output", "json", "import", "headscale"], arguments].concat();
    let said = installation.bowline(&arguments).await;
    assert_eq!(said.code, 0, "{}", said.error);
    serde_json::from_str(&said.out).unwrap()
}

fn of_kind<'r>(rows: &'r [Value], kind: &str) -> Vec<&'r Value> {
    rows.iter().filter(|row| row["kind"] == kind).collect()
}

async fn count(installation: &TestInstallation, noun: &str) -> usize {
    let listed = installation.json(&[noun, "list"]).await;
    listed.as_array().unwrap().len()
}

#[tokio::test]
async fn a_network_moves_in_once_and_again_changes_nothing() {
    for release in [
        HeadscaleRelease::V26,
        HeadscaleRelease::V28,
        HeadscaleRelease::V29,
    ] {
        let state = HeadscaleState::restore(release).unwrap().unwrap();
        let config = state.config();
        let config = config.to_str().unwrap();
        let installation = TestInstallation::new();
        let _served = installation.serve().await;

        let dry = import(&installation, &[config, "--dry-run"]).await;
        let moving = of_kind(&dry, "device").len();
        assert!(moving >= 10, "{release:?}: {moving}");
        assert_eq!(count(&installation, "nodes").await, 0);
        assert_eq!(count(&installation, "users").await, 1);
        let keys = installation.path("control-keys");
        let shown = ["control-keys", "show", keys.to_str().unwrap()];
        let own = installation.json(&shown).await;

        let rows = import(&installation, &[config]).await;
        assert_eq!(rows, dry, "a dry run says what is done");
        check_what_moved(&installation, moving).await;
        let [key] = of_kind(&rows, "control-key")[..] else {
            panic!("there is one: {rows:?}");
        };
        let now = installation.json(&shown).await;
        assert_eq!(now[0]["public"], key["name"]);
        assert_eq!(
            (&now[1]["state"], &now[1]["public"]),
            (&"old".into(), &own[0]["public"])
        );

        let again = import(&installation, &[config]).await;
        let devices = of_kind(&again, "device");
        assert!(
            devices.iter().all(|row| row["is_here"] == true),
            "{again:?}"
        );
        assert_eq!(of_kind(&again, "policy")[0]["is_here"], true);
        assert_eq!(count(&installation, "nodes").await, moving);
        let history = installation.json(&["policy", "history"]).await;
        assert_eq!(history.as_array().unwrap().len(), 1);
    }
}

/// Checks what every recorded server had.
async fn check_what_moved(installation: &TestInstallation, devices: usize) {
    let nodes = installation.json(&["nodes", "list"]).await;
    let nodes = nodes.as_array().unwrap();
    assert_eq!(nodes.len(), devices);
    let named = |name: &str| nodes.iter().find(|node| node["name"] == name).unwrap();
    assert_eq!(named("laptop")["ipv4"], "100.64.0.1");
    assert_eq!(named("laptop")["user"], "alice@");
    assert_eq!(named("kitchen")["user"], "bob@example.com");
    assert_eq!(named("server")["tags"], serde_json::json!(["tag:server"]));
    assert_eq!(
        named("server")["approved_routes"],
        serde_json::json!(["10.20.0.0/16"])
    );
    let tailnet = installation.json(&["tailnets", "show"]).await;
    assert_eq!(tailnet["magic_dns_suffix"], "tail.example.com");
    let dns = installation.json(&["dns", "show"]).await;
    assert!(
        dns.to_string().contains("grafana.tail.example.com"),
        "{dns}"
    );
    let policy = installation.json(&["policy", "get"]).await;
    let text = policy["text"].as_str().unwrap();
    assert!(
        text.contains(r#"["bob@example.com", "carol@example.com"]"#),
        "{text}"
    );
    let audit = installation
        .json(&["audit", "list", "--limit", "1000"])
        .await;
    let audit = audit.as_array().unwrap();
    let imported = audit
        .iter()
        .filter(|entry| entry["action"] == "node.import");
    assert_eq!(imported.count(), devices);
    let owner = ["users", "transfer-ownership", "alice@"];
    assert_eq!(installation.json(&owner).await["role"], "owner");
    let verified = installation.bowline(&["audit", "verify"]).await;
    assert_eq!(verified.code, 0, "{}", verified.error);
}

#[tokio::test]
async fn a_tailnet_with_devices_of_its_own_is_refused() {
    let installation = TestInstallation::new();
    let _served = installation.serve().await;
    let [first, other] = [HeadscaleRelease::V26, HeadscaleRelease::V28]
        .map(|release| HeadscaleState::restore(release).unwrap().unwrap());
    import(&installation, &[first.config().to_str().unwrap()]).await;
    let config = other.config();
    let config = config.to_str().unwrap();
    let said = installation.bowline(&["import", "headscale", config]).await;
    assert_eq!(said.code, 4, "{}", said.error);
    assert!(
        said.error.contains("does not come from there"),
        "{}",
        said.error
    );
    assert_eq!(count(&installation, "nodes").await, 10);
    // In a tailnet of its own it has room. The keys are those of the first one's clients: they stay.
    let apart = [config, "--tailnet", "other"];
    let said = installation
        .bowline(&[&["import", "headscale"], &apart[..]].concat())
        .await;
    assert_eq!(said.code, 4, "{}", said.error);
    assert!(said.error.contains("old control keys"), "{}", said.error);
    let listed = installation
        .json(&["nodes", "list", "--tailnet", "other"])
        .await;
    assert_eq!(listed.as_array().unwrap().len(), 11);
}

#[tokio::test]
async fn a_policy_that_is_not_taken_is_refused_with_its_lines_before_anything_is_done() {
    let state = HeadscaleState::restore(HeadscaleRelease::V26)
        .unwrap()
        .unwrap();
    let installation = TestInstallation::new();
    let _served = installation.serve().await;
    let policy = installation.path("policy.hujson");
    std::fs::write(&policy, "{\n\"acls\": [\n{\"action\": \"accept\", \"src\": [\"carol@\"], \"dst\": [\"nobody:22\"]}]}")
        .unwrap();
    let config = state.config();
    let with_policy = ["--policy", policy.to_str().unwrap()];
    let arguments = [
        &["import", "headscale", config.to_str().unwrap()],
        &with_policy[..],
    ];
    let said = installation.bowline(&arguments.concat()).await;
    assert_eq!(said.code, 4, "{}", said.error);
    let place = format!("{}:3:", policy.display());
    assert!(
        said.out.contains(&place) && said.out.contains("nobody"),
        "{}",
        said.out
    );
    assert!(said.error.contains("nothing was changed"), "{}", said.error);
    assert_eq!(count(&installation, "users").await, 1);
}

#[tokio::test]
async fn separate_services_take_a_network_into_a_new_tailnet() {
    let Some(postgres) = PostgresServer::shared().unwrap() else {
        return;
    };
    let Some(state) = HeadscaleState::restore(HeadscaleRelease::V27).unwrap() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let database = postgres.new_database().unwrap();
    let started = Separate::start(directory.path(), &database).unwrap();
    let Some(separate) = started else { return };
    let config = state.config();
    let keys = directory.path().join("keys-of-the-move");
    let arguments = [
        "import",
        "headscale",
        config.to_str().unwrap(),
        "--tailnet",
        "office",
        "--control-keys",
        keys.to_str().unwrap(),
    ];
    separate.bowline(&arguments).unwrap();
    let nodes = separate
        .bowline(&["nodes", "list", "--tailnet", "office"])
        .unwrap();
    assert_eq!(nodes.as_array().unwrap().len(), 10);
    let policy = separate
        .bowline(&["policy", "get", "--tailnet", "office"])
        .unwrap();
    assert!(
        policy["text"]
            .as_str()
            .unwrap()
            .contains("carol@example.com")
    );
    let owner = [
        "users",
        "set-role",
        "alice@",
        "owner",
        "--tailnet",
        "office",
    ];
    assert_eq!(separate.bowline(&owner).unwrap()["role"], "owner");
    let shown = separate.bowline(&["control-keys", "show", keys.to_str().unwrap()]);
    assert_eq!(
        shown.unwrap().as_array().unwrap().len(),
        2,
        "one for each transport"
    );
}
