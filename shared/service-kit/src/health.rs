//! Asking a server how a part of it is.

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::GrpcChannel;

/// Asks how a part is that was named with [`Listeners::with_health`](crate::Listeners::with_health); `None` when the
/// server can not be reached or does not know it.
pub async fn ask_health(channel: GrpcChannel, part: &str) -> Option<bool> {
    let request = HealthCheckRequest {
        service: part.to_owned(),
    };
    let answer = HealthClient::new(channel).check(request).await.ok()?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Some(true),
        ServingStatus::NotServing => Some(false),
        _ => None,
    }
}
