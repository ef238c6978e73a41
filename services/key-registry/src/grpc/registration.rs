//! Registration.

use bowline_proto::key_registry::v1::{
    RegisterRequest, RegisterResponse, registration_service_server::RegistrationService,
};
use tonic::{Request, Response, Status};

use crate::KeyRegistry;

#[tonic::async_trait]
impl RegistrationService for KeyRegistry {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        Ok(Response::new(
            KeyRegistry::register_node(self, request.into_inner()).await?,
        ))
    }
}
