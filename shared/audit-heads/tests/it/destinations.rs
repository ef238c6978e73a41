//! Heads reach where the settings say, each once.

use std::sync::Arc;

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use bowline_audit_heads::{
    AuditKey, AuditSettingsError, HeadExporter, SignedHead, create_audit_key,
};
use bowline_service_kit::{AuditConfig, ServiceName, config::Secret};
use bowline_test_servers::{S3Server, on_both};
use tokio::sync::Mutex;

use crate::support::TestTrails;

on_both!(TestTrails::open =>
    a_file_is_added_to,
    a_store_that_checks_signatures_takes_the_heads,
    a_webhook_is_asked_until_it_takes_the_heads,
    one_replica_exports,
    no_row_keeps_heads_here_for_long,
    another_place_gets_all_heads,
    heads_of_another_key_are_noticed,
    settings_that_can_not_be_used_are_refused
);

async fn a_file_is_added_to(trails: TestTrails) {
    for id in [1, 2] {
        trails.add(id, 3).await;
    }
    trails.export().await;
    let before = std::fs::read(trails.file()).unwrap();
    // A crash has cut a line: the next stands by itself.
    std::fs::write(trails.file(), [&before[..], b"{\"owner\":"].concat()).unwrap();
    trails.add(2, 1).await;
    trails.export().await;
    let after = std::fs::read(trails.file()).unwrap();
    assert!(after.starts_with(&before));
    let heads: Vec<_> = trails
        .heads()
        .iter()
        .map(|head| (head.tailnet_id, head.sequence))
        .collect();
    assert_eq!(heads, [(1, 3), (2, 3), (2, 4)]);
}

#[derive(Clone, Default)]
struct Taken {
    /// How many are refused before one is taken.
    refused: usize,
    bodies: Vec<String>,
}

async fn take_heads(
    State(taken): State<Arc<Mutex<Taken>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let mut taken = taken.lock().await;
    assert_eq!(headers["authorization"], "Bearer hidden");
    if taken.refused > 0 {
        taken.refused -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    taken.bodies.push(String::from_utf8(body.to_vec()).unwrap());
    StatusCode::NO_CONTENT
}

async fn a_webhook_is_asked_until_it_takes_the_heads(trails: TestTrails) {
    let taken = Arc::new(Mutex::new(Taken {
        refused: 1,
        ..Taken::default()
    }));
    let routes = Router::new()
        .route("/heads", post(take_heads))
        .with_state(Arc::clone(&taken));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    trails.add(1, 2).await;
    let settings = AuditConfig {
        webhook_url: Some(format!("http://{address}/heads")),
        webhook_token: Some(Secret::new("hidden".to_owned())),
        export_seconds: 1,
        ..trails.settings()
    };
    let exporter = trails.exporter(&settings);
    assert_eq!(exporter.export_due().await, 0, "it was refused");
    let running = tokio::spawn(exporter.run());
    let bodies = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        loop {
            let bodies = taken.lock().await.bodies.clone();
            if !bodies.is_empty() {
                return bodies;
            }
            tokio::task::yield_now().await;
        }
    });
    let bodies = bodies.await.unwrap();
    let (head, _) = SignedHead::parse(bodies[0].trim_end()).unwrap();
    assert_eq!((head.tailnet_id, head.sequence), (1, 2));
    running.abort();
    serving.abort();
}

async fn one_replica_exports(trails: TestTrails) {
    trails.add(1, 1).await;
    trails.export().await;
    trails.add(1, 1).await;
    let settings = AuditConfig {
        directory: Some(trails.place.path().to_owned()),
        ..trails.settings()
    };
    // The next turn is in ten minutes.
    assert_eq!(trails.exporter(&settings).export_due().await, 0);
    trails.execute("DELETE FROM audit_export_turns").await;
    let (one, other) = (trails.exporter(&settings), trails.exporter(&settings));
    let (one, other) = futures_util::future::join(one.export_due(), other.export_due()).await;
    assert_eq!(one + other, 1);
    assert_eq!(trails.heads().len(), 2);
}

async fn settings_that_can_not_be_used_are_refused(trails: TestTrails) {
    let make = |settings: AuditConfig| {
        let database = trails.log.database().clone();
        HeadExporter::new(database, ServiceName::Identity, &settings)
    };
    assert!(make(AuditConfig::default()).unwrap().is_none());
    let directory = Some(trails.place.path().to_owned());
    let without_key = AuditConfig {
        directory: directory.clone(),
        ..AuditConfig::default()
    };
    assert!(matches!(make(without_key), Err(AuditSettingsError::NoKey)));
    let no_key = AuditConfig {
        signing_key: Some(Secret::new("text".to_owned())),
        directory,
        ..AuditConfig::default()
    };
    assert!(matches!(make(no_key), Err(AuditSettingsError::Key(_))));
    let no_url = AuditConfig {
        webhook_url: Some("example.com".to_owned()),
        ..trails.settings()
    };
    assert!(matches!(
        make(no_url),
        Err(AuditSettingsError::Url("webhook_url"))
    ));
    let mut store = trails.settings();
    store.s3.bucket = S3Server::BUCKET.to_owned();
    store.s3.endpoint = "https://store.example.com".to_owned();
    store.s3.access_key_id = S3Server::ACCESS_KEY.to_owned();
    store.s3.secret_access_key = Some(Secret::new("secret".to_owned()));
    assert!(make(store.clone()).unwrap().is_some());
    let mut with_path = store.clone();
    with_path.s3.endpoint += "/path";
    let mut no_secret = store.clone();
    no_secret.s3.secret_access_key = Some(Secret::new(String::new()));
    let mut no_bucket = store;
    no_bucket.s3.bucket = String::new();
    for settings in [with_path, no_secret, no_bucket] {
        let refused = make(settings).err().unwrap();
        assert!(
            matches!(refused, AuditSettingsError::Unusable { .. }),
            "{refused}"
        );
    }
}

