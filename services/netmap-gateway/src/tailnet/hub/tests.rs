use bowline_service_kit::Shutdown;

use bowline_netmap::fixture::node_id;

use super::*;

#[tokio::test(start_paused = true)]
async fn keys_that_nobody_has_ask_the_registry_only_so_many_at_once() {
    let nobody = || GrpcChannel::admin_socket("/nonexistent/bowline.sock");
    let backends = Backends {
        identity: nobody(),
        identity_for_waits: nobody(),
        registry: nobody(),
        compiler: nobody(),
    };
    let tasks = Tasks::new(Shutdown::new(Duration::ZERO));
    let (relays, sources) = (DerpMap::default(), FilterSources::Addresses);
    let hub = TailnetHub::new(&backends, &Bus::in_process(), relays, sources, &tasks);
    let mut asking = Vec::new();
    for _ in 0..MOST_LOOKUPS {
        asking.extend(
            hub.lookups
                .acquire(RequestOrigin::Known(node_id(1)), LOOKUP_WAIT)
                .await,
        );
    }
    let keys = (
        NodePublic::from_bytes([1; 32]),
        MachinePublic::from_bytes([2; 32]),
    );
    let refused = hub
        .locate_node(keys.0, keys.1, RequestOrigin::Known(node_id(1)))
        .await
        .expect_err("it waits in vain");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    drop(asking);
    let failed = hub
        .locate_node(keys.0, keys.1, RequestOrigin::Known(node_id(1)))
        .await
        .expect_err("nobody answers");
    assert_eq!(failed.code(), Code::Unavailable);
}
