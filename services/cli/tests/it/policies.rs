//! Policies: what is refused, what is warned of, and where that is said.

use crate::bowline::TestInstallation;

const WARNED: &str = r#"{"postures": {"posture:mac": [
  "ip:country == 'DE'"]}}"#;

#[tokio::test]
async fn warnings_are_said_beside_the_answer_and_refuse_where_they_are_to() {
    let installation = TestInstallation::new();
    let file = installation.path("policy.hujson");
    std::fs::write(&file, WARNED).unwrap();
    let file = file.to_str().unwrap();
    let warning =
        format!("warning: {file}:2:3: \"ip:country\" is never set here: this condition is not met");

    let said = installation.bowline(&["policy", "check", file]).await;
    assert_eq!(said.code, 0, "{}", said.error);
    assert!(said.out.starts_with("the policy is valid"), "{}", said.out);
    assert!(said.error.starts_with(&warning), "{}", said.error);
    let checked = installation.json(&["policy", "check", file]).await;
    assert_eq!(checked["problems"], serde_json::json!([]));
    let warnings = checked["warnings"].as_array().unwrap();
    assert_eq!((warnings.len(), &warnings[0]["line"]), (1, &2.into()));
    let said = installation
        .bowline(&["policy", "check", "--strict", file])
        .await;
    assert_eq!(said.code, 4);
    assert!(said.out.contains("is never set here"), "{}", said.out);

    let _served = installation.serve().await;
    let said = installation
        .bowline(&["policy", "set", "--strict", file])
        .await;
    assert_eq!(said.code, 4);
    assert!(
        said.error.contains("the one in force stays"),
        "{}",
        said.error
    );
    let said = installation.bowline(&["policy", "set", file]).await;
    assert_eq!(said.code, 0, "{}", said.error);
    assert!(said.out.contains("version  1"), "{}", said.out);
    assert!(said.error.starts_with(&warning), "{}", said.error);
    let stored = installation.json(&["policy", "set", file]).await;
    assert_eq!(stored["version"], 2);
    assert_eq!(&stored["warnings"], &checked["warnings"]);
    let again = installation.json(&["policy", "rollback", "1"]).await;
    assert_eq!(
        (&again["version"], &again["warnings"]),
        (&3.into(), &checked["warnings"])
    );
    let history = installation.json(&["policy", "history"]).await;
    assert!(history[0].get("warnings").is_none());
}

#[tokio::test]
async fn an_editor_is_told_of_warnings_too() {
    let installation = TestInstallation::new();
    let _served = installation.serve().await;
    let written = installation.path("written.hujson");
    std::fs::write(&written, WARNED).unwrap();
    let mut command = crate::bowline::command(installation.directory());
    command.env("VISUAL", format!("cp {}", written.display()));
    command.args(["policy", "edit"]);
    let said = crate::bowline::run(&mut command).await;
    assert_eq!(said.code, 0, "{}", said.error);
    assert!(said.error.starts_with("warning: "), "{}", said.error);
    assert!(said.error.contains("is never set here"), "{}", said.error);
}
