//! Which spans committed what a follower applies.

use bowline_proto::{identity::v1::IdentityChanges, key_registry::v1::RegistryChanges};
use bowline_service_kit::TraceParent;

use crate::{LogSource, Update};

/// Entries that may say which span committed them.
pub trait TracedEntries {
    /// Returns the text form of those spans.
    fn traceparents(&self) -> impl Iterator<Item = &str>;
}

impl TracedEntries for IdentityChanges {
    fn traceparents(&self) -> impl Iterator<Item = &str> {
        let entries = self.entries.iter();
        entries.filter_map(|entry| entry.traceparent.as_deref())
    }
}

impl TracedEntries for RegistryChanges {
    fn traceparents(&self) -> impl Iterator<Item = &str> {
        let entries = self.entries.iter();
        entries.filter_map(|entry| entry.traceparent.as_deref())
    }
}

impl<S> Update<S>
where
    S: LogSource<Changes: TracedEntries>,
{
    /// Returns the spans that committed its entries, see [`TraceParent::parse_list`]; none for a snapshot.
    #[must_use]
    pub fn origins(&self) -> Vec<TraceParent> {
        match self {
            Self::Snapshot(_) => Vec::new(),
            Self::Changes(changes, _) => TraceParent::parse_list(changes.traceparents()),
        }
    }
}
