//! Nodes, as administrators and other services see and change them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bowline_db::{ChangeLog, ReadTransaction};
use bowline_ids::TailnetId;
use bowline_proto::{
    access::{Principal, decisions},
    key_registry::v1::{
        DeleteNodeResponse, ExpireNodeResponse, Node, RenameNodeResponse, ResolveNodeResponse,
        Revocation, SetApprovedRoutesResponse, SetTagsResponse, TaggedBy,
    },
    policy::v1::JudgeNodeRequest,
};
use bowline_service_kit::Caller;
use chrono::{DateTime, Utc};
use prost::Message;
use serde_json::{Value, json};

use crate::{
    actors::machine_actor,
    adoption::Adoption,
    asked_services::AskedServices,
    domain::{difference, hostname, key, routes, tags},
    error::RegistryError,
    fields::read_tailnet_id,
    node_changes, own_changes,
    revocations::Revocations,
    rotations,
    store::{adoptions, gateways::OwnerLog, node_keys, nodes},
};

/// Finds, lists and changes nodes. Clones share it.
#[derive(Clone, Debug)]
pub struct Nodes {
    log: ChangeLog,
    services: AskedServices,
    adoption: Adoption,
    revocations: Revocations,
}

/// Which node is meant, and who asks.
#[derive(Clone, Debug)]
pub(crate) struct NodeTarget {
    pub(crate) caller: Caller,
    pub(crate) tailnet: TailnetId,
    pub(crate) node_id: u64,
}

/// Returns the node that was found, unless the caller's own nodes alone are asked about and it is none of them.
pub(crate) fn within_reach(caller: &Caller, found: Option<Node>) -> Result<Node, RegistryError> {
    found
        .filter(|node| is_within_reach(caller, node))
        .ok_or(RegistryError::NotFound("node"))
}

/// A tagged node is nobody's own.
pub(crate) fn is_within_reach(caller: &Caller, node: &Node) -> bool {
    let is_own = |user| node.user_id == user && node.tags.is_empty();
    caller.bound_to_user().is_none_or(is_own)
}

/// Refuses people who delete a node of their own that an administrator keeps out: its machine would be let in as a new one.
fn refuse_escape(caller: &Caller, node: &Node) -> Result<(), RegistryError> {
    if caller.bound_to_user().is_some() && node.is_kept_out() {
        let text = "an administrator has disabled or denied this device: an administrator has to delete it";
        return Err(RegistryError::Refused(text.to_owned()));
    }
    Ok(())
}

impl Nodes {
    pub(crate) fn new(
        log: ChangeLog,
        services: AskedServices,
        adoption: Adoption,
        revocations: Revocations,
    ) -> Self {
        Self {
            log,
            services,
            adoption,
            revocations,
        }
    }

    pub(crate) fn log(&self) -> &ChangeLog {
        &self.log
    }

    pub(crate) fn services(&self) -> &AskedServices {
        &self.services
    }

    /// Finds the node that a key is bound to, or who had the key (of one that was retired long ago only whether that is the
    /// machine that asks), with the revision at which that is so.
    pub(crate) async fn resolve_key(
        &self,
        node_key: &[u8],
        machine_key: &[u8],
    ) -> Result<ResolveNodeResponse, RegistryError> {
        let mut read = self.log.database().begin_read().await?;
        if let Some(node) = nodes::by_key(&mut *read, node_key).await? {
            return self.add_revision(read, node).await;
        }
        let former = node_keys::holder_of_key(&mut read, node_key, machine_key).await?;
        let former = former.ok_or(RegistryError::NotFound("node key"))?;
        Ok(ResolveNodeResponse {
            former: Some(former),
            ..ResolveNodeResponse::default()
        })
    }

    /// Finds the node with a number, whatever its tailnet, with the revision at which it is so.
    pub(crate) async fn resolve_number(
        &self,
        node_id: u64,
    ) -> Result<ResolveNodeResponse, RegistryError> {
        let mut read = self.log.database().begin_read().await?;
        let node = nodes::by_number(&mut *read, node_id).await?;
        let node = node.ok_or(RegistryError::NotFound("node"))?;
        self.add_revision(read, node).await
    }

    /// Returns a node with the revision at which it is so.
    async fn add_revision(
        &self,
        mut read: ReadTransaction,
        node: Node,
    ) -> Result<ResolveNodeResponse, RegistryError> {
        let tailnet = read_tailnet_id(node.tailnet_id)?;
        let revision = self.log.head_in(&mut read, tailnet).await?.revision.get();
        Ok(ResolveNodeResponse {
            node: Some(node),
            revision,
            former: None,
        })
    }

