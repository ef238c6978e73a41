//! Requests for a node key that is bound already.

use std::sync::Arc;

use bowline_db::ChangeLog;
use bowline_proto::key_registry::v1::{
    KeyExpired, LoggedOut, Node, RegisterRequest, register_response::Outcome,
};
use serde_json::json;

use super::{
    answers::{OwnerNames, confirm_registration, refuse_foreign_key},
    foreign::ForeignKeyAudits,
    lock_signature,
};
use crate::{
    actors::machine_actor,
    adoption::Adoption,
    asked_services::AskedServices,
    domain::{
        self,
        key::{self, BoundKeyVerdict},
    },
    error::RegistryError,
    fields::read_tailnet_id,
    node_changes,
    store::{nodes, soft_states},
};

/// Answers for keys that are bound. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct BoundKeys {
    log: ChangeLog,
    services: AskedServices,
    adoption: Adoption,
    foreign_keys: Arc<ForeignKeyAudits>,
}

impl BoundKeys {
    pub(super) fn new(
        log: ChangeLog,
        services: AskedServices,
        adoption: Adoption,
        foreign_keys: Arc<ForeignKeyAudits>,
    ) -> Self {
        Self {
            log,
            services,
            adoption,
            foreign_keys,
        }
    }

    /// Answers a request for the key of a node. The verdict needs no other service, so that it stands while they are
    /// away; only the names that the client shows are asked for.
    pub(super) async fn answer_request(
        &self,
        node: Node,
        request: &RegisterRequest,
    ) -> Result<Outcome, RegistryError> {
        let now = self.log.database().now().await?;
        let wished_end = request.expiry.and_then(domain::from_timestamp);
        match key::judge_bound_key(&node, &request.machine_key, wished_end, now) {
            BoundKeyVerdict::AnotherMachines => {
                self.foreign_keys.audit_request(&node, request).await;
                Ok(refuse_foreign_key())
            }
            BoundKeyVerdict::Ended => Ok(Outcome::KeyExpired(KeyExpired { node: Some(node) })),
            BoundKeyVerdict::Logout => self.log_out(node).await,
            BoundKeyVerdict::Shorten(end) => {
                let (node, revision) = self.adoption.shorten_key(node, end).await?;
                Ok(self.confirm(node, revision).await)
            }
            BoundKeyVerdict::Good if lock_signature::brings_lock_facts(&node, request) => {
                let keeping = lock_signature::keep_lock_facts(&self.log, node, request);
                let (node, revision) = keeping.await?;
                Ok(self.confirm(node, revision).await)
            }
            BoundKeyVerdict::Good => {
                let tailnet = read_tailnet_id(node.tailnet_id)?;
                let heads = self.log.heads(&[tailnet]).await?;
                let revision = heads.first().map_or(0, |head| head.revision.get());
                Ok(self.confirm(node, revision).await)
            }
        }
    }

    async fn confirm(&self, node: Node, revision: u64) -> Outcome {
        let names = OwnerNames::ask(&self.services, &node).await;
        confirm_registration(node, revision, names)
    }

    async fn log_out(&self, node: Node) -> Result<Outcome, RegistryError> {
        let tailnet = read_tailnet_id(node.tailnet_id)?;
        let actor = machine_actor(&node.machine_key);
        let (id, node_key) = (node.id, node.node_key);
        let ((), revision) = self
            .log
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(async move {
                    let found = nodes::by_key(mutation.connection(), &node_key).await?;
                    let Some(node) = found.filter(|node| node.id == id) else {
                        return Ok(());
                    };
                    let detail = json!({ "name": node.name });
                    // Without the node its machine would be let in as a new one.
                    if node.ephemeral && !node.is_kept_out() {
                        let detail = json!({ "name": node.name, "deleted": true });
                        mutation.record_audit("node.logout", id.to_string(), &detail);
                        return node_changes::delete_node(mutation, &node).await;
                    }
                    if !node.expired {
                        mutation.record_audit("node.logout", id.to_string(), &detail);
                        node_changes::expire_key(mutation, node).await?;
                    }
                    // Its client is gone: whoever logs in on the machine next is the same node again.
                    let now = mutation.now();
                    soft_states::end_session(mutation.connection(), id, now).await?;
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        Ok(Outcome::LoggedOut(LoggedOut {
            revision: revision.get(),
        }))
    }
}
