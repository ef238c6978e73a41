//! What followers of a log are answered, alike for every owner of one.

use bowline_ids::{Revision, TailnetId};
use bowline_proto::changes::v1::{Head, HeadsResponse};
use prost::Message;

use crate::{ChangeLog, Changes, DatabaseError};

/// The most entries in one page.
const MOST_ENTRIES: u32 = 1000;
/// How many bytes of entries a page holds: one more may follow.
const MOST_BYTES: usize = 1 << 20;

/// Some entries of a log, in order.
#[derive(Clone, Debug)]
pub struct ChangePage<M> {
    /// The entries.
    pub entries: Vec<M>,
    /// Whether it leads to the end of the log.
    pub is_last: bool,
}

impl ChangeLog {
    /// Answers how far the logs of tailnets are.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn answer_heads(
        &self,
        tailnets: &[TailnetId],
    ) -> Result<HeadsResponse, DatabaseError> {
        let heads = self.heads(tailnets).await?.into_iter().map(|head| Head {
            tailnet_id: head.tailnet.get(),
            revision: head.revision.get(),
            soft_revision: head.soft_revision,
        });
        Ok(HeadsResponse {
            heads: heads.collect(),
        })
    }

    /// Reads the entries after a revision, as many as one answer holds; `None` when some of them are compacted away.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer, or an entry does not decode.
    pub async fn read_page<M: Message + Default>(
        &self,
        tailnet: TailnetId,
        revision: u64,
    ) -> Result<Option<ChangePage<M>>, DatabaseError> {
        let since = Revision::new(revision);
        let found = match self.changes_since(tailnet, since, MOST_ENTRIES).await? {
            Changes::Compacted => return Ok(None),
            Changes::Entries(entries) => entries,
        };
        let (mut entries, mut bytes) = (Vec::with_capacity(found.len()), 0);
        for (revision, entry) in &found {
            if bytes >= MOST_BYTES {
                break;
            }
            bytes += entry.len();
            let decoded = M::decode(&**entry).map_err(|_| DatabaseError::Inconsistent {
                table: "change_log",
                row: format!("{tailnet}/{}", revision.get()),
            })?;
            entries.push(decoded);
        }
        let is_last = entries.len() == found.len() && found.len() < MOST_ENTRIES as usize;
        Ok(Some(ChangePage { entries, is_last }))
    }
}
