//! Keys and custom attributes whose time is over.

use bowline_ids::TailnetId;
use bowline_proto::key_registry::v1::Node;
use futures_util::FutureExt as _;
use serde_json::json;

use super::{MOST_KEYS, Sweeper, each_tailnet, group_by_tailnet};
use crate::{
    actors::REGISTRY_ACTOR,
    attributes::end_attributes,
    domain::{self, difference},
    error::RegistryError,
    fields::read_tailnet_id,
    node_changes,
    store::{node_attributes, nodes},
};

impl Sweeper {
    /// Ends the keys whose time is over.
    pub(super) async fn end_due_keys(&self) -> Result<(), RegistryError> {
        let now = self.log.database().now().await?;
        let due = nodes::list_due(self.log.database().reader(), now).await?;
        let due = group_by_tailnet(due, |node| node.tailnet_id).into_iter();
        let work = due.map(|(tailnet, nodes)| (tailnet, self.expire_keys(tailnet, nodes).boxed()));
        each_tailnet("keys", work.collect()).await;
        Ok(())
    }

    /// Ends the custom attributes whose time is over.
    pub(super) async fn end_due_attributes(&self) -> Result<(), RegistryError> {
        let now = self.log.database().now().await?;
        let due = node_attributes::list_due(self.log.database().reader(), now).await?;
        let due = group_by_tailnet(due.into_iter().collect(), |node| node.tailnet_id).into_iter();
        let work = due.map(|(tailnet, nodes)| {
            let ending = async move {
                let tailnet = read_tailnet_id(tailnet)?;
                for some in nodes.chunks(MOST_KEYS) {
                    let ids = some.iter().map(|node| node.node_id).collect();
                    end_attributes(&self.log, tailnet, ids).await?;
                }
                Ok(())
            };
            (tailnet, ending.boxed())
        });
        each_tailnet("attributes", work.collect()).await;
        Ok(())
    }

    /// Ends the keys of nodes of one tailnet that are still due.
    async fn expire_keys(&self, tailnet: u64, nodes: Vec<Node>) -> Result<(), RegistryError> {
        let tailnet = read_tailnet_id(tailnet)?;
        for some in nodes.chunks(MOST_KEYS) {
            let ids: Vec<_> = some.iter().map(|node| node.id).collect();
            self.expire_chunk(tailnet, ids).await?;
        }
        Ok(())
    }

    async fn expire_chunk(&self, tailnet: TailnetId, ids: Vec<u64>) -> Result<(), RegistryError> {
        self.log
            .mutate(tailnet, REGISTRY_ACTOR, move |mutation| {
                Box::pin(async move {
                    let mut has_primary_ended = false;
                    for id in ids {
                        let found = nodes::by_id(mutation.connection(), tailnet.get(), id).await?;
                        let due = found.filter(|node| {
                            let end = node.key_expiry.and_then(domain::from_timestamp);
                            !node.expired && end.is_some_and(|end| end <= mutation.now())
                        });
                        let Some(before) = due else { continue };
                        let node = node_changes::end_key(mutation, before.clone()).await?;
                        has_primary_ended |= !node.primary_routes.is_empty();
                        let detail = json!({ "by": "time", "name": node.name });
                        let detail = difference::add_changes(detail, &before, &node);
                        mutation.record_audit("node.expire", node.id.to_string(), &detail);
                    }
                    if has_primary_ended {
                        node_changes::elect_primaries(mutation).await?;
                    }
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        Ok(())
    }
}
