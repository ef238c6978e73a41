//! Commands to a server, and those that need none.

use bowline_proto::identity::v1::{Device, Login, LoginState};
use prost::Message as _;

use crate::bowline::{TestInstallation, command, run};

#[tokio::test]
async fn people_and_tailnets_are_listed_shown_and_changed_by_name_or_number() {
    let installation = TestInstallation::new();
    let _served = installation.serve().await;
    let made = installation
        .json(&["users", "create", "amira@example.com"])
        .await;
    let number = made["id"].to_string();
    for name in ["amira@example.com", &number] {
        let shown = installation.json(&["users", "show", name]).await;
        assert_eq!(shown["id"], made["id"]);
        assert_eq!(shown["links"], serde_json::json!([]));
    }
    let names = installation.json(&["users", "list"]).await;
    assert_eq!(names.as_array().unwrap().len(), 2);
    let home = installation.json(&["tailnets", "show"]).await;
    assert_eq!(home["name"], "home");
    assert_eq!(
        installation.json(&["nodes", "list"]).await,
        serde_json::json!([])
    );
    installation.json(&["users", "suspend", &number]).await;
    let suspended = installation.json(&["users", "show", &number]).await;
    assert_eq!(suspended["suspended"], true);

    installation
        .bowline(&["users", "show", "noor@example.com"])
        .await
        .failed(3, "there is no user");
    installation
        .bowline(&["nodes", "show", "laptop"])
        .await
        .failed(3, "there is no node");
    let said = installation.bowline(&["tailnets", "delete", "home"]).await;
    said.failed(4, "the tailnet has users");
    let said = installation
        .bowline(&["users", "create", "amira@example.com"])
        .await;
    said.failed(4, "exists already");

    let said = installation
        .bowline(&["tailnets", "update", "--key-lifetime", "99999999d"])
        .await;
    assert_eq!(said.code, 2, "{}", said.error);
    assert!(
        said.error.contains("longer than 100 years"),
        "{}",
        said.error
    );

    let tailnet = home["id"].to_string();
    installation.json(&["tailnets", "create", &tailnet]).await;
    let said = installation
        .bowline(&["users", "list", "--tailnet", &tailnet])
        .await;
    said.failed(4, "both a name and a number");
}

#[tokio::test]
async fn dns_is_set_shown_and_taken_back() {
    let installation = TestInstallation::new();
    let _served = installation.serve().await;
    for arguments in [
        &["nameservers", "set", "1.1.1.1", "9.9.9.9"][..],
        &["override", "on"],
        &["search", "set", "corp.example.com"],
        &["split", "set", "corp.example.com", "10.0.0.53"],
        &[
            "records",
            "add",
            "Printer.Corp.example.com.",
            "a",
            "100.64.0.7",
        ],
        &["suffix", "home.example.com"],
        &["magic", "off"],
    ] {
        installation.json(&[&["dns"][..], arguments].concat()).await;
    }
    let shown = installation.json(&["dns", "show"]).await;
    let expected = serde_json::json!({
        "tailnet": "home",
        "magic_dns": false,
        "magic_dns_suffix": "home.example.com",
        "nameservers": ["1.1.1.1", "9.9.9.9"],
        "override_local": true,
        "search_domains": ["corp.example.com"],
        "split": [{ "suffix": "corp.example.com", "nameservers": ["10.0.0.53"] }],
        "records": [{ "name": "printer.corp.example.com", "type": "A", "value": "100.64.0.7" }],
    });
    assert_eq!(shown, expected);
    let table = installation.bowline(&["dns", "show"]).await;
    assert!(
        table.out.contains("corp.example.com → 10.0.0.53"),
        "{}",
        table.out
    );

    for (arguments, code, part) in [
        (&["nameservers", "clear"][..], 1, "set nameservers first"),
        (
            &["nameservers", "set", "dns.test"],
            1,
            "neither an IP address",
        ),
        (
            &["records", "add", "*.example.com", "A", "100.64.0.7"],
            1,
            "dns-subdomain-resolve",
        ),
        (
            &["records", "remove", "nobody.example.com"],
            3,
            "no such DNS record",
        ),
        (&["split", "remove", "example.com"], 3, "no such suffix"),
    ] {
        let said = installation
            .bowline(&[&["dns"][..], arguments].concat())
            .await;
        said.failed(code, part);
    }
    for arguments in [
        &["override", "off"][..],
        &["nameservers", "clear"],
        &["search", "clear"],
        &["split", "remove", "corp.example.com"],
        &["records", "remove", "printer.corp.example.com", "A"],
    ] {
        installation.json(&[&["dns"][..], arguments].concat()).await;
    }
    let shown = installation.json(&["dns", "show"]).await;
    for empty in ["nameservers", "search_domains", "split", "records"] {
        assert_eq!(shown[empty], serde_json::json!([]), "{empty}");
    }
}

