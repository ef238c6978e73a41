//! Which keys end soon, put on record.

use chrono::TimeDelta;
use serde_json::json;

use super::{Sweeper, group_by_tailnet};
use crate::{
    actors::REGISTRY_ACTOR, domain, error::RegistryError, fields::read_tailnet_id,
    store::expiry_notices,
};

/// How long before its end a key is put on record as ending.
const NOTICE: TimeDelta = TimeDelta::days(1);

impl Sweeper {
    /// Puts on record which keys end within a day, each once: whoever reads the trail can tell people.
    pub(super) async fn notice_ends(&self) -> Result<(), RegistryError> {
        let now = self.log.database().now().await?;
        let reader = self.log.database().reader();
        let ending = expiry_notices::list_expiring(reader, now, now + NOTICE).await?;
        for (tailnet, nodes) in group_by_tailnet(ending, |node| node.tailnet_id) {
            let tailnet = read_tailnet_id(tailnet)?;
            let noticed = self.log.mutate(tailnet, REGISTRY_ACTOR, move |mutation| {
                Box::pin(async move {
                    for node in nodes {
                        let end = node.key_expiry.and_then(domain::from_timestamp);
                        let Some(end) = end else { continue };
                        if expiry_notices::notice_expiry(mutation.connection(), node.id, end)
                            .await?
                        {
                            let detail =
                                json!({ "name": node.name, "expires_at": end.to_rfc3339() });
                            mutation.record_audit("node.expiring", node.id.to_string(), &detail);
                        }
                    }
                    Ok::<_, RegistryError>(())
                })
            });
            noticed.await?;
        }
        Ok(())
    }
}
