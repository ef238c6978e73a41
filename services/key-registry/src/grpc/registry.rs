//! What gateways, the compiler and relays ask.

use bowline_proto::{
    changes::v1::{ChangesSinceRequest, HeadsRequest, HeadsResponse, SnapshotRequest},
    key_registry::v1::{
        RegistryChanges, RegistrySnapshot, RenewLeaseRequest, RenewLeaseResponse,
        ReportNodesRequest, ReportNodesResponse, ReportProgressRequest, ReportProgressResponse,
        ResolveNodeNumberRequest, ResolveNodeRequest, ResolveNodeResponse, SetOwnAttributesRequest,
        SetOwnAttributesResponse, key_registry_service_server::KeyRegistryService,
    },
};
use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status};

use crate::{
    attributes::OwnAttributes,
    changes::RegistryChangesReader,
    fields::{read_attribute_changes, read_tailnet_id, require_field},
    leases::Leases,
    nodes::Nodes,
    reports::Reports,
};

/// Serves what other services ask of the registry.
#[derive(Clone, Debug)]
pub struct RegistryRpcs {
    nodes: Nodes,
    reports: Reports,
    leases: Leases,
    changes: RegistryChangesReader,
}

impl RegistryRpcs {
    pub(crate) fn new(
        nodes: Nodes,
        reports: Reports,
        leases: Leases,
        changes: RegistryChangesReader,
    ) -> Self {
        Self {
            nodes,
            reports,
            leases,
            changes,
        }
    }
}

#[tonic::async_trait]
impl KeyRegistryService for RegistryRpcs {
    type SnapshotStream = BoxStream<'static, Result<RegistrySnapshot, Status>>;

    async fn resolve_node(
        &self,
        request: Request<ResolveNodeRequest>,
    ) -> Result<Response<ResolveNodeResponse>, Status> {
        let ResolveNodeRequest {
            node_key,
            machine_key,
        } = request.into_inner();
        let resolving = self.nodes.resolve_key(&node_key, &machine_key);
        Ok(Response::new(resolving.await?))
    }

    async fn resolve_node_number(
        &self,
        request: Request<ResolveNodeNumberRequest>,
    ) -> Result<Response<ResolveNodeResponse>, Status> {
        let node_id = request.into_inner().node_id;
        Ok(Response::new(self.nodes.resolve_number(node_id).await?))
    }

    async fn report_nodes(
        &self,
        request: Request<ReportNodesRequest>,
    ) -> Result<Response<ReportNodesResponse>, Status> {
        let ReportNodesRequest { reports, gateway } = request.into_inner();
        let results = self.reports.record_reports(gateway, reports).await?;
        Ok(Response::new(ReportNodesResponse { results }))
    }

    async fn set_own_attributes(
        &self,
        request: Request<SetOwnAttributesRequest>,
    ) -> Result<Response<SetOwnAttributesResponse>, Status> {
        let request = request.into_inner();
        let update = require_field("update", request.update)?;
        let own = OwnAttributes {
            machine_key: request.machine_key,
            node_key: request.node_key,
            changes: read_attribute_changes(update)?,
        };
        self.nodes.set_own_attributes(own).await?;
        Ok(Response::new(SetOwnAttributesResponse {}))
    }

    async fn renew_lease(
        &self,
        request: Request<RenewLeaseRequest>,
    ) -> Result<Response<RenewLeaseResponse>, Status> {
        let renewed = self.leases.renew_lease(request.into_inner()).await?;
        Ok(Response::new(renewed))
    }

    async fn report_progress(
        &self,
        request: Request<ReportProgressRequest>,
    ) -> Result<Response<ReportProgressResponse>, Status> {
        self.leases.record_progress(request.into_inner()).await?;
        Ok(Response::new(ReportProgressResponse {}))
    }

    async fn heads(
        &self,
        request: Request<HeadsRequest>,
    ) -> Result<Response<HeadsResponse>, Status> {
        let heads = self.changes.read_heads(&request.into_inner()).await?;
        Ok(Response::new(heads))
    }

    async fn changes_since(
        &self,
        request: Request<ChangesSinceRequest>,
    ) -> Result<Response<RegistryChanges>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let changes = self.changes.read_changes(tailnet, &request).await?;
        Ok(Response::new(changes))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let chunks = self.changes.stream_snapshot(tailnet).await;
        Ok(Response::new(chunks?))
    }
}