async fn no_row_keeps_heads_here_for_long(trails: TestTrails) {
    trails.add(1, 1).await;
    trails.export().await;
    let settings = AuditConfig {
        directory: Some(trails.place.path().to_owned()),
        ..trails.settings()
    };
    let exporter = trails.exporter(&settings);
    assert_eq!(exporter.export_due().await, 0);
    // Nobody takes a turn for so long.
    trails
        .execute("UPDATE audit_export_turns SET next_at = 9000000000000000 WHERE destination NOT LIKE '%/all'")
        .await;
    trails.add(1, 1).await;
    assert_eq!(exporter.export_due().await, 1);
    assert_eq!(trails.heads().len(), 2);
    // The row says that the destination has it, and a day later it is exported all the same.
    trails.add(1, 1).await;
    trails
        .execute("UPDATE audit_exports SET audit_hash = (SELECT audit_hash FROM heads WHERE tailnet_id = 1)")
        .await;
    trails
        .execute("UPDATE audit_export_turns SET next_at = 0 WHERE destination NOT LIKE '%/all'")
        .await;
    assert_eq!(exporter.export_due().await, 1);
    assert_eq!(trails.heads().len(), 2);
    trails
        .execute("UPDATE audit_export_turns SET next_at = 0")
        .await;
    assert_eq!(exporter.export_due().await, 1);
    assert_eq!(trails.heads().last().unwrap().sequence, 3);
}

async fn another_place_gets_all_heads(trails: TestTrails) {
    trails.add(1, 1).await;
    trails.export().await;
    let other = trails.place.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let settings = AuditConfig {
        directory: Some(other.clone()),
        ..trails.settings()
    };
    assert_eq!(trails.exporter(&settings).export_due().await, 1);
    let text = std::fs::read_to_string(other.join("audit-heads-identity.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
}

async fn heads_of_another_key_are_noticed(trails: TestTrails) {
    let with_key = |directory: std::path::PathBuf| AuditConfig {
        directory: Some(directory),
        ..trails.settings()
    };
    trails.add(1, 1).await;
    let directory = trails.place.path().to_owned();
    let before = trails.exporter(&with_key(directory.clone()));
    assert_eq!(before.find_other_keys().await.unwrap(), []);
    trails.export().await;
    assert_eq!(before.find_other_keys().await.unwrap(), []);
    let key = AuditKey::load(&trails.place.path().join("audit.key")).unwrap();
    std::fs::remove_file(trails.place.path().join("audit.key")).unwrap();
    create_audit_key(&trails.place.path().join("audit.key")).unwrap();
    let other = trails.exporter(&with_key(directory));
    let expected = [("directory", key.public())];
    assert_eq!(other.find_other_keys().await.unwrap(), expected);
    // By the database alone, as where a place can not be read, and by the file alone, as after the loss of the database.
    let aside = trails.place.path().join("aside");
    std::fs::rename(trails.file(), &aside).unwrap();
    assert_eq!(other.find_other_keys().await.unwrap(), expected);
    std::fs::rename(&aside, trails.file()).unwrap();
    trails.execute("DELETE FROM audit_export_turns").await;
    assert_eq!(other.find_other_keys().await.unwrap(), expected);
}

async fn a_store_that_checks_signatures_takes_the_heads(trails: TestTrails) {
    let Some(store) = S3Server::start().unwrap() else {
        return;
    };
    trails.add(1, 2).await;
    let settings = |secret: &str| {
        let mut settings = trails.settings();
        settings.s3.bucket = S3Server::BUCKET.to_owned();
        settings.s3.endpoint = store.url();
        settings.s3.access_key_id = S3Server::ACCESS_KEY.to_owned();
        settings.s3.secret_access_key = Some(Secret::new(secret.to_owned()));
        settings
    };
    let wrong = trails.exporter(&settings("wrong"));
    assert_eq!(
        wrong.export_due().await,
        0,
        "the store refuses another secret"
    );
    trails.execute("DELETE FROM audit_export_turns").await;
    let right = trails.exporter(&settings(S3Server::SECRET_KEY));
    assert_eq!(right.export_due().await, 1);
    let mut waiting = vec![store.bucket().join("bowline/identity")];
    let mut heads = Vec::new();
    while let Some(place) = waiting.pop() {
        for entry in std::fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|end| end == "jsonl") {
                heads.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    assert_eq!(heads.len(), 1);
    let (head, _) = SignedHead::parse(heads[0].trim_end()).unwrap();
    assert_eq!((head.tailnet_id, head.sequence), (1, 2));
}
