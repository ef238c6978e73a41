//! An outside system decides on machines that wait for approval.

use std::sync::Arc;

use bowline_http_client::Destinations;
use bowline_proto::{
    audit::v1::{AuditEntry, ListAuditRequest},
    identity::v1::{
        ApprovalWebhook, CreateWebhookRequest, DeleteWebhookRequest, KeyPolicy,
        RotateWebhookSecretRequest, Tailnet, UpdateTailnetRequest,
        tailnet_service_client::TailnetServiceClient, webhook_service_client::WebhookServiceClient,
    },
    key_registry::v1::{
        ApproveNodeRequest, Node, RefusalReason, RegisterRequest,
        audit_service_client::AuditServiceClient, node_service_client::NodeServiceClient,
        register_response::Outcome,
    },
};
use bowline_service_kit::GrpcChannel;
use bowline_test_servers::{TestDatabase, on_both};
use bowline_test_support::TestServices;
use bowline_test_webhook_receiver::{ALWAYS, Answer, Delivery, TestReceiver};
use prost_types::{Duration, FieldMask};
use tonic::Code;

on_both!(Asked::start =>
    machine_that_is_approved_is_let_in_and_one_that_is_denied_is_told,
    whatever_goes_wrong_lets_the_machine_wait_and_is_on_record,
    rules_and_keys_that_let_in_leave_nothing_to_ask,
    few_are_asked_about_at_once_and_another_tailnet_waits_for_none_of_them,
    policy_names_a_webhook_that_can_be_asked,
);