    /// Ends a node's key, and says which gateways have applied that.
    pub(crate) async fn expire_node(
        &self,
        target: NodeTarget,
    ) -> Result<ExpireNodeResponse, RegistryError> {
        let tailnet = target.tailnet;
        let detail = json!({ "by": "administrator" });
        let change = |node: &mut Node, now| {
            key::end_key(node, now);
            Ok(())
        };
        let answer = |node| ExpireNodeResponse {
            node: Some(node),
            revocation: None,
        };
        let changing = self.change_node(target, "node.expire", detail, change, answer);
        let (answer, revision) = changing.await?;
        let revocation = self.await_gateways(OwnerLog::Registry, tailnet, revision);
        Ok(ExpireNodeResponse {
            revocation: Some(revocation.await?),
            ..answer
        })
    }

    /// Deletes a node, and says which gateways have applied that.
    pub(crate) async fn delete_node(
        &self,
        target: NodeTarget,
    ) -> Result<DeleteNodeResponse, RegistryError> {
        let NodeTarget {
            caller,
            tailnet,
            node_id,
        } = target;
        let (_, revision) = self
            .log
            .mutate_once_and_go_on(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let found = nodes::by_id(mutation.connection(), tailnet.get(), node_id).await?;
                    let node = within_reach(&caller, found)?;
                    refuse_escape(&caller, &node)?;
                    node_changes::delete_node(mutation, &node).await?;
                    let detail = json!({
                        "name": node.name,
                        "user": node.user_id,
                        "tags": node.tags,
                        "ipv4": node.ipv4,
                        "ipv6": node.ipv6,
                        "machine": machine_actor(&node.machine_key),
                    });
                    mutation.record_audit("node.delete", node.id.to_string(), &detail);
                    Ok::<_, RegistryError>(DeleteNodeResponse { revocation: None })
                })
            })
            .await?;
        let revocation = self.await_gateways(OwnerLog::Registry, tailnet, revision.get());
        Ok(DeleteNodeResponse {
            revocation: Some(revocation.await?),
        })
    }

    /// Gives a node a name; without one it is named after its host again.
    pub(crate) async fn rename_node(
        &self,
        target: NodeTarget,
        name: String,
    ) -> Result<RenameNodeResponse, RegistryError> {
        if !name.is_empty() {
            hostname::check_label(&name)?;
        }
        let detail = json!({ "name": name });
        let change = move |node: &mut Node, _| {
            node.name_chosen = !name.is_empty();
            node.name = name;
            Ok(())
        };
        let answer = |node| RenameNodeResponse { node: Some(node) };
        let changing = self.change_node(target, "node.rename", detail, change, answer);
        Ok(changing.await?.0)
    }

    /// Gives a node exactly these tags, which the policy has to define.
    pub(crate) async fn set_tags(
        &self,
        target: NodeTarget,
        tags: Vec<String>,
    ) -> Result<SetTagsResponse, RegistryError> {
        let tags = tags::canonical_tags(tags)?;
        if tags.is_empty() {
            let text = "the last tag can not be removed: let the device log in again as a user";
            return Err(RegistryError::Refused(text.to_owned()));
        }
        target
            .caller
            .check(|by| decisions::may_set_tags(by, &tags))?;
        check_tags(&self.services, &target.caller, target.tailnet.get(), &tags).await?;
        let detail = json!({ "tags": tags });
        let change = move |node: &mut Node, now| {
            node.tags = tags;
            node.tagged_by = TaggedBy::Administrator.into();
            key::remove_end(node, now);
            Ok(())
        };
        let answer = |node| SetTagsResponse { node: Some(node) };
        let changing = self.change_node(target, "node.tag", detail, change, answer);
        Ok(changing.await?.0)
    }

    /// Approves exactly these routes of a node.
    pub(crate) async fn approve_routes(
        &self,
        target: NodeTarget,
        routes: &[String],
    ) -> Result<SetApprovedRoutesResponse, RegistryError> {
        let routes = routes::with_both_exit_routes(routes::canonical_routes(routes)?);
        let detail = json!({ "routes": routes });
        let change = move |node: &mut Node, _| {
            routes::approve_by_administrator(node, routes);
            Ok(())
        };
        let answer = |node| SetApprovedRoutesResponse { node: Some(node) };
        let changing = self.change_node(target, "node.approve_routes", detail, change, answer);
        Ok(changing.await?.0)
    }

    /// Says which gateways have applied a revision of a log.
    pub(crate) async fn await_gateways(
        &self,
        log: OwnerLog,
        tailnet: TailnetId,
        revision: u64,
    ) -> Result<Revocation, RegistryError> {
        self.revocations
            .await_gateways(log, tailnet, revision)
            .await
    }

    /// Changes a node as an administrator asks, with an audit entry, and answers with it and the revision. What the node
    /// reported while it was not in good standing is judged, if it is now.
    pub(crate) async fn change_node<M: Message + Default + 'static>(
        &self,
        target: NodeTarget,
        action: &'static str,
        detail: Value,
        change: impl FnOnce(&mut Node, DateTime<Utc>) -> Result<(), RegistryError> + Send + 'static,
        answer: fn(Node) -> M,
    ) -> Result<(M, u64), RegistryError> {
        let NodeTarget {
            caller,
            tailnet,
            node_id,
        } = target;
        let is_due = Arc::new(AtomicBool::new(false));
        let note_due = Arc::clone(&is_due);
        let (answer, revision) = self
            .log
            .mutate_once_and_go_on(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let tailnet = tailnet.get();
                    let found = nodes::by_id(mutation.connection(), tailnet, node_id).await?;
                    let before = within_reach(&caller, found)?;
                    let (mut node, now) = (before.clone(), mutation.now());
                    change(&mut node, now)?;
                    rotations::follow_rules(mutation, &before, &mut node).await?;
                    if node.name.is_empty() {
                        let label = hostname::derive_label(&node.hostname);
                        node.name = node_changes::find_free_name(mutation, &label, node.id).await?;
                    } else if node.name != before.name {
                        let on = mutation.connection();
                        if nodes::find_named(on, tailnet, &node.name).await?.is_some() {
                            return Err(RegistryError::NameInUse(node.name));
                        }
                    }
                    if node == before {
                        return Ok(answer(node));
                    }
                    own_changes::audit_deferred_change(mutation, &before).await?;
                    node_changes::write_node(mutation, &node, None).await?;
                    if routes::may_move_primaries(&before, &node) {
                        node_changes::elect_primaries(mutation).await?;
                    }
                    let mut detail = difference::add_changes(detail, &before, &node);
                    detail["name"] = json!(node.name);
                    mutation.record_audit(action, node.id.to_string(), &detail);
                    let is_due = adoptions::wake_node(mutation.connection(), node.id, now).await?;
                    note_due.store(is_due, Ordering::Relaxed);
                    // The election may have changed it again.
                    let found = nodes::by_id(mutation.connection(), tailnet, node_id).await?;
                    Ok(answer(found.unwrap_or(node)))
                })
            })
            .await?;
        if is_due.load(Ordering::Relaxed) {
            self.adoption.wake();
        }
        Ok((answer, revision.get()))
    }
}

