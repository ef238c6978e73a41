//! The audit trail, for administrators.

use bowline_proto::{
    audit::v1::{ListAuditRequest, ListAuditResponse, VerifyAuditRequest, VerifyAuditResponse},
    identity::v1::audit_service_server::AuditService,
};
use tonic::{Request, Response, Status};

use super::read_tailnet_id;
use crate::{Identity, error::IdentityError};

#[tonic::async_trait]
impl AuditService for Identity {
    async fn list_audit(
        &self,
        request: Request<ListAuditRequest>,
    ) -> Result<Response<ListAuditResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let answer = self.log.list_audit(tailnet, &request).await;
        Ok(Response::new(answer.map_err(IdentityError::from)?))
    }

    async fn verify_audit(
        &self,
        request: Request<VerifyAuditRequest>,
    ) -> Result<Response<VerifyAuditResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let answer = self.log.answer_verify_audit(tailnet).await;
        Ok(Response::new(answer.map_err(IdentityError::from)?))
    }
}
