//! The RPCs of the audit trail, alike for every owner of a log.

use bowline_ids::TailnetId;
use bowline_proto::{
    audit::v1::{
        ListAuditHeadsRequest, ListAuditHeadsResponse, ListAuditRequest, ListAuditResponse,
        VerifyAuditRequest, VerifyAuditResponse,
    },
    identity, key_registry, policy,
};
use tonic::{Request, Response, Status};

use crate::{ChangeLog, DatabaseError};

/// The most tailnets that one call asks about.
const MOST_TAILNETS: usize = 1000;

/// Serves the audit trail of a log to administrators. Clones share it.
#[derive(Clone, Debug)]
pub struct AuditRpcs {
    log: ChangeLog,
    read_tailnet: fn(u64) -> Result<TailnetId, Status>,
    to_status: fn(DatabaseError) -> Status,
}

impl AuditRpcs {
    /// Serves the trail of a log. `read_tailnet` and `to_status` refuse and fail in the words of the log's owner.
    #[must_use]
    pub fn new(
        log: ChangeLog,
        read_tailnet: fn(u64) -> Result<TailnetId, Status>,
        to_status: fn(DatabaseError) -> Status,
    ) -> Self {
        Self {
            log,
            read_tailnet,
            to_status,
        }
    }

    async fn list_entries(
        &self,
        request: ListAuditRequest,
    ) -> Result<Response<ListAuditResponse>, Status> {
        let tailnet = (self.read_tailnet)(request.tailnet_id)?;
        let answer = self.log.list_audit(tailnet, &request).await;
        answer.map(Response::new).map_err(self.to_status)
    }

    async fn list_heads(
        &self,
        request: ListAuditHeadsRequest,
    ) -> Result<Response<ListAuditHeadsResponse>, Status> {
        if request.tailnet_ids.len() > MOST_TAILNETS {
            let text = format!("at most {MOST_TAILNETS} tailnets can be asked about at once");
            return Err(Status::invalid_argument(text));
        }
        let tailnets = request.tailnet_ids.into_iter().map(self.read_tailnet);
        let tailnets: Vec<_> = tailnets.collect::<Result<_, _>>()?;
        let answer = self.log.list_audit_heads(&tailnets).await;
        answer.map(Response::new).map_err(self.to_status)
    }

    async fn verify_entries(
        &self,
        request: VerifyAuditRequest,
    ) -> Result<Response<VerifyAuditResponse>, Status> {
        let tailnet = (self.read_tailnet)(request.tailnet_id)?;
        let answer = self.log.answer_verify_audit(tailnet).await;
        answer.map(Response::new).map_err(self.to_status)
    }
}

/// Each owner's package declares the same service.
macro_rules! serve_audit {
    ($($package:ident),*) => {$(
        #[tonic::async_trait]
        impl $package::v1::audit_service_server::AuditService for AuditRpcs {
            async fn list_audit(
                &self,
                request: Request<ListAuditRequest>,
            ) -> Result<Response<ListAuditResponse>, Status> {
                self.list_entries(request.into_inner()).await
            }

            async fn list_audit_heads(
                &self,
                request: Request<ListAuditHeadsRequest>,
            ) -> Result<Response<ListAuditHeadsResponse>, Status> {
                self.list_heads(request.into_inner()).await
            }

            async fn verify_audit(
                &self,
                request: Request<VerifyAuditRequest>,
            ) -> Result<Response<VerifyAuditResponse>, Status> {
                self.verify_entries(request.into_inner()).await
            }
        }
    )*};
}

serve_audit!(identity, key_registry, policy);
