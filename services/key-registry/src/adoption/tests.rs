use bowline_db::AuditEntry;
use bowline_ids::TailnetId;
use bowline_proto::key_registry::v1::{ClientReport, NodeReport};

use super::*;
use crate::sweeper::tests::{TAILNET, TestRegistry, client, host, node, report};

fn named(sequence: u64, hostname: &str) -> NodeReport {
    NodeReport {
        client: Some(ClientReport {
            host: Some(HostReport {
                hostname: hostname.to_owned(),
                ..host(900)
            }),
            ..client(sequence, 900)
        }),
        ..report(1)
    }
}

async fn audits(scene: &TestRegistry) -> Vec<AuditEntry> {
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    scene.log.audit_entries(tailnet, 0, 1000).await.unwrap()
}

async fn revision(scene: &TestRegistry) -> u64 {
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    scene.log.heads(&[tailnet]).await.unwrap()[0].revision.get()
}

/// Lets time pass and everything be done that is due.
async fn pass(scene: &TestRegistry, seconds: i64) {
    for _ in 0..seconds {
        scene.clock.advance(TimeDelta::seconds(1));
        scene.adoption.adopt_due_reports().await.unwrap();
    }
}

async fn name(scene: &TestRegistry) -> String {
    scene.node(1).await.unwrap().name
}

#[tokio::test]
async fn flood_of_reports_changes_a_node_five_times_at_once_and_its_newest_is_not_lost() {
    let scene = TestRegistry::new().await;
    scene.put(node(1)).await;
    let before = revision(&scene).await;
    for number in 1..=500 {
        scene
            .report("g", vec![named(number, &format!("host-{number}"))])
            .await;
    }
    assert_eq!(revision(&scene).await - before, 5);
    assert_eq!(name(&scene).await, "host-5");
    assert_eq!(audits(&scene).await.len(), 1);
    pass(&scene, 10).await;
    assert_eq!(name(&scene).await, "host-500");
    assert_eq!(revision(&scene).await - before, 6);
    // Silence: nothing more is written but what the audit trail still has to say, once.
    pass(&scene, 300).await;
    assert_eq!(revision(&scene).await - before, 6);
    let audits = audits(&scene).await;
    assert_eq!(audits.len(), 2);
    let told =
        |entry: &AuditEntry| serde_json::from_str::<serde_json::Value>(&entry.detail).unwrap();
    assert_eq!(told(&audits[0])["before"]["hostname"], "laptop");
    assert_eq!(told(&audits[0])["after"]["hostname"], "host-1");
    assert_eq!(told(&audits[1])["before"]["hostname"], "host-1");
    assert_eq!(told(&audits[1])["after"]["hostname"], "host-500");
    assert_eq!(
        (&*audits[1].action, &*audits[1].object),
        ("node.describe", "1")
    );
    assert!(
        audits[1].actor.starts_with("machine:"),
        "{}",
        audits[1].actor
    );
}

#[tokio::test]
async fn steady_flood_is_audited_once_a_minute() {
    let scene = TestRegistry::new().await;
    scene.put(node(1)).await;
    for number in 1..=600 {
        scene
            .report("g", vec![named(number, &format!("host-{number}"))])
            .await;
        pass(&scene, 1).await;
    }
    let audits = audits(&scene).await;
    assert!((9..=11).contains(&audits.len()), "{}", audits.len());
    for pair in audits.windows(2) {
        assert!(pair[1].time - pair[0].time >= TimeDelta::seconds(60));
    }
}

#[tokio::test]
async fn ends_that_come_sooner_and_sooner_are_paced_and_the_last_counts() {
    let scene = TestRegistry::new().await;
    scene.put(node(1)).await;
    let before = revision(&scene).await;
    let now = scene.log.database().now().await.unwrap();
    let end = |number: i64| now + TimeDelta::days(100) - TimeDelta::seconds(number);
    for number in 1..=100 {
        let node = scene.node(1).await.unwrap();
        scene.adoption.shorten_key(node, end(number)).await.unwrap();
    }
    assert_eq!(revision(&scene).await - before, 5);
    assert_eq!(audits(&scene).await.len(), 1);
    pass(&scene, 10).await;
    let shortened = scene.node(1).await.unwrap().key_expiry;
    assert_eq!(shortened, Some(domain::to_timestamp(end(100))));
    pass(&scene, 60).await;
    let audits = audits(&scene).await;
    assert_eq!(audits.len(), 2);
    assert!(audits.iter().all(|entry| entry.action == "node.shorten"));
}

#[tokio::test]
async fn report_that_is_overtaken_by_a_newer_one_changes_nothing() {
    let scene = TestRegistry::new().await;
    scene.put(node(1)).await;
    scene.report("g", vec![named(1, "first")]).await;
    let judged = JudgedReport {
        host: self_report::judged_part(&HostReport {
            hostname: "first".to_owned(),
            ..host(900)
        }),
        node: scene.node(1).await.unwrap(),
        judgement: None,
    };
    // While the first was being judged a newer one came, through another gateway.
    scene.report("h", vec![named(1, "second")]).await;
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    let late = scene.log.mutate(tailnet, "test", move |mutation| {
        Box::pin(take_over_report(mutation, judged))
    });
    assert!(late.await.unwrap().0 == AdoptionOutcome::Done);
    assert_eq!(name(&scene).await, "second");
}

#[tokio::test]
async fn changes_that_wait_to_be_told_are_told_before_the_node_goes() {
    let scene = TestRegistry::new().await;
    scene.put(node(1)).await;
    for number in 1..=3 {
        scene
            .report("g", vec![named(number, &format!("host-{number}"))])
            .await;
    }
    assert_eq!(audits(&scene).await.len(), 1);
    let gone = scene.node(1).await.unwrap();
    let removing = crate::removal::remove_node(&scene.log, gone, "node.delete", |_, _| true);
    removing.await.unwrap();
    let audits = audits(&scene).await;
    let actions: Vec<_> = audits.iter().map(|entry| &*entry.action).collect();
    assert_eq!(actions, ["node.describe", "node.describe", "node.delete"]);
    assert!(audits[1].detail.contains("host-3"), "{}", audits[1].detail);
}
