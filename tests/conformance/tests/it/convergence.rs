//! However a tailnet changes, what a client knows after all it was sent is what a new client is told at once; and
//! nobody is told of a node that a new client in its place would not be told of.
//!
//! `dependencies` goes through what depends on what, one by one; the test here goes through changes in any order. Clients
//! look only when their class is woken, as sessions do. A failure says who was told late of what.

mod client;
mod dependencies;
mod step;
mod tailnet;

use bowline_netmap::FilterSources;
use proptest::prelude::*;

use self::{
    step::{Step, step},
    tailnet::TestTailnet,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_was_sent_adds_up_to_what_a_new_client_is_told(
        steps in prop::collection::vec(step(), 1..60),
        sources in prop_oneof![Just(FilterSources::Addresses), Just(FilterSources::Capabilities)],
    ) {
        let mut tailnet = TestTailnet::new(sources);
        for step in steps {
            tailnet.step(step.clone());
            tailnet.step(Step::Look);
            for (id, client) in &tailnet.clients {
                let late = tailnet.told_late(*id);
                prop_assert!(late.is_none(), "{}, after {:?}", late.unwrap_or_default(), step);
                prop_assert!(!client.peers.contains_key(id));
                for source in client.sources() {
                    let named = tailnet.view.node_by_address.get(&*source);
                    let named = named.map(|named| &tailnet.view.nodes[named]);
                    prop_assert!(named.is_none_or(|named| named.offered), "{} is named to {}", source, id);
                }
            }
        }
        tailnet.step(Step::CompiledPolicy);
        tailnet.step(Step::Look);
        // In the end nothing waits: whoever may take part is shown.
        prop_assert_eq!(tailnet.view.nodes.len(), tailnet.nodes.len());
    }
}
