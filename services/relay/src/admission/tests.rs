use std::collections::VecDeque;

use tokio::time::advance;

use super::*;

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Answers as written down, then [`Verdict::Unknown`].
struct Script(Mutex<VecDeque<Verdict>>);

#[async_trait]
impl Admission for Script {
    async fn allowed(&self, _node: NodePublic, _source: IpAddr) -> Verdict {
        self.0
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Verdict::Unknown)
    }
}

fn gate<const N: usize>(script: [Verdict; N]) -> Gate {
    let limits = Limits {
        remembered_nodes: 2,
        ..Limits::default()
    };
    Gate::new(Arc::new(Script(Mutex::new(script.into()))), &limits)
}

fn tailnet(number: u64) -> TailnetId {
    TailnetId::try_from(number).unwrap()
}

fn admitted(number: u64) -> Admitted {
    Admitted {
        tailnet: tailnet(number),
        owner: NodeOwner::Tag("".into()),
    }
}

fn allowed() -> Verdict {
    Verdict::Allowed(admitted(1))
}

fn node(number: u8) -> NodePublic {
    NodePublic::from_bytes([number; 32])
}

#[tokio::test(start_paused = true)]
async fn yes_is_remembered_for_half_the_ttl() {
    let gate = gate([allowed(), Verdict::Refused]);
    assert!(gate.admits(node(1), SOURCE).await.is_some());
    advance(Duration::from_secs(14)).await;
    assert!(gate.admits(node(1), SOURCE).await.is_some());
    advance(Duration::from_secs(2)).await;
    assert!(gate.admits(node(1), SOURCE).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn no_is_never_remembered() {
    let gate = gate([Verdict::Refused, allowed()]);
    assert!(gate.admits(node(1), SOURCE).await.is_none());
    assert!(gate.admits(node(1), SOURCE).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn admitted_node_is_served_for_an_hour_while_nobody_can_be_asked() {
    let gate = gate([allowed()]);
    assert!(gate.admits(node(1), SOURCE).await.is_some());
    advance(Duration::from_secs(59 * 60)).await;
    assert!(gate.still_admits(node(1), SOURCE).await.is_some());
    assert!(
        gate.admits(node(1), SOURCE).await.is_some(),
        "it may reconnect"
    );
    assert!(
        gate.admits(node(2), SOURCE).await.is_none(),
        "a stranger is not let in"
    );
    advance(Duration::from_secs(2 * 60)).await;
    assert!(gate.still_admits(node(1), SOURCE).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn revoked_node_is_not_let_in_when_the_registry_goes_away() {
    let gate = gate([allowed(), Verdict::Refused]);
    assert!(gate.admits(node(1), SOURCE).await.is_some());
    assert!(gate.still_admits(node(1), SOURCE).await.is_none());
    assert!(gate.admits(node(1), SOURCE).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn only_so_many_nodes_are_remembered_the_latest() {
    let gate = gate([(); 3].map(|()| allowed()));
    for number in 1..=3 {
        assert!(gate.admits(node(number), SOURCE).await.is_some());
        advance(Duration::from_secs(1)).await;
    }
    assert!(gate.admits(node(1), SOURCE).await.is_none());
    assert!(gate.admits(node(2), SOURCE).await.is_some());
    assert!(gate.admits(node(3), SOURCE).await.is_some());
}

/// Never answers.
struct Silent;

#[async_trait]
impl Admission for Silent {
    async fn allowed(&self, _node: NodePublic, _source: IpAddr) -> Verdict {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn question_without_an_answer_lets_no_stranger_in() {
    let gate = Gate::new(Arc::new(Silent), &Limits::default());
    assert!(gate.admits(node(1), SOURCE).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn node_is_served_in_the_tailnet_it_was_last_said_to_be_in() {
    let gate = gate([1, 2].map(|number| Verdict::Allowed(admitted(number))));
    assert_eq!(gate.admits(node(1), SOURCE).await, Some(admitted(1)));
    assert_eq!(gate.admits(node(1), SOURCE).await, Some(admitted(1)));
    assert_eq!(gate.still_admits(node(1), SOURCE).await, Some(admitted(2)));
    assert_eq!(gate.still_admits(node(1), SOURCE).await, Some(admitted(2)));
}
