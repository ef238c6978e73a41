//! A tailnet whose views tests publish.

use bowline_netmap::fixture::{TestTailnet, node, node_id};
use bowline_proto::key_registry::v1::Node;

use super::*;

/// Returns a tailnet that nobody follows, and its other ends.
pub(crate) fn tailnet(sources: FilterSources) -> (Arc<Tailnet>, impl Sized) {
    let id = TailnetId::try_from(1_u64).expect("a number");
    Tailnet::new(id, Arc::default(), sources, SharedIndexes::default())
}

/// Publishes what a replica holds.
pub(crate) fn publish(tailnet: &Arc<Tailnet>, replica: &mut Replica) {
    tailnet.publish_replica(replica, Vec::new());
    tailnet.history.wake_some(usize::MAX);
}

fn followed() -> (Arc<Tailnet>, TestTailnet, watch::Sender<Progress>) {
    let id = TailnetId::try_from(1_u64).expect("a number");
    let (sources, indexes) = (FilterSources::Addresses, SharedIndexes::default());
    let (tailnet, (_, progress)) = Tailnet::new(id, Arc::default(), sources, indexes);
    let mut lab = TestTailnet::unpublished(FilterSources::Addresses);
    tailnet.publish_replica(&mut lab.replica, Vec::new());
    progress.send_replace(Progress {
        complete: true,
        registry_revision: lab.revision,
        ..Progress::default()
    });
    (tailnet, lab, progress)
}

#[tokio::test(start_paused = true)]
async fn replaced_key_is_shown_only_when_the_registrys_entry_is() {
    let (tailnet, mut lab, progress) = followed();
    let limit = Duration::from_secs(30);
    let replaced = [9; 32];
    assert!(
        tailnet
            .wait_until_shown(node_id(2), &node(2).node_key, limit)
            .await
    );
    assert!(!tailnet.wait_until_shown(node_id(2), &replaced, limit).await);
    let waiting = tokio::spawn({
        let tailnet = Arc::clone(&tailnet);
        async move { tailnet.wait_until_shown(node_id(2), &replaced, limit).await }
    });
    tokio::task::yield_now().await;
    lab.put(Node {
        node_key: replaced.to_vec(),
        ..node(2)
    });
    tailnet.publish_replica(&mut lab.replica, Vec::new());
    progress.send_modify(|progress| progress.registry_revision = lab.revision);
    assert!(waiting.await.expect("an answer"));
}

#[test]
fn keys_are_found_while_they_are_shown_and_the_tailnet_is_held() {
    let (tailnet, mut lab, _progress) = followed();
    let keys = Arc::clone(&tailnet.shared.keys);
    let found = |key: &[u8]| keys.find_tailnet(key).is_some();
    let before = node(2).node_key;
    assert!(found(&before) && !found(&[9; 32]));
    lab.put(Node {
        node_key: vec![9; 32],
        ..node(2)
    });
    tailnet.publish_replica(&mut lab.replica, Vec::new());
    assert!(!found(&before) && found(&[9; 32]));
    lab.delete(2);
    tailnet.publish_replica(&mut lab.replica, Vec::new());
    assert!(!found(&[9; 32]) && found(&node(1).node_key));
    drop(tailnet);
    assert!(!found(&node(1).node_key));
}