const APPROVE: Answer =
    Answer::Json(r#"{"decision": "approve", "reason": "it is in the inventory"}"#);

/// Time by which whatever a test waits for has happened, on a busy machine.
const SOON: std::time::Duration = std::time::Duration::from_secs(60);

/// A tailnet where machines wait, and a webhook that is asked about them.
struct Asked {
    services: TestServices,
    receiver: Arc<TestReceiver>,
    webhook: u64,
    secret: String,
    key: String,
}

fn policy(webhook_id: u64, seconds: i64) -> KeyPolicy {
    KeyPolicy {
        approval_webhook: Some(ApprovalWebhook {
            webhook_id,
            deadline: Some(Duration { seconds, nanos: 0 }),
        }),
        ..KeyPolicy::default()
    }
}

fn request(number: u8, key: &str) -> RegisterRequest {
    RegisterRequest {
        machine_key: vec![number; 32],
        node_key: vec![100 + number; 32],
        pre_auth_key: key.to_owned(),
        hostname: format!("web{number}"),
        os: "linux".to_owned(),
        client_version: "1.80.0".to_owned(),
        source_address: "192.0.2.7".to_owned(),
        ..RegisterRequest::default()
    }
}

async fn create_webhook(admin: GrpcChannel, tailnet_id: u64, url: String) -> (u64, String) {
    let request = CreateWebhookRequest {
        tailnet_id,
        url,
        provider_type: String::new(),
        // Of events this test looks at none.
        subscriptions: vec!["userRoleUpdated".to_owned()],
    };
    let mut webhooks = WebhookServiceClient::new(admin);
    let made = webhooks.create_webhook(request).await.unwrap().into_inner();
    (made.webhook.unwrap().id, made.secret)
}

impl Asked {
    async fn start(database: TestDatabase) -> Self {
        let receiver = Arc::new(TestReceiver::start().await);
        let client = receiver.client(Destinations::Anywhere);
        let services = TestServices::start_with_webhooks(database, client).await;
        services.require_approval().await;
        let (webhook, secret) =
            create_webhook(services.admin(), services.tailnet, receiver.url()).await;
        services.set_key_policy(policy(webhook, 2)).await;
        let key = services.new_user_key(true).await;
        Self {
            services,
            receiver,
            webhook,
            secret,
            key,
        }
    }

    async fn join(&self, number: u8) -> Node {
        let node = self
            .services
            .register_node(request(number, &self.key))
            .await;
        assert!(!node.approved, "a registration waits for nobody");
        node
    }

    /// Returns the entries of the trail about a node with an action.
    async fn entries(&self, node: &Node, action: &str) -> Vec<AuditEntry> {
        let request = ListAuditRequest {
            tailnet_id: self.services.tailnet,
            ..ListAuditRequest::default()
        };
        let mut audit = AuditServiceClient::new(self.services.admin());
        let entries = audit
            .list_audit(request)
            .await
            .unwrap()
            .into_inner()
            .entries;
        let about =
            |entry: &AuditEntry| entry.object == node.id.to_string() && entry.action == action;
        entries.into_iter().filter(about).collect()
    }

    /// Waits until the trail says that a machine was left waiting, and why.
    async fn why_it_waits(&self, node: &Node) -> String {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            if let Some(entry) = self.entries(node, "node.wait").await.pop() {
                return entry.detail;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "nothing is on record"
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

async fn machine_that_is_approved_is_let_in_and_one_that_is_denied_is_told(asked: Asked) {
    let (services, receiver) = (&asked.services, &asked.receiver);
    receiver.answer(APPROVE);
    let node = asked.join(1).await;
    let approved = services.wait_for_node(node.id, |node| node.approved).await;
    assert!(!approved.denied && !approved.expired);
    let question: &Delivery = &receiver.wait_for(1).await[0];
    assert!(question.is_signed_by(&asked.secret, chrono::Utc::now()));
    assert!(!question.id.is_empty());
    let body: serde_json::Value = serde_json::from_str(&question.body).unwrap();
    assert_eq!(
        (&body["type"], &body["tailnet"]),
        (&"nodeApproval".into(), &"home".into())
    );
    for (field, expected) in [
        ("nodeID", node.id.to_string()),
        ("deviceName", "web1".to_owned()),
        ("hostname", "web1".to_owned()),
        ("machineKey", format!("mkey:{}", "01".repeat(32))),
        ("user", services.user.login_name.clone()),
        ("os", "linux".to_owned()),
        ("clientVersion", "1.80.0".to_owned()),
        ("source", "192.0.2.7".to_owned()),
    ] {
        assert_eq!(body["data"][field], expected, "{field}");
    }
    let entry = asked.entries(&node, "node.approve").await.remove(0);
    assert!(
        entry.detail.contains("it is in the inventory"),
        "{}",
        entry.detail
    );
    assert!(entry.detail.contains("webhook"), "{}", entry.detail);

    receiver.answer(Answer::Json(r#"{"decision": "deny", "reason": "stolen"}"#));
    let node = asked.join(2).await;
    services.wait_for_node(node.id, |node| node.denied).await;
    let mut again = request(2, &asked.key);
    again.node_key = vec![202; 32];
    let Outcome::Refused(refused) = services.register(again).await else {
        panic!("it is denied")
    };
    assert_eq!(refused.reason(), RefusalReason::MachineDenied);
    // Each was asked about once.
    assert_eq!(receiver.all().len(), 2);

    // While a secret is replaced, both sign.
    let rotate = RotateWebhookSecretRequest {
        tailnet_id: services.tailnet,
        webhook_id: asked.webhook,
    };
    let mut webhooks = WebhookServiceClient::new(services.admin());
    let rotated = webhooks
        .rotate_webhook_secret(rotate)
        .await
        .unwrap()
        .into_inner();
    asked.join(3).await;
    let question = receiver.wait_for(3).await.remove(2);
    for secret in [&asked.secret, &rotated.secret] {
        assert!(question.is_signed_by(secret, chrono::Utc::now()));
    }
}

async fn whatever_goes_wrong_lets_the_machine_wait_and_is_on_record(asked: Asked) {
    let (services, receiver) = (&asked.services, &asked.receiver);
    services.set_key_policy(policy(asked.webhook, 1)).await;
    let cases = [
        (
            Answer::Json(r#"{"decision": "wait", "reason": "ask Kim"}"#),
            "ask kim",
        ),
        (Answer::Json(r#"{"approve": true}"#), "is not"),
        (
            Answer::Json(r#"{"decision": "yes"}"#),
            "none of approve, deny, wait",
        ),
        (Answer::Taken, "is not"),
        (Answer::Status(500), "500"),
        (Answer::Status(404), "404"),
        (Answer::Redirect, "redirect"),
        (Answer::Silence, "within 1 second"),
    ];
    for (number, (answer, says)) in (1..).zip(cases) {
        receiver.answer(answer);
        let node = asked.join(number).await;
        let why = asked.why_it_waits(&node).await;
        assert!(why.to_lowercase().contains(says), "{says}: {why}");
        let now = services.node(node.id).await;
        assert!(!now.approved && !now.denied && !now.expired, "{answer:?}");
        if number == 1 {
            let approve = ApproveNodeRequest {
                tailnet_id: services.tailnet,
                node_id: node.id,
            };
            let mut nodes = NodeServiceClient::new(services.admin());
            nodes.approve_node(approve).await.unwrap();
        }
    }
    // Its client logs in again: it is asked about once more.
    receiver.answer(APPROVE);
    let mut again = request(2, &asked.key);
    again.old_node_key = again.node_key;
    again.node_key = vec![202; 32];
    let node = services.register_node(again).await;
    services.wait_for_node(node.id, |node| node.approved).await;
    // Without the webhook there is nobody to ask.
    let delete = DeleteWebhookRequest {
        tailnet_id: services.tailnet,
        webhook_id: asked.webhook,
    };
    let mut webhooks = WebhookServiceClient::new(services.admin());
    webhooks.delete_webhook(delete).await.unwrap();
    let node = asked.join(20).await;
    let why = asked.why_it_waits(&node).await;
    assert!(why.contains("no webhook"), "{why}");
    // And without the policy it is not looked for.
    services.set_key_policy(KeyPolicy::default()).await;
    let node = asked.join(21).await;
    assert!(!services.node(node.id).await.approved);
}

async fn rules_and_keys_that_let_in_leave_nothing_to_ask(asked: Asked) {
    let (services, receiver) = (&asked.services, &asked.receiver);
    receiver.answer(APPROVE);
    let mut with_rule = policy(asked.webhook, 2);
    with_rule.approval_rules = vec![bowline_proto::identity::v1::ApprovalRule {
        name: "linux".to_owned(),
        operating_systems: vec!["linux".to_owned()],
        ..Default::default()
    }];
    services.set_key_policy(with_rule).await;
    let node = services.register_node(request(1, &asked.key)).await;
    assert!(node.approved, "by the rule");
    let mut other = request(2, &asked.key);
    other.os = "windows".to_owned();
    let node = services.register_node(other).await;
    services.wait_for_node(node.id, |node| node.approved).await;
    let questions = receiver.all();
    assert_eq!(questions.len(), 1);
    assert!(questions[0].body.contains("windows"));
}

async fn few_are_asked_about_at_once_and_another_tailnet_waits_for_none_of_them(asked: Asked) {
    let (services, receiver) = (&asked.services, &asked.receiver);
    services.set_key_policy(policy(asked.webhook, 30)).await;
    receiver.answer(Answer::Silence);
    let mut nodes = Vec::new();
    for number in 1..=10 {
        nodes.push(asked.join(number).await);
    }
    receiver.wait_for(4).await;
    // Another tailnet, with a receiver of its own at the same place.
    let user = services.new_tailnet("work").await;
    let tailnet_id = user.tailnet_id;
    let url = receiver.url_at(ALWAYS);
    let (webhook, _) = create_webhook(services.admin(), tailnet_id, url).await;
    let settings = Tailnet {
        id: tailnet_id,
        machine_approval: true,
        key_policy: Some(policy(webhook, 30)),
        ..Tailnet::default()
    };
    let update = UpdateTailnetRequest {
        tailnet: Some(settings),
        update_mask: Some(FieldMask {
            paths: vec!["machine_approval".to_owned(), "key_policy".to_owned()],
        }),
    };
    let mut tailnets = TailnetServiceClient::new(services.admin());
    tailnets.update_tailnet(update).await.unwrap();
    let key = bowline_proto::key_registry::v1::PreAuthKey {
        tailnet_id,
        user_id: user.id,
        ..Default::default()
    };
    let key = services.new_key(key).await;
    services.register_node(request(50, &key)).await;
    let questions = receiver.wait_for(5).await;
    let of_work = |question: &&Delivery| question.body.contains("\"work\"");
    assert_eq!(questions.iter().filter(of_work).count(), 1);
    assert_eq!(questions.len(), 5, "of each tailnet four at most");
    receiver.answer(APPROVE);
    for node in &nodes[4..] {
        services.wait_for_node(node.id, |node| node.approved).await;
    }
}

async fn policy_names_a_webhook_that_can_be_asked(asked: Asked) {
    let services = &asked.services;
    let set = async |policy: KeyPolicy| {
        let update = UpdateTailnetRequest {
            tailnet: Some(Tailnet {
                id: services.tailnet,
                key_policy: Some(policy),
                ..Tailnet::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["key_policy".to_owned()],
            }),
        };
        let mut tailnets = TailnetServiceClient::new(services.admin());
        tailnets.update_tailnet(update).await
    };
    let elsewhere = services.new_tailnet("work").await.tailnet_id;
    let (theirs, _) = create_webhook(services.admin(), elsewhere, asked.receiver.url()).await;
    let chat = CreateWebhookRequest {
        tailnet_id: services.tailnet,
        url: asked.receiver.url(),
        provider_type: "slack".to_owned(),
        subscriptions: vec!["nodeCreated".to_owned()],
    };
    let mut webhooks = WebhookServiceClient::new(services.admin());
    let chat = webhooks.create_webhook(chat).await.unwrap().into_inner();
    let chat = chat.webhook.unwrap().id;
    for (wrong, says) in [
        (policy(asked.webhook, 31), "between 1 and 30 seconds"),
        (policy(999_999, 5), "bowline webhooks create"),
        (policy(theirs, 5), "has no webhook"),
        (policy(chat, 5), "make one without provider_type"),
    ] {
        let refused = set(wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(says), "{refused}");
    }
    set(policy(asked.webhook, 30)).await.unwrap();
}
