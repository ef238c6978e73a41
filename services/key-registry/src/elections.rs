//! The election of primary routers where it is due.

use bowline_db::ChangeLog;
use serde_json::json;

use crate::{
    actors::REGISTRY_ACTOR, error::RegistryError, fields::read_tailnet_id, node_changes,
    store::elections,
};

/// Elects the primary routers of a tailnet again, if it is noted that this is due.
pub async fn elect_if_due(log: &ChangeLog, tailnet_id: u64) -> Result<(), RegistryError> {
    let tailnet = read_tailnet_id(tailnet_id)?;
    log.mutate(tailnet, REGISTRY_ACTOR, move |mutation| {
        Box::pin(async move {
            if !elections::take_pending(mutation.connection(), tailnet_id).await? {
                return Ok(());
            }
            let moved = node_changes::elect_primaries(mutation).await?;
            if !moved.is_empty() {
                mutation.record_audit("routes.elect", "", &json!({ "nodes": moved }));
            }
            Ok::<_, RegistryError>(())
        })
    })
    .await?;
    Ok(())
}
