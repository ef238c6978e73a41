//! Commands to a server, and those that need none.

use crate::bowline::{Place, command, run};

#[tokio::test]
async fn people_and_tailnets_are_listed_shown_and_changed_by_name_or_number() {
    let place = Place::new();
    let _served = place.serve().await;
    let made = place.json(&["users", "create", "amira@example.com"]).await;
    let number = made["id"].to_string();
    for name in ["amira@example.com", &number] {
        assert_eq!(place.json(&["users", "show", name]).await, made);
    }
    let names = place.json(&["users", "list"]).await;
    assert_eq!(names.as_array().unwrap().len(), 2);
    let home = place.json(&["tailnets", "show"]).await;
    assert_eq!(home["name"], "home");
    assert_eq!(place.json(&["nodes", "list"]).await, serde_json::json!([]));
    place.json(&["users", "suspend", &number]).await;
    let suspended = place.json(&["users", "show", &number]).await;
    assert_eq!(suspended["suspended"], true);

    place
        .bowline(&["users", "show", "noor@example.com"])
        .await
        .failed(3, "there is no user");
    place
        .bowline(&["nodes", "show", "laptop"])
        .await
        .failed(3, "there is no node");
    let said = place.bowline(&["tailnets", "delete", "home"]).await;
    said.failed(4, "the tailnet has users");
    let said = place
        .bowline(&["users", "create", "amira@example.com"])
        .await;
    said.failed(4, "exists already");

    let said = place
        .bowline(&["tailnets", "update", "--key-lifetime", "99999999d"])
        .await;
    assert_eq!(said.code, 2, "{}", said.error);
    assert!(
        said.error.contains("longer than 100 years"),
        "{}",
        said.error
    );

    let tailnet = home["id"].to_string();
    place.json(&["tailnets", "create", &tailnet]).await;
    let said = place
        .bowline(&["users", "list", "--tailnet", &tailnet])
        .await;
    said.failed(4, "both a name and a number");
}

#[tokio::test]
async fn without_a_server_the_failure_says_where_one_was_looked_for() {
    let place = Place::new();
    let said = place.bowline(&["status"]).await;
    said.failed(5, "is `bowline serve` running");
    let said = place
        .bowline(&["--identity", "127.0.0.1:1", "status"])
        .await;
    said.failed(1, "needs --ca");
    let said = place
        .bowline(&["relay", "--host", "127.0.0.1", "--map", "/nowhere/map.json"])
        .await;
    said.failed(1, "--key-registry and --identity");
}

#[tokio::test]
async fn control_keys_are_made_shown_rolled_and_retired() {
    let place = Place::new();
    let keys = place.path("keys");
    let keys = keys.to_str().unwrap();
    place
        .bowline(&["control-keys", "roll", keys])
        .await
        .failed(3, "control-keys create");
    place.json(&["control-keys", "create", keys]).await;
    let before = place.json(&["control-keys", "show", keys]).await;
    let ages = |shown: &serde_json::Value| {
        let shown = shown.as_array().unwrap().iter();
        let pair = |key: &serde_json::Value| format!("{} {}", key["transport"], key["age"]);
        shown
            .map(|key| pair(key).replace('"', ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(ages(&before), ["noise newest", "legacy newest"]);
    assert!(before[0]["public"].as_str().unwrap().starts_with("mkey:"));

    place.json(&["control-keys", "roll", keys]).await;
    let rolled = place.json(&["control-keys", "show", keys]).await;
    let all = [
        "noise newest",
        "noise previous",
        "legacy newest",
        "legacy previous",
    ];
    assert_eq!(ages(&rolled), all);
    assert_eq!(rolled[1]["public"], before[0]["public"]);
    place
        .bowline(&["control-keys", "roll", keys])
        .await
        .failed(4, "control-keys retire");
    place.json(&["control-keys", "retire", keys]).await;
    let retired = place.json(&["control-keys", "show", keys]).await;
    assert_eq!((&retired[0], &retired[1]), (&rolled[0], &rolled[2]));
    place
        .bowline(&["control-keys", "retire", keys])
        .await
        .failed(3, "no previous");
}

#[tokio::test]
async fn completions_and_lists_end_quietly_when_nobody_reads_on() {
    let place = Place::new();
    let script = place.bowline(&["completions", "bash"]).await;
    assert!(script.out.contains("control-keys"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(place.directory());
    command.args(["completions", "bash"]).stdout(writer);
    let said = run(&mut command).await;
    assert_eq!((said.code, &*said.error), (0, ""));
}
