//! The portal by itself, where browsers reach it.

use std::net::SocketAddr;

use bowline_portal::{PortalConfig, portal_routes};
use bowline_test_support::TestServices;
use tokio::net::TcpListener;

/// Serves the portal on this machine, and returns its origin: browsers reach it by this host name.
pub async fn start_portal(services: &TestServices, host: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{host}:{}", listener.local_addr().unwrap().port());
    let config = PortalConfig {
        public_url: origin.clone(),
        identity: services.gateway(),
        registry: services.gateway(),
        compiler: services.gateway(),
    };
    let routes = portal_routes(config).unwrap();
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    origin
}