#[tokio::test]
async fn trail_of_all_services_is_listed_newest_first_in_pages_and_verified() {
    let installation = TestInstallation::new();
    let served = installation.serve().await;
    installation
        .json(&["users", "create", "amira@example.com"])
        .await;
    installation
        .json(&["users", "set-role", "amira@example.com", "admin"])
        .await;
    installation
        .json(&["keys", "create", "--user", "amira@example.com"])
        .await;
    installation
        .json(&["dns", "search", "set", "corp.example.com"])
        .await;
    let all = installation.json(&["audit", "list"]).await;
    let actions = |listed: &serde_json::Value| -> Vec<String> {
        let entries = listed.as_array().unwrap().iter();
        entries
            .map(|entry| entry["action"].as_str().unwrap().to_owned())
            .collect()
    };
    let newest = [
        "dns.update",
        "pre_auth_key.create",
        "user.update",
        "user.create",
    ];
    assert_eq!(actions(&all)[..4], newest);
    assert_eq!(
        all[2]["detail"],
        serde_json::json!({ "before": { "role": "member" }, "after": { "role": "admin" } })
    );
    assert_eq!(
        all[0]["detail"]["after"]["search_domains"][0],
        "corp.example.com"
    );

    let mut paged = Vec::new();
    let mut before = "9999-01-01T00:00:00Z".to_owned();
    loop {
        let page = installation
            .json(&["audit", "list", "--limit", "2", "--before", &before])
            .await;
        let Some(last) = page.as_array().unwrap().last() else {
            break;
        };
        before = last["time"].as_str().unwrap().to_owned();
        paged.extend(actions(&page));
    }
    assert_eq!(paged, actions(&all));

    let filter = "audit list --action user --target amira@example.com --owner identity";
    let filtered = installation
        .json(&filter.split(' ').collect::<Vec<_>>())
        .await;
    assert_eq!(actions(&filtered)[..2], ["user.update", "user.create"]);
    let exported = installation
        .bowline(&["audit", "export", "--since", "2020-01-01T00:00:00Z"])
        .await;
    let lines = exported.out.lines();
    let mut lines: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines.reverse();
    assert_eq!(serde_json::Value::from(lines), all);

    let verified = installation.json(&["audit", "verify"]).await;
    let trails = verified.as_array().unwrap();
    assert!(trails.len() == 3 && trails.iter().all(|trail| trail["whole"] == true));
    let counted: u64 = trails
        .iter()
        .map(|trail| trail["entries"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, all.as_array().unwrap().len() as u64);

    served.end().await;
    change_of_an_entry_is_found(&installation).await;
}

async fn change_of_an_entry_is_found(installation: &TestInstallation) {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", installation.path("identity.db").display());
    let database = sqlx::AnyPool::connect(&url).await.unwrap();
    let change = "UPDATE audit SET actor = 'nobody' WHERE sequence = 2";
    sqlx::query(change).execute(&database).await.unwrap();
    database.close().await;
    let _served = installation.serve().await;
    let said = installation.bowline(&["audit", "verify"]).await;
    assert_eq!(said.code, 1, "{}", said.error);
    assert!(
        said.error.contains("entry 2 of the trail of identity"),
        "{}",
        said.error
    );
}

/// Writes a device that waits for somebody, as a client without a key leaves it.
async fn pending_login(installation: &TestInstallation, id: &str) {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", installation.path("identity.db").display());
    let database = sqlx::AnyPool::connect(&url).await.unwrap();
    let ends = 4_000_000_000_i64;
    let login = Login {
        id: id.to_owned(),
        state: LoginState::Pending.into(),
        machine_key: vec![7; 32],
        node_key: vec![8; 32],
        device: Some(Device {
            hostname: "laptop".to_owned(),
            os: "linux".to_owned(),
            client_version: "1.102.5".to_owned(),
            source_address: "192.0.2.7".to_owned(),
            ..Device::default()
        }),
        expires_at: Some(prost_types::Timestamp {
            seconds: ends,
            nanos: 0,
        }),
        ..Login::default()
    };
    let insert = "INSERT INTO logins (id, pending, machine_key, source, expires_at, body)
                  VALUES ($1, 1, $2, '192.0.2.7', $3, $4)";
    sqlx::query(insert)
        .bind(id.to_owned())
        .bind(login.machine_key.clone())
        .bind(ends * 1_000_000)
        .bind(login.encode_to_vec())
        .execute(&database)
        .await
        .unwrap();
    database.close().await;
}

#[tokio::test]
async fn device_is_shown_before_it_is_let_in_and_a_person_is_asked() {
    let installation = TestInstallation::new();
    let _served = installation.serve().await;
    let state = async |id: &str| installation.json(&["logins", "show", id]).await["state"].clone();
    // At a terminal: `script` makes one.
    let at_a_terminal = async |answer: &str, more: &str| {
        let line = format!(
            "{} --state-dir {} logins approve https://bowline.test/register/two --user owner@home {more}",
            env!("CARGO_BIN_EXE_bowline"),
            installation.directory().display()
        );
        let mut command = tokio::process::Command::new("sh");
        command
            .args([
                "-c",
                r#"echo "$0" | script -qec "$1" /dev/null"#,
                answer,
                &line,
            ])
            .env_remove("BOWLINE_TAILNET")
            .stdin(std::process::Stdio::null());
        run(&mut command).await
    };
    for id in ["one", "two", "three"] {
        pending_login(&installation, id).await;
    }
    let said = installation
        .bowline(&[
            "--output",
            "json",
            "logins",
            "approve",
            "one",
            "--user",
            "OWNER@home",
        ])
        .await;
    assert_eq!(said.code, 0, "{}", said.error);
    for part in ["laptop", "linux", "1.102.5", "192.0.2.7", "mkey:07070707"] {
        assert!(said.error.contains(part), "{part}: {}", said.error);
    }
    let approved: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(approved["state"], "approved");

    let said = at_a_terminal("no", "").await;
    assert_eq!(said.code, 4, "{}", said.out);
    assert!(
        said.out.contains("laptop") && said.out.contains("[y/N]"),
        "{}",
        said.out
    );
    assert_eq!(state("two").await, "pending");
    let said = at_a_terminal("y", "").await;
    assert_eq!(
        (said.code, state("two").await),
        (0, "approved".into()),
        "{}",
        said.out
    );
    let said = installation
        .bowline(&[
            "logins",
            "approve",
            "three",
            "--user",
            "owner@home",
            "--yes",
        ])
        .await;
    assert_eq!((said.code, state("three").await), (0, "approved".into()));
}

#[tokio::test]
async fn login_names_are_found_in_any_case() {
    let installation = TestInstallation::new();
    let _served = installation.serve().await;
    let made = installation
        .json(&["users", "create", "Alice@Example.com"])
        .await;
    let said = installation
        .bowline(&["users", "create", "alice@example.com"])
        .await;
    said.failed(4, "Alice@Example.com exists already");
    let shown = installation
        .json(&["users", "show", "ALICE@example.com"])
        .await;
    assert_eq!(shown["id"], made["id"]);
}

#[tokio::test]
async fn without_a_server_the_failure_says_where_one_was_looked_for() {
    let installation = TestInstallation::new();
    let said = installation.bowline(&["status"]).await;
    said.failed(5, "is `bowline serve` running");
    let said = installation
        .bowline(&["--identity", "127.0.0.1:1", "status"])
        .await;
    said.failed(1, "needs --ca");
    let said = installation
        .bowline(&["relay", "--host", "127.0.0.1", "--map", "/nowhere/map.json"])
        .await;
    said.failed(1, "--key-registry and --identity");
}

#[tokio::test]
async fn completions_and_lists_end_quietly_when_nobody_reads_on() {
    let installation = TestInstallation::new();
    let script = installation.bowline(&["completions", "bash"]).await;
    assert!(script.out.contains("control-keys"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(installation.directory());
    command.args(["completions", "bash"]).stdout(writer);
    let said = run(&mut command).await;
    assert_eq!((said.code, &*said.error), (0, ""));
}

#[tokio::test]
async fn certificates_are_made_and_renewed_under_the_same_authority() {
    let installation = TestInstallation::new();
    let directory = installation.path("certificates");
    let at = directory.to_str().unwrap();
    let text = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    installation
        .bowline(&["certificates", "renew", at])
        .await
        .failed(1, "ca.pem");
    let create = [
        "certificates",
        "create",
        at,
        "--admin",
        "amira",
        "--days",
        "2",
    ];
    installation.json(&create).await;
    let (authority, own) = (text("ca.pem"), text("amira.pem"));
    let renewed = installation
        .json(&["certificates", "renew", at, "--days", "1"])
        .await;
    let holders: Vec<_> = renewed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["holder"].as_str().unwrap())
        .collect();
    let services = [
        "service:identity",
        "service:key-registry",
        "service:netmap-gateway",
        "service:policy-compiler",
        "service:relay",
    ];
    assert_eq!(holders, [&["admin:amira"], &services[..]].concat());
    assert_eq!(text("ca.pem"), authority);
    assert_ne!(text("amira.pem"), own);
    installation
        .bowline(&["certificates", "renew", at, "--days", "0"])
        .await
        .failed(1, "1 to 3650 days");
    std::fs::write(directory.join("relay.pem"), "nonsense").unwrap();
    installation
        .bowline(&["certificates", "renew", at])
        .await
        .failed(1, "relay.pem: it is no certificate");
}