/// Checks that the policy defines tags that are given and, of a user who may not use each tag, that it makes the user their
/// owner.
pub(crate) async fn check_tags(
    services: &AskedServices,
    caller: &Caller,
    tailnet_id: u64,
    tags: &[String],
) -> Result<(), RegistryError> {
    if tags.is_empty() {
        return Ok(());
    }
    let owner = caller
        .principal()
        .filter(|by| !decisions::may_use_any_tag(by))
        .and_then(Principal::user_id);
    let user = match owner {
        Some(id) => {
            let found = services.resolve_user(tailnet_id, id).await?;
            Some(found.ok_or(RegistryError::NotFound("user"))?.user)
        }
        None => None,
    };
    let administrator = user.is_none();
    let mut question = JudgeNodeRequest {
        tailnet_id,
        requested_tags: tags.to_vec(),
        administrator,
        ..JudgeNodeRequest::default()
    };
    if let Some(user) = user {
        question = question.for_user(user);
    }
    let refused = services.judge_node(question).await?.refused_tags;
    if refused.is_empty() {
        return Ok(());
    }
    let refused = refused.join(", ");
    Err(RegistryError::Refused(match administrator {
        true => {
            format!("[{refused}] are no tags of the policy: define them under tagOwners first")
        }
        false => format!(
            "[{refused}] are no tags that the policy lets you give: ask an administrator to name you under tagOwners"
        ),
    }))
}
