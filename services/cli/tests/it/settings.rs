//! Settings from files and variables.

use crate::bowline::{TestInstallation, command, run};

#[tokio::test]
async fn file_is_checked_with_place_and_nearest_name() {
    let installation = TestInstallation::new();
    let file = installation.path("bowline.toml");
    let check = ["config", "check", file.to_str().unwrap()];
    let said = installation.bowline(&check).await;
    assert!(
        said.out.starts_with("the settings are valid\n"),
        "{}",
        said.out
    );

    std::fs::write(&file, "[gateway]\nlistn = \"x\"\n").unwrap();
    let said = installation.bowline(&check).await;
    said.failed(
        1,
        "line 2, column 1: unknown key \"listn\"; did you mean \"listen\"?",
    );
    let half = format!("[gateway]\nkey_file = \"{}\"\n", file.display());
    std::fs::write(&file, half).unwrap();
    let said = installation.bowline(&check).await;
    said.failed(1, "key_file is set and certificate_file is not");
    std::fs::write(&file, "[gateway]\npublic_url = \"x.example\"\n").unwrap();
    let said = installation.bowline(&check).await;
    said.failed(1, "public_url \"x.example\" is no URL for clients");
    let nowhere = ["config", "check", "/nowhere.toml"];
    let said = installation.bowline(&nowhere).await;
    said.failed(1, "/nowhere.toml can not be read: No such file");
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_at_once() {
    let installation = TestInstallation::new();
    let file = installation.path("bowline.toml");
    let settings = "drain_secs = 1\n[gateway]\nlisten = \"nowhere\"\nkey_file = \"/nowhere.key\"\n\
                    [relay]\nenabled = \"yes\"\n[telemetry]\nlog_format = \"loud\"\n";
    std::fs::write(&file, settings).unwrap();
    let said = installation
        .bowline(&["config", "check", file.to_str().unwrap()])
        .await;
    assert_eq!(said.code, 1);
    for part in [
        "line 1, column 1: unknown key \"drain_secs\"",
        "line 3, column 10: invalid socket address",
        "line 6, column 11: invalid type",
        "line 8, column 14: unknown variant `loud`",
        "key_file is set and certificate_file is not",
        "key_file: /nowhere.key can not be read",
    ] {
        assert!(said.error.contains(part), "{part}: {}", said.error);
    }
    assert!(said.error.lines().all(|line| line.starts_with("bowline: ")));
}

#[tokio::test]
async fn variables_override_keys_at_the_top_and_unknown_ones_are_refused() {
    let installation = TestInstallation::new();
    let with = |name: &str, value: &str| {
        let mut command = command(installation.directory());
        command
            .args(["config", "check"])
            .arg(installation.path("bowline.toml"))
            .env(name, value);
        command
    };
    let said = run(&mut with("BOWLINE_DRAIN_SECONDS", "3")).await;
    assert_eq!(said.code, 0, "{}", said.error);
    let said = run(&mut with("BOWLINE_DRAIN_SECONDS", "soon")).await;
    said.failed(
        1,
        "environment variable BOWLINE_DRAIN_SECONDS: invalid type",
    );
    let said = run(&mut with("BOWLINE_DRAIN_SECOND", "3")).await;
    said.failed(
        1,
        "BOWLINE_DRAIN_SECOND: unknown key \"drain_second\"; did you mean \"drain_seconds\"?",
    );
    for other in ["BOWLINE_TAILNET", "BOWLINE_IDENTITY_SERVICE_HOST"] {
        let said = run(&mut with(other, "x")).await;
        assert_eq!(said.code, 0, "{other}: {}", said.error);
    }
}
