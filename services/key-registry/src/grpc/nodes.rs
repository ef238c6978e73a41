//! Nodes, for administrators.

use std::collections::{BTreeMap, BTreeSet};

use bowline_proto::key_registry::v1::{
    ApproveNodeRequest, ApproveNodeResponse, AwaitGatewaysRequest, AwaitGatewaysResponse,
    DeleteNodeRequest, DeleteNodeResponse, ExpireNodeRequest, ExpireNodeResponse, GetNodeRequest,
    GetNodeResponse, ListNodesRequest, ListNodesResponse, Node, NodeWithState, RenameNodeRequest,
    RenameNodeResponse, SetApprovedRoutesRequest, SetApprovedRoutesResponse, SetTagsRequest,
    SetTagsResponse, TaggedBy, node_service_server::NodeService,
};
use bowline_service_kit::Caller;
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use crate::{
    KeyRegistry,
    domain::{self, difference, hostname, routes, tags},
    error::RegistryError,
    node_changes, own_changes,
    registration::{machine_actor, read_tailnet_id},
    store::{adoptions, gateways::OwnerLog, nodes, soft_states},
};

/// Which node an administrator means, and who asks.
struct NodeTarget {
    actor: String,
    tailnet: u64,
    node: u64,
}

fn read_target<T>(
    request: &Request<T>,
    ids: impl Fn(&T) -> (u64, u64),
) -> Result<NodeTarget, Status> {
    let (tailnet, node) = ids(request.get_ref());
    Ok(NodeTarget {
        actor: Caller::of(request)?.to_string(),
        tailnet,
        node,
    })
}

impl KeyRegistry {
    /// Changes a node as an administrator asks, with an audit entry, and returns it with the revision. What the node
    /// reported while it was not in good standing is judged, if it is now.
    async fn change_node(
        &self,
        target: NodeTarget,
        action: &'static str,
        detail: Value,
        change: impl FnOnce(&mut Node, chrono::DateTime<chrono::Utc>) + Send + 'static,
    ) -> Result<(Node, u64), RegistryError> {
        let tailnet = read_tailnet_id(target.tailnet)?;
        let ((node, is_due), revision) = self
            .log
            .mutate(tailnet, target.actor, move |mutation| {
                Box::pin(async move {
                    let found =
                        nodes::by_id(mutation.connection(), target.tailnet, target.node).await?;
                    let mut node = found.ok_or(RegistryError::NotFound("node"))?;
                    let before = node.clone();
                    let now = mutation.now();
                    change(&mut node, now);
                    if node.name.is_empty() {
                        let label = hostname::derive_label(&node.hostname);
                        node.name = node_changes::find_free_name(mutation, &label, node.id).await?;
                    } else if node.name != before.name {
                        let holder =
                            nodes::find_named(mutation.connection(), target.tailnet, &node.name)
                                .await?;
                        if holder.is_some() {
                            return Err(RegistryError::NameInUse(node.name));
                        }
                    }
                    if node == before {
                        return Ok((node, false));
                    }
                    own_changes::audit_deferred_change(mutation, &before).await?;
                    node_changes::write_node(mutation, &node, None).await?;
                    if routes::may_move_primaries(&before, &node) {
                        node_changes::elect_primaries(mutation).await?;
                    }
                    let detail = difference::add_changes(detail, &before, &node);
                    mutation.record_audit(action, node.id.to_string(), &detail);
                    let is_due = adoptions::wake_node(mutation.connection(), node.id, now).await?;
                    let found = nodes::by_id(mutation.connection(), target.tailnet, target.node);
                    Ok((found.await?.unwrap_or(node), is_due))
                })
            })
            .await?;
        if is_due {
            self.due.notify_one();
        }
        Ok((node, revision.get()))
    }
}

/// Says of each node which others are on another machine with the same machine key.
fn find_shared_machines(nodes: &[Node]) -> BTreeMap<u64, Vec<u64>> {
    let present: BTreeSet<u64> = nodes.iter().map(|node| node.id).collect();
    let mut sharing: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for node in nodes {
        let other = node.machine_shared_with;
        if present.contains(&other) {
            sharing.entry(node.id).or_default().push(other);
            sharing.entry(other).or_default().push(node.id);
        }
    }
    sharing
}

