//! Registration.

use bowline_proto::key_registry::v1::{
    RegisterRequest, RegisterResponse, registration_service_server::RegistrationService,
};
use tonic::{Request, Response, Status};

use crate::registration::Registration;

#[tonic::async_trait]
impl RegistrationService for Registration {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let answer = self.register_key(request.into_inner()).await?;
        Ok(Response::new(answer))
    }
}
