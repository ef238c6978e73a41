//! A lock is switched off.

use bowline_db::Mutation;
use bowline_proto::key_registry::v1::DisableLockRequest;
use bowline_tailnet_lock::derive_disablement_value;
use serde_json::json;

use super::{
    AskingNode, LockInForce, TailnetLocks, find_lock, logs::run_blocking, refuse_without_lock,
    update_waiting, write_lock,
};
use crate::{
    actors::machine_actor,
    domain::pace::DISABLEMENTS,
    error::RegistryError,
    store::locks::{self, LockPhase},
};

/// A secret that a node has sent, and its value.
struct SentSecret {
    secret: Vec<u8>,
    value: [u8; 32],
}

impl TailnetLocks {
    /// Switches a lock off, where the secret is one of its own.
    pub(crate) async fn disable_lock(
        &self,
        request: DisableLockRequest,
    ) -> Result<(), RegistryError> {
        let member = self.find_member(request.member).await?;
        self.require_administrator(&member).await?;
        let (tailnet, actor) = (member.tailnet, machine_actor(&member.node.machine_key));
        self.require_lock(tailnet).await?;
        let trying = member.clone();
        let trying = self.log.mutate(tailnet, actor.clone(), move |mutation| {
            Box::pin(take_turn(mutation, trying))
        });
        trying.await?;
        let secret = request.disablement_secret;
        let value = derive_value(secret.clone()).await?;
        let sent = SentSecret { secret, value };
        let disabling = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(disable(mutation, member, sent))
        });
        disabling.await?;
        Ok(())
    }
}

/// Counts a secret of a node, before anything is done about it.
async fn take_turn(mutation: &mut Mutation, member: AskingNode) -> Result<(), RegistryError> {
    member.take_turn(mutation, "secrets", DISABLEMENTS).await
}

/// Derives the value of a secret beside other requests: it takes a while.
async fn derive_value(secret: Vec<u8>) -> Result<[u8; 32], RegistryError> {
    let derived = run_blocking(move || derive_disablement_value(&secret)).await;
    derived.ok_or_else(|| {
        RegistryError::invalid(
            "disablement_secret",
            "is none that there is: use one of those that `tailscale lock init` printed",
        )
    })
}

async fn disable(
    mutation: &mut Mutation,
    member: AskingNode,
    sent: SentSecret,
) -> Result<(), RegistryError> {
    member.check_again(mutation).await?;
    let lock = find_lock(mutation).await?;
    let LockInForce { mut row, log } = lock.ok_or_else(refuse_without_lock)?;
    if !log.state().has_disablement_value(&sent.value) {
        let text = "this is no disablement secret of the tailnet lock that is on: use one of those that `tailscale lock init` printed";
        return Err(RegistryError::Refused(text.to_owned()));
    }
    row.phase = LockPhase::Off;
    row.since = Some(mutation.now());
    row.disablement_secret = Some(sent.secret);
    write_lock(mutation, &row).await?;
    let tailnet = mutation.tailnet().get();
    let waiting = locks::nodes_without_signature(mutation.connection(), tailnet).await?;
    let nodes = update_waiting(mutation, waiting, "no lock", |_| false).await?;
    let detail = json!({ "node": member.node.name, "let_in": nodes });
    mutation.record_audit("lock.disable", row.head, &detail);
    Ok(())
}
