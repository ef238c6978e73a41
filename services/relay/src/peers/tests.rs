use super::*;

fn enter(peers: &Arc<PeerTable>, key: NodePublic) -> PeerEntry {
    let tailnet = TailnetId::try_from(1_u64).unwrap();
    peers.enter_peer(key, tailnet, 1024)
}

#[tokio::test(start_paused = true)]
async fn two_machines_with_one_key_replace_each_other_ever_more_slowly() {
    let peers = Arc::new(PeerTable::default());
    let key = NodePublic::from_bytes([7; 32]);
    let other = NodePublic::from_bytes([8; 32]);
    let start = Instant::now();
    let mut held = vec![enter(&peers, key)];
    let mut waited = Vec::new();
    for _ in 0..8 {
        let before = Instant::now();
        if let Some(contest) = peers.find_contest(&key) {
            contest.wait_out().await;
        }
        waited.push(before.elapsed().as_secs());
        held.push(enter(&peers, key));
        assert!(peers.find_contest(&other).is_none());
    }
    assert_eq!(waited, [0, 0, 1, 2, 4, 5, 5, 5]);
    // When one machine has gone the other comes in at once.
    let contest = peers.find_contest(&key).unwrap();
    held.clear();
    let gone = start.elapsed();
    contest.wait_out().await;
    assert_eq!(start.elapsed(), gone);
    assert!(peers.find_contest(&key).is_none());
}

#[tokio::test(start_paused = true)]
async fn client_that_changes_its_network_now_and_then_never_waits() {
    let peers = Arc::new(PeerTable::default());
    let key = NodePublic::from_bytes([7; 32]);
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(enter(&peers, key));
        tokio::time::sleep(YOUNG).await;
        assert!(peers.find_contest(&key).is_none());
    }
}
