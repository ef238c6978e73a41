use bowline_db::AuditEntry;
use bowline_ids::TailnetId;
use bowline_proto::key_registry::v1::{ClientReport, NodeReport};

use super::*;
use crate::{
    domain,
    sweeper::tests::{TAILNET, TestRegistry, client, host, node, report},
};

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

async fn audits(registry: &TestRegistry) -> Vec<AuditEntry> {
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    registry.log.audit_entries(tailnet, 0, 1000).await.unwrap()
}

async fn revision(registry: &TestRegistry) -> u64 {
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    registry.log.heads(&[tailnet]).await.unwrap()[0]
        .revision
        .get()
}

/// Lets time pass and everything be done that is due.
async fn pass(registry: &TestRegistry, seconds: i64) {
    for _ in 0..seconds {
        registry.clock.advance(TimeDelta::seconds(1));
        registry.adoption.adopt_due_reports().await.unwrap();
    }
}

async fn name(registry: &TestRegistry) -> String {
    registry.node(1).await.unwrap().name
}

#[tokio::test]
async fn flood_of_reports_changes_a_node_five_times_at_once_and_its_newest_is_not_lost() {
    let registry = TestRegistry::new().await;
    registry.put(node(1)).await;
    let before = revision(&registry).await;
    for number in 1..=500 {
        registry
            .report("g", vec![named(number, &format!("host-{number}"))])
            .await;
    }
    assert_eq!(revision(&registry).await - before, 5);
    assert_eq!(name(&registry).await, "host-5");
    assert_eq!(audits(&registry).await.len(), 1);
    pass(&registry, 10).await;
    assert_eq!(name(&registry).await, "host-500");
    assert_eq!(revision(&registry).await - before, 6);
    // Silence: nothing more is written but what the audit trail still has to say, once.
    pass(&registry, 300).await;
    assert_eq!(revision(&registry).await - before, 6);
    let audits = audits(&registry).await;
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
    let registry = TestRegistry::new().await;
    registry.put(node(1)).await;
    for number in 1..=600 {
        registry
            .report("g", vec![named(number, &format!("host-{number}"))])
            .await;
        pass(&registry, 1).await;
    }
    let audits = audits(&registry).await;
    assert!((9..=11).contains(&audits.len()), "{}", audits.len());
    for pair in audits.windows(2) {
        assert!(pair[1].time - pair[0].time >= TimeDelta::seconds(60));
    }
}

#[tokio::test]
async fn ends_that_come_sooner_and_sooner_are_paced_and_the_last_counts() {
    let registry = TestRegistry::new().await;
    registry.put(node(1)).await;
    let before = revision(&registry).await;
    let now = registry.log.database().now().await.unwrap();
    let end = |number: i64| now + TimeDelta::days(100) - TimeDelta::seconds(number);
    for number in 1..=100 {
        let node = registry.node(1).await.unwrap();
        registry
            .adoption
            .shorten_key(node, end(number))
            .await
            .unwrap();
    }
    assert_eq!(revision(&registry).await - before, 5);
    assert_eq!(audits(&registry).await.len(), 1);
    pass(&registry, 10).await;
    let shortened = registry.node(1).await.unwrap().key_expiry;
    assert_eq!(shortened, Some(domain::to_timestamp(end(100))));
    pass(&registry, 60).await;
    let audits = audits(&registry).await;
    assert_eq!(audits.len(), 2);
    assert!(audits.iter().all(|entry| entry.action == "node.shorten"));
}

#[tokio::test]
async fn report_that_is_overtaken_by_a_newer_one_changes_nothing() {
    let registry = TestRegistry::new().await;
    registry.put(node(1)).await;
    registry.report("g", vec![named(1, "first")]).await;
    let judged = JudgedReport {
        host: Some(self_report::logged_part(&HostReport {
            hostname: "first".to_owned(),
            ..host(900)
        })),
        node: registry.node(1).await.unwrap(),
        judgement: None,
    };
    // While the first was being judged a newer one came, through another gateway.
    registry.report("h", vec![named(1, "second")]).await;
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    let late = registry.log.mutate(tailnet, "test", move |mutation| {
        Box::pin(take_over_report(mutation, judged))
    });
    assert!(late.await.unwrap().0 == AdoptionOutcome::Done);
    assert_eq!(name(&registry).await, "second");
}

#[tokio::test]
async fn changes_that_wait_to_be_told_are_told_before_the_node_goes() {
    let registry = TestRegistry::new().await;
    registry.put(node(1)).await;
    for number in 1..=3 {
        registry
            .report("g", vec![named(number, &format!("host-{number}"))])
            .await;
    }
    assert_eq!(audits(&registry).await.len(), 1);
    let gone = registry.node(1).await.unwrap();
    let removing = crate::removal::remove_node(&registry.log, gone, "node.delete", |_, _| true);
    removing.await.unwrap();
    let audits = audits(&registry).await;
    let actions: Vec<_> = audits.iter().map(|entry| &*entry.action).collect();
    assert_eq!(actions, ["node.describe", "node.describe", "node.delete"]);
    assert!(audits[1].detail.contains("host-3"), "{}", audits[1].detail);
}