#[tonic::async_trait]
impl NodeService for KeyRegistry {
    async fn list_nodes(
        &self,
        request: Request<ListNodesRequest>,
    ) -> Result<Response<ListNodesResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?.get();
        let mut read = self
            .log
            .database()
            .begin_read()
            .await
            .map_err(RegistryError::from)?;
        let listed = async {
            let nodes = nodes::of_tailnet(&mut *read, tailnet).await?;
            let soft = soft_states::of_tailnet(&mut *read, tailnet).await?;
            Ok::<_, RegistryError>((nodes, soft))
        };
        let (nodes, soft) = listed.await?;
        let mut soft: BTreeMap<_, _> = soft
            .into_iter()
            .map(|state| (state.node_id, state))
            .collect();
        let mut sharing = find_shared_machines(&nodes);
        let mut nodes: Vec<_> = nodes
            .into_iter()
            .map(|node| NodeWithState {
                soft: soft.remove(&node.id),
                shares_machine_with: sharing.remove(&node.id).unwrap_or_default(),
                node: Some(node),
            })
            .collect();
        nodes.sort_by(|left, right| {
            let name = |listed: &NodeWithState| listed.node.as_ref().map(|node| node.name.clone());
            name(left).cmp(&name(right))
        });
        Ok(Response::new(ListNodesResponse { nodes }))
    }

    async fn get_node(
        &self,
        request: Request<GetNodeRequest>,
    ) -> Result<Response<GetNodeResponse>, Status> {
        let GetNodeRequest {
            tailnet_id: tailnet,
            node_id,
        } = request.into_inner();
        let reader = self.log.database().reader();
        let node = nodes::by_id(reader, tailnet, node_id)
            .await
            .map_err(RegistryError::from)?;
        let node = node.ok_or(RegistryError::NotFound("node"))?;
        let machine = nodes::all_of_machine(reader, tailnet, &node.machine_key).await;
        let shares_machine_with = find_shared_machines(&machine.map_err(RegistryError::from)?)
            .remove(&node_id)
            .unwrap_or_default();
        let soft = soft_states::by_node(reader, node_id)
            .await
            .map_err(RegistryError::from)?;
        let soft = soft.map(|row| row.state);
        Ok(Response::new(GetNodeResponse {
            node: Some(NodeWithState {
                node: Some(node),
                soft,
                shares_machine_with,
            }),
        }))
    }

    async fn expire_node(
        &self,
        request: Request<ExpireNodeRequest>,
    ) -> Result<Response<ExpireNodeResponse>, Status> {
        let target = read_target(&request, |request| (request.tailnet_id, request.node_id))?;
        let tailnet = target.tailnet;
        let (node, revision) = self
            .change_node(
                target,
                "node.expire",
                json!({ "by": "administrator" }),
                |node, now| {
                    if !node.expired {
                        node.expired = true;
                        node.key_expiry = Some(domain::to_timestamp(now));
                    }
                },
            )
            .await?;
        let revocation = Some(
            self.await_revocation(OwnerLog::Registry, tailnet, revision)
                .await?,
        );
        Ok(Response::new(ExpireNodeResponse {
            node: Some(node),
            revocation,
        }))
    }

    async fn delete_node(
        &self,
        request: Request<DeleteNodeRequest>,
    ) -> Result<Response<DeleteNodeResponse>, Status> {
        let target = read_target(&request, |request| (request.tailnet_id, request.node_id))?;
        let tailnet = read_tailnet_id(target.tailnet)?;
        let ((), revision) = self
            .log
            .mutate(tailnet, target.actor, move |mutation| {
                Box::pin(async move {
                    let found =
                        nodes::by_id(mutation.connection(), target.tailnet, target.node).await?;
                    let node = found.ok_or(RegistryError::NotFound("node"))?;
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
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        let revocation = self.await_revocation(OwnerLog::Registry, tailnet.get(), revision.get());
        let revocation = Some(revocation.await?);
        Ok(Response::new(DeleteNodeResponse { revocation }))
    }

    async fn rename_node(
        &self,
        request: Request<RenameNodeRequest>,
    ) -> Result<Response<RenameNodeResponse>, Status> {
        let target = read_target(&request, |request| (request.tailnet_id, request.node_id))?;
        let name = request.into_inner().name;
        if !name.is_empty() {
            hostname::check_label(&name)?;
        }
        let detail = json!({ "name": name });
        let (node, _) = self
            .change_node(target, "node.rename", detail, move |node, _| {
                node.name_chosen = !name.is_empty();
                node.name = name;
            })
            .await?;
        Ok(Response::new(RenameNodeResponse { node: Some(node) }))
    }

    async fn set_tags(
        &self,
        request: Request<SetTagsRequest>,
    ) -> Result<Response<SetTagsResponse>, Status> {
        let target = read_target(&request, |request| (request.tailnet_id, request.node_id))?;
        let tags = tags::canonical_tags(request.into_inner().tags)?;
        if tags.is_empty() {
            let text = "the last tag can not be removed: let the device log in again as a user";
            return Err(RegistryError::Refused(text.to_owned()).into());
        }
        self.check_tags(target.tailnet, &tags).await?;
        let detail = json!({ "tags": tags });
        let (node, _) = self
            .change_node(target, "node.tag", detail, move |node, _| {
                node.tags = tags;
                node.tagged_by = TaggedBy::Administrator.into();
                node.key_expiry = if node.expired { node.key_expiry } else { None };
            })
            .await?;
        Ok(Response::new(SetTagsResponse { node: Some(node) }))
    }

    async fn set_approved_routes(
        &self,
        request: Request<SetApprovedRoutesRequest>,
    ) -> Result<Response<SetApprovedRoutesResponse>, Status> {
        let target = read_target(&request, |request| (request.tailnet_id, request.node_id))?;
        let routes = routes::canonical_routes(&request.into_inner().routes)?;
        let routes = routes::with_both_exit_routes(routes);
        let detail = json!({ "routes": routes });
        let (node, _) = self
            .change_node(target, "node.approve_routes", detail, move |node, _| {
                routes::approve_by_administrator(node, routes);
            })
            .await?;
        Ok(Response::new(SetApprovedRoutesResponse {
            node: Some(node),
        }))
    }

    async fn approve_node(
        &self,
        request: Request<ApproveNodeRequest>,
    ) -> Result<Response<ApproveNodeResponse>, Status> {
        let target = read_target(&request, |request| (request.tailnet_id, request.node_id))?;
        let (node, _) = self
            .change_node(target, "node.approve", json!({}), |node, _| {
                node.approved = true
            })
            .await?;
        Ok(Response::new(ApproveNodeResponse { node: Some(node) }))
    }

    async fn await_gateways(
        &self,
        request: Request<AwaitGatewaysRequest>,
    ) -> Result<Response<AwaitGatewaysResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?.get();
        let revocation =
            self.await_revocation(OwnerLog::Identity, tailnet, request.identity_revision);
        Ok(Response::new(AwaitGatewaysResponse {
            revocation: Some(revocation.await?),
        }))
    }
}
