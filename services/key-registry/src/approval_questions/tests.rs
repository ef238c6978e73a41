use bowline_clock::Clock as _;
use bowline_ids::TailnetId;
use bowline_proto::identity::v1::ApprovalWebhook;
use bowline_test_servers::on_both;

use super::*;
use crate::sweeper::tests::{TAILNET, TestRegistry, node};

on_both!(TestRegistry::start =>
    committed_question_is_asked_at_once_and_another_when_one_is_settled,
    answer_changes_nothing_that_an_administrator_has_decided_meanwhile,
    question_that_nobody_answers_is_asked_again_and_given_up_in_the_end,
);

async fn ask(registry: &TestRegistry, node: Node) {
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    let asking = registry.log.mutate(tailnet, "test", move |mutation| {
        Box::pin(async move {
            let policy = KeyPolicy {
                approval_webhook: Some(ApprovalWebhook::default()),
                ..KeyPolicy::default()
            };
            ask_if_waiting(mutation, Some(&policy), &RegisterRequest::default(), &node).await
        })
    });
    asking.await.unwrap();
}

async fn committed_question_is_asked_at_once_and_another_when_one_is_settled(
    registry: TestRegistry,
) {
    let mut questions = registry.questions();
    questions.look_interval = Duration::from_secs(3600);
    #[expect(clippy::disallowed_methods, reason = "the test ends it")]
    let asking = tokio::spawn(questions.clone().run());
    // More at last than are asked at once. An administrator has decided on them meanwhile: asking is forgetting them.
    for ids in [1..=1, 2..=1 + 2 * MOST_OF_TAILNET as u64] {
        for id in ids {
            registry.put(node(id)).await;
            let waiting = Node {
                approved: false,
                ..node(id)
            };
            ask(&registry, waiting).await;
        }
        questions.wake();
        let all_settled = async {
            while registry.count_rows("approval_questions").await > 0 {
                tokio::task::yield_now().await;
            }
        };
        let waiting = tokio::time::timeout(Duration::from_secs(30), all_settled);
        waiting.await.expect("nobody waits for the next look");
    }
    asking.abort();
}

async fn question_that_nobody_answers_is_asked_again_and_given_up_in_the_end(
    registry: TestRegistry,
) {
    // Identity is away.
    let questions = registry.questions();
    let waiting = |id| Node {
        approved: false,
        ..node(id)
    };
    for id in 1..=6 {
        registry.put(waiting(id)).await;
        ask(&registry, waiting(id)).await;
    }
    ask(&registry, node(7)).await;
    let due = questions.list_due().await.unwrap();
    assert_eq!(due.len(), MOST_OF_TAILNET, "some of each tailnet");
    assert!(questions.settle_question(due[0]).await.is_err());
    // Whoever took it may be at it still.
    questions.settle_question(due[0]).await.unwrap();
    for _ in 1..MOST_ATTEMPTS {
        registry.clock.advance(CLAIM);
        assert!(questions.settle_question(due[0]).await.is_err());
    }
    assert_eq!(registry.count_audited("node.wait").await, 0);
    registry.clock.advance(CLAIM);
    questions.settle_question(due[0]).await.unwrap();
    assert_eq!(registry.count_audited("node.wait").await, 1);
    let node = registry.node(due[0].node_id).await.unwrap();
    assert!(!node.approved && !node.denied, "it fails closed");
    assert_eq!(registry.count_rows("approval_questions").await, 5);
    // One that an administrator decides on meanwhile is not asked about.
    registry.change(2, admission::approve).await;
    let second = TailnetNode {
        tailnet_id: TAILNET,
        node_id: 2,
    };
    questions.settle_question(second).await.unwrap();
    assert_eq!(registry.count_rows("approval_questions").await, 4);
    assert_eq!(registry.count_audited("node.wait").await, 1);
}

async fn answer_changes_nothing_that_an_administrator_has_decided_meanwhile(
    registry: TestRegistry,
) {
    let questions = registry.questions();
    for (id, is_let_in) in [(1, true), (2, false)] {
        let asked_about = Node {
            approved: false,
            ..node(id)
        };
        registry.put(asked_about.clone()).await;
        let now = registry.clock.now();
        let decide = |node: &mut Node| match is_let_in {
            true => admission::approve(node),
            false => admission::deny(node, now).unwrap(),
        };
        registry.change(id, decide).await;
        let of = TailnetNode::from(&asked_about);
        let decision = match is_let_in {
            true => ApprovalDecision::Deny,
            false => ApprovalDecision::Approve,
        };
        let answer = AskApprovalResponse {
            decision: decision.into(),
            ..AskApprovalResponse::default()
        };
        questions
            .apply_answer(of, &asked_about, answer)
            .await
            .unwrap();
        let kept = registry.node(id).await.unwrap();
        assert_eq!((kept.approved, kept.denied), (is_let_in, !is_let_in));
    }
    for action in ["node.approve", "node.deny"] {
        assert_eq!(registry.count_audited(action).await, 0, "{action}");
    }
}
