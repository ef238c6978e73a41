//! Heads of the audit trails that a server exports, and what is verified by them.

use serde_json::Value;

use crate::bowline::{SOON, TestInstallation};

/// Waits until the heads of all trails are exported; returns the options that name their files.
async fn exported_files(installation: &TestInstallation, trails: &Value) -> Vec<String> {
    let mut files = Vec::new();
    for trail in trails.as_array().unwrap() {
        if trail["entries"] == 0 {
            continue;
        }
        let owner = trail["owner"].as_str().unwrap();
        let file = installation.path(&format!("heads/audit-heads-{owner}.jsonl"));
        let newest = format!("\"sequence\":{},", trail["entries"]);
        let exported = async {
            while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&newest)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, exported).await.unwrap();
        files.extend(["--heads".to_owned(), file.to_str().unwrap().to_owned()]);
    }
    files
}

/// Takes the newest entry of identity's trail away, and computes its head again.
async fn cut_off(installation: &TestInstallation) {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", installation.path("identity.db").display());
    let database = sqlx::AnyPool::connect(&url).await.unwrap();
    let cut = "DELETE FROM audit WHERE sequence = (SELECT audit_sequence FROM heads WHERE audit_sequence > 1);
         UPDATE heads SET audit_sequence = audit_sequence - 1, audit_hash =
             (SELECT hash FROM audit WHERE audit.tailnet_id = heads.tailnet_id ORDER BY sequence DESC LIMIT 1)";
    sqlx::raw_sql(cut).execute(&database).await.unwrap();
    database.close().await;
}

async fn fails(installation: &TestInstallation, arguments: &[&str], text: &str) {
    let said = installation.bowline(arguments).await;
    assert_eq!(said.code, 1, "{}", said.error);
    assert!(said.error.contains(text), "{}", said.error);
}

#[tokio::test]
async fn heads_of_the_trail_are_exported_and_find_an_end_that_was_cut_off() {
    let installation = TestInstallation::new();
    let settings = installation.path("bowline.toml");
    let before = std::fs::read_to_string(&settings).unwrap();
    let audit = "\n[audit]\ndirectory = \"heads\"\nexport_seconds = 1\n";
    std::fs::write(&settings, before + audit).unwrap();
    std::fs::create_dir(installation.path("heads")).unwrap();
    let served = installation.serve().await;
    installation
        .json(&["users", "create", "amira@example.com"])
        .await;
    let policy = installation.path("policy.hujson");
    std::fs::write(&policy, "{\"acls\": []}").unwrap();
    installation
        .json(&["policy", "set", policy.to_str().unwrap()])
        .await;
    let whole = installation.json(&["audit", "verify"]).await;
    let entries = whole[0]["entries"].as_u64().unwrap();
    let files = exported_files(&installation, &whole).await;
    let files: Vec<&str> = files.iter().map(|text| &**text).collect();
    let key = installation.path("control-keys/audit.key");
    let key = installation
        .json(&["audit-key", "show", key.to_str().unwrap()])
        .await;
    let begin = [
        "audit",
        "verify",
        "--signed-by",
        key["public"].as_str().unwrap(),
    ];
    let verify = [&begin[..], &files].concat();
    let recent = [&verify[..], &["--max-age", "1h"]].concat();
    let verified = installation.json(&recent).await;
    assert_eq!(verified[0]["confirmed"], entries, "{verified}");
    assert_eq!(verified[0]["unconfirmed"], 0, "{verified}");
    // A trail with entries that nothing was compared with is not whole.
    let of_identity = [&begin[..], &files[..2]].concat();
    fails(&installation, &of_identity, "nothing was compared").await;
    // A line that does not count is no success.
    let cut = installation.path("cut");
    std::fs::write(&cut, "{\"owner\":\n").unwrap();
    let with_cut = [&verify[..], &["--heads", cut.to_str().unwrap()]].concat();
    fails(&installation, &with_cut, "1 lines do not count").await;
    let other = "bowline-audit-public-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let by_other = [&["audit", "verify", "--signed-by", other][..], &files].concat();
    let said = installation.bowline(&by_other).await;
    assert_ne!(said.code, 0, "{}", said.error);
    assert!(said.error.contains("does not count"), "{}", said.error);

    served.end().await;
    cut_off(&installation).await;
    let _served = installation.serve().await;
    let own = installation.json(&["audit", "verify"]).await;
    assert_eq!(own[0]["whole"], true, "the server sees nothing: {own}");
    let tailnet = &verified[0]["tailnet_id"];
    let missing = format!("the trail of identity of tailnet {tailnet}: entry {entries} is missing");
    fails(&installation, &verify, &missing).await;
}
