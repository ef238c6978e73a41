use std::collections::VecDeque;

use tokio::time::advance;

use super::*;

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Answers as written down, then [`AdmissionVerdict::Unknown`].
struct Script(Mutex<VecDeque<AdmissionVerdict>>);

#[async_trait]
impl NodeAdmission for Script {
    async fn judge_node(&self, _node: NodePublic, _source: IpAddr) -> AdmissionVerdict {
        self.0
            .lock()
            .pop_front()
            .unwrap_or(AdmissionVerdict::Unknown)
    }
}

fn admission<const N: usize>(script: [AdmissionVerdict; N]) -> AdmissionCache {
    let limits = Limits {
        remembered_nodes: 2,
        ..Limits::default()
    };
    AdmissionCache::new(Arc::new(Script(Mutex::new(script.into()))), &limits)
}

fn tailnet(number: u64) -> TailnetId {
    TailnetId::try_from(number).unwrap()
}

fn admitted(number: u64) -> AdmittedNode {
    AdmittedNode {
        tailnet: tailnet(number),
        owner: NodeOwner::Tag("".into()),
    }
}

fn allowed() -> AdmissionVerdict {
    AdmissionVerdict::Allowed(admitted(1))
}

fn node(number: u8) -> NodePublic {
    NodePublic::from_bytes([number; 32])
}

#[tokio::test(start_paused = true)]
async fn yes_is_remembered_for_half_the_ttl() {
    let admission = admission([allowed(), AdmissionVerdict::Refused]);
    assert!(admission.admit_node(node(1), SOURCE).await.is_some());
    advance(Duration::from_secs(14)).await;
    assert!(admission.admit_node(node(1), SOURCE).await.is_some());
    advance(Duration::from_secs(2)).await;
    assert!(admission.admit_node(node(1), SOURCE).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn no_is_never_remembered() {
    let admission = admission([AdmissionVerdict::Refused, allowed()]);
    assert!(admission.admit_node(node(1), SOURCE).await.is_none());
    assert!(admission.admit_node(node(1), SOURCE).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn admitted_node_is_served_for_an_hour_while_nobody_can_be_asked() {
    let admission = admission([allowed()]);
    assert!(admission.admit_node(node(1), SOURCE).await.is_some());
    advance(Duration::from_secs(59 * 60)).await;
    assert!(admission.admit_again(node(1), SOURCE).await.is_some());
    assert!(
        admission.admit_node(node(1), SOURCE).await.is_some(),
        "it may reconnect"
    );
    assert!(
        admission.admit_node(node(2), SOURCE).await.is_none(),
        "a stranger is not let in"
    );
    advance(Duration::from_secs(2 * 60)).await;
    assert!(admission.admit_again(node(1), SOURCE).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn revoked_node_is_not_let_in_when_the_registry_goes_away() {
    let admission = admission([allowed(), AdmissionVerdict::Refused]);
    assert!(admission.admit_node(node(1), SOURCE).await.is_some());
    assert!(admission.admit_again(node(1), SOURCE).await.is_none());
    assert!(admission.admit_node(node(1), SOURCE).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn only_so_many_nodes_are_remembered_the_latest() {
    let admission = admission([(); 3].map(|()| allowed()));
    for number in 1..=3 {
        assert!(admission.admit_node(node(number), SOURCE).await.is_some());
        advance(Duration::from_secs(1)).await;
    }
    assert!(admission.admit_node(node(1), SOURCE).await.is_none());
    assert!(admission.admit_node(node(2), SOURCE).await.is_some());
    assert!(admission.admit_node(node(3), SOURCE).await.is_some());
}

/// Never answers.
struct Silent;

#[async_trait]
impl NodeAdmission for Silent {
    async fn judge_node(&self, _node: NodePublic, _source: IpAddr) -> AdmissionVerdict {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn question_without_an_answer_lets_no_stranger_in() {
    let admission = AdmissionCache::new(Arc::new(Silent), &Limits::default());
    assert!(admission.admit_node(node(1), SOURCE).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn node_is_served_in_the_tailnet_it_was_last_said_to_be_in() {
    let admission = admission([1, 2].map(|number| AdmissionVerdict::Allowed(admitted(number))));
    assert_eq!(
        admission.admit_node(node(1), SOURCE).await,
        Some(admitted(1))
    );
    assert_eq!(
        admission.admit_node(node(1), SOURCE).await,
        Some(admitted(1))
    );
    assert_eq!(
        admission.admit_again(node(1), SOURCE).await,
        Some(admitted(2))
    );
    assert_eq!(
        admission.admit_again(node(1), SOURCE).await,
        Some(admitted(2))
    );
}
