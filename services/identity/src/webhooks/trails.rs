//! Reads the audit trails of all owners.

use bowline_db::{AuditEntry, ChangeLog};
use bowline_ids::TailnetId;
use bowline_proto::{
    audit::v1::{
        ListAuditHeadsRequest, ListAuditHeadsResponse, ListAuditRequest, ListAuditResponse,
    },
    key_registry::v1::audit_service_client::AuditServiceClient as RegistryAudit,
    policy::v1::audit_service_client::AuditServiceClient as PolicyAudit,
};
use bowline_service_kit::GrpcChannel;

use crate::{
    domain::webhook::TrailOwner, error::IdentityError, fields::read_tailnet_id,
    store::webhook_events::TrailPlace,
};

/// The longest answer with entries.
const LONGEST_ANSWER: usize = 64 << 20;
/// In how many parts of a trail the newest epoch is looked for, at most.
const EPOCH_PARTS: usize = 1000;
/// What the first entry says after a database has gone back.
const EPOCH: &str = "epoch.begin";

/// The services beside identity whose audit trails are read.
#[derive(Clone, Debug)]
pub struct TrailServices {
    /// The key registry.
    pub registry: GrpcChannel,
    /// The policy compiler.
    pub compiler: GrpcChannel,
}

/// Reads the audit trails of all owners. Clones share it.
#[derive(Clone, Debug)]
pub struct TrailReader {
    log: ChangeLog,
    others: Option<TrailServices>,
}

impl TrailReader {
    pub(crate) fn new(log: ChangeLog, others: Option<TrailServices>) -> Self {
        Self { log, others }
    }

    /// Returns whose trails can be read.
    pub(super) fn owners(&self) -> Vec<TrailOwner> {
        match self.others {
            Some(_) => vec![
                TrailOwner::Identity,
                TrailOwner::KeyRegistry,
                TrailOwner::PolicyCompiler,
            ],
            None => vec![TrailOwner::Identity],
        }
    }

    /// Returns how long a tailnet's trail is at each owner.
    pub(crate) async fn read_heads(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<(TrailOwner, u64)>, IdentityError> {
        let mut heads = Vec::new();
        for owner in self.owners() {
            let found = self.list_heads(owner, vec![tailnet.get()]).await?.heads;
            let sequence = found.first().map_or(0, |head| head.sequence);
            heads.push((owner, sequence));
        }
        Ok(heads)
    }

    pub(super) async fn list_heads(
        &self,
        owner: TrailOwner,
        tailnet_ids: Vec<u64>,
    ) -> Result<ListAuditHeadsResponse, IdentityError> {
        let request = ListAuditHeadsRequest { tailnet_ids };
        let answer = match (owner, &self.others) {
            (TrailOwner::KeyRegistry, Some(others)) => {
                let mut client = RegistryAudit::new(others.registry.clone());
                client.list_audit_heads(request).await
            }
            (TrailOwner::PolicyCompiler, Some(others)) => {
                let mut client = PolicyAudit::new(others.compiler.clone());
                client.list_audit_heads(request).await
            }
            _ => {
                let tailnets = request.tailnet_ids.into_iter().map(read_tailnet_id);
                let tailnets: Vec<_> = tailnets.collect::<Result<_, _>>()?;
                return Ok(self.log.list_audit_heads(&tailnets).await?);
            }
        };
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| IdentityError::Trail(owner.as_str(), status.message().to_owned()))
    }

    async fn list_entries(
        &self,
        owner: TrailOwner,
        request: ListAuditRequest,
    ) -> Result<ListAuditResponse, IdentityError> {
        let answer = match (owner, &self.others) {
            (TrailOwner::KeyRegistry, Some(others)) => {
                let client = RegistryAudit::new(others.registry.clone());
                let mut client = client.max_decoding_message_size(LONGEST_ANSWER);
                client.list_audit(request).await
            }
            (TrailOwner::PolicyCompiler, Some(others)) => {
                let client = PolicyAudit::new(others.compiler.clone());
                let mut client = client.max_decoding_message_size(LONGEST_ANSWER);
                client.list_audit(request).await
            }
            _ => {
                let tailnet = read_tailnet_id(request.tailnet_id)?;
                return Ok(self.log.list_audit(tailnet, &request).await?);
            }
        };
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| IdentityError::Trail(owner.as_str(), status.message().to_owned()))
    }

    /// Returns some entries after a place, oldest first, and whether there are more.
    pub(super) async fn read_entries(
        &self,
        owner: TrailOwner,
        tailnet_id: u64,
        after_sequence: u64,
        limit: u32,
    ) -> Result<(Vec<AuditEntry>, bool), IdentityError> {
        let request = ListAuditRequest {
            tailnet_id,
            after_sequence,
            limit,
            oldest_first: true,
            ..ListAuditRequest::default()
        };
        let listed = self.list_entries(owner, request).await?;
        let entries = listed.entries.into_iter().map(AuditEntry::try_from);
        Ok((entries.collect::<Result<_, _>>()?, listed.has_more))
    }

    /// Returns where the newest epoch of a trail begins.
    pub(super) async fn find_newest_epoch(
        &self,
        owner: TrailOwner,
        tailnet_id: u64,
    ) -> Result<Option<TrailPlace>, IdentityError> {
        let mut before_sequence = 0;
        for _ in 0..EPOCH_PARTS {
            let request = ListAuditRequest {
                tailnet_id,
                before_sequence,
                limit: 1,
                action: EPOCH.to_owned(),
                ..ListAuditRequest::default()
            };
            let listed = self.list_entries(owner, request).await?;
            if let Some(entry) = listed.entries.into_iter().next() {
                return Ok(Some(TrailPlace::of(&AuditEntry::try_from(entry)?)));
            }
            if !listed.has_more {
                break;
            }
            before_sequence = listed.next_sequence;
        }
        Ok(None)
    }
}
