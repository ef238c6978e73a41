//! Ids of requests on their way between services.

use bowline_service_kit::{Caller, DeferredServices, GrpcChannel, RequestId, ServiceName};
use tonic::Request;

use crate::support::{answer_to, channel, deployment, gateways_only, routes, today};

/// Calls; returns the id under which the server worked.
async fn id_at_server(channel: &GrpcChannel, traceparents: &[&str]) -> String {
    let mut request = Request::new(());
    for text in traceparents {
        request
            .metadata_mut()
            .append("traceparent", text.parse().unwrap());
    }
    let answer = answer_to(channel, gateways_only(), request, "request-id");
    answer.await.unwrap()
}

/// Returns every kind of channel to a server.
async fn channels() -> (crate::support::Server, Vec<GrpcChannel>) {
    let (authority, server) = deployment().await;
    let gateway = authority.issue_service(ServiceName::NetmapGateway, today());
    let caller = Caller::Service(ServiceName::NetmapGateway);
    let deferred = DeferredServices::default();
    deferred.set_routes(routes());
    let channels = vec![
        channel(server.address, &gateway.unwrap()),
        GrpcChannel::in_process(routes(), caller.clone()),
        deferred.channel_for(caller),
    ];
    (server, channels)
}

#[tokio::test]
async fn calls_carry_the_id_of_the_work_that_makes_them() {
    let (_server, channels) = channels().await;
    for channel in &channels {
        let id = RequestId::random();
        let seen = id.scope(id_at_server(channel, &[])).await;
        assert_eq!(seen, id.to_string(), "{channel:?}");
        // Outside of it each call has an id of its own.
        let others = (
            id_at_server(channel, &[]).await,
            id_at_server(channel, &[]).await,
        );
        assert!(others.0 != others.1 && others.0 != seen && others.1 != seen);
    }
}

#[tokio::test]
async fn forged_and_overlong_ids_are_ignored() {
    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let (_server, channels) = channels().await;
    let good = format!("00-{ID}-00f067aa0ba902b7-01");
    let long = format!("{good}-{}", "0".repeat(4000));
    for channel in &channels {
        assert_eq!(id_at_server(channel, &[&good]).await, ID);
        for forged in [
            &[&*long] as &[&str],
            &[&good[1..]],
            &["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            &[&good, &good],
        ] {
            let seen = id_at_server(channel, forged).await;
            assert!(seen.len() == 32 && seen != ID, "{forged:?}: {seen}");
        }
    }
}
