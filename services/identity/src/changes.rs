//! What followers read of identity: its change log, and snapshots.

use bowline_db::ChangeLog;
use bowline_ids::TailnetId;
use bowline_proto::{
    changes::v1::HeadsResponse,
    identity::v1::{IdentityChanges, IdentitySnapshot},
};

use crate::{error::IdentityError, store};

/// The most users, and the most groups, in one chunk of a snapshot.
const MOST_USERS: usize = 500;

/// Reads the log for followers. Clones share it.
#[derive(Clone, Debug)]
pub struct IdentityChangesReader {
    log: ChangeLog,
}

impl IdentityChangesReader {
    pub(crate) fn new(log: ChangeLog) -> Self {
        Self { log }
    }

    /// Reads the heads of tailnets.
    pub(crate) async fn read_heads(
        &self,
        tailnets: &[TailnetId],
    ) -> Result<HeadsResponse, IdentityError> {
        Ok(self.log.answer_heads(tailnets).await?)
    }

    /// Reads the entries of a tailnet after a revision: none, where some of them are compacted away.
    pub(crate) async fn read_changes(
        &self,
        tailnet: TailnetId,
        revision: u64,
    ) -> Result<IdentityChanges, IdentityError> {
        let page = self.log.read_page(tailnet, revision).await?;
        let heads = self.log.answer_heads(&[tailnet]).await?.heads;
        let compacted = page.is_none();
        Ok(IdentityChanges {
            entries: page.map_or_else(Vec::new, |page| page.entries),
            from_revision: revision,
            head: heads.first().map_or(0, |head| head.revision),
            compacted,
        })
    }

    /// Reads all that is known of a tailnet, in chunks. The first has the tailnet, unless it is deleted.
    pub(crate) async fn read_snapshot(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<IdentitySnapshot>, IdentityError> {
        let mut read = self.log.database().begin_read().await?;
        let found = store::find_tailnet(&mut *read, tailnet.get()).await?;
        let users = store::list_complete_users(&mut read, tailnet.get()).await?;
        let groups = store::groups::list_groups(&mut read, tailnet.get()).await?;
        let deleted = store::deleted_users::list_deleted_users(&mut read, tailnet.get()).await?;
        let is_deleted = store::deleted_users::is_tailnet_deleted(&mut read, tailnet.get()).await?;
        let revision = self.log.head_in(&mut read, tailnet).await?.revision.get();
        drop(read);
        let chunk = |users: &[_]| IdentitySnapshot {
            revision,
            users: users.to_vec(),
            ..IdentitySnapshot::default()
        };
        let mut chunks: Vec<_> = users.chunks(MOST_USERS).map(chunk).collect();
        let groups: Vec<_> = groups.chunks(MOST_USERS).collect();
        while chunks.len() < groups.len().max(1) {
            chunks.push(chunk(&[]));
        }
        for (chunk, groups) in chunks.iter_mut().zip(groups) {
            chunk.groups = groups.to_vec();
        }
        if let Some(first) = chunks.first_mut() {
            first.tailnet = found;
            first.deleted_user_ids = deleted;
            first.tailnet_deleted = is_deleted;
        }
        if let Some(last) = chunks.last_mut() {
            last.last = true;
        }
        Ok(chunks)
    }
}
